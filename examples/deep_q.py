"""Deep Q-learning on a small world (Mnih et al., 2015): a walker learns to fetch and not to fall.

    python examples/deep_q.py [--steps 1000] [--device tpu:0]

The world is a 5x5 grid with two pits; walker and goal start anywhere. The net sees three planes
(walker, goal, pits) and learns the value of each of four steps from a replay memory, towards a
slowly moving copy of itself. Prints how often it reaches the goal in 15 steps, and how often random
steps do.
"""

import argparse
from collections.abc import Callable

import numpy as np

import systolica as st
from examples.inference import add_device_option, answering

SIDE, STEPS, DISCOUNT = 5, 15, 0.9
MOVES = np.asarray([[-1, 0], [1, 0], [0, -1], [0, 1]])
PITS = np.asarray([[1, 1], [3, 3]])
FREE = [(r, c) for r in range(SIDE) for c in range(SIDE) if [r, c] not in PITS.tolist()]


class World:
    """`count` independent games, in step."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.walkers, self.goals = np.zeros((count, 2), int), np.zeros((count, 2), int)
        self.ages = np.zeros(count, int)
        self.restart(np.ones(count, bool))

    def restart(self, which: np.ndarray) -> None:
        """Put walkers and goals on free cells, apart."""
        for i in np.flatnonzero(which):
            walker, goal = self.rng.choice(len(FREE), 2, replace=False)
            self.walkers[i], self.goals[i], self.ages[i] = FREE[walker], FREE[goal], 0

    def planes(self) -> np.ndarray:
        """What is seen, float32 [count, 5, 5, 3]."""
        seen = np.zeros((len(self.ages), SIDE, SIDE, 3), np.float32)
        every = np.arange(len(self.ages))
        seen[every, self.walkers[:, 0], self.walkers[:, 1], 0] = 1
        seen[every, self.goals[:, 0], self.goals[:, 1], 1] = 1
        seen[:, PITS[:, 0], PITS[:, 1], 2] = 1
        return seen

    def step(self, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(rewards, whether the game ended, whether it ran out of time) after one step each."""
        self.walkers = np.clip(self.walkers + MOVES[moves], 0, SIDE - 1)
        self.ages += 1
        won = (self.walkers == self.goals).all(1)
        fell = (self.walkers[:, None] == PITS).all(2).any(1)
        return won.astype(np.float32) - fell, won | fell, self.ages >= STEPS


def q_net(planes: st.Tensor, name: str) -> st.Tensor:
    """The value of each move [N, 4]."""
    with st.variable_scope(name):
        h = st.layers.dense(st.layers.flatten(planes), 128, st.nn.relu)
        h = st.layers.dense(h, 64, st.nn.relu)
        return st.layers.dense(h, len(MOVES))


def success(choose: Callable[[np.ndarray], np.ndarray], games: int = 200, seed: int = 99) -> float:
    """Share of games in which `choose(planes)` brings the walker to its goal."""
    world, won = World(games, np.random.default_rng(seed)), np.zeros(games, bool)
    playing = np.ones(games, bool)
    for _ in range(STEPS):
        rewards, ended, _ = world.step(choose(world.planes()))
        won |= playing & (rewards > 0)
        playing &= ~ended
    return float(won.mean())


def train_and_test(steps: int = 1000, device: str = "cpu:0") -> tuple[float, float]:
    """(share of goals reached after training, by random steps)."""
    rng = np.random.default_rng(0)
    with st.Graph().as_default():
        st.set_random_seed(1)
        seen = st.placeholder(st.float32, [None, SIDE, SIDE, 3], name="seen")
        moves, targets = st.placeholder(st.int32, [None]), st.placeholder(st.float32, [None])
        q, slow = q_net(seen, "q"), q_net(seen, "slow")
        chosen = st.reduce_sum(q * st.one_hot(moves, len(MOVES)), 1)
        loss = st.losses.huber_loss(targets, chosen)
        learned = [v for v in st.trainable_variables() if v.name.startswith("q/")]
        copies = [v for v in st.trainable_variables() if v.name.startswith("slow/")]
        train = st.train.AdamOptimizer(0.003).minimize(loss, var_list=learned)
        pairs = list(zip(copies, learned, strict=True))
        copy = st.group(*[c.assign(v) for c, v in pairs])
        follow = st.group(*[c.assign_add(0.05 * (v - c)) for c, v in pairs])
        with st.Session() as sess:
            sess.run(st.global_variables_initializer())
            sess.run(copy)
            world, memory = World(16, rng), []
            for step in range(steps):
                before = world.planes()
                greedy = np.argmax(sess.run(q, {seen: before}), 1)
                explore = rng.random(len(greedy)) < max(0.1, 1 - 1.5 * step / steps)
                taken = np.where(explore, rng.integers(0, len(MOVES), len(greedy)), greedy)
                rewards, ended, late = world.step(taken)
                memory += zip(before, taken, rewards, ended, world.planes(), strict=True)
                memory = memory[-10_000:]
                world.restart(ended | late)
                picks = rng.integers(0, len(memory), 64)
                drawn = zip(*(memory[i] for i in picks), strict=True)
                old, did, got, final, new = map(np.asarray, drawn)
                best = sess.run(slow, {seen: new}).max(1)
                goal = got + DISCOUNT * best * ~final
                sess.run([train, follow], {seen: old, moves: did, targets: goal})
            with answering(sess, q, {seen: old}, device) as values:
                share = success(lambda planes: np.argmax(values({seen: planes}), 1))
    return share, success(lambda planes: rng.integers(0, len(MOVES), len(planes)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="training steps (1000)")
    add_device_option(parser)
    given = parser.parse_args()
    learned, random = train_and_test(given.steps, given.device)
    print(f"goals reached: {learned:.0%}, by random steps: {random:.0%}")


if __name__ == "__main__":
    main()
