"""A policy net that learns Go on a 5x5 board from games with itself (after Silver et al., 2016).

    python examples/go_policy.py [--rounds 40] [--device tpu:0]

Boards are bit sets, so that many games are played in step: captures, no suicide, simple ko, no
filling of one's own eyes; area scoring. The net is trained by the results of its own games
(REINFORCE). Prints how often it beats a player of random moves, before and after.
"""

import argparse
from collections.abc import Callable

import numpy as np

import systolica as st
from examples.inference import add_device_option, answering

SIDE, PLIES, KOMI = 5, 50, 0.5
POINTS = SIDE * SIDE
FULL = np.int64((1 << POINTS) - 1)
LEFT = np.int64(sum(1 << (SIDE * r) for r in range(SIDE)))
RIGHT = LEFT << (SIDE - 1)
BITS = np.int64(1) << np.arange(POINTS, dtype=np.int64)
Boards = np.ndarray  # int64 bit sets of points
Player = Callable[[Boards, Boards, np.ndarray], np.ndarray]


def beside(points: Boards) -> Boards:
    """The points next to any of `points`."""
    across = (points & ~RIGHT) << 1 | (points & ~LEFT) >> 1
    return (across | points << SIDE | points >> SIDE) & FULL


def spread(seeds: Boards, within: Boards) -> Boards:
    """What of `within` hangs together with `seeds`."""
    while True:
        more = (seeds | beside(seeds)) & within
        if np.array_equal(more, seeds):
            return seeds
        seeds = more


def placed(own: Boards, other: Boards, stone: Boards) -> tuple[Boards, Boards, np.ndarray]:
    """(own, other, legal) after a stone: what has no liberty is taken; suicide is not legal."""
    own = own | stone
    other = spread(beside(~(own | other) & FULL) & other, other)
    alive = spread(beside(~(own | other) & FULL) & own, own)
    return own, other, alive == own


def legal_moves(own: Boards, other: Boards, before: Boards) -> np.ndarray:
    """bool [N, 25]; `before`: the mover's stones and the opponent's two plies ago [N, 2]."""
    mine, theirs, alive = placed(own[:, None], other[:, None], BITS)
    empty = (~(own | other) & FULL)[:, None] & BITS != 0
    eye = beside(BITS) & ~own[:, None] == 0
    ko = (mine == before[:, :1]) & (theirs == before[:, 1:])
    return empty & alive & ~eye & ~ko


def area(own: Boards, other: Boards) -> np.ndarray:
    """Points of the one less points of the other: stones, and the empty points that only they
    reach."""
    empty = ~(own | other) & FULL
    reach = [spread(beside(s) & empty, empty) for s in (own, other)]
    mine, theirs = own | reach[0] & ~reach[1], other | reach[1] & ~reach[0]
    return np.bitwise_count(mine).astype(int) - np.bitwise_count(theirs)


def planes(own: Boards, other: Boards) -> np.ndarray:
    """What the net sees, float32 [N, 5, 5, 3]: stones of the mover, the other's, the board."""
    stones = [(b[:, None] & BITS != 0).astype(np.float32) for b in (own, other)]
    return np.stack([*stones, np.ones_like(stones[0])], 2).reshape(-1, SIDE, SIDE, 3)


def random_player(rng: np.random.Generator) -> Player:
    """Any legal move."""
    return lambda own, other, legal: np.argmax(legal * rng.random(legal.shape), 1)


def games(players: tuple[Player, Player], count: int) -> tuple[list[tuple], np.ndarray]:
    """(what was seen, legal and played at each ply, and by whom; +1 or -1 for the first player)."""
    own, other = np.zeros(count, np.int64), np.zeros(count, np.int64)
    past = [np.full((count, 2), -1), np.full((count, 2), -1)]
    record, passes = [], 0
    for ply in range(PLIES):
        legal = legal_moves(own, other, past[ply % 2])
        can = legal.any(1)
        move = players[ply % 2](own, other, legal)
        record.append((planes(own, other)[can], legal[can], move[can], can, ply % 2))
        mine, theirs, _ = placed(own, other, BITS[move])
        own, other = np.where(can, mine, own), np.where(can, theirs, other)
        past[ply % 2] = np.stack([own, other], 1)
        own, other = other, own
        passes = 0 if can.any() else passes + 1
        if passes == 2:
            break
    ahead = area(own, other) * (1 if ply % 2 else -1)
    return record, np.where(ahead > KOMI, 1.0, -1.0)


class Net:
    """A policy net; its training op raises the odds of the moves of good games."""

    def __init__(self) -> None:
        self.seen = st.placeholder(st.float32, [None, SIDE, SIDE, 3], name="seen")
        self.legal = st.placeholder(st.bool, [None, POINTS])
        self.moves, self.gains = (
            st.placeholder(st.int32, [None]),
            st.placeholder(st.float32, [None]),
        )
        h = st.layers.conv2d(self.seen, 24, 3, padding="same", activation=st.nn.relu)
        h = st.layers.dense(st.layers.flatten(h), 64, st.nn.relu)
        self.logits = st.layers.dense(h, POINTS, name="logits")
        masked = st.where(self.legal, self.logits, st.fill(st.shape(self.logits), -1e9))
        odds = st.nn.sparse_softmax_cross_entropy_with_logits(labels=self.moves, logits=masked)
        self.train = st.train.AdamOptimizer(0.003).minimize(st.reduce_mean(odds * self.gains))


def drawing(odds: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> Player:
    """Draws moves by the odds whose logarithms `odds` gives for planes."""

    def choose(own: Boards, other: Boards, legal: np.ndarray) -> np.ndarray:
        noisy = odds(planes(own, other)) + rng.gumbel(size=legal.shape)
        return np.argmax(np.where(legal, noisy, -np.inf), 1)

    return choose


def win_rate(player: Player, rng: np.random.Generator, count: int = 100) -> float:
    """Against random moves, half the games with each colour."""
    first = games((player, random_player(rng)), count)[1]
    second = games((random_player(rng), player), count)[1]
    return float(((first > 0).mean() + (second < 0).mean()) / 2)


def train_and_test(rounds: int = 40, device: str = "cpu:0", count: int = 64) -> tuple[float, float]:
    """(share of games won against random moves before training, after)."""
    rng = np.random.default_rng(0)
    with st.Graph().as_default(), st.Session() as sess:
        st.set_random_seed(1)
        net = Net()
        sess.run(st.global_variables_initializer())
        player = drawing(lambda seen: sess.run(net.logits, {net.seen: seen}), rng)
        before = win_rate(player, rng)
        for _ in range(rounds):
            record, result = games((player, player), count)
            edge = result - result.mean()  # whoever moves first wins more often
            gains = [(edge if who == 0 else -edge)[can] for _, _, _, can, who in record]
            seen, legal, moves = (np.concatenate([r[i] for r in record]) for i in range(3))
            feeds = {net.seen: seen, net.legal: legal, net.moves: moves}
            sess.run(net.train, {**feeds, net.gains: np.concatenate(gains)})
        with answering(sess, net.logits, {net.seen: seen}, device) as answer:
            return before, win_rate(drawing(lambda seen: answer({net.seen: seen}), rng), rng)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of games (40)")
    add_device_option(parser)
    given = parser.parse_args()
    before, after = train_and_test(given.rounds, given.device)
    print(f"games won against random moves: {before:.0%} before, {after:.0%} after")


if __name__ == "__main__":
    main()
