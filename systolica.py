"""Systolica's public face: `import systolica as st`.

Names, argument order and semantics follow TensorFlow 1.x. Devices and their libraries load when a
session first uses them.
"""

# ruff: noqa: F401, N813 (a face only passes names on, initialiser classes in TensorFlow's case)

import importlib
from types import SimpleNamespace
from typing import Any

from sw.graph import contrib, errors, image, layers, losses, metrics, nn
from sw.graph import log as logging
from sw.graph import records as _records
from sw.graph import testing as test
from sw.graph.build import (
    add_to_collection,
    add_to_collections,
    colocate_with,
    control_dependencies,
    convert_to_tensor,
    device,
    get_collection,
    name_scope,
    register_op,
    set_random_seed,
)
from sw.graph.compat import (
    control_flow_v2_enabled,
    dimension_at_index,
    dimension_value,
    disable_eager_execution,
    disable_tensor_equality,
    disable_v2_behavior,
    enable_control_flow_v2,
    enable_resource_variables,
    enable_v2_tensorshape,
    executing_eagerly,
    init_scope,
    resource_variables_enabled,
)
from sw.graph.control_flow import (
    case,
    cond,
    switch_case,
    while_loop,
    with_dependencies,
)
from sw.graph.defun import Defun
from sw.graph.device import DeviceSpec
from sw.graph.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    bool_,
    complex64,
    complex128,
    double,
    float16,
    float32,
    float64,
    half,
    int8,
    int16,
    int32,
    int64,
    resource,
    uint8,
    uint16,
    uint32,
    uint64,
    variant,
)
from sw.graph.framework import (
    AggregationMethod,
    NoGradient,
    NotDifferentiable,
    RegisterGradient,
    convert_to_tensor_or_indexed_slices,
    get_collection_ref,
    get_seed,
    initialize_all_tables,
    load_op_library,
    register_tensor_conversion_function,
    tables_initializer,
)
from sw.graph.functional import (
    foldl,
    foldr,
    map_fn,
    scan,
    vectorized_map,
)
from sw.graph.gradients import gradients
from sw.graph.graph import Graph, GraphKeys, get_default_graph, reset_default_graph
from sw.graph.image.geometry import random_crop
from sw.graph.indexed_slices import IndexedSlices, IndexedSlicesValue
from sw.graph.initializers import Constant as constant_initializer
from sw.graph.initializers import Ones as ones_initializer
from sw.graph.initializers import Orthogonal as orthogonal_initializer
from sw.graph.initializers import RandomNormal as random_normal_initializer
from sw.graph.initializers import RandomUniform as random_uniform_initializer
from sw.graph.initializers import TruncatedNormal as truncated_normal_initializer
from sw.graph.initializers import UniformUnitScaling as uniform_unit_scaling_initializer
from sw.graph.initializers import VarianceScaling as variance_scaling_initializer
from sw.graph.initializers import Zeros as zeros_initializer
from sw.graph.initializers import glorot_normal as glorot_normal_initializer
from sw.graph.initializers import glorot_uniform as glorot_uniform_initializer
from sw.graph.legacy import (
    all_variables,
    assert_variables_initialized,
    batch_cholesky,
    batch_cholesky_solve,
    batch_fft,
    batch_fft2d,
    batch_fft3d,
    batch_ifft,
    batch_ifft2d,
    batch_ifft3d,
    batch_matrix_band_part,
    batch_matrix_determinant,
    batch_matrix_diag,
    batch_matrix_diag_part,
    batch_matrix_inverse,
    batch_matrix_set_diag,
    batch_matrix_solve,
    batch_matrix_solve_ls,
    batch_matrix_transpose,
    batch_matrix_triangular_solve,
    batch_self_adjoint_eig,
    batch_self_adjoint_eigvals,
    batch_svd,
    complex_abs,
    initialize_local_variables,
    initialize_variables,
    inv,
    op_scope,
    pack,
    scalar_mul,
    shape_n,
    unpack,
    variable_op_scope,
)
from sw.graph.log import (
    get_logger,
)
from sw.graph.operation import Operation
from sw.graph.ops import summaries as _summaries
from sw.graph.ops.activations import (
    log_sigmoid,
    sigmoid,
    tanh,
)
from sw.graph.ops.arithmetic import (
    abs_,
    add,
    cast,
    ceil,
    cos,
    div,
    div_no_nan,
    divide,
    erf,
    exp,
    floor,
    floordiv,
    floormod,
    log,
    log1p,
    maximum,
    minimum,
    mod,
    mul,
    multiply,
    neg,
    pow_,
    realdiv,
    reciprocal,
    round_,
    rsqrt,
    sign,
    sin,
    sqrt,
    square,
    squared_difference,
    sub,
    subtract,
    truediv,
)
from sw.graph.ops.assertions import (
    assert_equal,
    assert_greater,
    assert_greater_equal,
    assert_integer,
    assert_less,
    assert_less_equal,
    assert_near,
    assert_negative,
    assert_non_negative,
    assert_non_positive,
    assert_none_equal,
    assert_positive,
    assert_proper_iterable,
    assert_rank,
    assert_rank_at_least,
    assert_rank_in,
    assert_same_float_dtype,
    assert_scalar,
    assert_type,
    is_non_decreasing,
    is_numeric_tensor,
    is_strictly_increasing,
    verify_tensor_all_finite,
)
from sw.graph.ops.basic import (
    constant,
    group,
    identity,
    no_op,
    placeholder,
    placeholder_with_default,
    stop_gradient,
    tuple_,
)
from sw.graph.ops.checks import add_check_numerics_ops, assert_, check_numerics
from sw.graph.ops.clip import (
    clip_by_average_norm,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    global_norm,
)
from sw.graph.ops.comparison import (
    equal,
    greater,
    greater_equal,
    is_finite,
    is_inf,
    is_nan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    select,
    where,
    where_v2,
)
from sw.graph.ops.complex_numbers import (
    angle,
    complex_,
    conj,
    fft,
    fft2d,
    fft3d,
    ifft,
    ifft2d,
    ifft3d,
    imag,
    real,
)
from sw.graph.ops.confusion import confusion_matrix
from sw.graph.ops.counting import (
    bincount,
    broadcast_dynamic_shape,
    broadcast_to,
    histogram_fixed_width_bins,
    unravel_index,
)
from sw.graph.ops.creation import fill, ones, ones_like, range_, zeros, zeros_like
from sw.graph.ops.cumulative import (
    accumulate_n,
    count_nonzero,
    cumprod,
    cumsum,
    reduce_logsumexp,
)
from sw.graph.ops.diagonals import (
    diag,
    diag_part,
    eye,
    matrix_band_part,
    matrix_diag,
    matrix_diag_part,
    matrix_set_diag,
    trace,
)
from sw.graph.ops.differentiation import (
    custom_gradient,
    grad_pass_through,
)
from sw.graph.ops.distributions import (
    histogram_fixed_width,
    multinomial,
    random_gamma,
    random_poisson,
    random_shuffle,
)
from sw.graph.ops.edit_distance import edit_distance
from sw.graph.ops.einsum import einsum, tensordot
from sw.graph.ops.fake_quant import (
    fake_quant_with_min_max_args,
    fake_quant_with_min_max_args_gradient,
    fake_quant_with_min_max_vars,
    fake_quant_with_min_max_vars_gradient,
    fake_quant_with_min_max_vars_per_channel,
    fake_quant_with_min_max_vars_per_channel_gradient,
)
from sw.graph.ops.functions import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cosh,
    digamma,
    erfc,
    expm1,
    lgamma,
    rint,
    sinh,
    tan,
    truncatediv,
    truncatemod,
)
from sw.graph.ops.guards import (
    ensure_shape,
    get_static_value,
    identity_n,
    is_symbolic_tensor,
    is_tensor,
    timestamp,
)
from sw.graph.ops.host import (
    print_,
    print_line,
    py_func,
)
from sw.graph.ops.indexing import gather, one_hot, slice_, strided_slice
from sw.graph.ops.joining import concat, split, stack, unstack
from sw.graph.ops.linalg import add_n, matmul
from sw.graph.ops.linear_algebra import (
    cholesky,
    cholesky_solve,
    cross,
    matrix_determinant,
    matrix_inverse,
    matrix_solve,
    matrix_solve_ls,
    matrix_square_root,
    matrix_transpose,
    matrix_triangular_solve,
    norm,
    qr,
    self_adjoint_eig,
    self_adjoint_eigvals,
    svd,
)
from sw.graph.ops.morphology import extract_image_patches
from sw.graph.ops.nn_composites import (
    saturate_cast,
    to_bfloat16,
    to_complex64,
    to_complex128,
    to_double,
    to_float,
    to_int32,
    to_int64,
)
from sw.graph.ops.ordering import (
    argsort,
    batch_gather,
    repeat,
    searchsorted,
    sort,
)
from sw.graph.ops.partitioning import dynamic_partition, dynamic_stitch
from sw.graph.ops.quantized import dequantize_linear, qlinear_conv, qlinear_matmul, quantize_linear
from sw.graph.ops.queues import (
    FIFOQueue,
    PaddingFIFOQueue,
    PriorityQueue,
    QueueBase,
    RandomShuffleQueue,
)
from sw.graph.ops.random import random_normal, random_uniform, truncated_normal
from sw.graph.ops.readers import (
    FixedLengthRecordReader,
    ReaderBase,
    TextLineReader,
    TFRecordReader,
    WholeFileReader,
    decode_compressed,
    decode_csv,
    decode_raw,
    read_file,
    write_file,
)
from sw.graph.ops.rearranging import (
    batch_to_space,
    batch_to_space_nd,
    bitcast,
    boolean_mask,
    broadcast_static_shape,
    depth_to_space,
    linspace,
    meshgrid,
    parallel_stack,
    reverse,
    reverse_sequence,
    roll,
    sequence_mask,
    space_to_batch,
    space_to_batch_nd,
    space_to_depth,
)
from sw.graph.ops.reduction import (
    argmax,
    argmin,
    reduce_all,
    reduce_any,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
)
from sw.graph.ops.scatter import (
    batch_scatter_update,
    scatter_add,
    scatter_div,
    scatter_max,
    scatter_min,
    scatter_mul,
    scatter_nd_add,
    scatter_nd_sub,
    scatter_nd_update,
    scatter_sub,
    scatter_update,
)
from sw.graph.ops.scattering import (
    gather_nd,
    scatter_nd,
)
from sw.graph.ops.segments import (
    segment_max,
    segment_mean,
    segment_min,
    segment_prod,
    segment_sum,
    sparse_segment_mean,
    sparse_segment_sqrt_n,
    sparse_segment_sum,
    unsorted_segment_max,
    unsorted_segment_mean,
    unsorted_segment_min,
    unsorted_segment_prod,
    unsorted_segment_sqrt_n,
    unsorted_segment_sum,
)
from sw.graph.ops.shaping import (
    expand_dims,
    pad,
    rank,
    reshape,
    shape,
    size,
    squeeze,
    tile,
    transpose,
)
from sw.graph.ops.sorting import (
    invert_permutation,
    setdiff1d,
    unique,
    unique_with_counts,
)
from sw.graph.ops.space_paddings import required_space_to_batch_paddings
from sw.graph.ops.sparse import (
    convert_to_tensor_or_sparse_tensor,
    sparse_concat,
    sparse_fill_empty_rows,
    sparse_mask,
    sparse_merge,
    sparse_reorder,
    sparse_reset_shape,
    sparse_reshape,
    sparse_retain,
    sparse_slice,
    sparse_split,
    sparse_tensor_to_dense,
    sparse_to_dense,
    sparse_to_indicator,
    sparse_transpose,
)
from sw.graph.ops.sparse_math import (
    sparse_add,
    sparse_matmul,
    sparse_maximum,
    sparse_minimum,
    sparse_reduce_max,
    sparse_reduce_max_sparse,
    sparse_reduce_sum,
    sparse_reduce_sum_sparse,
    sparse_softmax,
    sparse_tensor_dense_matmul,
)
from sw.graph.ops.special import betainc, igamma, igammac, lbeta, polygamma, zeta
from sw.graph.ops.summaries import (
    audio_summary,
    histogram_summary,
    image_summary,
    merge_all_summaries,
    merge_summary,
    scalar_summary,
)
from sw.graph.ops.tensor_scatter import (
    tensor_scatter_nd_add,
    tensor_scatter_nd_max,
    tensor_scatter_nd_min,
    tensor_scatter_nd_sub,
    tensor_scatter_nd_update,
)
from sw.graph.ops.transforms import fftnd, ifftnd, irfftnd, rfftnd
from sw.graph.ops.variables import (
    Variable,
    assign,
    assign_add,
    assign_sub,
    count_up_to,
    global_variables,
    global_variables_initializer,
    initialize_all_variables,
    is_variable_initialized,
    local_variables,
    local_variables_initializer,
    model_variables,
    moving_average_variables,
    report_uninitialized_variables,
    trainable_variables,
    variables_initializer,
)
from sw.graph.ops.volume_patches import extract_volume_patches
from sw.graph.partitioned import (
    PartitionedVariable,
    fixed_size_partitioner,
    min_max_variable_partitioner,
    variable_axis_size_partitioner,
)
from sw.graph.second_order import (
    UnconnectedGradients,
    hessians,
    recompute_grad,
)
from sw.graph.session_handles import (
    delete_session_tensor,
    get_session_handle,
    get_session_tensor,
)
from sw.graph.shapes import Shape as TensorShape
from sw.graph.sparse_tensor import SparseTensor, SparseTensorValue, sparse_placeholder
from sw.graph.tensor import Tensor
from sw.graph.tensor_array import TensorArray
from sw.graph.variable_scope import (
    AUTO_REUSE,
    VariableScope,
    create_partitioned_variables,
    get_local_variable,
    get_variable,
    get_variable_scope,
    make_template,
    no_regularizer,
    variable_scope,
)
from sw.runtime import train
from sw.runtime.config import SessionConfig
from sw.runtime.devices.program_report import ProgramReport
from sw.runtime.learn import estimator as _estimator
from sw.runtime.learn import model as _model
from sw.runtime.quantization_report import QuantizationReport, quantization_report
from sw.runtime.quantize import quantize
from sw.runtime.report import RunReport, run_report
from sw.runtime.session import (
    InteractiveSession,
    RunMetadata,
    RunOptions,
    Session,
    get_default_session,
)
from sw.runtime.summary import writer as _writer

