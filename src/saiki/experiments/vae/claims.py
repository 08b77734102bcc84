"""What is said of variational autoencoders, and what decides it."""

from collections.abc import Mapping, Sequence

from saiki.experiment import Claim, Trial
from saiki.experiments.groups.comparison import Difference, compare, in_every_seed, spread
from saiki.knobs import Value

SMALL: Mapping[str, Value] = {
    "examples": 10_000,
    "epochs": 20.0,
    "learning_rate": 0.003,
    "nll_images": 200,
}
"""The published setting on fewer images, learned faster."""
STRONG: Mapping[str, Value] = {**SMALL, "beta": 4.0}


KEPT = 36
"""Nine in ten of the 40 units."""


def _said(trials: Sequence[Trial], figure: str, knob: str) -> str:
    """The figure of each trial, with its spread over the seeds."""
    return "; ".join(
        f"{knob} {trial.knobs[knob]}: {figure} {spread(trial.values(figure))}" for trial in trials
    )


def _halves_the_units(trials: Sequence[Trial]) -> tuple[bool, str]:
    weak, strong = (trial.values("active_units") for trial in trials)
    beyond = Difference.of([b - a / 2 for a, b in zip(weak, strong, strict=True)])
    return beyond.is_less, f"{_said(trials, 'active_units', 'beta')}; beyond half of them {beyond}"


def _lowers_the_nll(trials: Sequence[Trial]) -> tuple[bool, str]:
    one, several = trials
    risen = compare(one, several, "nll")
    return risen.is_less, f"{_said(trials, 'nll', 'samples')}; risen by {risen}"


CLAIMS = (
    Claim(
        "With a beta of 4 fewer than half as many units stay active as with 1",
        "published",
        (SMALL, STRONG),
        _halves_the_units,
    ),
    Claim(
        "Even then at least nine in ten stay active where each has 0.1 nats free",
        "published",
        (STRONG, {**STRONG, "free_bits": 0.1}),
        lambda trials: (
            in_every_seed(trials[1:], "active_units", lambda units: units >= KEPT),
            _said(trials, "active_units", "free_bits"),
        ),
    ),
    Claim(
        "The importance-weighted bound with 5 samples leads to a lower nll than the ELBO",
        "published",
        (SMALL, {**SMALL, "samples": 5}),
        _lowers_the_nll,
    ),
)
