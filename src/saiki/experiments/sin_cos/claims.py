"""What is said of writing one series for another, and what decides it."""

from collections.abc import Sequence

from saiki.experiment import Claim, Trial

SCORED = "free_running_rmse"


def _ratios(trial: Trial) -> list[float]:
    """The error of running free over that with teacher forcing, of each seed."""
    forced = trial.values("teacher_forced_rmse")
    return [free / told for free, told in zip(trial.values(SCORED), forced, strict=True)]


def _errors(trials: Sequence[Trial], *knobs: str) -> str:
    """The error of running free, its extremes, and that with teacher forcing, of each trial."""
    said = []
    for trial in trials:
        values = trial.values(SCORED)
        named = "".join(f"{knob} {trial.knobs[knob]}: " for knob in knobs)
        said.append(
            f"{named}{trial.mean(SCORED):.4f} ({min(values):.4f} to {max(values):.4f}) free, "
            f"{trial.mean('teacher_forced_rmse'):.4f} with teacher forcing"
        )
    return "; ".join(said)


CLAIMS = (
    Claim(
        "Running free errs at least 1.5 times as much as teacher forcing shows",
        "report",
        ({},),
        lambda trials: (min(_ratios(trials[0])) >= 1.5, _errors(trials)),
    ),
    Claim(
        "Ten times as many epochs of teacher forcing bring that below 1.5 times",
        "report",
        ({"epochs": 800.0},),
        lambda trials: (max(_ratios(trials[0])) < 1.5, _errors(trials)),
    ),
    Claim(
        "Scheduled sampling at least halves the error of running free in as many epochs",
        "report",
        ({}, {"forcing_schedule": "linear"}),
        lambda trials: (
            trials[1].mean(SCORED) <= trials[0].mean(SCORED) / 2,
            _errors(trials, "forcing_schedule"),
        ),
    ),
    Claim(
        "Without any teacher forcing as many epochs do as well as with scheduled sampling",
        "report",
        ({"teacher_forcing": 0.0}, {"forcing_schedule": "linear"}),
        lambda trials: (
            trials[0].mean(SCORED) <= trials[1].mean(SCORED),
            _errors(trials, "teacher_forcing"),
        ),
    ),
    Claim(
        "The preset good runs free with an error of at most 0.02, with every seed",
        "good",
        ({},),
        lambda trials: (max(trials[0].values(SCORED)) <= 0.02, _errors(trials)),
    ),
    Claim(
        "From a sine with noise of 0.1 it writes the cosine with an error below half of that",
        "good",
        ({"noise": 0.1},),
        lambda trials: (max(trials[0].values(SCORED)) < 0.05, _errors(trials)),
    ),
)
