"""What is said of sentences, and what decides it."""

from collections.abc import Sequence

from saiki.experiment import Claim, Trial

SCORE, MEAN = "macro_f1", "mean_vector_macro_f1"


def _share(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _layers(trials: Sequence[Trial]) -> tuple[bool, str]:
    [trial] = trials
    ours, plain = trial.values(SCORE), trial.values(MEAN)
    said = f"macro-F1 {_share(ours)}, of the mean vector {_share(plain)}"
    gained = trial.mean(SCORE) - trial.mean(MEAN)
    return gained >= 0.03, f"{said}, of the majority {trial.mean('majority_macro_f1'):.3f}"


def _better(what: Sequence[str], trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether each seed of the first trial is better than all of the second."""
    first, second = (trial.values(SCORE) for trial in trials)
    said = ", ".join(f"{its} {_share(v)}" for its, v in zip(what, (first, second), strict=True))
    return min(first) > max(second), f"macro-F1 {said}"


def _lower_loss(trials: Sequence[Trial]) -> tuple[bool, str]:
    both, alone = (trial.values("test_loss") for trial in trials)
    f1 = ", ".join(f"{trial.mean(SCORE):.3f}" for trial in trials)
    said = f"loss with both {_share(both)}, with vectors alone {_share(alone)}"
    return max(both) < min(alone), f"{said}; macro-F1 {f1}"


CLAIMS = (
    Claim(
        "Recurrent layers over the words are at least 3 points of macro-F1 better than a logistic "
        "regression over the mean of the same vectors",
        "good",
        ({},),
        _layers,
    ),
    Claim(
        "Words that are looked up by their norms are understood better than as they stand",
        "good",
        ({}, {"norms": False}),
        lambda trials: _better(("by norms", "as they stand"), trials),
    ),
    Claim(
        "With vectors that exist already it is better than with features learned from scratch",
        "good",
        ({}, {"vectors": "scratch", "embedding_size": 300}),
        lambda trials: _better(("with vectors", "from scratch"), trials),
    ),
    Claim(
        "Features that are learned beside the vectors lower the loss of what is tested, as "
        "different words share a vector",
        "good",
        ({}, {"embedding_size": 0}),
        _lower_loss,
    ),
)
