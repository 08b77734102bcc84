"""``saiki check``: of cells in a file, of built-in ones, of the model of an experiment."""

from pathlib import Path

import pytest
import torch

from commands import refused, saiki
from saiki.cli.check import cells_in, doubled
from saiki.errors import InputError

CELLS = """
import torch
from saiki import Cell


class Good(Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return 0.9 * h + 0.1 * torch.tanh(self.W(x))


class HalfSlope(Good):
    def step(self, x, h):
        u = self.W(x)
        y = torch.tanh(u).detach() + 0.5 * (u - u.detach())  # tanh(u) with a derivative of 1/2
        return 0.9 * h + 0.1 * y


class Detached(Good):
    def step(self, x, h):
        return 0.9 * h + 0.1 * torch.tanh(self.W(x).detach())


class TwoStates(Good):
    def step(self, x, h):
        return h, h


class Mixes(Good):
    def step(self, x, h):
        return h + self.W(x).mean(0)


class Shrinks(Good):
    def step(self, x, h):
        return h[:, 1:]


class Counts(Good):
    def step(self, x, h):
        return (h > 0).long()


class NoState(Good):
    def step(self, x):
        return x


class Narrow(Cell):
    def __init__(self, size):
        super().__init__(size, size)

    def step(self, x, h):
        return h


class Misfit(Good):
    def step(self, x, h):
        return h + x
"""


@pytest.fixture
def cells():
    Path("cells.py").write_text(CELLS)


@pytest.mark.usefixtures("cells")
def test_check_passes_a_good_cell_of_a_file():
    code, out, err = saiki("check", "cells.py:Good", "--input-size", 2, "--hidden-size", 3)
    assert (code, err) == (0, [])
    assert (out[0], out[-1]) == ("Good", "  passed")
    for claim in ("gradient of W.weight", "gradient of the input", "padded rows", "reversal"):
        assert any(claim in line and line.endswith("ok") for line in out)


@pytest.mark.usefixtures("cells")
def test_check_shows_the_passes_of_the_compiler():
    code, out, err = saiki("check", "cells.py:Good", "--passes")
    assert (code, err) == (0, [])
    assert out[0] == "Good, pass by pass"
    numbered = [line.partition(":")[0] for line in out if line[0].isdigit()]
    assert (numbered[0], numbered[-1]) == ("1. record", f"{len(numbered)}. check")
    plan = next(i for i, line in enumerate(out) if line.startswith("cpu: one loop"))
    assert out.index("Good") > plan > out.index(next(line for line in out if "check" in line))
    assert out[-1] == "  passed"


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize(
    "name",
    [
        "HalfSlope",
        "Detached",
    ],
)
def test_check_names_the_gradients_that_are_wrong(name):
    code, out, err = saiki("check", f"cells.py:{name}")
    assert (code, err) == (1, [])
    failed = [line.split("  ")[1] for line in out if line.endswith("FAILED")]
    assert failed == ["gradient of W.weight", "gradient of W.bias", "gradient of the input"]
    assert out[-1] == "  FAILED: " + ", ".join(failed)


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("TwoStates", "must return 1 state(s) (h), and it returned 2"),
        ("Mixes", "step of Mixes mixes rows of the batch"),
        ("Shrinks", "shape (3, 4) instead of (3, 5) for state 'h'"),
        ("Counts", "torch.int64 instead of torch.float32 for state 'h'"),
        ("NoState", "takes no state"),
        ("Missing", "defines no cell 'Missing'; it defines Good, HalfSlope,"),
    ],
)
def test_a_cell_that_breaks_the_contract_is_told_in_one_line(name, sentence):
    assert sentence in refused("check", f"cells.py:{name}")


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("name", ["Narrow", "Misfit"])
def test_a_cell_that_raises_is_told_in_one_line(name):
    assert name in refused("check", f"cells.py:{name}")


def test_a_file_with_a_mistake_in_its_syntax_is_told_with_its_line():
    Path("broken.py").write_text("import torch\n\ndef step(:\n")
    line = refused("check", "broken.py:Cell")
    assert "broken.py does not run: " in line
    assert "line 3" in line


def test_check_of_an_experiment_proves_its_layer_and_its_loss():
    code, out, _ = saiki("check", "adder", "--preset", "report")
    assert code == 0
    assert out.count("  passed") == 2
    assert "loss of AdderNetwork" in out


def test_check_finds_the_wrong_derivative_and_names_the_weights_it_spoils():
    code, out, err = saiki("check", "adder", "--preset", "wrong-derivative")
    assert (code, err) == (1, [])
    loss = out[out.index("loss of AdderNetwork") :]
    named = loss[-1].removeprefix("  FAILED: ").split(", ")
    weights = ("layer.cell.W.weight", "layer.cell.U.weight", "readout.weight")
    assert named == [f"gradient of {weight}" for weight in weights]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("words", "words learns by a rule of its own: there is no gradient to prove"),
        ("lstm --preset report", "--preset goes with the name of an experiment"),
        ("cells.py --preset report", "--preset goes with the name of an experiment"),
        ("adder --hidden-size 3", "--input-size and --hidden-size go with a cell"),
        ("adder --passes", "--passes goes with a cell"),
    ],
)
def test_what_check_has_no_use_for_is_refused(words, sentence):
    assert sentence in refused("check", *words.split())


def test_check_of_a_family_covers_its_variants():
    code, out, _ = saiki("check", "gru", "--input-size", 2, "--hidden-size", 2)
    titles = [line for line in out if not line.startswith(" ")]
    assert code == 0
    assert len(titles) == out.count("  passed") >= 4
    assert {"gru", "gru reset before"} <= set(titles)


# Cells of a user's file.

GOOD = """
import torch
from saiki import Cell
from saiki.cells import GRU


class Leaky(Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return 0.9 * h + 0.1 * torch.tanh(self.W(x))


class Borrowed(Leaky):
    def step(self, x, h):
        return torch.sin(self.W(x)) + h
"""


def test_the_cells_of_a_file_are_those_it_defines_and_not_those_it_imports(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    assert [cell.__name__ for cell in cells_in(str(path))] == ["Leaky", "Borrowed"]
    assert [cell.__name__ for cell in cells_in(f"{path}:Borrowed")] == ["Borrowed"]


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        (GOOD, ":Leeky", "defines no cell 'Leeky'; it defines Leaky, Borrowed"),
        (GOOD, ":GRU", "defines no cell 'GRU'; it defines Leaky, Borrowed"),
        ("x = 1\n", "", "defines no subclass of saiki.Cell"),
        ("x = 1\ndef f(:\n", ":f", "(line 2)"),
        ("x = 1\n\ny = x / 0\n", ":f", "does not run: division by zero (line 3)"),
        ("import no_such_module_at_all\n", "", "No module named 'no_such_module_at_all' (line 1)"),
    ],
)
def test_a_file_without_the_cell_is_told_with_what_it_has_or_where_it_breaks(
    tmp_path, text, name, sentence
):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError) as error:
        cells_in(f"{tmp_path / 'mine.py'}{name}")
    assert sentence in str(error.value)


def test_a_batch_is_doubled_but_for_its_whole_numbers():
    batch = (torch.ones(2), (torch.ones(1, dtype=torch.long), torch.tensor([0.1])))
    a, (b, c) = doubled(batch)
    assert (a.dtype, b.dtype, c.dtype) == (torch.float64, torch.long, torch.float64)
    assert c.item() == pytest.approx(0.1, rel=1e-7)
