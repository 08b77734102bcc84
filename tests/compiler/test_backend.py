"""The door to a device: who may go through it, and that it is enough."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import saiki.compiler.backend
from compiler.comparison import assert_agrees, compiled, draw, eager, randomised
from compiler.interpreter import NUMBERS
from compiler.plan.test_memory import LENGTHS as OF_MEMORY
from compiler.plan.test_memory import READS, SCORES, Reads, agrees
from compiler.test_against_eager import ALL, FUNCTIONS, LENGTHS, Pointwise, learning
from saiki import Bidirectional, Recurrent, Stack
from saiki.cells import GRU, LSTM

pytestmark = pytest.mark.one_in(4)

COMPILER = Path(saiki.compiler.backend.__file__).parent
DEVICES = {folder.name for folder in COMPILER.iterdir() if (folder / "backend.py").exists()}
NEUTRAL = [
    path
    for path in sorted(COMPILER.rglob("*.py"))
    if path.relative_to(COMPILER).parts[0] not in DEVICES
]


def imported(path):
    """The full names of all that a module imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_devices(path):
    """The devices of which a module imports something."""
    parts = (name.split(".") for name in imported(path))
    return {p[2] for p in parts if p[:2] == ["saiki", "compiler"] and p[2:3] and p[2] in DEVICES}


@pytest.mark.parametrize("path", NEUTRAL, ids=lambda path: path.name)
def test_only_the_choice_of_a_kernel_knows_a_device(path):
    assert "cpu" in DEVICES
    assert of_devices(path) == (DEVICES if path.name == "kernels.py" else set())


@pytest.mark.parametrize("device", sorted(DEVICES))
def test_devices_do_not_know_each_other(device):
    for path in (COMPILER / device).rglob("*.py"):
        assert of_devices(path) <= {device}, path.name


def test_the_rest_of_saiki_knows_no_device():
    for path in COMPILER.parent.rglob("*.py"):
        if COMPILER not in path.parents:
            assert not of_devices(path), path


@pytest.fixture(autouse=True)
def all_goes_through_it(request):
    if "interpreter" in request.fixturenames:
        backend = request.getfixturevalue("interpreter")
        yield
        assert backend.runs > 0
    else:
        yield


@pytest.mark.parametrize("input_size", [3, 9], ids=["in the loop", "hoisted"])
@pytest.mark.parametrize("name", ALL)
def test_any_cell(interpreter, name, input_size):
    interpreter.inline_weights = 0 if input_size == 9 else 1 << 16
    layer = compiled(ALL[name](input_size, 5), reverse=input_size == 9)
    start = tuple(draw(5, size) for size in layer.cell.state_sizes)
    start = start if len(start) > 1 else start[0]
    assert_agrees(layer, learning(5, 4, layer.input_size), start)
    assert_agrees(layer, learning(5, 6, layer.input_size), start, LENGTHS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_function(interpreter, name):
    layer = compiled(Pointwise(3, 5, FUNCTIONS[name]))
    assert_agrees(layer, learning(3, 4, 3), draw(3, 5))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", [*SCORES, *READS])
def test_any_memory(interpreter, name, reverse):
    methods = {"score": SCORES[name]} if name in SCORES else {}
    methods |= {"read": READS[name]} if name in READS else {}
    cell = type("Other", (Reads,), methods)()
    agrees(cell, reverse=reverse, lengths=OF_MEMORY if reverse else None)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_layers_that_run_together(interpreter, lengths):
    parts = [
        Bidirectional(Recurrent(LSTM(3, 5), backend="cpu")),
        Recurrent(GRU(10, 4, reset="before"), backend="cpu"),
    ]
    assert_agrees(randomised(Stack(parts)), learning(5, 5, 3), None, lengths)


def test_without_gradients(interpreter):
    layer = compiled(LSTM(3, 5))
    x = draw(4, 5, 3)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), eager(layer)(x), rtol=1e-10, atol=1e-12)


def test_says_what_runs(interpreter):
    layer = compiled(LSTM(3, 5))
    layer(draw(2, 3, 3))
    assert layer.explain().startswith("numpy: one loop of torch.float64 read line by line\n")


def test_a_backend_that_is_wrong_is_found_out(interpreter, monkeypatch):
    layer = Recurrent(randomised(LSTM(3, 5)))
    monkeypatch.setitem(NUMBERS, "tanh", np.arctan)
    x = draw(2, 3, 3)
    with pytest.warns(UserWarning, match="running step by step: the compiled loop of LSTM does"):
        y, _ = layer(x)
    assert torch.equal(y, eager(layer)(x)[0])
