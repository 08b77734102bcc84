"""The attending cell beside the equations of a decoder, written step by step."""

import pytest
import torch
from torch import nn

from compiler.comparison import assert_agrees, compiled, draw
from compiler.plan.test_memory import Over
from saiki import InputError
from saiki.cells import GRU, LSTM
from saiki.models.attending import Attending

pytestmark = pytest.mark.one_in(3)

E, H, R, V = 3, 5, 4, 6


class Dot(nn.Module):
    def forward(self, q, keys):
        return q[:, None] @ keys[:, None].transpose(-1, -2)


class General(Dot):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(H, H)

    def forward(self, q, keys):
        return super().forward(self.query(q), keys)


class Additive(General):
    def __init__(self):
        super().__init__()
        self.v = nn.Parameter(torch.randn(1, H))

    def forward(self, q, keys):
        both = self.query(q)[:, None, :, None] + keys[:, None, None]
        return (torch.tanh(both) @ self.v[:, None, :, None]).squeeze(-1)


def cell_of(score=Dot, make=GRU, layers=1, dropout=False):
    cells = [make(E + R if i == 0 else H, H) for i in range(layers)]
    return Attending(cells, score(), nn.Linear(V + H, R, bias=False), H, dropout)


def memory_of(batch=5, source=6):
    mask = torch.zeros(batch, source, dtype=torch.float64)
    mask[1, 2:] = -torch.inf
    return {"keys": draw(batch, source, H), "values": draw(batch, source, V), "mask": mask}


@pytest.mark.parametrize("lengths", [None, torch.tensor([2, 4, 1, 4, 3])])
@pytest.mark.parametrize("score", [Dot, General, Additive])
def test_compiled_as_step_by_step(score, lengths):
    layer = compiled(cell_of(score))
    start = draw(5, H), draw(5, R)
    assert_agrees(Over(layer, memory_of()), draw(5, 4, E).requires_grad_(), start, lengths)


@pytest.mark.parametrize("dropout", [False, True])
def test_layers_and_what_they_are_multiplied_by(dropout):
    layer = compiled(cell_of(make=LSTM, layers=2, dropout=dropout))
    assert layer.cell.state_names == ("h", "c", "h1", "c1", "r")
    x = draw(5, 4, E + (R + H if dropout else 0)).requires_grad_()
    assert_agrees(Over(layer, memory_of()), x, tuple(draw(5, n) for n in (H, H, H, H, R)))


def test_is_the_step_of_a_decoder():
    layer = compiled(cell_of(General, LSTM, layers=2, dropout=True))
    cell, memory, x = layer.cell, memory_of(), draw(5, 4, E + R + H)
    states, r = [[draw(5, H) for _ in range(2)] for _ in range(2)], draw(5, R)
    y, ends = layer(x, (*states[1], *states[0], r), memory=memory)
    for t in range(4):
        e, of_r, of_lower = x[:, t].split([E, R, H], -1)
        states[0] = cell.cells[0](torch.cat((e, r), -1), *states[0])
        states[1] = cell.cells[1](states[0][0] * of_lower, *states[1])
        h = states[1][0]
        scores = torch.einsum("bsk,bk->bs", memory["keys"], cell.score.query(h))
        p = torch.softmax(scores + memory["mask"], -1)
        c = torch.einsum("bs,bsv->bv", p, memory["values"])
        r = torch.tanh(cell.combine(torch.cat((c, h), -1))) * of_r
        torch.testing.assert_close(y[:, t], h, rtol=1e-11, atol=1e-12)
    for a, b in zip(ends, (*states[1], *states[0], r), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="0 features left for an embedding"):
        Attending([GRU(R, H)], Dot(), nn.Linear(V + H, R), H)
    with pytest.raises(InputError, match="0 features left for a value"):
        Attending([GRU(E + R, H)], Dot(), nn.Linear(H, R), H)
    with pytest.raises(InputError, match="takes 9 features and is given 5"):
        Attending([GRU(E + R, H), GRU(9, H)], Dot(), nn.Linear(V + H, R), H)
