"""What is said of the codes of sentences, and what decides it."""

from collections.abc import Mapping, Sequence

from saiki.experiment import Claim, Trial
from saiki.experiments.groups.comparison import Difference, compare, in_every_seed, spread
from saiki.knobs import Value

USED, UNUSED = 1.0, 0.1
"""Nats a sentence, from which on a code says something and below which it says nothing."""
DEAR = 5.0
"""Per cent by which the perplexity may be above that of the language model."""
FREE: Mapping[str, Value] = {"annealing": 0.0, "free_bits": 0.0, "word_dropout": 0.0}
"""Nothing that keeps the code in use."""
PLAIN: Mapping[str, Value] = {"latent_size": 0, "word_dropout": 0.0}
"""The decoder alone."""


def _collapses(trials: Sequence[Trial]) -> tuple[bool, str]:
    used, free = trials
    nats = [spread(trial.values("kl")) for trial in trials]
    said = f"KL with them {nats[0]} nats a sentence, without {nats[1]}"
    is_used = in_every_seed([used], "kl", lambda kl: kl >= USED)
    return is_used and in_every_seed([free], "kl", lambda kl: kl <= UNUSED), said


def _comes_back(trials: Sequence[Trial]) -> tuple[bool, str]:
    plain, coded = trials
    shares = [spread(trial.values("reconstruction_accuracy")) for trial in trials]
    gained = compare(plain, coded, "reconstruction_accuracy")
    return gained.is_more, f"with a code {shares[1]}, without {shares[0]}; more by {gained}"


def _costs_little(trials: Sequence[Trial]) -> tuple[bool, str]:
    plain, coded = (trial.values("perplexity") for trial in trials)
    dearer = [100 * (b / a - 1) for a, b in zip(plain, coded, strict=True)]
    beyond = Difference.of([percent - DEAR for percent in dearer])
    said = f"with a code {spread(coded)}, without {spread(plain)}, above by {spread(dearer)} %"
    return beyond.is_less, f"{said}; beyond {DEAR:g} % {beyond}"


CLAIMS = (
    Claim(
        "Without annealing, free bits and word dropout the posterior of a code is its prior, 0.1 "
        "nats a sentence at most; with them it tells 1 nat at least",
        "small",
        ({}, FREE),
        _collapses,
    ),
    Claim(
        "With a code more of the words of a sentence come back at their place than the language "
        "model says by itself",
        "small",
        (PLAIN, {}),
        _comes_back,
    ),
    Claim(
        "A code that is used costs less than 5 % of perplexity beside the language model of the "
        "same decoder",
        "small",
        (PLAIN, {}),
        _costs_little,
    ),
)
