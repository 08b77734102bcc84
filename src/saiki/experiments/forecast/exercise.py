"""Forecasts of a series of one's own, how sure they are, and what they are worth."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from saiki import capabilities
from saiki.data.series.origins import Origins, Window
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.forecast import judgement as judging
from saiki.experiments.forecast.answers import (
    draw_ahead,
    exported_forecaster,
    fans_of,
    law_names,
)
from saiki.experiments.forecast.follower import Follower
from saiki.experiments.forecast.judgement import Judgement, StatisticalPeers
from saiki.experiments.forecast.model import LEVELS, ForecastModel, Simple, simple_forecasts
from saiki.experiments.forecast.outlook import Outlook
from saiki.experiments.forecast.source import Batch, SeriesSource, SeriesWindows
from saiki.experiments.groups.comparison import Difference, compare, spread
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics.significance import holm
from saiki.models.forecaster import Forecaster
from saiki.optimisation import Optimisation
from saiki.plots.first_step import draw_first_step
from saiki.plots.forecasts import draw_fans, draw_horizon
from saiki.prediction import Prediction

SCORE, OF_LAST = "mse", "mse_last_value"
PRICES = range(5)
"""Made up from so many seeds: what is said of a price is said of others, too."""
REDUCED: Mapping[str, Value] = {"hidden_size": 64, "epochs": 5.0, "calibrated": False, "every": 4}
"""Of the oil's temperature, so that all claims are decided within an hour."""
HORIZONS = (1, 24, 168)
CELLS = ("rnn", "gru", "lstm")
MEMORIES: tuple[Mapping[str, Value], ...] = tuple(
    {**REDUCED, "cell": cell, "horizon": horizon, "segment": 6}
    for horizon in HORIZONS
    for cell in CELLS
)
"""Of all horizons; each claim asks for all of them, since how sure one may be of a difference
depends on how many others were looked for. The past is 28 segments long."""
LONG: Mapping[str, Value] = {**REDUCED, "horizon": HORIZONS[-1], "every": 24}
ALLOWED = {80: 0.03, 95: 0.02}
"""By how much the share of what came within an interval may miss what it says."""


def _beats_yesterday(trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether a share of the error of the last value is gone, price by price."""
    gained = Difference.of([1 - trial.mean(SCORE) / trial.mean(OF_LAST) for trial in trials])
    verdicts = [value for trial in trials for value in trial.values("better_than_last_value")]
    return gained.is_more, (
        f"without {gained} of the error of the last value over {len(trials)} prices; better is "
        f"said of {sum(verdicts):.0f} of {len(verdicts)} runs"
    )


def _remembers(number: int, trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether both cells with gates have less error than the simple one at this horizon."""
    differences = []
    for at in range(0, len(trials), len(CELLS)):
        simple, *gated = trials[at : at + len(CELLS)]
        differences += [compare(simple, each, SCORE) for each in gated]
    raised = [
        replace(each, p=p)
        for each, p in zip(differences, holm([each.p for each in differences]), strict=True)
    ]  # fmt: skip
    begin = number * len(CELLS)
    mine = raised[number * (len(CELLS) - 1) : (number + 1) * (len(CELLS) - 1)]
    risen = ", ".join(
        f"{cell} more by {each}" for cell, each in zip(CELLS[1:], mine, strict=True)
    )  # fmt: skip
    shown = _shown(trials[begin : begin + len(CELLS)], "cell")
    return all(each.is_less for each in mine), f"{shown}; {risen}, as one of {len(differences)}"


def _shown(trials: Sequence[Trial], knob: str) -> str:
    errors = (f"{trial.knobs[knob]} {spread(trial.values(SCORE))}" for trial in trials)
    return f"{SCORE} {', '.join(errors)}"


def _has_less(knob: str, trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether the first of two settings has less error than the second."""
    risen = compare(trials[1], trials[0], SCORE)
    return risen.is_less, f"{_shown(trials, knob)}; the first has more by {risen}"


def _cover(trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether intervals hold what they say, on the mean over all series and seeds."""
    held, coverages = True, []
    for share, allowed in ALLOWED.items():
        values = [value for trial in trials for value in trial.values(f"coverage_{share}")]
        mean = sum(values) / len(values)
        held = held and abs(mean - share / 100) <= allowed
        coverages.append(f"{share} % intervals cover {spread(values)}")
    return held, ", ".join(coverages)


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
        ({**REDUCED, "calibrated": True},),
        _cover,
    ),
    Claim(
        "An encoder that reads both ways has less error than one that reads forwards",
        "good",
        ({**REDUCED, "bidirectional": True}, REDUCED),
        partial(_has_less, "bidirectional"),
    ),
)


