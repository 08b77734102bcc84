"""What is said of variational autoencoders, and what decides it."""

from collections.abc import Mapping, Sequence

from saiki.experiment import Claim, Trial
from saiki.knobs import Value

SMALL: Mapping[str, Value] = {
    "examples": 10_000,
    "epochs": 20.0,
    "learning_rate": 0.003,
    "nll_images": 200,
}
"""The published setting on fewer images, learned faster."""
STRONG: Mapping[str, Value] = {**SMALL, "beta": 4.0}


def _said(trials: Sequence[Trial], figure: str, *knobs: str) -> str:
    """The figure of each trial and its extremes over the seeds."""
    said = []
    for trial in trials:
        values, named = trial.values(figure), ", ".join(f"{k} {trial.knobs[k]}" for k in knobs)
        said.append(
            f"{named}: {figure} {trial.mean(figure):.1f} ({min(values):.1f} to {max(values):.1f})"
        )
    return "; ".join(said)


CLAIMS = (
    Claim(
        "With a beta of 4 at most half as many units stay active as with 1",
        "published",
        (SMALL, STRONG),
        lambda trials: (
            trials[1].mean("active_units") <= trials[0].mean("active_units") / 2,
            _said(trials, "active_units", "beta"),
        ),
    ),
    Claim(
        "Even then at least nine in ten stay active where each has 0.1 nats free",
        "published",
        (STRONG, {**STRONG, "free_bits": 0.1}),
        lambda trials: (
            min(trials[1].values("active_units")) >= 36,
            _said(trials, "active_units", "free_bits"),
        ),
    ),
    Claim(
        "The importance-weighted bound with 5 samples leads to a lower nll than the ELBO",
        "published",
        (SMALL, {**SMALL, "samples": 5}),
        lambda trials: (
            max(trials[1].values("nll")) < min(trials[0].values("nll")),
            _said(trials, "nll", "samples"),
        ),
    ),
)
