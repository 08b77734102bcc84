"""A program that would compute something else is refused before it becomes code."""

import dataclasses

import pytest
import torch
from torch import nn

from compiler.comparison import draw
from compiler.twins import step_by_step
from saiki import Cell, Recurrent
from saiki.cells import GRU, LSTM
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.pipeline import derive, plan_loops
from saiki.compiler.plan import check, schedule
from saiki.compiler.plan.check import ProgramError
from saiki.compiler.trace.record import Source
from saiki.compiler.watch.watch import Watch

pytestmark = pytest.mark.one_in(3)


class Joined(Cell):
    """A product of parts that are there at different stages."""

    def __init__(self, input_size=3, hidden_size=4):
        super().__init__(input_size, hidden_size)
        self.A = nn.Linear(2 * hidden_size, hidden_size)
        self.B = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.A(torch.cat([h, self.B(h)], 1)) + x.sum(1, keepdim=True))


def planned(cell):
    cell.double()
    return plan_loops(derive(Source(cell, Watch(cell), torch.float64, CPU.inline_weights)))


CELLS = {
    "lstm": lambda: LSTM(3, 4, peephole=True),
    "layer norm": lambda: LSTM(3, 4, layer_norm=True),
    "reset before": lambda: GRU(9, 4, reset="before"),
    "joined": Joined,
}


@pytest.mark.parametrize("name", CELLS)
def test_what_is_planned_passes(name):
    plan = planned(CELLS[name]())
    for loop in (plan.inference, plan.training, plan.backward):
        check.Checker(loop.scheduler).run()


def later_product(scheduler):
    """The first product that reads what a loop wrote, a stage too early."""
    stages = scheduler.program.stages
    for i, stage in enumerate(stages[1:], 1):
        if stage.products:
            stages[i - 1].products.append(stage.products.pop())
            return
    pytest.skip("one stage")


def lost_store(scheduler):
    """A store that others rely on."""
    read = {p.source for s in scheduler.program.stages for p in s.products}
    read |= {array for _, array in scheduler.results}
    for stage in scheduler.program.stages:
        for loop in stage.loops:
            for store in loop.stores:
                if store.array in read:
                    loop.stores.remove(store)
                    return
    pytest.skip("no store")


def other_column(scheduler):
    """A product that reads its source from the next column on."""
    for stage in scheduler.program.stages:
        for i, product in enumerate(stage.products):
            stage.products[i] = dataclasses.replace(product, column=product.column + 1)
            return


def other_value(scheduler):
    """A value that is said to lie where another does."""
    values = scheduler.program.values
    rows = [n for n, v in values.items() if len(v.arrays) == 1 and v.arrays[0].kind != "vector"]
    rows = [n for n in rows if n in scheduler.inputs]
    a = rows[0]
    b = next(
        n for n in rows if values[n].arrays[0].width != values[a].arrays[0].width or n is not a
    )
    values[a], values[b] = values[b], values[a]


def early_read(scheduler):
    """What a loop yields, said to be there before it runs."""
    values = scheduler.program.values
    for node, value in values.items():
        if value.stage > 0 and node.target is not torch.ops.aten.mm.default:
            values[node] = dataclasses.replace(value, stage=0)
    if not any(v.stage > 0 for v in values.values()):
        pytest.skip("nothing that is written and read again")


def twice(scheduler):
    """Two values in one place."""
    for stage in scheduler.program.stages:
        for loop in stage.loops:
            if loop.stores:
                loop.stores.append(loop.stores[0])
                return


@pytest.mark.parametrize("fault", [lost_store, other_column, other_value, later_product, twice])
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("which", ["training", "backward"])
def test_a_fault_is_seen(name, which, fault):
    scheduler = getattr(planned(CELLS[name]()), which).scheduler
    fault(scheduler)
    with pytest.raises(ProgramError, match="the planner is wrong"):
        check.Checker(scheduler).run()


def test_a_product_of_memory_not_yet_written_is_seen(monkeypatch):
    """The planner once took a slice to be ready when its source was, and read before the write."""
    place = schedule.Scheduler.place

    def hasty(self, node):
        array, column, stage = place(self, node)
        return array, column, max(0, stage - 1)

    monkeypatch.setattr(schedule.Scheduler, "place", hasty)
    with pytest.raises(ProgramError, match="before it is written"):
        planned(Joined())


def test_a_fault_of_the_planner_means_the_eager_loop(monkeypatch):
    place = schedule.Scheduler.place
    monkeypatch.setattr(schedule.Scheduler, "place", lambda self, node: (*place(self, node)[:2], 0))
    layer = Recurrent(Joined().double())
    x = draw(2, 5, 3)
    with pytest.warns(UserWarning, match="running step by step: the planner is wrong"):
        y, _ = layer(x)
    assert torch.equal(y, step_by_step(layer)(x)[0])
