"""Operators on text: arrays of Python strings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel

Array = Any


def _texts(values: Any, shape: Any = None) -> Array:
    out = np.empty(len(values), np.object_)
    for index, value in enumerate(values):
        out[index] = value
    return out if shape is None else out.reshape(shape)


@kernel("StringConcat")
def concat(a: Array, b: Array) -> Array:
    left, right = np.broadcast_arrays(np.asarray(a, np.object_), np.asarray(b, np.object_))
    pairs = zip(left.ravel(), right.ravel(), strict=True)
    return _texts([x + y for x, y in pairs], left.shape)


@kernel("StringSplit")
def split(x: Array, *, delimiter: Any = None, maxsplit: Any = None) -> Any:
    x = np.asarray(x, np.object_)
    most = -1 if maxsplit is None else int(maxsplit)
    parts = [text.split(delimiter or None, most) if text else [] for text in x.ravel()]
    width = max((len(p) for p in parts), default=0)
    padded = [word for p in parts for word in (*p, *[""] * (width - len(p)))]
    number = np.asarray([len(p) for p in parts], np.int64).reshape(x.shape)
    return _texts(padded, (*x.shape, width)), number


@kernel("StringNormalizer")
def normalize(
    x: Array,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: Any = None,
    stopwords: Any = (),
) -> Array:
    def change(text: str) -> str:
        if case_change_action == "LOWER":
            return text.lower()
        return text.upper() if case_change_action == "UPPER" else text

    def known(text: str) -> str:
        return text if is_case_sensitive else text.lower()

    dropped = {known(word) for word in stopwords}

    def row(texts: Any) -> list[str]:
        return [change(t) for t in texts if known(t) not in dropped] or [""]

    if x.ndim == 1:
        return _texts(row(x))
    rows = [row(r) for r in x]
    return _texts([t for r in rows for t in r], (len(rows), -1))


@kernel("RegexFullMatch")
def full_match(x: Array, *, pattern: str) -> Array:
    x = np.asarray(x, np.object_)
    found = [re.fullmatch(pattern, text) is not None for text in x.ravel()]
    return np.asarray(found, np.bool_).reshape(x.shape)


@kernel("TfIdfVectorizer")
def tf_idf(
    x: Array,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Any,
    ngram_indexes: Any,
    pool_int64s: Any = None,
    pool_strings: Any = None,
    weights: Any = None,
) -> Array:
    """Counts of known n-grams (runs of elements up to `max_skip_count` apart), 0/1 or weighted."""
    pool = list(pool_int64s if pool_int64s is not None else pool_strings)
    grams: dict[tuple[Any, ...], int] = {}
    ends = [*ngram_counts[1:], len(pool)]
    for length, (start, end) in enumerate(zip(ngram_counts, ends, strict=True), 1):
        for place in range(start, end, length):
            grams[tuple(pool[place : place + length])] = len(grams)
    width = max(ngram_indexes) + 1
    rows = x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x.reshape(1, -1)
    out = np.zeros((len(rows), width), np.float32)
    for row, items in enumerate(rows):
        values = [v if isinstance(v, str) else int(v) for v in items]
        for length in range(min_gram_length, max_gram_length + 1):
            for skip in range(1, max_skip_count + 2) if length > 1 else (1,):
                for first in range(len(values) - skip * (length - 1)):
                    gram = tuple(values[first + skip * i] for i in range(length))
                    if gram in grams:
                        out[row, ngram_indexes[grams[gram]]] += 1
    if mode == "IDF":
        out = (out > 0).astype(np.float32)
    if mode != "TF" and weights is not None:
        factor = np.ones(width, np.float32)
        for index, weight in zip(ngram_indexes, weights, strict=True):
            factor[index] = weight
        out = out * factor
    return out if x.ndim > 1 else out[0]
