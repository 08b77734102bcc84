"""What is said of proofreading, and what decides it."""

from collections.abc import Sequence

from saiki.experiment import Claim, Trial
from saiki.knobs import Value


def _directions(trials: Sequence[Trial]) -> str:
    one, two = (t.mean("f1") for t in trials)
    return f"F1 {one:.3f} in one direction, {two:.3f} in both"


SMALL: dict[str, Value] = {
    "iterations": 1200,
    "layers": 1,
    "learning_rate": 0.006,
    "log_every": 200,
}
"""What teaches something within an hour."""

CLAIMS = (
    Claim(
        "With the same units and updates, reading in both directions finds more mistakes than "
        "reading in one",
        "small",
        ({"bidirectional": False}, {"bidirectional": True}),
        lambda trials: (
            max(trials[0].values("f1")) < min(trials[1].values("f1")),
            _directions(trials),
        ),
    ),
)
