"""A random forest, grown and read by a graph (extremely randomised trees; Geurts et al., 2006).

    python examples/random_forest.py [--trees 30] [--depth 9]

TensorFlow had this in `contrib`. All trees grow at once, a level per run: samples are counted by
(leaf, candidate split, side, class) with a scatter, and each leaf takes the candidate whose halves
are purest. Prints how many of the held-out handwritten digits the forest and one tree of it name.
"""

import argparse

import numpy as np

import systolica as st
from examples.softmax_regression import digits

CLASSES, CANDIDATES = 10, 12


class Forest:
    """`trees` complete binary trees of `depth` levels of splits. Node n has the children 2n + 1 and
    2n + 2; a node that is not split sends everything left."""

    def __init__(self, trees: int, depth: int, features: int) -> None:
        self.trees, self.depth = trees, depth
        nodes = 2**depth - 1
        self.feature = st.Variable(st.zeros([trees * nodes], st.int32), trainable=False)
        self.threshold = st.Variable(st.fill([trees * nodes], np.float32(np.inf)), trainable=False)
        self.votes = st.Variable(st.zeros([trees * 2**depth, CLASSES]), trainable=False)
        self.x = st.placeholder(st.float32, [None, features])
        self.y = st.placeholder(st.int32, [None])
        self.weights = st.placeholder(st.float32, [trees, None])  # how often a tree draws a sample
        self.grow = [self._grow(level) for level in range(depth)]
        self.fill = self._fill()
        leaf = st.gather(self.votes, self._leaves(depth, self.trees))
        share = leaf / st.maximum(st.reduce_sum(leaf, 2, keep_dims=True), 1.0)
        self.odds = st.reduce_mean(share, 0)
        self.first = share[0]

    def _leaves(self, level: int, trees: int) -> st.Tensor:
        """[trees, N]: the place within its level where each sample is, all trees' levels in a
        row."""
        nodes, count = 2**self.depth - 1, st.shape(self.x)[0]
        tree = st.reshape(st.range(trees), [-1, 1])
        at = st.zeros([1, 1], st.int32) + st.zeros(st.stack([trees, count]), st.int32)
        for above in range(level):
            node = tree * nodes + (2**above - 1) + at
            value = self._values(st.gather(self.feature, node))
            right = value > st.gather(self.threshold, node)
            at = 2 * at + st.cast(right, st.int32)
        return tree * 2**level + at

    def _values(self, feature: st.Tensor) -> st.Tensor:
        """x[n, feature[..., n]] for int32 [..., N]."""
        count, features = st.shape(self.x)[0], self.x.shape.as_list()[1]
        return st.gather(st.reshape(self.x, [-1]), feature + features * st.range(count))

    def _grow(self, level: int) -> st.Operation:
        """Split the nodes of a level."""
        places, features = self.trees * 2**level, self.x.shape.as_list()[1]
        at = self._leaves(level, self.trees)
        # a candidate of a node: a feature, and the value that some sample has there
        feature = st.random_uniform([places * CANDIDATES], 0, features, st.int32, seed=level)
        sample = st.random_uniform([places * CANDIDATES], 0, st.shape(self.x)[0], st.int32, seed=99)
        threshold = st.gather(st.reshape(self.x, [-1]), sample * features + feature)
        gains = []
        for number in range(CANDIDATES):
            slot = at * CANDIDATES + number
            side = st.cast(
                self._values(st.gather(feature, slot)) > st.gather(threshold, slot), st.int32
            )
            cell = (at * 2 + side) * CLASSES + self.y
            counts = st.unsorted_segment_sum(
                st.reshape(self.weights, [-1]), st.reshape(cell, [-1]), places * 2 * CLASSES
            )
            counts = st.reshape(counts, [places, 2, CLASSES])
            sizes = st.reduce_sum(counts, 2)
            purity = st.reduce_sum(st.square(counts), 2) / st.maximum(sizes, 1e-9)
            gains.append(st.reduce_sum(purity, 1))  # Gini's, up to what all candidates share
        best = st.cast(st.argmax(st.stack(gains, 1), 1), st.int32)
        chosen = st.range(places) * CANDIDATES + best
        tree, place = st.range(places) // 2**level, st.range(places) % 2**level
        node = tree * (2**self.depth - 1) + (2**level - 1) + place
        return st.group(
            st.scatter_update(self.feature, node, st.gather(feature, chosen)),
            st.scatter_update(self.threshold, node, st.gather(threshold, chosen)),
        )

    def _fill(self) -> st.Operation:
        """Count the classes in the leaves."""
        places = self.trees * 2**self.depth
        cell = self._leaves(self.depth, self.trees) * CLASSES + self.y
        counts = st.unsorted_segment_sum(
            st.reshape(self.weights, [-1]), st.reshape(cell, [-1]), places * CLASSES
        )
        return self.votes.assign(st.reshape(counts, [places, CLASSES]))


def train_and_test(trees: int = 30, depth: int = 9) -> tuple[float, float]:
    """Held-out accuracy (of the forest, of its first tree)."""
    images, labels, test_images, test_labels = digits()
    truth = np.argmax(test_labels, 1)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), trees)
    with st.Graph().as_default(), st.Session() as sess:
        forest = Forest(trees, depth, images.shape[1])
        sess.run(st.global_variables_initializer())
        feeds = {forest.x: images, forest.y: np.argmax(labels, 1), forest.weights: drawn}
        for level in forest.grow:
            sess.run(level, feeds)
        sess.run(forest.fill, feeds)
        odds, first = sess.run([forest.odds, forest.first], {forest.x: test_images})
    hits = [float(np.mean(np.argmax(o, 1) == truth)) for o in (odds, first)]
    return hits[0], hits[1]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=30, help="trees (30)")
    parser.add_argument("--depth", type=int, default=9, help="levels of splits (9)")
    given = parser.parse_args()
    forest, tree = train_and_test(given.trees, given.depth)
    print(f"held-out accuracy: {forest:.1%}, of one tree: {tree:.1%}")


if __name__ == "__main__":
    main()
