"""Cells of the literature under the backend auto: right, without exception, or eager and why."""

import re

import pytest
import torch

from compiler.comparison import draw, randomised
from corpus.outcomes import SELDOM, build, cells, differences, judge, paper
from saiki import Cell, Recurrent

pytestmark = pytest.mark.one_in(5)

CELLS = cells()
QUICK = [name for name in sorted(CELLS) if name not in SELDOM]
TYPES = {name: torch.float32 if turn % 4 == 3 else torch.float64 for turn, name in enumerate(QUICK)}
"""Each cell in one type by turns, for time; ``tools/attack.py corpus`` takes both."""

AT_LEAST, COMPILED_AT_LEAST = 180, 97


@pytest.fixture(scope="module")
def kinds():
    """What became of the cells judged so far."""
    return {}


@pytest.mark.usefixtures("each_backend")
@pytest.mark.parametrize("name", QUICK)
def test_is_right_or_says_why_it_is_eager(name, kinds):
    outcome = judge(CELLS[name], TYPES[name])
    kinds[name] = outcome.kind
    assert outcome.kind in ("compiled", "eager"), f"{outcome.kind}: {outcome.why}"
    if outcome.kind == "eager":
        assert len(outcome.why.split()) >= 5, f"not a sentence: {outcome.why!r}"
        assert not re.search(r"\n|\barg\d+_\d", outcome.why), f"not for people: {outcome.why!r}"


def test_enough_cells_compile(kinds):
    assert len(CELLS) >= AT_LEAST
    assert CELLS.keys() >= SELDOM
    if len(kinds) < len(QUICK):
        pytest.skip("counts only where all cells were judged")
    assert list(kinds.values()).count("compiled") >= COMPILED_AT_LEAST


@pytest.mark.parametrize("name", list(CELLS))
def test_names_its_paper(name):
    assert re.search(r"\b(19|20)\d\d\b", paper(CELLS[name])), f"{name} names no paper"


class Adjustable(Cell):
    """One number that changes it a little."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)
        self.factor = 1.0

    def step(self, x, h):
        return torch.tanh(self.W(x) + self.factor * h)


def test_a_difference_is_found():
    """A judge that lets everything pass would let all cells pass."""
    layer = randomised(Recurrent(Adjustable(3, 5), backend="eager"))
    x = draw(2, 4, 3)
    y, _ = layer(x)
    layer.cell.factor = 0.999
    other, _ = layer(x)
    assert differences({"y": y}, {"y": y.clone()}, 1e-9) == []
    assert differences({"y": y}, {"y": other}, 1e-9)[0].startswith("y is off by")
    assert build(Adjustable, torch.float32).cell.W.weight.dtype == torch.float32
