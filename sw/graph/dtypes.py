"""Element types: thin named wrappers of NumPy's, with bfloat16 and the narrow ones of `ml_dtypes`.

Types are singletons; they compare equal to whatever `as_dtype` understands (`"float32"`,
`np.float32`, `float32`). `resource` is the type of a handle to state (a Variable), `variant` that
of values that are no arrays (the elements of a TensorArray), `sequence` that of Python tuples of
arrays (ONNX's sequences, and its optionals as tuples of one or none), `string` that of text.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from sw.graph.errors import DTypeError


class DType:
    """One element type. `numpy` is its NumPy dtype, `name` its name in TensorFlow's spelling."""

    __slots__ = ("_hash", "is_bool", "is_complex", "is_floating", "is_integer", "name", "numpy")

    def __init__(self, name: str, numpy_dtype: Any) -> None:
        self.name = name
        self.numpy = np.dtype(numpy_dtype)
        self.is_bool = self.numpy.kind == "b"
        # by name: NumPy does not know the kinds of `ml_dtypes`
        self.is_integer = name.startswith(("int", "uint"))
        self.is_floating = name.startswith(("float", "bfloat"))
        self.is_complex = name.startswith("complex")
        self._hash = hash(name)

    @property
    def as_numpy_dtype(self) -> Any:
        """The NumPy scalar type (TensorFlow's spelling)."""
        return self.numpy.type

    @property
    def differentiable(self) -> bool:
        """Whether values of this type have gradients: real and complex numbers."""
        return self.is_floating or self.is_complex

    @property
    def real_dtype(self) -> DType:
        """The type of the real part: float32 for complex64, float64 for complex128, else itself."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    @property
    def base_dtype(self) -> DType:
        """Itself: there are no reference types (TensorFlow's spelling)."""
        return self

    def is_compatible_with(self, other: Any) -> bool:
        """Whether `other` is the same type (TensorFlow's spelling)."""
        return as_dtype(other) is self

    @property
    def size(self) -> int:
        """Bytes per element."""
        return self.numpy.itemsize

    @property
    def min(self) -> Any:
        """Smallest finite value."""
        return _limits(self).min

    @property
    def max(self) -> Any:
        """Largest finite value."""
        return _limits(self).max

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, DType) or other is None:
            return False
        try:
            return as_dtype(other) is self
        except TypeError:
            return False

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"st.{self.name}"

    def __str__(self) -> str:
        return self.name


def _limits(dtype: DType) -> Any:
    if dtype.is_floating:
        return ml_dtypes.finfo(dtype.numpy)
    if dtype.is_integer:
        return ml_dtypes.iinfo(dtype.numpy)
    raise DTypeError(f"{dtype} has no numeric limits")


