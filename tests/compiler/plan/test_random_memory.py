"""Cells that read memory by random expressions, compiled, give what they give step by step."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from compiler.plan.test_memory import agrees
from saiki import Cell

SIZE = 5
UNARY = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "neg": torch.neg,
    "bell": lambda a: torch.exp(-a * a),
    "double": lambda a: 2 * a,
    "turned": lambda a: a.transpose(1, 2).contiguous().transpose(1, 2),
}
BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "gate": lambda a, b: torch.sigmoid(a) * b,
    "where": lambda a, b: torch.where(a > b, 0.5 * a, b),
}
INNER = {
    "sum": lambda a: a.sum(-1) / SIZE,
    "largest": lambda a: a.amax(-1),
    "product": lambda a, v: a @ v,
}
LEAVES = ("memory", "other", "state", "x", "vector", "bias")


def expressions():
    """Trees of grids, ``(rows, source, SIZE)`` or what is broadcast to it."""
    return st.recursive(
        st.sampled_from(LEAVES),
        lambda trees: st.one_of(
            st.tuples(st.sampled_from(sorted(UNARY)), trees),
            st.tuples(st.sampled_from(sorted(BINARY)), trees, trees),
        ),
        max_leaves=5,
    )


class Random(Cell):
    """Weights over positions from one expression, what is read from another."""

    memory_shapes = {"memory": ("source", SIZE), "other": ("source", SIZE), "bias": ("source",)}  # noqa: RUF012

    def __init__(self, score, read, inner):
        super().__init__(SIZE, SIZE)
        self.trees = score, read
        self.inner = inner
        self.vector = nn.Parameter(torch.zeros(SIZE))
        self.U = nn.Linear(SIZE, SIZE)

    def value(self, tree, names):
        match tree:
            case str():
                return names[tree]
            case function, inner:
                return UNARY[function](self.value(inner, names))
            case function, left, right:
                return BINARY[function](self.value(left, names), self.value(right, names))

    def step(self, x, h, *, memory, other, bias):
        state = self.U(h)
        names = {"memory": memory, "other": other, "state": state[:, None], "x": x[:, None],
                 "vector": self.vector, "bias": bias[:, :, None]}  # fmt: skip
        grids = [self.value(tree, names) + 0 * memory for tree in self.trees]
        vectors = (self.vector,) if self.inner == "product" else ()
        p = torch.softmax(INNER[self.inner](torch.tanh(grids[0]), *vectors), -1)
        return torch.tanh(torch.einsum("bs,bsk->bk", p, torch.tanh(grids[1])) + x + state)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    score=expressions(), read=expressions(), inner=st.sampled_from(sorted(INNER)),
    ragged=st.booleans(), source=st.sampled_from([1, 3, 17]),
)  # fmt: skip
@pytest.mark.long
def test_agrees(score, read, inner, ragged, source):
    torch.manual_seed(4)
    lengths = torch.tensor([2, 4, 1, 4, 3]) if ragged else None
    agrees(Random(score, read, inner), source=source, lengths=lengths)