WATCHED = 2000
"""Windows of the validation part that are looked at while it learns, about."""


class Forecasting(
    capabilities.Annotates,
    capabilities.Describes,
    capabilities.Draws,
    capabilities.DrawsAnswers,
    capabilities.Exports,
    capabilities.Folds,
    capabilities.Follows,
    capabilities.Monitors,
    capabilities.Settles,
    Experiment[Forecaster, Batch],
):
    """A recurrent network forecasts the columns of a table, with intervals, and is compared with
    the last value, the season before and a linear map. By default the temperature of a
    transformer's oil, by the hour.
    """

    source: SeriesSource = SeriesSource()
    horizon: int = knob(24, "rows that are forecast", minimum=1, maximum=100_000)
    look_back: int = knob(168, "rows that a forecast is made from", minimum=2, maximum=100_000)
    of_model: ForecastModel = ForecastModel()
    every: int = knob(
        1, "rows from one forecast of what is tested to the next", minimum=1, maximum=10**6
    )
    paths: int = knob(
        200, "continuations that are drawn, where steps go one by one", minimum=2, maximum=100_000
    )
    peers: StatisticalPeers = StatisticalPeers()
    calibrated: bool = knob(
        True, "whether intervals are made as wide as the validation part asks for"
    )
    duration: Epochs = Epochs(epochs=10.0, updates=300)
    optimisation: Optimisation = Optimisation(
        batch_size=64, learning_rate=0.001, schedule="cosine", warmup=0.03, clip_norm=1.0,
        keep="best",
    )  # fmt: skip

    name = "forecast"
    summary = "forecast series of yours, with intervals, and beside doing nothing"
    minutes = 0.5
    score = "skill"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss")
    points = 20
    predict_knobs = ("horizon", "gaps", "dates", "paths", "seed")
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "quick": {"epochs": 3.0, "updates": 100, "most_updates": 400},
        "etth1": {
            "target": "HUFL, HULL, MUFL, MULL, LUFL, LULL, OT", "train": 8640, "validation": 2880.0,
            "test": 2880.0, "horizon": 96, "look_back": 720, "segment": 48, "hidden_size": 256,
            "batch_size": 256, "calendar": False, "initial_scale": 0.03, "average": 0.998,
            "schedule": "constant", "epochs": 6.0, "log_every": 54, "patience": 6,
        },
        "prices": {
            "made": "prices", "scaling": "log-return", "horizon": 5, "look_back": 60, "segment": 5,
            "hidden_size": 32, "calendar": False,
        },
        "demand": {
            "made": "demand", "steps": "one-by-one", "likelihood": "negative_binomial",
            "horizon": 14, "look_back": 56, "hidden_size": 48, "learning_rate": 0.005, "paths": 100,
        },
    }  # fmt: skip
    claims = CLAIMS

    @cached_property
    def data(self) -> SeriesWindows:
        batching = self.optimisation.batching
        return SeriesWindows(batching, self.source, self.look_back, self.horizon)

    def model(self) -> Forecaster:
        self.peers.check()  # what is compared in the end; where it is missing, say so now
        return self.of_model.build(self.source, self.look_back, self.horizon)

    def measure(self, model: Forecaster, batch: Batch) -> Measures:
        return {"loss": model.loss(Window(*batch))}

    @torch.no_grad()
    def monitor(self, model: Forecaster) -> dict[str, float]:
        every = max(1, len(self.data.validation) // WATCHED)
        total, count = 0.0, 0
        for window, rows in self.data.validation.in_order(WATCHED, every):
            total += len(rows) * float(model.loss(Window(*placed(tuple(window), model))))
            count += len(rows)
        return {"validation_loss": total / count}

    def settle(self, model: Forecaster) -> None:
        """Make intervals as wide as the validation part asks for."""
        if self.calibrated:
            every = max(1, len(self.data.validation) // WATCHED)
            judging.calibrate(model, self.data.validation, every, self.paths, self.seed)

    @cached_property
    def simple(self) -> dict[str, Simple]:
        return simple_forecasts(self.source, self.look_back, self.horizon)

    def judgement(self, model: Forecaster, test: Origins | None = None) -> Judgement:
        test = test or self.data.test
        return judging.judge(
            model, test, self.every, self.simple, self.paths, self._calibrated_on(test)
        )

    def _calibrated_on(self, test: Origins) -> float:
        return len(self.data.validation) / len(test) if self.calibrated else 0.0

    def evaluate(self, model: Forecaster) -> Figures:
        judgement = self.judgement(model)
        figures = {
            "skill": judgement.skill(),
            **judgement.figures(judging.seasonal_scales(self.source)),
        }
        for part, splits in self.source.parts_tested():
            figures[f"skill_origin_{part}"] = self.judgement(
                model, self.data.tested(splits)
            ).skill()
        calibrated_on = self._calibrated_on(self.data.test)
        peers = self.peers.judgement(model, self.source, self.data.test, self.paths, calibrated_on)
        self.evaluated[model] = judgement, peers
        return figures | (peers.figures() if peers else {})

    def describe_model(self, model: Forecaster) -> str:
        judgement, peers = self.evaluated.get(model) or (self.judgement(model), None)
        verdicts = [judgement.verdict(), *(peers.verdicts() if peers else ())]
        return "\n".join((*verdicts, *map(judgement.coverage_verdict, judging.SHARES)))

    def draw(self, model: Forecaster, points: Points, folder: Path) -> list[Path]:
        judgement, _ = self.evaluated.get(model) or (self.judgement(model), None)
        fans = fans_of(model, self.source, self.data.test, self.paths, self.calibrated)
        errors, covered = judgement.by_horizon()
        step = judging.first_step(judgement, self.source.columns[0], self.data.test, self.every)
        return [
            draw_fans(folder / "forecasts.png", fans, LEVELS, self.title),
            draw_horizon(folder / "horizon.png", errors, covered, self.title),
            draw_first_step(folder / "first_step.png", step, self.title),
        ]

    def outlook(self, model: Forecaster) -> Outlook:
        return Outlook(model, self.source, self.horizon, self.paths, self.seed)

    def predict(self, model: Forecaster, text: str) -> Prediction:
        return self.outlook(model).prediction(Path(text))

    def follow(
        self, model: Forecaster, inputs: Sequence[str], arriving: Iterable[Sequence[bytes]]
    ) -> Iterator[Prediction | InputError]:
        if len(inputs) > 1:
            raise InputError(f"rows go on with one table, got {len(inputs)} of them")
        follower = Follower(self.outlook(model), *map(Path, inputs))
        for lines in arriving:
            yield from follower.hear(lines)
        yield from follower.end()

    def draw_answers(self, model: Forecaster, texts: Sequence[str], path: Path) -> Path:
        return draw_ahead(self.outlook(model), texts, path, self.title)

    def exported(self, model: Forecaster) -> Mapping[str, tuple[nn.Module, Any]]:
        """All steps at once, scaled back and calibrated; or a step to the law of the next."""
        return {"": exported_forecaster(model)}

    def metadata(self, model: Forecaster) -> dict[str, str]:
        about = ("series", "targets", "known", "observed", "levels")
        law = {"law": to_json(law_names(model))} if law_names(model) else {}
        return {name: to_json(getattr(model, name)) for name in about} | law

    def folds(self, by: str) -> list[dict[str, Value]]:
        if by != "origins" or self.source.origins < 2:
            raise InputError(
                f"{self.name} is cross-validated by origins, 2 at least, as in "
                f"--origins 5 --cross-validate origins"
            )
        return [{"origin": part} for part in range(1, self.source.origins + 1)]

    def equations(self) -> str:
        network = untrained(lambda: self.of_model.network(1, 0, 0, self.horizon))
        return f"{network.equations()}\nE = {self.of_model.error()}"
