"""What is said before a training: the layers, counted by hand, and whether data are enough."""

import pytest
import torch
from torch import nn

from commands import saiki
from saiki import Bidirectional
from saiki.cells import LSTM
from saiki.data.series.sums import Sums
from saiki.experiments.adder import Adder
from saiki.models import SequenceClassifier
from saiki.nn.mel import Samples
from saiki.optimisation import Batching
from saiki.runs.summary import summary, too_few
from tiny import TINY


class Late(nn.Module):
    """Registers in another order than it runs, and one module that it never runs."""

    def __init__(self):
        super().__init__()
        self.readout = nn.Linear(5, 2)
        self.unused = nn.Linear(7, 3, bias=False)
        self.dropout = nn.Dropout(0.9)
        self.first = nn.GRU(3, 5, batch_first=True)

    def forward(self, x, shift=0.0):
        return self.readout(self.dropout(self.first(x + shift)[0]))


def rows(table):
    return [line.split() for line in table.splitlines()]


def test_the_modules_come_in_the_order_they_run_and_what_does_not_run_last():
    table = rows(summary(Late(), torch.randn(4, 6, 3)))
    assert table == [
        ["layer", "kind", "output", "parameters"],
        ["first", "GRU", "(batch,", "6,", "5)", "150"],  # 3 · 5 · (3 + 5 + 2)
        ["readout", "Linear", "(batch,", "6,", "2)", "12"],
        ["unused", "Linear", "–", "21"],
        ["183"],
    ]


def test_a_model_without_parts_is_one_itself():
    table = rows(summary(nn.Linear(3, 2), torch.randn(4, 3)))
    assert table[1:] == [["model", "Linear", "(batch,", "2)", "8"], ["8"]]


def test_the_model_of_the_report_in_full():
    model = SequenceClassifier(
        Samples(1000), [str(d) for d in range(10)], Bidirectional(LSTM(1, 64)), "last"
    )
    assert summary(model, (torch.randn(3, 900), torch.tensor([900, 700, 1]))) == (
        "layer      kind           output              parameters\n"
        "features   Samples        (batch, 1000, 1)             0\n"
        "recurrent  Bidirectional  (batch, 1000, 128)      33,792\n"
        "pooling    LastPooling    (batch, 128)                 0\n"
        "readout    Linear         (batch, 10)              1,290\n"
        "                                                  35,082"
    )


def test_a_tuple_is_the_arguments_of_the_model():
    model, x = Late(), torch.randn(1, 2, 3)
    seen = []
    model.first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    table = summary(model, (x, 2.0))
    assert torch.equal(seen[0], x + 2)
    assert "(batch, 2, 5)" in table


def test_the_numbers_line_up_on_the_right():
    lines = summary(Late(), torch.randn(4, 6, 3)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].strip() == "183"


def test_the_model_is_left_as_it_was():
    for training in (True, False):
        model = Late().train(training)
        seen = []
        model.dropout.register_forward_hook(lambda m, _i, _o: seen.append(m.training))  # noqa: B023
        x = torch.randn(4, 6, 3)
        summary(model, x)
        assert seen == [False]  # nothing is drawn, so the random numbers of a run stay the same
        assert model.training is training
        assert model.dropout.training is training
        assert not model.first._forward_hooks
        assert len(model.dropout._forward_hooks) == 1


def test_the_model_is_left_as_it_was_where_it_cannot_run():
    model = Late()
    with pytest.raises(RuntimeError):
        summary(model, torch.randn(4, 6, 99))
    assert model.training
    assert not model.readout._forward_hooks


class Counted(Sums):
    """With a number of examples."""

    counts: tuple[int, int]

    def examples(self):
        return self.counts


@pytest.mark.parametrize(
    ("counts", "sentences"),
    [
        ((100, 30), []),
        ((99, 30), ["99 examples to learn from are so few that they are learned by heart"]),
        ((1000, 29), ["the final figures are of 29 examples, fewer than 30"]),
        ((1, 1), ["1 example to learn from are so few", "the final figures are of 1 example, "]),
    ],
)
def test_few_examples_are_said_to_be_few(counts, sentences):
    remarks = too_few(Counted(Batching(), 8, counts))
    assert len(remarks) == len(sentences)
    assert all(line.startswith(start) for line, start in zip(remarks, sentences, strict=True))


def test_examples_that_are_drawn_without_end_are_never_few():
    assert too_few(Adder().data) == []


def test_it_is_said_before_the_training(tmp_path):
    code, out, _ = saiki("run", "vae", *TINY["vae"].flags(tmp_path), "--out", tmp_path / "run")
    assert code == 0
    few = [i for i, line in enumerate(out) if "learned by heart" in line or "fewer than 30" in line]
    assert len(few) == 2
    assert max(few) < next(i for i, line in enumerate(out) if line.startswith("layer"))
