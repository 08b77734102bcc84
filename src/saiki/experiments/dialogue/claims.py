"""What is said of dialogues, and what decides it."""

from collections.abc import Mapping, Sequence

from saiki.experiment import Claim, Trial
from saiki.experiments.groups.comparison import Difference, compare, in_every_seed, spread
from saiki.knobs import Value

TURNS = (2, 3, 5, 8)
"""Turns before a reply at which the worth of context is told."""
USED, UNUSED = 1.0, 0.1
"""Nats a reply, from which on a latent variable says something and below which it says nothing."""
HELD: Mapping[str, Value] = {"model": "vhred", "word_drop": 0.1}
"""All that keeps the latent variable in use."""
FREE: Mapping[str, Value] = {"model": "vhred", "annealing": 0.0, "free_bits": 0.0}
"""Nothing that does."""


def _context_helps(trials: Sequence[Trial]) -> tuple[bool, str]:
    gained = {}
    for turn in TURNS:
        plain, with_context = (trial.values(f"perplexity_at_{turn}") for trial in trials)
        pairs = zip(plain, with_context, strict=True)
        gained[turn] = Difference.of([100 * (1 - after / before) for before, after in pairs])
    said = ", ".join(f"after {turn} turns by {difference} %" for turn, difference in gained.items())
    return all(difference.is_more for difference in gained.values()), f"lower {said}"


def _less_alike(trials: Sequence[Trial]) -> tuple[bool, str]:
    names = ("distinct_2", "most_frequent", "mean_length")
    said = "; ".join(
        f"{trial.knobs['model']}: "
        + ", ".join(f"{name} {spread(trial.values(name))}" for name in names)
        for trial in trials
    )
    hred, vhred = trials
    difference = compare(hred, vhred, "distinct_2")
    return difference.is_more, f"{said}; {difference} pairs"


def _collapses(trials: Sequence[Trial]) -> tuple[bool, str]:
    held, free = trials
    nats = [spread(trial.values("kl")) for trial in trials]
    said = f"KL with them {nats[0]} nats a reply, without {nats[1]}"
    is_used = in_every_seed([held], "kl", lambda kl: kl >= USED)
    return is_used and in_every_seed([free], "kl", lambda kl: kl <= UNUSED), said


SMALL: dict[str, Value] = {
    "hidden_size": 128,
    "embedding_size": 96,
    "vocabulary": 3000,
    "epochs": 2.0,
    "learning_rate": 0.008,
}
"""What teaches something within an hour."""

CLAIMS = (
    Claim(
        "What was said before the last turn lowers the perplexity of the reply, after 2, 3, 5 and "
        "8 turns",
        "small",
        ({"model": "seq2seq"}, {"model": "hred"}),
        _context_helps,
    ),
    Claim(
        "Replies drawn with a latent variable are less alike: they have more different pairs of "
        "words",
        "small",
        ({"model": "hred"}, {"model": "vhred"}),
        _less_alike,
    ),
    Claim(
        "Without annealing, free bits and word drop the posterior of the latent variable is "
        "its prior, 0.1 nats a reply at most; with them it tells 1 nat at least",
        "small",
        (HELD, FREE),
        _collapses,
    ),
)
