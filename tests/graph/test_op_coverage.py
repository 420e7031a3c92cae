"""Every registered op has a reference: a test names it, or the table says which test reaches it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import sw.graph.ops  # noqa: F401 -- fills the table of operations
from sw.graph.registry import all_ops

TESTS = Path(__file__).parents[1]

# Ops that are made by others, by pattern: the test whose values or gradients depend on them.
REACHED: dict[str, str] = {
    r"(sparse_)?apply_\w+": "graph/test_optimizers.py::test_dense_rule",
    r"(onnx|sequence)_\w+": "conformance/test_onnx_nodes.py::test_every_node_test_passes_that_can",
    r"argument|cond_grad|while_grad|zeros_of_variable": (
        "graph/test_control_flow.py::test_gradient_of_while_in_while_in_cond"
    ),
    r"flow_\w+|tensor_array\w*": "graph/test_control_flow.py::test_gradients_of_tensor_array",
    r"queue\w*": "runtime/test_queues.py::test_order_batches_and_dicts",
    r"reader_\w+": "runtime/test_queues.py::test_readers",
    r"\w+_summary": "runtime/test_summaries.py::test_scalars",
    r"assert": "graph/test_assertions.py::test_comparisons",
    r"\w+_grad|\w+_backprop_\w+|prod_of_others|put_along_last|gather_or_zero|segment_others": (
        "graph/test_gradients.py::test_gradient_equals_central_differences"
    ),
    r"sylvester": "graph/test_gradients.py::test_gradient_equals_central_differences",
    r"broadcast_shapes": "graph/test_ordering.py::test_against_numpy",
    r"jpeg_shape": "graph/test_images.py::test_files",
    r"print_line": "graph/test_guards.py::test_lines_are_printed",
    r"trigamma": "graph/test_gradients.py::test_gradient_equals_central_differences",
    r"candidate_sampler": "graph/test_symbols.py::test_samplers_know_what_they_expect",
    r"weighted_candidate_sampler": "graph/test_special.py::test_samplers_have_their_distributions",
    r"encode_image": "graph/test_boxes.py::test_png_is_exact_both_ways",
    r"fractional_borders": "graph/test_volumes.py::test_fractional_pooling_uses_every_pixel_once",
    r"gather_tree": "graph/test_seq2seq.py::test_beam_search_finds_the_best_sequences",
    r"random_truncated_normal|random_uniform_int": (
        "graph/test_kernels.py::test_random_numbers_repeat_by_seed_and_advance_by_run"
    ),
    r"scatter_(max|min)": "graph/test_schedules.py::test_scatter",
    r"sparse_(empty_rows|group|order|reshape_indices)": (
        "graph/test_sparse.py::test_against_dense"
    ),
    r"variable|variable_is_initialized": (
        "runtime/test_session.py::test_variables_persist_and_sessions_are_apart_unless_shared"
    ),
    r"where_indices": "graph/test_kernels.py::test_against_reference",
    r"shift_128": "runtime/test_export.py::test_each_operation",
}


@cache
def named() -> frozenset[str]:
    """Every attribute and every string in the tests but this one."""
    found = set()
    for path in TESTS.rglob("*.py"):
        if path != Path(__file__):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute):
                    found.add(node.attr)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return frozenset(found)


def test_every_op_has_a_reference() -> None:
    """Without this, an op could be added that no test has ever run."""
    names = {op.name for op in all_ops() if not op.name.startswith("test_")}
    missing = {n for n in names - named() if not any(re.fullmatch(p, n) for p in REACHED)}
    assert not missing


@pytest.mark.parametrize("test", sorted(set(REACHED.values())))
def test_the_table_names_tests_that_exist(test: str) -> None:
    file, _, function = test.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    assert function in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
