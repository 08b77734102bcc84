"""What is said of translation, and what decides it."""

from collections.abc import Sequence

from saiki.experiment import Claim, Trial
from saiki.metrics.bleu import BY_LENGTH


def _falls(trial: Trial) -> float:
    """BLEU of sentences of 7 to 9 tokens less that of those of 13 to 15; the corpus has more than a
    hundred of both to develop."""
    middle, long = (trial.mean(f"{BY_LENGTH}{name}") for name in ("7_to_9", "13_to_15"))
    return middle - long


def _scores(trials: Sequence[Trial], knob: str) -> str:
    return ", ".join(
        f"{trial.knobs[knob]} {trial.mean('dev_bleu'):.1f} ({trial.mean('seconds'):.0f} s)"
        for trial in trials
    )


def _attention_mends(trials: Sequence[Trial]) -> tuple[bool, str]:
    with_it, without = trials
    return with_it.mean("dev_bleu") > without.mean("dev_bleu") and _falls(with_it) < _falls(
        without
    ), ", ".join(
        f"attention {trial.knobs['attention']} {trial.mean('dev_bleu'):.1f}, "
        f"falls by {_falls(trial):.1f}"
        for trial in trials
    )


CLAIMS = (
    Claim(
        "Without attention BLEU falls with the length of the sentence, and attention mends it",
        "small",
        ({}, {"attention": "none"}),
        _attention_mends,
    ),
    Claim(
        "Reading the mean of all positions is better than choosing one of them by REINFORCE",
        "small",
        ({}, {"choice": "reinforce"}, {"choice": "gumbel"}),
        lambda trials: (
            trials[0].mean("dev_bleu") > trials[1].mean("dev_bleu"),
            _scores(trials, "choice"),
        ),
    ),
    Claim(
        "Beam search with 5 hypotheses is better than greedy decoding",
        "small",
        ({},),
        lambda trials: (
            trials[0].mean("dev_bleu") > trials[0].mean("dev_bleu_greedy"),
            f"{trials[0].mean('dev_bleu'):.1f} and {trials[0].mean('dev_bleu_greedy'):.1f}",
        ),
    ),
    Claim(
        "Cells with gates translate better than a simple recurrent network",
        "small",
        tuple({"cell": cell} for cell in ("rnn", "lstm", "gru", "peephole")),
        lambda trials: (
            all(trial.mean("dev_bleu") > trials[0].mean("dev_bleu") for trial in trials[1:]),
            _scores(trials, "cell"),
        ),
    ),
)
