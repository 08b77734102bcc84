"""Weights as products read them: packed, or where PyTorch keeps them."""

import pytest
import torch
from torch import fx

from compiler.comparison import compiled, draw
from saiki import cells
from saiki.compiler.backend import Place, Walk
from saiki.compiler.cpu.loop import CompiledLoop
from saiki.compiler.cpu.machine import AVX2, SSE2, machine
from saiki.compiler.cpu.product import pack, padded
from saiki.compiler.cpu.threads import run
from saiki.compiler.plan.program import Array, Product, Program, Stage

MACHINES = [machine(), AVX2, SSE2]
LAYOUTS = {
    "rows": lambda inner, columns: torch.randn(inner, columns),
    "columns": lambda inner, columns: torch.randn(columns, inner).t(),
    "part of rows": lambda inner, columns: torch.randn(inner, columns + 3)[:, 2 : columns + 2],
    "part of columns": lambda inner, columns: torch.randn(columns, inner + 3).t()[2:-1],
    "neither": lambda inner, columns: torch.randn(2 * inner, 3 * columns)[::2, ::3],
    "expanded": lambda inner, columns: torch.randn(1, columns).expand(inner, columns),
}


def panels(weight, machine):
    """What :func:`pack` makes, by PyTorch."""
    inner, columns = weight.shape
    whole = padded(columns, weight.dtype, machine)
    wide = torch.cat((weight, weight.new_zeros(inner, whole - columns)), 1)
    block = machine.tile[1] * machine.lanes(weight.dtype)
    return torch.cat([part.reshape(-1) for part in wide.split(block, 1)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_a_weight_in_panels(machine, layout, dtype):
    for inner, columns in ((1, 1), (3, 5), (16, 16), (17, 33), (64, 256), (33, 300)):
        weight = LAYOUTS[layout](inner, columns).to(dtype)
        assert torch.equal(pack(weight, machine), panels(weight, machine)), (inner, columns)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("inner", "columns"), [(5, 3), (64, 256), (200, 77), (1000, 40)])
def test_one_step_reads_a_weight_where_it_lies_and_has_the_same_bits(inner, columns, layout):
    """A walk of two steps, the second of no rows, takes a packed weight."""
    source, target = Array("a", "row", inner), Array("c", "row", columns)
    weight = Array("w", "weight", columns, inner)
    product = Product(fx.Graph().placeholder("c"), source, 0, weight, target)
    program = Program([source, weight, target], [Stage(products=[product])], parameters={0: weight})
    loop = CompiledLoop(program, torch.float32)
    a, w = torch.randn(6, inner), LAYOUTS[layout](inner, columns)
    products = []
    for counts in ([6], [6, 0]):
        c = torch.full((6, padded(columns, torch.float32, machine())), torch.nan)
        walk = Walk(torch.zeros(len(counts), dtype=torch.int64), torch.tensor(counts), 1, (1,) * 6)
        job = loop.bind({source: Place(a), target: Place(c)}, [w], walk, {})
        lies_there = job.parameters[0][1].data_ptr() == w.data_ptr()
        assert lies_there == (len(counts) == 1 and layout not in ("neither", "expanded"))
        run([job])
        products.append(c[:, :columns])
    assert torch.equal(*products)
    torch.testing.assert_close(products[0], a @ w, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 3])
def test_no_change_of_a_weight_is_missed(steps):
    """Not even one by ``data``, which PyTorch counts as none."""
    layer = compiled(cells.GRU(16, 16), torch.float32)
    weight, x = layer.cell.U.weight, draw(1, steps, 16).float()
    state = torch.ones(1, 16)
    seen = [layer(x, state)[0]]
    weight.data.mul_(2)
    seen.append(layer(x, state)[0])
    weight.data = -weight.data
    seen.append(layer(x, state)[0])
    weight.detach().numpy()[:] = 0
    seen.append(layer(x, state)[0])
    for i, y in enumerate(seen):
        assert not any(torch.equal(y, other) for other in seen[:i])
