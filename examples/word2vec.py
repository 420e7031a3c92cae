"""word2vec: skip-gram embeddings trained with noise-contrastive estimation (Mikolov et al., 2013).

    python examples/word2vec.py [--steps 1500]

The sentences are made here: animals eat and run, vehicles drive and park, foods are cooked. Words
of one group stand in the same places, so that their vectors should be neighbours; prints the
nearest neighbours and how often they are of the same group.
"""

import argparse

import numpy as np

import systolica as st

GROUPS = {
    "animal": ["cat", "dog", "horse", "cow", "sheep", "goat", "lion", "wolf"],
    "vehicle": ["car", "bus", "truck", "van", "taxi", "tram", "train", "bike"],
    "food": ["rice", "bread", "soup", "pasta", "cake", "pie", "salad", "stew"],
}
VERBS = {
    "animal": ["eats", "runs", "sleeps", "drinks", "hunts"],
    "vehicle": ["drives", "parks", "brakes", "honks", "stops"],
    "food": ["cooks", "smells", "cools", "burns", "tastes"],
}


def sentences(count: int, seed: int = 0) -> list[list[str]]:
    """Sentences such as "the cat eats near the dog"."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        group = str(rng.choice(list(GROUPS)))
        first, second = rng.choice(GROUPS[group], 2)
        out.append(["the", first, rng.choice(VERBS[group]), "near", "the", second])
    return out


def pairs(text: list[list[str]], ids: dict[str, int], window: int = 2) -> np.ndarray:
    """(centre, context) word numbers [N, 2]."""
    found = [
        (ids[line[i]], ids[line[j]])
        for line in text
        for i in range(len(line))
        for j in range(max(0, i - window), min(len(line), i + window + 1))
        if i != j
    ]
    return np.asarray(found, np.int32)


def train_and_test(steps: int = 1500, batch: int = 128, size: int = 16) -> tuple[float, str]:
    """(share of nouns whose nearest noun is of the same group, lines that show neighbours)."""
    text = sentences(2000)
    counts: dict[str, int] = {}
    for line in text:
        for word in line:
            counts[str(word)] = counts.get(str(word), 0) + 1
    # the sampler expects frequent words first
    words = sorted(counts, key=lambda w: (-counts[w], w))
    data = pairs(text, {w: i for i, w in enumerate(words)})
    with st.Graph().as_default():
        st.set_random_seed(1)
        centre, context = st.placeholder(st.int32, [None]), st.placeholder(st.int32, [None, 1])
        table = st.Variable(st.random_uniform([len(words), size], -1.0, 1.0), name="embeddings")
        weights = st.Variable(st.truncated_normal([len(words), size], stddev=size**-0.5))
        biases = st.Variable(st.zeros([len(words)]))
        found = st.nn.embedding_lookup(table, centre)
        loss = st.reduce_mean(st.nn.nce_loss(weights, biases, context, found, 8, len(words)))
        train = st.train.AdagradOptimizer(0.5).minimize(loss)
        unit = st.nn.l2_normalize(table, 1)
        with st.Session() as sess:
            sess.run(st.global_variables_initializer())
            rng = np.random.default_rng(2)
            for _ in range(steps):
                pick = data[rng.integers(0, len(data), batch)]
                sess.run(train, {centre: pick[:, 0], context: pick[:, 1:]})
            vectors = sess.run(unit)
    nouns = [(w, g) for g, members in GROUPS.items() for w in members]
    rows = vectors[[words.index(w) for w, _ in nouns]]
    near = np.argsort(-(rows @ rows.T), 1)
    same = np.mean([nouns[i][1] == nouns[near[i, 1]][1] for i in range(len(nouns))])
    lines = [f"{w}: {', '.join(nouns[j][0] for j in near[i, 1:4])}" for i, (w, _) in
             enumerate(nouns)]  # fmt: skip
    return float(same), "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500, help="training steps (1500)")
    share, lines = train_and_test(parser.parse_args().steps)
    print(f"{lines}\nnearest word of the same group: {share:.0%}")


if __name__ == "__main__":
    main()
