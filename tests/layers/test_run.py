"""The way of a call from its layer to the kernel and back."""

import itertools
import sys
from pathlib import Path

import pytest
import torch

import saiki
from saiki import Recurrent
from saiki.cells import LSTM

ROOT = Path(saiki.__file__).parent


def holds(value, address, depth=4):
    """Whether a tensor at that address is in it, or is it."""
    if isinstance(value, torch.Tensor):
        return value.data_ptr() == address
    return depth > 0 and isinstance(value, tuple | list) and any(
        holds(item, address, depth - 1) for item in value
    )  # fmt: skip


def way_of(x, work):
    """The modules of saiki that x comes through while ``work`` is done, as often as it does."""
    address, modules = x.data_ptr(), []

    def note(frame, event, _):
        code, path = frame.f_code, Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(ROOT):
            return
        sys.setprofile(None)
        names = code.co_varnames[: code.co_argcount + bool(code.co_flags & 0x04)]
        if holds([frame.f_locals.get(name) for name in names], address):
            modules.append(str(path.relative_to(ROOT)))
        sys.setprofile(note)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return [module for module, _ in itertools.groupby(modules)]


@pytest.mark.parametrize("training", [True, False])
def test_x_hardly_comes_back_to_where_it_was(training):
    """Each module does what it has to do with a call at one time."""
    layer, x = Recurrent(LSTM(3, 4), backend="cpu"), torch.randn(2, 5, 3)
    with torch.set_grad_enabled(training):
        for _ in range(3):  # with the trial and the first comparisons of single steps
            layer(x)
        way = way_of(x, lambda: layer(x))
    assert way[:3] == ["layers/recurrent.py", "layers/run.py", "compiler/kernels.py"]
    assert "compiler/run/step.py" in way
    assert len(way) - len(set(way)) <= (6 if training else 4), " → ".join(way)