float16 = DType("float16", np.float16)
float32 = DType("float32", np.float32)
float64 = DType("float64", np.float64)
bfloat16 = DType("bfloat16", ml_dtypes.bfloat16)
int8 = DType("int8", np.int8)
int16 = DType("int16", np.int16)
int32 = DType("int32", np.int32)
int64 = DType("int64", np.int64)
uint8 = DType("uint8", np.uint8)
uint16 = DType("uint16", np.uint16)
uint32 = DType("uint32", np.uint32)
uint64 = DType("uint64", np.uint64)
int4 = DType("int4", ml_dtypes.int4)
uint4 = DType("uint4", ml_dtypes.uint4)
int2 = DType("int2", ml_dtypes.int2)
uint2 = DType("uint2", ml_dtypes.uint2)
float8_e4m3fn = DType("float8_e4m3fn", ml_dtypes.float8_e4m3fn)
float8_e4m3fnuz = DType("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz)
float8_e5m2 = DType("float8_e5m2", ml_dtypes.float8_e5m2)
float8_e5m2fnuz = DType("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz)
float8_e8m0fnu = DType("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu)
float4_e2m1fn = DType("float4_e2m1fn", ml_dtypes.float4_e2m1fn)
complex64 = DType("complex64", np.complex64)
complex128 = DType("complex128", np.complex128)
bool_ = DType("bool", np.bool_)
string = DType("string", np.object_)
sequence = DType("sequence", np.object_)
variant = DType("variant", np.object_)
resource = DType("resource", np.object_)
OF_HANDLES = ("shape", "value_dtype", "shared_name", "dtypes", "shapes")
"""What a handle's op tells of the variable or queue behind it."""

ALL = (
    float16,
    float32,
    float64,
    bfloat16,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
    int4,
    uint4,
    int2,
    uint2,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
    float4_e2m1fn,
    complex64,
    complex128,
    bool_,
    string,
    sequence,
    variant,
    resource,
)
OBJECTS = (string, sequence, variant, resource)
"""Types whose values NumPy holds as Python objects."""
_BY_NAME = {d.name: d for d in ALL} | {
    "float": float32,
    "half": float16,
    "double": float64,
    "int": int32,
    "long": int64,
}
_BY_NUMPY = {d.numpy: d for d in ALL if d not in (sequence, variant, resource)}
_BY_PYTHON = {float: float32, int: int32, bool: bool_, complex: complex128}
half, double = float16, float64


def as_dtype(value: Any) -> DType:
    """The `DType` for a DType, a name ("float" is float32), a Python type or a NumPy dtype.

    Raises `DTypeError` naming the value and the known types.
    """
    if isinstance(value, DType):
        return value
    found = None
    if isinstance(value, str):
        found = _BY_NAME.get(value)
    elif isinstance(value, type) and value in _BY_PYTHON:
        found = _BY_PYTHON[value]
    if found is None:
        try:
            found = _BY_NUMPY.get(np.dtype(value))
        except TypeError:
            found = None
    if found is None or value is None:
        known = ", ".join(d.name for d in ALL if d not in (sequence, variant, resource))
        raise DTypeError(f"{value!r} is not an element type; known are {known}")
    return found


def to_array(value: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    """`value` as a NumPy array: Python floats become float32, Python ints int32 (as TensorFlow).

    Raises `DTypeError` when `dtype` cannot hold the kind of value (2.5 as an integer), and
    `InvalidArgumentError` by way of `DTypeError` when the value is ragged or not numeric.
    """
    want = None if dtype is None else as_dtype(dtype)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DTypeError(f"not a rectangular array: {error}") from None
    if want is string and _is_text(array):
        return array.astype(np.object_)
    if array.dtype == np.object_ or array.dtype.kind in "USV" and array.dtype not in _BY_NUMPY:
        raise DTypeError(f"cannot make a tensor of {value!r} (elements of {array.dtype})")
    if want is None:
        from_python = not isinstance(value, (np.ndarray, np.generic))
        if from_python and _has_numpy_leaf(value):
            from_python = False
        if from_python and array.dtype == np.float64:
            return array.astype(np.float32)
        if from_python and array.dtype == np.int64:
            small = array.size == 0 or (int(array.min()) >= -(2**31) and int(array.max()) < 2**31)
            return array.astype(np.int32) if small else array
        as_dtype(array.dtype)
        return array
    if array.dtype == want.numpy:
        return array
    have = _BY_NUMPY.get(array.dtype)
    if not _fits(array, have, want):
        raise DTypeError(f"cannot use {_short(value)} ({array.dtype}) as {want}")
    return array.astype(want.numpy)


def _is_text(array: np.ndarray[Any, Any]) -> bool:
    if array.dtype == np.object_:
        return all(isinstance(item, (str, bytes)) for item in array.ravel())
    return array.dtype.kind in "US"


def _fits(array: np.ndarray[Any, Any], have: DType | None, want: DType) -> bool:
    if want.is_complex:
        return have is not None and not have.is_bool
    if array.size == 0 or want.is_floating:
        return array.dtype.kind != "c" and (have is not None or array.dtype.kind in "iuf")
    if array.dtype.kind not in "iub" or want.is_bool:
        return False
    limits = _limits(want)
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max


def _has_numpy_leaf(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (np.ndarray, np.generic))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
