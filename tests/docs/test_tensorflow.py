"""The page about TensorFlow says nothing that is not so."""

import ast
from functools import cache
from pathlib import Path

import pytest

from docs import tensorflow
from docs.tensorflow_reasons import reason
from docs.tensorflow_rows import PAPERS, TALK

ROOT = Path(__file__).parents[2]
ROWS = [*TALK, *PAPERS]


@cache
def functions(file: Path) -> set[str]:
    return {n.name for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=[r.what[:40] for r in ROWS])
def test_rows_name_tests_and_examples_that_exist(row):
    for test in row.tests:
        file, _, function = test.partition("::")
        path = ROOT / "tests" / file
        assert path.exists(), test
        assert not function or function in functions(path), test
    for example in row.examples:
        assert (ROOT / "examples" / example).exists(), example


def test_nine_tenths_of_the_early_symbols_work():
    parts = tensorflow.coverage("tensorflow-0.9")
    assert tensorflow.share(parts) >= 0.9
    for part in parts:
        for name in (*part.works, *part.untested):
            assert tensorflow.find(f"{part.module}.{name}") is not tensorflow.MISSING


@pytest.mark.parametrize("version", ["tensorflow-0.9", "tensorflow-1"])
def test_symbols_that_are_left_out_have_a_reason(version):
    """`reason` raises when none was decided."""
    for part in tensorflow.coverage(version):
        for name in part.missing:
            assert reason(f"{part.module}.{name}")
    with pytest.raises(KeyError, match="without a reason"):
        reason("tf.no_such_thing")


@pytest.mark.parametrize("version", ["tensorflow-0.9", "tensorflow-1"])
def test_what_is_there_is_used_by_a_test(version):
    """Without this, a name could be had that no test has called."""
    for part in tensorflow.coverage(version):
        assert part.untested == ()


def test_a_symbol_without_a_test_does_not_count():
    """The scan sees `st.x.y`, also by another name, and nothing else."""
    assert "st.nn.ctc_loss" in tensorflow.used()
    assert "st.contrib.seq2seq.dynamic_decode" in tensorflow.used()  # by way of `seq2seq`
    assert "st.nn.no_such_thing" not in tensorflow.used()
