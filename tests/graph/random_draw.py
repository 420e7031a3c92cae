"""What random gradient cases are drawn with, and the table they stand in.

A case is (inputs, attrs) or (inputs, attrs, outputs) as in `gradient_cases`; in the place of the
attributes may stand a function that builds the outputs from the tensors.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


class Draw:
    """Shapes and values of one case, from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def int(self, low: int, high: int) -> int:
        """Between `low` and `high`, both inclusive."""
        return int(self.rng.integers(low, high + 1))

    def flag(self) -> bool:
        return bool(self.rng.integers(2))

    def one(self, *choices: Any) -> Any:
        return choices[self.int(0, len(choices) - 1)]

    def sizes(self, count: int, low: int = 1, high: int = 4) -> tuple[int, ...]:
        return tuple(self.int(low, high) for _ in range(count))

    def shape(self, low: int = 0, high: int = 3) -> tuple[int, ...]:
        """A shape of between `low` and `high` axes."""
        return self.sizes(self.int(low, high))

    def axis(self, rank: int) -> int:
        return self.int(-rank, rank - 1)

    def normal(self, *shape: int) -> Any:
        return np.asarray(self.rng.standard_normal(shape))

    def uniform(self, low: float, high: float, *shape: int) -> Any:
        return np.asarray(self.rng.uniform(low, high, shape))

    def apart(self, *shape: int) -> Any:
        """Values no two of which are close, and none close to 0 or 6: no ties, no kinks."""
        count = int(np.prod(shape))
        return np.asarray(self.rng.permutation(count) - count // 2 + 0.37).reshape(shape) * 0.71

    def ids(self, count: int, *shape: int) -> Any:
        """int32 in [0, count)."""
        return np.asarray(self.rng.integers(0, count, shape), np.int32)

    def part(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts to `shape`: axes dropped or of size 1."""
        kept = [d if self.rng.uniform() < 0.7 else 1 for d in shape]
        return tuple(kept[self.int(0, len(shape)) :])


DRAWS: dict[str, Callable[[Draw, str], Any]] = {}


def draws(*names: str) -> Callable[[Callable[[Draw, str], Any]], Callable[[Draw, str], Any]]:
    """The decorated function draws the cases of the ops `names`."""

    def register(function: Callable[[Draw, str], Any]) -> Callable[[Draw, str], Any]:
        DRAWS.update(dict.fromkeys(names, function))
        return function

    return register


def ints(values: Any) -> Any:
    return np.asarray(values, np.int32)
