"""What the standard's node tests have of ai.onnx.ml: encoders, extractors, ensembles of trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.onnx.registry import ML, kernel

Array = Any


@kernel("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(x: Array, places: Array) -> Array:
    return np.take(np.atleast_2d(x), np.ravel(places), axis=-1)


@kernel("Binarizer", domain=ML)
def binarizer(x: Array, *, threshold: float = 0.0) -> Array:
    return (x > threshold).astype(x.dtype)


def _first(*candidates: Any) -> Any:
    return next((list(np.ravel(c)) for c in candidates if c is not None), None)


@kernel("LabelEncoder", domain=ML)
def label_encoder(
    x: Array,
    *,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: Any = None,
    keys_floats: Any = None,
    keys_int64s: Any = None,
    keys_strings: Any = None,
    keys_tensor: Any = None,
    values_floats: Any = None,
    values_int64s: Any = None,
    values_strings: Any = None,
    values_tensor: Any = None,
    types: Any,
) -> Array:
    keys = _first(keys_floats, keys_int64s, keys_strings, keys_tensor)
    values = _first(values_floats, values_int64s, values_strings, values_tensor)
    kind = types[0].dtype
    if default_tensor is not None:
        default: Any = np.ravel(default_tensor)[0]
    elif kind.is_floating:
        default = default_float
    else:
        default = default_int64 if kind.is_integer else default_string

    def plain(key: Any) -> Any:
        return key.item() if hasattr(key, "item") else key

    table = {plain(k): v for k, v in zip(keys, values, strict=True)}
    lost = next((v for k, v in table.items() if k != k), default)  # NaN finds the key NaN
    found = [table.get(plain(e), lost if e != e else default) for e in np.ravel(x)]
    out = np.empty(len(found), kind.numpy)
    out[:] = found
    return out.reshape(np.shape(x))


_LEAF_SUM, _LEAF_AVERAGE, _LEAF_MIN, _LEAF_MAX = 1, 0, 2, 3
_MODES = {
    0: np.less_equal,
    1: np.less,
    2: np.greater_equal,
    3: np.greater,
    4: np.equal,
    5: np.not_equal,
}


@kernel("TreeEnsemble", domain=ML)
def tree_ensemble(
    x: Array,
    *,
    aggregate_function: int = 1,
    leaf_targetids: Any,
    leaf_weights: Any,
    membership_values: Any = None,
    n_targets: int,
    nodes_falseleafs: Any,
    nodes_falsenodeids: Any,
    nodes_featureids: Any,
    nodes_hitrates: Any = None,
    nodes_missing_value_tracks_true: Any = None,
    nodes_modes: Any,
    nodes_splits: Any,
    nodes_trueleafs: Any,
    nodes_truenodeids: Any,
    post_transform: int = 0,
    tree_roots: Any,
) -> Array:
    modes, splits = np.ravel(nodes_modes), np.ravel(nodes_splits)
    weights = np.ravel(leaf_weights)
    # a set membership test's members, one set after the other, each closed by NaN
    sets: dict[int, list[float]] = {}
    members: Any = iter(np.ravel(() if membership_values is None else membership_values))
    for node, mode in enumerate(modes):
        if mode == 6:
            found = []
            for value in members:
                if np.isnan(value):
                    break
                found.append(float(value))
            sets[node] = found

    def leaf(row: Array, root: int) -> int:
        node = int(root)
        for _ in range(len(modes) + 1):
            value = row[nodes_featureids[node]]
            if modes[node] == 6:
                goes = float(value) in sets[node]
            else:
                goes = bool(_MODES[int(modes[node])](value, splits[node]))
            if nodes_missing_value_tracks_true is not None and np.isnan(value):
                goes = goes or bool(nodes_missing_value_tracks_true[node])
            ends = nodes_trueleafs[node] if goes else nodes_falseleafs[node]
            node = int(nodes_truenodeids[node] if goes else nodes_falsenodeids[node])
            if ends:
                return node
        raise ValueError("the nodes of a tree form a circle")

    out = np.zeros((len(x), n_targets), x.dtype)
    for index, row in enumerate(x):
        votes: dict[int, list[Any]] = {}
        for root in tree_roots:
            end = leaf(row, root)
            votes.setdefault(int(leaf_targetids[end]), []).append(weights[end])
        for target, given in votes.items():
            if aggregate_function == _LEAF_MIN:
                out[index, target] = min(given)
            elif aggregate_function == _LEAF_MAX:
                out[index, target] = max(given)
            else:
                total = sum(given)
                average = aggregate_function == _LEAF_AVERAGE
                out[index, target] = total / len(tree_roots) if average else total
    if post_transform:
        raise ValueError(f"post_transform {post_transform} of a TreeEnsemble is not supported")
    return out
