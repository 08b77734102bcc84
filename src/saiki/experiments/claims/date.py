"""What is said of dates, and what decides it."""

from collections.abc import Sequence

from saiki.experiment import Claim, Trial


def _right(trial: Trial) -> str:
    return f"{trial.mean('exact_match'):.2%}"


def _better_with_attention(trials: Sequence[Trial]) -> tuple[bool, str]:
    shown = (f"attention {trial.knobs['attention']}: {_right(trial)}" for trial in trials)
    return trials[0].mean("exact_match") > trials[1].mean("exact_match"), ", ".join(shown)


CLAIMS = (
    Claim(
        "At least 99 % of dates are read without a mistake",
        "good",
        ({},),
        lambda trials: (trials[0].mean("exact_match") >= 0.99, _right(trials[0])),
    ),
    Claim(
        "With attention more dates are right than without",
        "good",
        ({}, {"attention": "none"}),
        _better_with_attention,
    ),
)
