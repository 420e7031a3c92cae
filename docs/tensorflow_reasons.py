"""Why a public symbol of TensorFlow is left out: patterns of names, the first match counts."""

from __future__ import annotations

import re

CLUSTER = "comes with the cluster"
TEXT = "graphs hold numbers: text is read and written at the border, as bytes"
PROTO = "TensorFlow's own protocol buffers; graphs and checkpoints have formats of their own here"
EAGER = (
    "belongs to eager execution and `tf.function` of version 2; here graphs are always built first "
    "and run by a session"
)
SWITCH = "would switch to what is not here (see `sw/graph/compat.py` for the switches that are)"
RAW = "a raw op of version 2 that its compilers call; the public function with that meaning is here"
TREES = "kernels of an estimator of TensorFlow; `examples/linear_optimizer.py` is the algorithm"
QUANTISED = (
    "quantised values are int8 tensors with explicit scales here (`st.quantize_linear`, "
    "`st.qlinear_conv`)"
)
BUILD = "a constant of TensorFlow's build"
DONE = "another way is the way here"

REASONS: tuple[tuple[str, str], ...] = (
    (r".*\.(ClusterSpec|ClusterDef|Server|ServerDef|JobDef|replica_device_setter)", CLUSTER),
    (r".*\.(SyncReplicasOptimizer|\w*ConditionalAccumulator\w*)", CLUSTER),
    (
        r".*\.(SessionManager|Supervisor|SessionCreator|basic_train_loop)",
        DONE + ": `st.train.MonitoredSession`",
    ),
    (r".*\.(as_string|\w*string_\w+|string_\w+|\w*base64|reduce_join|regex_replace|substr)", TEXT),
    (r".*\.(decode_json_example|fingerprint|string)", TEXT),
    (r".*\.(FixedLen\w+|VarLenFeature|SparseFeature|parse_\w+|VocabInfo)", TEXT),
    (r".*\.(Example|SequenceExample|Features?|FeatureLists?|\w+List)", PROTO),
    (r".*\.(\w+Def|\w+Proto|\w+Options|AttrValue|Event|LogMessage|NameAttrList|SessionLog)", PROTO),
    (r".*\.(Summary|SummaryMetadata|TensorInfo|ConfigProto|make_ndarray|make_tensor_proto)", PROTO),
    (r".*\.(generate_checkpoint_state_proto|do_quantize_training_on_graphdef)", PROTO),
    (
        r".*\.(\w*serialize_\w+)",
        DONE + ": queues take the tensors of a `st.SparseTensor` as they are",
    ),
    (
        r".*\.(write_graph|import_graph_def)",
        DONE + ": `st.train.export_meta_graph` and `st.train.import_meta_graph`",
    ),
    (r".*\.(RegisterShape)", DONE + ": the type rule is part of `st.register_op`"),
    (
        r".*\.(load_file_system_library|load_library)",
        DONE + ": files are those of the system, ops come from `st.load_op_library`",
    ),
    (r".*\.(container)", DONE + ": `st.Session(container=...)`"),
    (r".*\.(Dimension)", DONE + ": sizes are ints or None"),
    (
        r".*\.(CriticalSection)",
        DONE + ": each write to a variable is atomic; longer sections are a lock around a run",
    ),
    (
        r".*\.(variable_creator_scope)",
        DONE + ": `st.variable_scope(..., custom_getter=...)`",
    ),
    (
        r".*\.(matching_files|match_filenames_once)",
        DONE + ": Python's `glob`, into `st.train.string_input_producer`",
    ),
    (r".*\.(IdentityReader)", DONE + ": the queue of names itself is what it would read"),
    (r".*\.(LMDBReader)", DONE + ": `st.py_func` around the database's own library"),
    (
        r".*\.(qu?int\d+|QUANTIZED_DTYPES|quantize\w*|quantized_\w+|dequantize)",
        QUANTISED,
    ),
    (r".*\.(enable_\w+|disable_\w+)", SWITCH),
    (r".*\.(GradientTape|\w+Spec|type_spec_from_value|Module|Ragged\w+|ragged_\w+)", EAGER),
    (
        r".*\.(function|wrap_function|py_function|VariableAggregation|VariableSynchronization)",
        EAGER,
    ),
    (r".*\.(\w*VERSION\w*|CXX11_ABI_FLAG|MONOLITHIC_BUILD)", BUILD),
    (r".*\.(summarize_\w+|optimize_loss)", DONE + ": `st.summary` and `st.train`"),
    (r".*\.(sdca_\w+)", TREES),
    (r".*\.(check_pinned)", EAGER),
    (
        r".*\.(nondifferentiable_batch_function)",
        CLUSTER + ": batches of requests are its serving's",
    ),
    (r".*\.(approx_\w+|random_index_shuffle|conv|conv2d_\w+_v2)", RAW),
    (
        r".*\.(generate_bounding_box_proposals)",
        "a stage of one detector, made of `st.image.non_max_suppression` and arithmetic",
    ),
    (r".*\.(decode_jxl)", "Pillow, which reads images here, knows no JPEG XL"),
)


def reason(symbol: str) -> str:
    """Why `symbol` ("tf.nn.x") is left out. Raises `KeyError` when nothing was decided: then it is
    to be made, or a reason to be found."""
    for pattern, why in REASONS:
        if re.fullmatch(pattern, symbol):
            return why
    raise KeyError(f"{symbol} is left out without a reason")
