"""The talk's softmax regression, and the cost of importing."""

import subprocess
import sys

from examples.softmax_regression import train_and_test


def test_softmax_regression_reads_digits() -> None:
    """The fragment of the slides, on real data that it has not seen."""
    assert train_and_test(steps=600) > 0.9


def test_import_is_light() -> None:
    """Nothing heavy comes with `import systolica`; it takes well under half a second."""
    heavy = ["sklearn", "scipy", "amaranth", "torch", "onnx", "matplotlib", "sim", "cocotb"]
    code = f"import systolica, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
