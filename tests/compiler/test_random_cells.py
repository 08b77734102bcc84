"""Random cells give what they give step by step: some under ``auto``, whether they are compiled or
not, and others, made of functions that must be compiled."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from compiler.comparison import assert_agrees, compiled, draw
from compiler.random_cells import DISPROVED, generate, judge
from saiki import Cell

pytestmark = pytest.mark.one_in(4)

SIZE = 5

# every function keeps moderate numbers moderate, and has a gradient worth comparing
UNARY = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "abs": torch.abs,
    "bell": lambda a: torch.exp(-a * a),
    "log": lambda a: torch.log(1.5 + torch.sin(a)),
    "clamp": lambda a: a.clamp(-0.6, 0.8),
    "neg": torch.neg,
    "softmax": lambda a: torch.softmax(a, -1),
    "norm": lambda a: nn.functional.layer_norm(a, (SIZE,)),
    "centre": lambda a: a - a.sum(-1, keepdim=True) / SIZE,
    "turn": lambda a: torch.cat([a[:, 2:], a[:, :2]], -1),
    "last": lambda a: a[:, -1:] * torch.tanh(a),
    "detach": lambda a: a.detach(),
}
BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": lambda a, b: torch.tanh(a) * torch.tanh(b),
    "div": lambda a, b: a / (1.5 + b.abs()),
    "gate": lambda a, b: torch.sigmoid(a) * b,
    "where": lambda a, b: torch.where(a > b, 0.5 * a, b),
}


def expressions(leaves):
    """Trees over ``leaves``: names, functions of one or two trees, and products."""
    return st.recursive(
        st.sampled_from(leaves),
        lambda trees: st.one_of(
            st.tuples(st.sampled_from(sorted(UNARY)), trees),
            st.tuples(st.sampled_from(sorted(BINARY)), trees, trees),
            st.tuples(st.just("product"), st.integers(0, 2), trees),
            st.tuples(st.just("times"), st.integers(0, 1), trees),
        ),
        max_leaves=6,
    )


class Random(Cell):
    """Each new state is tanh of an expression, or of one and the state before."""

    def __init__(self, trees):
        super().__init__(SIZE, SIZE)
        self.trees = trees
        self.matrices = nn.ParameterList(nn.Parameter(torch.zeros(SIZE, SIZE)) for _ in range(3))
        self.vectors = nn.ParameterList(nn.Parameter(torch.zeros(SIZE)) for _ in range(2))

    def value(self, tree, names):
        match tree:
            case str():
                return names[tree]
            case "product", int(i), inner:
                return self.value(inner, names) @ self.matrices[i]
            case "times", int(i), inner:
                return self.value(inner, names) * self.vectors[i]
            case function, inner:
                return UNARY[function](self.value(inner, names))
            case function, left, right:
                return BINARY[function](self.value(left, names), self.value(right, names))

    def next_states(self, x, *states):
        names = {"x": x, **{f"s{i}": s for i, s in enumerate(states)}}
        new = tuple(torch.tanh(self.value(tree, names)) for tree in self.trees)
        return new if len(new) > 1 else new[0]


class One(Random):
    def step(self, x, a):
        return self.next_states(x, a)


class Two(Random):
    def step(self, x, a, b):
        return self.next_states(x, a, b)


class Three(Random):
    def step(self, x, a, b, c):
        return self.next_states(x, a, b, c)


@st.composite
def cells(draw):
    states = draw(st.integers(1, 3))
    leaves = ["x", *(f"s{i}" for i in range(states))]
    trees = [draw(expressions(leaves)) for _ in range(states)]
    return (One, Two, Three)[states - 1](trees)


@pytest.mark.parametrize("examples", [10, pytest.param(60, marks=pytest.mark.long)])
def test_agree(examples):
    settings_of_test = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    settings_of_test(agrees)()


@given(cell=cells(), ragged=st.booleans(), reverse=st.booleans())
def agrees(cell, ragged, reverse):
    torch.manual_seed(4)
    layer = compiled(cell, reverse=reverse)
    states = len(cell.state_sizes)
    start = tuple(draw(5, SIZE) for _ in range(states))
    lengths = torch.tensor([2, 4, 1, 4, 3]) if ragged else None
    assert_agrees(
        layer, draw(5, 4, SIZE).requires_grad_(), start if states > 1 else start[0], lengths
    )


@pytest.mark.parametrize("seed", range(60))
def test_is_never_wrong(seed):
    assert DISPROVED not in judge(generate(seed).source, seed)
