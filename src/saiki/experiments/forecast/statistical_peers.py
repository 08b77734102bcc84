"""Exponential smoothing and ARIMA beside a network, on few origins, since they fit each anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from saiki.data.series.origins import Origins
from saiki.experiment import Figures
from saiki.experiments.forecast.judgement import IN_WORDS, Judgement, judge
from saiki.experiments.forecast.model import Simple, season_of
from saiki.experiments.forecast.source import SeriesSource
from saiki.knobs import Knobs, knob
from saiki.metrics.forecasts import mean_of_known
from saiki.models.forecaster import Forecaster
from saiki.models.statistical_forecasts import CLASSES, StatisticalForecast

LONGEST = 24
"""Steps of a season that they are told of; with longer ones a single fit takes minutes."""


@dataclass(frozen=True)
class BesideStatistical:
    """A judgement on few origins."""

    judgement: Judgement

    def figures(self) -> Figures:
        """Of each method its error, and the share of it that the network does without on the same
        origins."""
        found: Figures = {}
        mine = mean_of_known(self.judgement.errors())
        for name in self._known():
            error = mean_of_known(self.judgement.errors(name))
            found[f"mse_{name}"] = error
            found[f"skill_beside_{name}"] = 1 - mine / error if error else None
        return found

    def _known(self) -> Iterator[str]:
        """Those that forecast anything: none does from a past with gaps."""
        for name in CLASSES:
            if not self.judgement.forecasts[name].isnan().all():
                yield name

    def verdicts(self) -> Iterator[str]:
        count = len(self.judgement.truth)
        for name in self._known():
            verdict = self.judgement.compared(name).verdict(IN_WORDS[name])
            yield f"{verdict}, from {count} origins"


Judgements = tuple[Judgement, BesideStatistical | None]
"""Of all origins, and of those few, where they are."""


class StatisticalPeers(Knobs):
    """How many forecasts of statistical models stand beside the network's."""

    statistical: int = knob(
        0, "origins, far apart in what is tested, from which exponential smoothing and ARIMA "
        "forecast as well; each fit takes seconds, and statsforecast does it", minimum=0,
        maximum=10**6,
    )  # fmt: skip

    def check(self) -> None:
        """Whether what forecasts is installed, before anything is trained.

        Raises:
            InputError: it is not.
        """
        if self.statistical:
            StatisticalForecast("arima")

    def judged(
        self,
        model: Forecaster,
        source: SeriesSource,
        test: Origins,
        paths: int,
        calibrated_on: float,
    ) -> BesideStatistical | None:
        """None where nobody asks."""
        if not self.statistical:
            return None
        learned = [
            torch.from_numpy(column.values[: split.train, None])
            for column, split in zip(source.columns, source.splits, strict=True)
        ]
        period = season_of(learned) or 1
        period = period if period <= LONGEST else 1
        forecasts: dict[str, Simple] = {
            name: partial(_of_windows, StatisticalForecast(name, period), test.horizon)
            for name in CLASSES
        }
        span = int((test.origin - test.first()).max()) + 1
        every = max(1, -(-span // self.statistical))
        return BesideStatistical(judge(model, test, every, forecasts, paths, calibrated_on))


def _of_windows(
    forecast: StatisticalForecast, horizon: int, past: Tensor, column: Tensor
) -> Tensor:
    return forecast(past[..., None], horizon)[..., 0]
