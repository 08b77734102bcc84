"""Whether data are enough to learn from and to be judged by."""

import pytest

from commands import saiki
from saiki.data.series.sums import Sums
from saiki.experiments.adder import Adder
from saiki.optimisation import Batching
from saiki.runs.enough import too_few
from tiny import TINY


class Counted(Sums):
    """With a number of examples."""

    counts: tuple[int, int]

    def examples(self):
        return self.counts


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((100, 30), []),
        ((99, 30), ["99 examples to learn from are so few that they are learned by heart"]),
        ((1000, 29), ["the final figures are of 29 examples, fewer than 30"]),
        ((1, 1), ["1 example to learn from are so few", "the final figures are of 1 example, "]),
    ],
)
def test_few_examples_are_said_to_be_few(counts, said):
    found = too_few(Counted(Batching(), 8, counts))
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


def test_examples_that_are_drawn_without_end_are_never_few():
    assert too_few(Adder().data) == []


def test_it_is_said_before_the_training(tmp_path):
    code, out, _ = saiki("run", "vae", *TINY["vae"].flags(tmp_path), "--out", tmp_path / "run")
    assert code == 0
    few = [i for i, line in enumerate(out) if "learned by heart" in line or "fewer than 30" in line]
    assert len(few) == 2
    assert max(few) < next(i for i, line in enumerate(out) if line.startswith("layer"))
