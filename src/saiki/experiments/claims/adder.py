"""What is said of the adder, and what decides it."""

from collections.abc import Sequence

from saiki.experiment import Claim, Trial

EXPLODED = 100.0
"""A hidden state beyond this saturates the output: its bits are 0 or 1 whatever the weights do."""


def _learns(trial: Trial) -> bool:
    return trial.mean("exact_sum_rate") >= 0.99


def _fails(trial: Trial) -> bool:
    """Fewer than half of the runs learnt."""
    learnt = [value >= 0.99 for value in trial.values("exact_sum_rate")]
    return sum(learnt) < len(learnt) / 2


def _explodes(trial: Trial) -> bool:
    """In more than half of the runs the state exploded before the units died."""
    exploded = [value > EXPLODED for value in trial.values("state_peak")]
    dead = [value > 0.9 for value in trial.values("dead_units")]
    return sum(exploded) > len(exploded) / 2 and sum(dead) < len(dead) / 2


def _explosion(trial: Trial) -> str:
    at = [f"{step:.0f}" for step in trial.values("state_exploded_at") if step == step]
    return (
        f"{_rates([trial])}; |h| reaches {max(trial.values('state_peak')):.0e} and passes "
        f"{EXPLODED:g} by iteration {', '.join(at) or 'none'}; "
        f"{trial.mean('dead_units'):.0%} of the units are dead at the end"
    )


def _rates(trials: Sequence[Trial], *varied: str) -> str:
    """The rate of each trial, with its extremes over the seeds."""
    return "exact_sum_rate " + ", ".join(
        ", ".join(f"{name} {trial.knobs[name]}" for name in varied)
        + (": " if varied else "")
        + "{:.3f} ({:.3f} to {:.3f})".format(
            trial.mean("exact_sum_rate"),
            min(trial.values("exact_sum_rate")),
            max(trial.values("exact_sum_rate")),
        )
        for trial in trials
    )


CLAIMS = (
    Claim(
        "With sigmoid it learns",
        "report",
        ({},),
        lambda trials: (_learns(trials[0]), _rates(trials)),
    ),
    Claim(
        "With ReLU at the same settings it fails, because the hidden state explodes",
        "report",
        ({"activation": "relu"},),
        lambda trials: (_fails(trials[0]) and _explodes(trials[0]), _explosion(trials[0])),
    ),
    Claim(
        "With tanh at the same settings, and the true gradient, it does not converge",
        "report",
        ({"activation": "tanh"},),
        lambda trials: (_fails(trials[0]), _rates(trials)),
    ),
    Claim(
        "With tanh, a smaller learning rate and enough iterations it learns",
        "report",
        (
            {"activation": "tanh", "learning_rate": 0.1},
            {"activation": "tanh", "learning_rate": 0.05},
            {"activation": "tanh", "learning_rate": 0.02},
            {"activation": "tanh", "learning_rate": 0.01},
            {"activation": "tanh", "learning_rate": 0.02, "iterations": 30_000},
        ),
        lambda trials: (
            any(map(_learns, trials)),
            _rates(trials, "learning_rate", "iterations"),
        ),
    ),
    Claim(
        "Without biases tanh cannot bring the loss below 1/24, and with biases it can",
        "report",
        tuple(
            {"activation": "tanh", "learning_rate": 0.02, "iterations": 30_000, "bias": bias}
            for bias in (False, True)
        ),
        lambda trials: (
            min(trials[0].values("loss")) > 0.95 / 24 > trials[1].mean("loss"),
            "loss " + ", ".join(f"{t.knobs['bias']}: {t.mean('loss'):.4f}" for t in trials),
        ),
    ),
    Claim(
        "Clipping the norm of the gradient at 1 rescues ReLU",
        "report",
        ({"activation": "relu", "clip_norm": 1.0},),
        lambda trials: (_learns(trials[0]), _rates(trials)),
    ),
    Claim(
        "Clipping each entry of the gradient at 0.5 rescues ReLU",
        "report",
        ({"activation": "relu", "clip_value": 0.5},),
        lambda trials: (_learns(trials[0]), _rates(trials)),
    ),
    Claim(
        "With the wrong derivative tanh fails to learn",
        "report",
        ({"activation": "tanh", "wrong_derivative": True}, {"activation": "tanh"}),
        lambda trials: (_fails(trials[0]), _rates(trials, "wrong_derivative")),
    ),
)
