"""What the plan hoists, how many stages it has, and what it leaves to one product afterwards."""

import pytest
import torch

from saiki import Recurrent
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.pipeline import derive, plan_loops
from saiki.compiler.trace.nodes import width
from saiki.compiler.trace.record import Source
from saiki.compiler.watch.watch import Watch
from test_examples import CELLS

aten = torch.ops.aten


def planned(cell, inline_weights=0):
    cell = cell.double()
    return plan_loops(derive(Source(cell, Watch(cell), torch.float64, inline_weights)))


def stages(program):
    """Stages with a product."""
    return sum(bool(stage.products) for stage in program.stages)


def weights(loop):
    return [(a.inner, a.width) for a in loop.program.arrays if a.kind == "weight"]


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        (lambda: LSTM(9, 5), 1),
        (lambda: LSTM(9, 5, peephole=True), 1),
        (lambda: GRU(9, 5), 1),
        (lambda: GRU(9, 5, reset="before"), 2),
        (lambda: LSTM(9, 5, projection_size=2), 2),
        (lambda: CELLS["MultiplicativeLSTM"](9, 5), 2),
        (lambda: CELLS["IndRNN"](9, 5), 0),
        (lambda: CELLS["SRU"](9, 5), 0),
    ],
    ids=["lstm", "peephole", "gru", "reset before", "projection", "multiplicative", "ind", "sru"],
)
def test_products_one_after_the_other_forward(cell, count):
    p = planned(cell())
    assert stages(p.inference.program) == stages(p.training.program) == count


def test_the_product_of_the_recurrence_is_the_only_one_in_the_loop():
    p = planned(LSTM(9, 5))
    assert weights(p.inference) == weights(p.training) == [(5, 20)]
    assert weights(p.backward) == [(20, 5)]


@pytest.mark.parametrize("cell", [LSTM, GRU, SimpleRNN])
def test_the_product_of_x_is_done_for_all_steps_at_once(cell):
    p = planned(cell(9, 5))
    in_loop = {product.node for stage in p.training.program.stages for product in stage.products}
    hoisted = set()
    stack = list(p.partition.streams)
    while stack:
        node = stack.pop()
        hoisted.add(node)
        stack.extend(node.all_input_nodes)
    assert p.trace.x in hoisted
    products = {n for n in hoisted if n.target in (aten.mm.default, aten.addmm.default)}
    assert len(products) == 1
    assert not products & in_loop
    assert not hoisted & set(p.trace.states)


@pytest.mark.parametrize(("cell", "gates"), [(LSTM, 4), (GRU, 3), (SimpleRNN, 1)])
def test_the_product_of_x_with_few_weights_is_done_in_the_loop(cell, gates):
    most = 11 * gates * 5
    p = planned(cell(11, 5), most)
    assert p.partition.streams == (p.trace.x,)
    assert weights(p.inference)[0] == (11, gates * 5)
    assert stages(p.inference.program) == 1
    assert planned(cell(11, 5), most - 1).partition.streams != (p.trace.x,)
    assert p.trace.x not in p.partition.hoisted_residuals


def test_the_way_back_reads_a_product_with_x_unless_it_has_few_features():
    """m = V x · U h, so that the gradient of U h has V x in it."""
    cell = CELLS["MultiplicativeLSTM"]
    few, many = (planned(cell(size, 5), CPU.inline_weights) for size in (8, 9))
    repeated = {a.inner for a in few.backward.program.arrays if a.kind == "weight"}
    assert 8 in repeated
    assert 9 not in {a.inner for a in many.backward.program.arrays if a.kind == "weight"}
    saved = [sum(map(width, p.partition.step_residuals)) for p in (few, many)]
    assert saved[1] == saved[0] + 5


def test_what_the_loop_cannot_do_is_hoisted_however_few_features_it_has():
    class Sorted(SimpleRNN):
        def step(self, x, h):
            return torch.tanh(self.W(x).sort(-1).values + self.U(h))

    p = planned(Sorted(2, 5), CPU.inline_weights)
    assert weights(p.inference) == [(5, 5)]


@pytest.mark.parametrize("cell", [LSTM(9, 5), GRU(9, 5), GRU(9, 5, reset="before")], ids=str)
def test_no_gradient_of_a_weight_is_computed_in_the_loop(cell):
    p = planned(cell)
    in_loop = [product.node for stage in p.backward.program.stages for product in stage.products]
    matrices = [
        gradient
        for name, gradient in p.trace.d_parameters.items()
        if dict(cell.named_parameters())[name].ndim == 2
    ]
    assert len(matrices) == 2
    for gradient in matrices:
        assert gradient not in in_loop
        assert gradient not in p.partition.summed
    for product in in_loop:
        assert product.meta["val"].shape[0] == p.trace.x.meta["val"].shape[0]  # rows, not features
    sizes = [array.width for array in p.backward.program.arrays if "sum" in array.name]
    assert all(size <= 4 * 5 for size in sizes)


def test_an_lstm_saves_its_gates_and_its_cell_and_no_more():
    p = planned(LSTM(9, 5))
    saved = sum(
        int(node.meta["val"].shape[1])
        for node in (*p.partition.step_residuals, *p.partition.hoisted_residuals)
    )
    assert saved <= 4 * 5 + 3 * 5  # i, f, g, o; h; c before and tanh(c) after


def test_explain_shows_the_plan():
    text = Recurrent(GRU(9, 5, reset="before"), backend="cpu").explain()
    assert "hoisted: " in text
    assert "forward" in text
    assert "saved: " in text
    assert "backward" in text
    assert "5×10" in text.partition("backward")[0]
    assert "5×5" in text.partition("backward")[0]
