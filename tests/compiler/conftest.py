"""The backends on which the compiler is tested."""

import pytest

from compiler.interpreter import Interpreter
from saiki.compiler.kernels import BACKENDS


@pytest.fixture
def interpreter(monkeypatch):
    """NumPy in the place of the processor: what there is to see before machine code, it shows."""
    backend = Interpreter()
    monkeypatch.setitem(BACKENDS, "cpu", backend)
    return backend


@pytest.fixture(params=["numpy", pytest.param("llvm", marks=pytest.mark.long)])
def each_backend(request):
    """One after the other; that which compiles takes its time."""
    if request.param == "numpy":
        request.getfixturevalue("interpreter")
