"""What an ONNX name stands for during import: a tensor, and the form that it is held in.

ONNX's images are [N, C, ...]; our convolutions and the TPU take [N, ..., C]. Rather than turning
every operand round and every result back, a value remembers that its tensor has the channels last;
it is turned only for an op that needs the standard's order. Likewise quantised uint8 values are
held as int8, 128 less, which is the same number with a zero point 128 less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from onnx import TypeProto

from sw.graph.dtypes import DType, uint8
from sw.graph.errors import ModelError, OpError
from sw.graph.graph import Graph
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


class Codes(NamedTuple):
    """Constant quantised weights: `value` in ONNX's order, their scale and zero point, which vary
    along `axis`."""

    value: np.ndarray[Any, Any]
    scale: np.ndarray[Any, Any]
    zero: np.ndarray[Any, Any]
    axis: int


def to_last(rank: int) -> tuple[int, ...]:
    """The permutation from [N, C, ...] to [N, ..., C]."""
    return (0, *range(2, rank), 1)


def from_last(rank: int) -> tuple[int, ...]:
    """The permutation from [N, ..., C] to [N, C, ...]."""
    return (0, rank - 1, *range(1, rank - 1))


def turn(array: np.ndarray[Any, Any], perm: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The array with its axes permuted, contiguous, or still a view if it repeats one element."""
    turned = np.transpose(array, perm)
    if array.size > 1 and not any(array.strides):
        return turned
    return np.ascontiguousarray(turned)


def permute(graph: Graph, tensor: Tensor, perm: tuple[int, ...]) -> Tensor:
    """`transpose`, or a reshape where only axes of size 1 move, or a constant."""
    if tensor.op.type == "const" and tensor.op.graph is graph:
        value = turn(tensor.op.attrs["value"], perm)
        return graph.convert(value, tensor.dtype, name=f"{tensor.op.name}/turned/")
    dims = tensor.shape.dims
    if dims is not None:
        moved = [p for p in perm if dims[p] != 1]
        if moved == sorted(moved) and None not in dims:
            shape = np.asarray([dims[p] for p in perm], np.int64)
            out: Tensor = graph.apply("reshape", tensor, shape)
            return out
    op = tensor.op
    if op.type in ("quantize_linear", "dequantize_linear") and op.graph is graph:
        # what is quantised per tensor is turned before, but for matrices: a product reads them so;
        # on the way back codes are turned, so that what makes them stays next to its quantisation
        back = op.type == "quantize_linear" and perm == from_last(len(perm))
        if op.inputs[1].shape.rank == 0 and len(perm) != 3 and not back:
            data = permute(graph, op.inputs[0], perm)
            made: Tensor = graph.apply(
                op.type, data, *op.inputs[1:], name=f"{op.name}/turned/", **op.attrs
            )
            return made
    turned: Tensor = graph.apply("transpose", tensor, perm=perm)
    return turned


@dataclass(eq=False)
class Value:
    """See the module. `type` is the ONNX type of what is no tensor (sequences, optionals)."""

    tensor: Tensor
    last: bool = False
    shifted: bool = False
    codes: Codes | None = None
    type: TypeProto | None = None
    _made: dict[tuple[Graph, str], Tensor] = field(default_factory=dict)

    @property
    def dtype(self) -> DType:
        """Of what is held."""
        return self.tensor.dtype

    @property
    def shape(self) -> Shape:
        """Of what is held."""
        return self.tensor.shape

    @property
    def name(self) -> str:
        """The op that holds it."""
        return self.tensor.op.name

    @property
    def rank(self) -> int | None:
        """Number of axes, None when unknown."""
        return self.shape.rank

    def _memo(self, graph: Graph, what: str, make: Any) -> Tensor:
        # a body of a branch or loop makes its own: what it makes is not visible outside
        key = (graph, what)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def held(self, graph: Graph, last: bool, shifted: bool) -> Tensor:
        """The value in the given form."""
        tensor = self.tensor
        if shifted != self.shifted:
            tensor = self._memo(graph, "shift", lambda: graph.apply("shift_128", self.tensor))
        if last == self.last or not tensor.shape.rank or tensor.shape.rank < 3:
            return tensor
        rank = tensor.shape.rank
        perm = to_last(rank) if last else from_last(rank)
        return self._memo(graph, f"{last}{shifted}", lambda: permute(graph, tensor, perm))

    def plain(self, graph: Graph) -> Tensor:
        """The value in ONNX's order."""
        return self.held(graph, False, False)

    def channels_last(self, graph: Graph) -> Tensor:
        """The value as [N, ..., C]."""
        return self.held(graph, True, False)

    @property
    def is_uint8(self) -> bool:
        """Whether the ONNX value is uint8."""
        return self.shifted or self.dtype is uint8


class Stored(Value):
    """A large initialiser: read when asked for, a constant of the graph only once an op takes it
    as it is."""

    def __init__(
        self, graph: Graph, name: str, dtype: DType, shape: Shape, read: Callable[[], Any]
    ) -> None:
        self._graph, self._name, self._dtype, self._shape = graph, name, dtype, shape
        self._read = read
        self._tensor: Tensor | None = None
        self._made = {}

    @property
    def tensor(self) -> Tensor:  # type: ignore[override] # a field there, made on demand here
        if self._tensor is None:
            # the main graph's, whichever body of a branch or loop asks first
            self._tensor = self._graph.apply("const", name=self._name, value=self.array())
        return self._tensor

    def array(self) -> np.ndarray[Any, Any]:
        """Its value; raises `ModelError` naming it."""
        if self._tensor is not None:
            value: np.ndarray[Any, Any] = self._tensor.op.attrs["value"]
            return value
        try:
            found: np.ndarray[Any, Any] = self._read()
        except (OpError, ValueError, OSError) as error:
            raise ModelError(f"initialiser {self._name!r}: {error}") from None
        return found

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def shape(self) -> Shape:
        return self._shape

    @property
    def name(self) -> str:
        return self._name


class Flat(Value):
    """Images that were flattened to [N, C*H*W]. `unturned` is the same [N, H*W*C], and `order`
    (H, W, C), for products, which may turn their constant weights instead."""

    def __init__(self, graph: Graph, name: str, image: Value) -> None:
        self._graph, self._name, self._image = graph, name, image
        n, *order = image.shape.sizes()
        self.order = tuple(order)
        self._sizes = (n, int(np.prod(order)))
        self._made = {}
        self._plain: Tensor | None = None

    @property
    def tensor(self) -> Tensor:  # type: ignore[override] # a field there, made on demand here
        if self._plain is None:
            self._plain = self._reshaped(self._image.plain(self._graph), f"{self._name}/")
        return self._plain

    @property
    def unturned(self) -> Tensor:
        """[N, H*W*C]."""
        image = self._image.channels_last(self._graph)
        name = f"{self._name}/channels_last/"
        return self._memo(self._graph, "unturned", lambda: self._reshaped(image, name))

    def _reshaped(self, image: Tensor, name: str) -> Tensor:
        shape = np.asarray(self._sizes, np.int64)
        out: Tensor = self._graph.apply("reshape", image, shape, name=name)
        return out

    @property
    def dtype(self) -> DType:
        return self._image.dtype

    @property
    def shape(self) -> Shape:
        return Shape(self._sizes)
