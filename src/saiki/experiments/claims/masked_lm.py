"""What is said of masked words, and what decides it."""

import itertools
from collections.abc import Sequence

from saiki.experiment import Claim, Trial


def _judge(trials: Sequence[Trial]) -> tuple[bool, str]:
    both, one = (trial.values("dev_perplexity") for trial in trials)
    unigram = trials[0].mean("unigram_perplexity")
    figures = (
        f"perplexity with both directions {_mean_and_range(both)}, with one "
        f"{_mean_and_range(one)}, of the unigram model {unigram:.1f}"
    )
    pairs = itertools.product(both, one)
    return all(b < o < unigram for b, o in pairs), figures


def _mean_and_range(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


CLAIMS = (
    Claim(
        "With both directions the perplexity is lower than with one, and with one lower than "
        "that of a unigram model",
        "small",
        ({}, {"bidirectional": False}),
        _judge,
    ),
)
