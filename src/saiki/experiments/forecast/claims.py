"""What is said of forecasts, and what decides it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from saiki.experiment import Claim, Trial
from saiki.experiments.groups.comparison import Difference, compare, spread
from saiki.knobs import Value
from saiki.metrics.significance import holm

SCORE, OF_LAST = "mse", "mse_last_value"
PRICES = range(5)
"""Made up from so many seeds: what is said of a price is said of others, too."""
SMALL: Mapping[str, Value] = {"hidden_size": 64, "epochs": 5.0, "calibrated": False, "every": 4}
"""Of the oil's temperature, so that all claims are decided within an hour."""
HORIZONS = (1, 24, 168)
CELLS = ("rnn", "gru", "lstm")
MEMORIES: tuple[Mapping[str, Value], ...] = tuple(
    {**SMALL, "cell": cell, "horizon": horizon, "segment": 6}
    for horizon in HORIZONS
    for cell in CELLS
)
"""Of all horizons; each claim asks for all of them, since how sure one may be of a difference
depends on how many others were looked for. The past is 28 segments long."""
LONG: Mapping[str, Value] = {**SMALL, "horizon": HORIZONS[-1], "every": 24}
ALLOWED = {80: 0.03, 95: 0.02}
"""By how much the share of what came within an interval may miss what it says."""


def _beats_yesterday(trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether a share of the error of the last value is gone, price by price."""
    gained = Difference.of([1 - trial.mean(SCORE) / trial.mean(OF_LAST) for trial in trials])
    said = [value for trial in trials for value in trial.values("better_than_last_value")]
    return gained.is_more, (
        f"without {gained} of the error of the last value over {len(trials)} prices; better is "
        f"said of {sum(said):.0f} of {len(said)} runs"
    )


def _remembers(number: int, trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether both cells with gates have less error than the simple one at this horizon."""
    found = []
    for at in range(0, len(trials), len(CELLS)):
        simple, *gated = trials[at : at + len(CELLS)]
        found += [compare(simple, each, SCORE) for each in gated]
    raised = [
        replace(each, p=p)
        for each, p in zip(found, holm([each.p for each in found]), strict=True)
    ]  # fmt: skip
    begin = number * len(CELLS)
    mine = raised[number * (len(CELLS) - 1) : (number + 1) * (len(CELLS) - 1)]
    risen = ", ".join(
        f"{cell} more by {each}" for cell, each in zip(CELLS[1:], mine, strict=True)
    )  # fmt: skip
    shown = _shown(trials[begin : begin + len(CELLS)], "cell")
    return all(each.is_less for each in mine), f"{shown}; {risen}, as one of {len(found)}"


def _shown(trials: Sequence[Trial], knob: str) -> str:
    said = (f"{trial.knobs[knob]} {spread(trial.values(SCORE))}" for trial in trials)
    return f"{SCORE} {', '.join(said)}"


def _has_less(knob: str, trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether the first of two settings has less error than the second."""
    risen = compare(trials[1], trials[0], SCORE)
    return risen.is_less, f"{_shown(trials, knob)}; the first has more by {risen}"


def _cover(trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether intervals hold what they say, on the mean over all series and seeds."""
    held, said = True, []
    for share, allowed in ALLOWED.items():
        values = [value for trial in trials for value in trial.values(f"coverage_{share}")]
        mean = sum(values) / len(values)
        held = held and abs(mean - share / 100) <= allowed
        said.append(f"{share} % intervals cover {spread(values)}")
    return held, ", ".join(said)


CLAIMS = (
    Claim(
        "A network that reads the raw price forecasts it better than yesterday's price",
        "prices",
        tuple({"scaling": "none", "made_seed": seed} for seed in PRICES),
        _beats_yesterday,
    ),
    *(
        Claim(
            f"A longer memory helps at horizon {horizon}: GRU and LSTM err less than a simple RNN",
            "good",
            MEMORIES,
            partial(_remembers, number),
        )
        for number, horizon in enumerate(HORIZONS)
    ),
    Claim(
        "At horizon 168 all steps at once have less error than one by one",
        "good",
        (LONG, {**LONG, "steps": "one-by-one", "paths": 50}),
        partial(_has_less, "steps"),
    ),
    Claim(
        "Intervals of made-up prices cover what they say, to 3 and 2 points",
        "prices",
        tuple({"made_seed": seed} for seed in PRICES),
        _cover,
    ),
    Claim(
        "So do those of the oil's temperature, whose tested months are others than those that "
        "validate",
        "good",
        ({**SMALL, "calibrated": True},),
        _cover,
    ),
    Claim(
        "An encoder that reads both ways has less error than one that reads forwards",
        "good",
        ({**SMALL, "bidirectional": True}, SMALL),
        partial(_has_less, "bidirectional"),
    ),
)