# TensorFlow's names where they are also Python's own: only this file spells them bare.
bool = bool_
abs = abs_
round = round_
pow = pow_
range = range_
slice = slice_
tuple = tuple_
complex = complex_
Assert = assert_
OpError = errors.OpError
Print = print_
print = print_line
newaxis = None
executing_eagerly_outside_functions = executing_eagerly
arg_max, arg_min = argmax, argmin
guarantee_const = identity
no_gradient = NoGradient
reverse_v2 = reverse
numpy_function = py_func
tensor_scatter_add = tensor_scatter_nd_add
tensor_scatter_sub = tensor_scatter_nd_sub
tensor_scatter_update = tensor_scatter_nd_update
negative = neg
floor_div = floordiv
batch_matmul = matmul
lin_space = linspace
listdiff = setdiff1d

python_io = SimpleNamespace(
    TFRecordWriter=_records.TFRecordWriter, tf_record_iterator=_records.tf_record_iterator
)
estimator = SimpleNamespace(
    Estimator=_estimator.Estimator,
    EstimatorSpec=_estimator.EstimatorSpec,
    ModeKeys=_estimator.ModeKeys,
)
keras = SimpleNamespace(
    Input=_model.Input, Model=_model.Model, Sequential=_model.Sequential, join=_model.join
)
summary = SimpleNamespace(
    FileWriter=_writer.FileWriter,
    FileWriterCache=_writer.FileWriterCache,
    audio=_summaries.audio,
    histogram=_summaries.histogram,
    image=_summaries.image,
    merge=_summaries.merge,
    merge_all=_summaries.merge_all,
    scalar=_summaries.scalar,
    text=_summaries.text,
)
# Names whose modules bring the core's description along, which few users need.
_LATER = {
    "Timeline": ("sw.runtime.step_timeline", "Timeline"),
    "compile": ("sw.compiler.tpu.ahead", "compile_graph"),
    "export_onnx": ("sw.runtime.export", "export_onnx"),
    "profile": ("sw.runtime.profiling.profile", "profile"),
    "import_onnx": ("sw.graph.onnx.importer", "import_onnx"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'systolica' has no attribute {name!r}")
    module, attribute = _LATER[name]
    found = globals()[name] = getattr(importlib.import_module(module), attribute)
    return found


if __name__ == "__main__":  # python -m systolica
    importlib.import_module("sw.cli").main()
