"""Equations that cells, layers and models write out: each line holds for the numbers of a step."""

import re

import pytest
import torch

from saiki import activations, cells
from saiki.cell import Cell
from saiki.cells import GRU, LSTM, VARIANTS, SimpleRNN
from saiki.layers import equations
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack
from saiki.nn.attention.attention import Attention

VARIANT = [(n, make) for family in VARIANTS.values() for n, make in family.items()]


def parameters(cell):
    """The parameters of a built-in cell as equations name them, those of gates gate by gate."""
    gates = {LSTM: getattr(cell, "gates", []), GRU: ["r", "z", "n"]}.get(type(cell), [])
    known = {"W": cell.W.weight, "U": cell.U.weight}
    bias = cell.b if isinstance(cell, LSTM) else cell.W.bias
    if bias is not None:
        known["b"] = bias
    for name, whole in list(known.items()) if gates else ():
        parts = whole.chunk(len(gates))
        known |= {f"{name}_{gate}": part for gate, part in zip(gates, parts, strict=True)}
    if isinstance(cell, GRU) and cell.b is not None:
        known["b′"] = cell.b
    if isinstance(cell, LSTM) and cell.p is not None:
        known |= {f"p_{gate}": p for gate, p in zip(cell.peepholes, cell.p, strict=True)}
    if isinstance(cell, LSTM) and cell.P is not None:
        known["P"] = cell.P.weight
    return known


def python(value, cell):
    """The right side of an equation as Python writes it."""
    for sign, of in (("σ", "recurrent_activation"), ("φ", "activation")):
        if hasattr(cell, of):
            name = re.escape(activations.written(getattr(cell, of)))
            value = re.sub(rf"(?<![\w.]){name}\(", f"{sign}(", value)
    value = value.replace("LN(W x)", "norm_x(W x)").replace("LN(U h)", "norm_h(U h)")
    value = value.replace("LN(c)", "norm_c(c)").replace("b′", "b_")
    value = re.sub(r"\b([WU](?:_\w)?) ([xh])\b", r"(\2 @ \1.T)", value)
    value = re.sub(r"\b([PU](?:_\w)?) (\(.*?\)+)(?= \+|$|\))", r"(\2 @ \1.T)", value)
    return value.replace("∘", "*").replace("−", "-")


def computed(cell, x, states):
    """The states that the equations of a cell come to, line by line."""
    known = {n.replace("b′", "b_"): value for n, value in parameters(cell).items()}
    known |= {"x": x, **states, "φ": cell.activation}
    for name in ("norm_x", "norm_h", "norm_c"):
        known[name] = getattr(cell, name, None)
    known["σ"] = getattr(cell, "recurrent_activation", torch.sigmoid)
    for line in cell.equations().splitlines():
        name, _, value = re.split(r" (=|←) ", line, maxsplit=1)
        known[name] = eval(python(value, cell), known)
        if name == "u":
            parts = known["u"].chunk(len(cell.gates), -1)
            known |= {f"u_{gate}": part for gate, part in zip(cell.gates, parts, strict=True)}
    return tuple(known[name] for name in cell.state_names)


@pytest.mark.parametrize(("name", "make"), VARIANT, ids=[name for name, _ in VARIANT])
def test_the_equations_of_a_built_in_cell_are_what_its_step_computes(name, make):
    cell = make(3, 4).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, dtype=torch.float64)
    states = {
        n: torch.randn(2, size, dtype=torch.float64)
        for n, size in zip(cell.state_names, cell.state_sizes, strict=True)
    }
    wanted = cell(x, *states.values())
    for ours, theirs in zip(computed(cell, x, states), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_gate_that_is_off_is_not_there():
    written = LSTM(3, 4, output_gate=False, coupled=True, bias=False).equations()
    assert "f = 1 − i" in written
    assert "o" not in written.replace("norm", "").split()
    assert "b_" not in written


class Documented(Cell):
    """A cell that forgets slowly, as a = b in a sentence does not show.

    a, b = W x
    h ← ¾ h + ¼ a ∘ b      slowly

    Args:
        input_size: z = 3 is no equation of it.
    """

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, 2 * hidden_size, bias=False)

    def step(self, x, h):
        a, b = self.W(x).chunk(2, -1)
        return 0.75 * h + 0.25 * a * b


