"""The standard's node tests: break when an operator changes its meaning."""

from __future__ import annotations

import unittest
import warnings

import numpy as np
import onnx
from onnx import helper
from onnx.backend.test import BackendTest

from sw.onnx_backend import Backend
from tests.conformance.onnx_nodes import IMPOSSIBLE, node_tests, run, stored_tests


def test_every_node_test_passes_that_can() -> None:
    """All of them: with the kernels at hand they take less time than choosing among them."""
    report = run(node_tests())
    assert not report.unexplained
    assert len(report.passed) + len(IMPOSSIBLE) >= report.total > 1000


def test_every_stored_test_passes() -> None:
    """Models of older operator sets, and layers as PyTorch exports them."""
    report = run(stored_tests())
    assert not report.failed
    assert report.total > 100


def test_the_suites_own_runner_takes_our_backend() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite = BackendTest(Backend, __name__)
        suite.include(r"^test_(relu|qlinearconv|lstm_defaults|if_seq)_cpu$")
        found = suite.test_cases["OnnxBackendNodeModelTest"]
    loaded = unittest.defaultTestLoader.loadTestsFromTestCase(found)
    result = unittest.TestResult()
    loaded.run(result)
    assert result.testsRun > len(result.skipped)
    assert not result.failures and not result.errors


def test_one_node_runs_alone() -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    a, b = np.eye(3, dtype=np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
    (c,) = Backend.run_node(node, [a, b])
    np.testing.assert_array_equal(c, b)
    assert Backend.supports_device("CPU") and not Backend.supports_device("CUDA")
    assert not Backend.is_compatible(onnx.ModelProto())
