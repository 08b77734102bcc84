"""Programs put together by hand, emitted, and run on arrays."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import pytest
import torch
from torch import fx

from saiki import cells
from saiki.compiler.backend import Place, Walk
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.cpu.emit import emit
from saiki.compiler.cpu.loop import CompiledLoop
from saiki.compiler.cpu.machine import machine
from saiki.compiler.cpu.product import CACHED
from saiki.compiler.cpu.threads import run
from saiki.compiler.plan.program import Array, Grid, Loop, Product, Program, Stage, Store, Value
from saiki.compiler.run.step import CompiledStep
from saiki.compiler.trace.nodes import ROWS
from saiki.compiler.watch.watch import Watch

pytestmark = pytest.mark.one_in(4)

aten = torch.ops.aten


def once(program: Program, *tensors: torch.Tensor, outside: Mapping = MappingProxyType({})) -> None:
    """Run a program for one step over the rows of ``given``, its arrays but for ``outside``."""
    program.parameters = dict(enumerate(outside))
    loop = CompiledLoop(program, tensors[0].dtype)
    rows = len(tensors[0])
    walk = Walk(torch.zeros(1, dtype=torch.int64), torch.tensor([rows]), 1, (1,) * rows)
    arrays = [array for array in program.arrays if array not in outside]
    places = {array: Place(tensor) for array, tensor in zip(arrays, tensors, strict=True)}
    run([loop.bind(places, list(outside.values()), walk, {})])


class Chain:
    """A graph of pointwise work on ``(rows, *shape)`` that begins with ``h``."""

    def __init__(self, *shape: int) -> None:
        self.graph, self.shape = fx.Graph(), shape
        self.h = self._shaped(self.graph.placeholder("h"))

    def _shaped(self, node: fx.Node) -> fx.Node:
        node.meta["val"] = torch.empty(ROWS, *self.shape, device="meta")
        return node

    def call(self, target, *args) -> fx.Node:
        return self._shaped(self.graph.call_function(target, args))

    def mixed(self, length: int) -> fx.Node:
        """As many operations, each on the one before it."""
        u = self.h
        for i in range(length):
            match i % 4:
                case 0:
                    u = self.call(aten.add.Tensor, u, self.h)
                case 1:
                    u = self.call((aten.tanh, aten.sin, aten.sigmoid)[i % 3].default, u)
                case 2:
                    u = self.call(aten.mul.Tensor, u, u)
                case 3:
                    u = self.call(aten.sub.Tensor, u, 0.3)
        return u


def evaluated(node: fx.Node, h: torch.Tensor) -> torch.Tensor:
    values: dict[fx.Node, torch.Tensor] = {}
    for each in node.graph.nodes:
        args = [values[a] if isinstance(a, fx.Node) else a for a in each.args]
        values[each] = h if each.op == "placeholder" else each.target(*args)
    return values[node]


@pytest.mark.parametrize("features", [1, 31, 64])
def test_a_long_chain_of_pointwise_work(features):
    chain = Chain(features)
    last = chain.mixed(1000)
    state, out = Array("h", "row", features), Array("out", "row", features)
    loops = [Loop(features, [Store(last, out)])]
    program = Program([state, out], [Stage(loops=loops)], {chain.h: Value((state,), 0, 0)})
    h, result = torch.randn(3, features, dtype=torch.float64), torch.empty(3, features).double()
    once(program, h, result)
    torch.testing.assert_close(result, evaluated(last, h), rtol=1e-12, atol=1e-12)
    single = emit(program, torch.float32, machine())
    lengths = 1 if features == 64 else 5  # of the vectors in a run of columns
    assert len(single) < 700_000 * lengths


def test_a_long_chain_of_work_on_a_grid():
    chain = Chain(3, 5)
    last = chain.mixed(1000)
    total = chain.graph.call_function(aten.sum.dim_IntList, (last, [2]))
    memory, out = Array("memory", "row", 5, 3), Array("out", "row", 3)
    grid = Grid(3, 5, over_inner=[(total, out)])
    program = Program([memory, out], [Stage(grids=[grid])], memory={chain.h: memory})
    h, result = torch.randn(2, 15, dtype=torch.float64), torch.empty(2, 3).double()
    once(program, h, result)
    expected = evaluated(last, h.view(2, 3, 5)).sum(2)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_functions_called_and_written_out_agree_to_the_last_bit():
    """The first uses of a function are written out, the others called."""
    chain = Chain(21)
    results = [chain.call(aten.tanh.default, chain.h) for _ in range(40)]
    state = Array("h", "row", 21)
    outs = [Array(f"out {i}", "row", 21) for i in range(40)]
    stores = [Store(node, out) for node, out in zip(results, outs, strict=True)]
    stage = Stage(loops=[Loop(21, stores)])
    program = Program([state, *outs], [stage], {chain.h: Value((state,), 0, 0)})
    tensors = [torch.empty(2, 21) for _ in outs]
    once(program, torch.randn(2, 21), *tensors)
    assert all(torch.equal(tensor, tensors[0]) for tensor in tensors)


def depth(vectors: int) -> int:
    """The slice of the inner size that a block of columns takes at a time."""
    return CACHED // (vectors * machine().vector_bytes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("slices", "more"), [(s, m) for s in range(4) for m in (0, 1, 3, 6) if s or m]
)
def test_products_of_some_slices(slices, more, dtype):
    most = machine().tile[1]
    inner = slices * depth(most) + more
    lanes = machine().lanes(dtype)
    for width in (1, lanes * most, lanes * (2 * most + 1) + 3):
        source, target = Array("a", "row", inner), Array("c", "row", width)
        weight = Array("w", "weight", width, inner)
        product = Product(fx.Graph().placeholder("c"), source, 0, weight, target)
        program = Program([source, weight, target], [Stage(products=[product])])
        a, w = torch.randn(6, inner, dtype=dtype), torch.randn(inner, width, dtype=dtype)
        c = torch.full((6, -(-width // lanes) * lanes), math.nan, dtype=dtype)
        once(program, a, c, outside={weight: w})
        expected = a.double() @ w.double()
        tolerance = 1e-12 if dtype == torch.float64 else 3e-6
        bound = tolerance * (a.double().abs() @ w.double().abs())
        assert ((c[:, :width].double() - expected).abs() <= bound).all(), width


def test_code_does_not_grow_with_the_hidden_size():
    both = (cells.LSTM(4, n) for n in (256, 1024))
    small, large = (CompiledStep(cell, Watch(cell), torch.float32, CPU()) for cell in both)
    for kind in ("training", "backward"):
        assert len(large.loops[kind].text()) < 1.2 * len(small.loops[kind].text())
