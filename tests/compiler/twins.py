"""Cells written in one line, and a layer beside the same equations step by step."""

import copy
import gc
import signal
import traceback
from collections.abc import Iterable

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from compiler.comparison import assert_same, draw, randomised
from forked import CHILDREN
from saiki import Cell, Recurrent

INPUT, HIDDEN, BATCH, TIME = 3, 4, 5, 6
TOLERANCE = 1e-10
OF_PYTORCH = (
    ".*torch.jit.* is deprecated",
    ".*should not be instantiated:DeprecationWarning",
    "The .grad attribute of a Tensor:UserWarning",
)
"""What PyTorch says of itself while it compiles."""


def ignored(message):
    """A mark under which a warning is none."""
    return pytest.mark.filterwarnings(f"ignore:{message}")


def linear(inputs, outputs, bias=True):
    return nn.Linear(inputs, outputs, bias)


def cell(step, inputs=INPUT, hidden=HIDDEN, **attributes):
    """A cell with that step and those attributes; parameters are drawn anew, in double precision.

    The step is the cell's own, as if it had been written in the body of its class.
    """

    def begin(self):
        Cell.__init__(self, inputs, hidden)
        for name, value in attributes.items():
            setattr(self, name, value)

    made = type("Written", (Cell,), {"__init__": begin, "step": step})
    return randomised(made())


def layer(tested, **options):
    """A layer as a user makes it: the backend is the default."""
    return Recurrent(tested, **options)


def step_by_step(other):
    """A layer over the very same cell and tensors, always on the eager loop."""
    twin = copy.copy(other)
    twin.backend = "eager"
    return twin


def inputs(size=INPUT, seed=3, rows=BATCH, time=TIME):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, time, size, dtype=torch.float64, generator=random)


def results(run, x, others: Iterable[torch.Tensor] = (), modules=None, lengths=None, state=None):
    """y, the last states, and the gradients of a weighted sum of all of them, by name.

    Args:
        others: tensors beside x and the parameters whose gradients count.
        modules: whose parameters count, where ``run`` is no module or others count too.
    """
    x = x.detach().clone().requires_grad_()
    wanted = {"x": x}
    named = (modules if modules is not None else run).named_parameters()
    wanted |= {name.replace("_orig_mod.", ""): p for name, p in named if p.requires_grad}
    wanted |= {f"other {i}": t for i, t in enumerate(others)}
    y, last = run(x, state, lengths)
    outputs = [y, *tree_leaves(last)]
    random = torch.Generator().manual_seed(1)
    loss = sum(
        (torch.randn(o.shape, generator=random, dtype=torch.float64).to(o.dtype) * o).sum()
        for o in outputs
    )
    gradients = torch.autograd.grad(
        loss, list(wanted.values()), allow_unused=True, retain_graph=True
    )
    return {
        **{f"output {i}": output.detach() for i, output in enumerate(outputs)},
        **{f"gradient of {name}": g for name, g in zip(wanted, gradients, strict=True)},
    }


def assert_right(tested, x, others=(), tolerance=TOLERANCE, **options):
    """The layer gives what the eager loop over the same cell gives, with all gradients."""
    others = list(others)
    expected = results(step_by_step(tested), x, others, **options)
    assert_same(results(tested, x, others, **options), expected, tolerance)


def _report(connection, function, arguments):
    """What a child does: as a test begins, then the function, then a message of what failed."""
    gc.freeze()  # what was there before
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    message = ""
    try:
        function(*arguments)
    except AssertionError as error:
        message = str(error) or traceback.format_exc(limit=-3)
    except BaseException:
        message = traceback.format_exc(limit=-3)
    connection.send(message)


def in_a_child(function, *arguments, seconds=60):
    """Run it in a process of its own, which may crash or hang, and fail as it fails.

    It finds the function by its name, so a closure is not possible.
    """
    receiving, sending = CHILDREN.Pipe(duplex=False)
    with receiving:
        child = CHILDREN.Process(target=_report, args=(sending, function, arguments))
        child.start()
        sending.close()
        try:
            message = receiving.recv() if receiving.poll(seconds) else f"not done in {seconds} s"
        except EOFError:
            message = ""
        child.join(5)
        if child.is_alive():
            child.kill()
            child.join()
            message = message or "did not end"
    if not message and child.exitcode:
        ended = child.exitcode
        message = f"ended by {signal.Signals(-ended).name}" if ended < 0 else f"ended with {ended}"
    assert not message, message


__all__ = [
    "BATCH",
    "HIDDEN",
    "INPUT",
    "OF_PYTORCH",
    "TIME",
    "TOLERANCE",
    "assert_right",
    "assert_same",
    "cell",
    "draw",
    "ignored",
    "in_a_child",
    "inputs",
    "layer",
    "linear",
    "results",
    "step_by_step",
]
