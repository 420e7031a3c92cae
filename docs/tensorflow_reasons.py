"""Why a public symbol of TensorFlow is left out: patterns of names, the first match counts."""

from __future__ import annotations

import re

CLUSTER = "comes with the cluster"
TEXT = "graphs hold numbers: text is read and written at the border, as bytes"
PROTO = "TensorFlow's own protocol buffers; graphs and checkpoints have formats of their own here"
EAGER = "a switch of later versions; here graphs are always built first and run by a session"
LATER = "of later versions, made of others here"
QUANTISED = "quantised values are int8 tensors with explicit scales here (`st.quantize_linear`)"
DONE = "another way is the way here"

REASONS: tuple[tuple[str, str], ...] = (
    (r".*\.(ClusterSpec|ClusterDef|Server|ServerDef|JobDef|replica_device_setter)", CLUSTER),
    (r".*\.(SyncReplicasOptimizer|\w*ConditionalAccumulator\w*)", CLUSTER),
    (r".*\.(SessionManager|Supervisor|SessionCreator)", DONE + ": `st.train.MonitoredSession`"),
    (r".*\.(as_string|\w*string_\w+|string_\w+|\w*base64|reduce_join|regex_replace|substr)", TEXT),
    (r".*\.(decode_json_example|fingerprint|string)", TEXT),
    (r".*\.(FixedLen\w+|VarLenFeature|SparseFeature|parse_\w+|VocabInfo)", TEXT),
    (r".*\.(Example|SequenceExample|Features?|FeatureLists?|\w+List)", PROTO),
    (r".*\.(\w+Def|\w+Proto|\w+Options|AttrValue|Event|LogMessage|NameAttrList|SessionLog)", PROTO),
    (r".*\.(Summary|SummaryMetadata|TensorInfo|ConfigProto|make_ndarray|make_tensor_proto)", PROTO),
    (r".*\.(generate_checkpoint_state_proto|do_quantize_training_on_graphdef)", PROTO),
    (
        r".*\.(write_graph|import_graph_def)",
        DONE + ": `st.train.export_meta_graph` and `st.train.import_meta_graph`",
    ),
    (r".*\.(RegisterShape)", DONE + ": the type rule is part of `st.register_op`"),
    (r".*\.(load_file_system_library|load_library)", "files are those of the system"),
    (r".*\.(container)", DONE + ": `st.Session(container=...)`"),
    (r".*\.(Dimension|dimension_\w+)", "sizes are ints or None here"),
    (
        r".*\.(matching_files|match_filenames_once|read_file|write_file|IdentityReader)",
        DONE + ": Python's `glob` and `open`, and `st.WholeFileReader`",
    ),
    (
        r".*\.(q?u?int\d+|QUANTIZED_DTYPES|quantize\w*|quantized_\w+|dequantize|fake_quant_\w+)",
        QUANTISED,
    ),
    (
        r".*\.(enable_\w+|disable_\w+|executing_\w+|\w+_enabled|init_scope|function|wrap_function)",
        EAGER,
    ),
    (
        r".*\.(GradientTape|\w+Spec|Module|Ragged\w+|ragged_\w+|\w+_v2|py_function|numpy_function)",
        EAGER,
    ),
    (r".*\.(\w*VERSION\w*|CXX11_ABI_FLAG|MONOLITHIC_BUILD|GRAPH_DEF_\w+)", "numbers of its build"),
    (r".*\.(summarize_\w+|optimize_loss)", DONE + ": `st.summary` and `st.train`"),
    (r".*\.(PriorityQueue|LMDBReader)", "no row of ours needs it"),
    (r".*\.(sdca_\w+|approx_\w+|random_index_shuffle|check_pinned)", LATER),
)


def reason(symbol: str) -> str | None:
    """Why `symbol` ("tf.nn.x") is left out; None when nothing is decided."""
    return next((why for pattern, why in REASONS if re.fullmatch(pattern, symbol)), None)