class Bare(Documented):
    """No word of mathematics."""

    def step(self, x, h):
        return h / 2


def test_a_cell_of_a_user_shows_its_docstring_or_else_its_step():
    assert Documented(2, 3).equations() == "a, b = W x\nh ← ¾ h + ¼ a ∘ b      slowly"
    assert Bare(2, 3).equations() == "def step(self, x, h):\n    return h / 2"


def test_a_cell_that_no_file_holds_shows_its_states():
    made = {"Cell": Cell}
    exec("class Typed(Cell):\n    def step(self, x, h, c):\n        return c, h", made)
    assert made["Typed"](2, 3).equations() == "h, c ← step(x, h, c)"


def test_layers_alike_are_written_once_with_their_number():
    stack = Stack([Bidirectional(GRU(3, 4)), Bidirectional(GRU(8, 4)), Recurrent(SimpleRNN(8, 5))])
    lines = equations.of_layer(stack, "z", "v").splitlines()
    assert lines[0] == "v = (h→, h←), GRU of 4 units each way over z, 2 layers"
    assert lines[-2:] == ["v = h→, SimpleRNN of 5 units over v", "  h ← tanh(W x + U h + b)"]
    assert len(lines) == 1 + 4 + 2
    backwards = equations.of_layer(Recurrent(SimpleRNN(3, 2), reverse=True))
    assert backwards.startswith("y = h←, SimpleRNN of 2 units over x\n")
    assert equations.of_layer(Bidirectional(GRU(3, 2), merge="mean")).startswith("y = ½ (h→ + h←),")


def test_two_directions_that_differ_are_both_written():
    layer = Bidirectional(SimpleRNN(3, 2), backward=SimpleRNN(3, 2, "relu"))
    assert equations.of_layer(layer).splitlines() == [
        "y = (h→, h←), SimpleRNN of 2 units forward and SimpleRNN of 2 units backward over x",
        "  h→",
        "    h ← tanh(W x + U h + b)",
        "  h←",
        "    h ← relu(W x + U h + b)",
    ]
    layer = Bidirectional(GRU(3, 4), backward=GRU(3, 5))
    assert "GRU of 4 units forward and GRU of 5 units backward" in equations.of_layer(layer)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"score": "additive"}, "p = softmaxₛ(vᵀ tanh(W h + U mₛ))"),
        ({"score": "additive", "coverage": True}, "p = softmaxₛ(vᵀ tanh(W h + U mₛ + w Σ p))"),
        ({"score": "dot"}, "p = softmaxₛ(hᵀ mₛ)"),
        ({"score": "scaled_dot", "heads": 2}, "p = softmaxₛ((W h)ᵀ (U mₛ) / √size)"),
        ({"score": "general", "coverage": True}, "p = softmaxₛ(hᵀ (U mₛ) + w Σ p)"),
        ({"score": "location", "longest": 5}, "p = softmaxₛ((W h)ₛ)"),
        ({"window": "local-m", "reach": 3}, "p = softmaxₛ(hᵀ mₛ), |s − t| ≤ 3"),
    ],
)
def test_attention_writes_its_score_and_its_window(options, line):
    assert Attention(4, 4, **options).equations().splitlines()[0] == line


def test_attention_writes_what_is_read():
    assert Attention(4, 4).equations().endswith("\nc = Σₛ pₛ mₛ")
    assert "in 2 heads" in Attention(4, 4, heads=2).equations()
    assert "REINFORCE" in Attention(4, 4, choice="reinforce").equations()


def test_a_cell_is_made_by_the_name_of_its_family(monkeypatch):
    assert type(cells.make("gru", 3, 5, reset="before")) is GRU
    assert cells.make("peephole", 3, 5).peepholes == ["i", "f", "o"]
    with pytest.raises(cells.InputError, match="no cell 'transformer'; there are rnn, lstm, gru"):
        cells.make("transformer", 3, 5)
    monkeypatch.setitem(cells.FAMILIES, "plain", Documented)
    with pytest.raises(cells.InputError, match="the cell plain has no activation; leave it as"):
        cells.make("plain", 3, 5, activation="relu")
