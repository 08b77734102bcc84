"""The passes of the compiler: which of them run, in which order, and what each says it did."""

import re

import pytest
import torch
from torch import nn

from compiler.plan.test_memory import Reads
from saiki import Bidirectional, Cell, Recurrent
from saiki.cells import GRU, LSTM
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.pipeline import Printer, derive, plan_loops
from saiki.compiler.plan.flatten import is_flat
from saiki.compiler.plan.partition import partition
from saiki.compiler.plan.plan import plan
from saiki.compiler.trace.record import Source
from saiki.compiler.watch.watch import Watch
from saiki.errors import CompileError

TO_A_GRAPH = ["record", "simplify", "write_out", "split_addmm", "promote"]
TO_PROGRAMS = ["partition", "plan", "check"]


class Linear(Cell):
    def __init__(self, input_size=3, hidden_size=6):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)


class Heads(Linear):
    """Its state is two heads of three features."""

    def step(self, x, h):
        return torch.tanh(self.W(x) + h.view(-1, 2, 3).softmax(-1).flatten(1))


class Product(Linear):
    """Only its derivative puts features into another order."""

    def step(self, x, h):
        return torch.tanh(self.W(x) + h.prod(-1, keepdim=True))


class Sorted(Linear):
    def step(self, x, h):
        return torch.tanh(self.W(x) + h.sort(-1).values)


def source(cell):
    return Source(cell, Watch(cell), torch.float32, CPU.inline_weights)


def passes(text):
    """By the name of each pass, in its order, the lines below it: how large, and what."""
    lines_of_pass = {}
    for line in text.splitlines():
        head = re.match(r"(\d+)\. (\w+): \S", line)
        if head:
            assert int(head[1]) == len(lines_of_pass) + 1
            lines_of_pass[head[2]] = lines = []
        elif lines_of_pass and line.startswith("   "):
            lines.append(line)
    return lines_of_pass


@pytest.mark.parametrize(
    ("make", "between"),
    [(lambda: LSTM(3, 4), []), (Heads, ["flatten"]), (Product, ["flatten"]),
     (Reads, ["lower_memory"])],
    ids=["lstm", "heads", "product", "memory"],
)  # fmt: skip
def test_only_the_passes_that_a_cell_needs_run_in_their_order(make, between):
    layer = Recurrent(make(), backend="cpu")
    text = layer.explain(passes=True)
    assert [*passes(text)] == [*TO_A_GRAPH, *between, *TO_PROGRAMS]
    assert text.endswith(f"\n{layer.explain()}")


@pytest.mark.parametrize(
    "make", [lambda: LSTM(3, 4), Heads, Reads], ids=["lstm", "heads", "memory"]
)
def test_what_the_passes_say_adds_up_to_the_graph_that_is_planned(make):
    printer = Printer()
    trace = plan_loops(derive(source(make()), printer), printer).trace
    printed = passes(str(printer))
    graph = [line.strip() for line in printed["record"][1:]]
    for name, (sizes, *lines) in list(printed.items())[1:-3]:
        for change, line in ((line.strip()[0], line.strip()[2:]) for line in lines):
            graph.append(line) if change == "+" else graph.remove(line)
        count = sum(not line.startswith(("new ", "∂L/∂")) for line in graph)
        assert re.match(rf"   {count} operations(; nothing changes)?$", sizes), name
        assert sizes.endswith("nothing changes") == (not lines)
    assert sorted(graph) == sorted(trace.lines())


def test_each_pass_says_what_it_did_to_an_lstm():
    printed = passes(Recurrent(LSTM(3, 4)).explain(passes=True))
    assert "     mm = mm(x, W.weightᵀ): rows × 16" in printed["record"]
    assert "     new c = add_2" in printed["record"]
    assert "     - W.weightᵀᵀ = permute(W.weightᵀ, [1, 0]): 16 × 3" in printed["simplify"]
    assert "     saved at each step for the way back: c: rows × 4" in printed["partition"]
    assert "     passed on from the way back: cat: rows × 16" in printed["partition"]
    assert printed["plan"][0] == "   stages: inference 1, training 1, backward 2"
    assert "       stage 1: t4 = state h · U.weightᵀ (4×16)" in printed["plan"]
    assert printed["check"] == [f"{printed['plan'][0]}; nothing changes"]


def test_to_flatten_turns_heads_into_features():
    printed = passes(Recurrent(Heads()).explain(passes=True))["flatten"]
    assert "     - view = view(h, [-1, 2, 3]): rows × 2 × 3" in printed
    assert "     + fold_amax = fold_amax(h, 2, 3, 1): rows × 2" in printed
    assert not any("+" in line and line.count("×") > 1 for line in printed)


def test_the_pass_that_refuses_a_cell_is_the_last():
    text = Recurrent(Sorted()).explain(passes=True)
    assert [*passes(text)] == [*TO_A_GRAPH, "partition"]
    assert text.splitlines()[-2].startswith("6. partition: ")
    assert text.splitlines()[-1].startswith("eager: sort cannot be compiled in step at ")


def test_layers_of_several_parts_show_the_passes_of_each():
    text = Bidirectional(GRU(3, 4)).explain(passes=True)
    assert text.count("1. record: ") == 2


def test_a_layer_that_runs_step_by_step_has_no_passes():
    assert Recurrent(LSTM(3, 4), backend="eager").explain(True) == "eager: the backend is 'eager'"


@pytest.mark.parametrize("make", [lambda: LSTM(3, 4), lambda: GRU(3, 4, reset="before")])
def test_what_is_flat_is_planned_as_it_is(make):
    trace = derive(source(make()))
    assert is_flat(trace)
    plan(partition(trace))


@pytest.mark.parametrize("make", [Heads, Product])
def test_what_is_not_flat_could_not_be_planned(make):
    trace = derive(source(make()))
    assert not is_flat(trace)
    with pytest.raises(CompileError):
        plan(partition(trace))
