"""The preset etth1 at the horizons of the published tables, and the figures as those count them.

Trains the preset at each horizon with each seed, in a folder each, which takes two to four minutes
of one core; what is there already is only evaluated. The mean squared errors are over all windows
of the tested months, and, as ``of_whole_batches``, over those windows alone that come before the
last incomplete batch of 256. The code that published figures of SegRNN and many others come from
left out the rest, which lies at the end, where all forecasts err more (told and mended in SegRNN's
own repository in June 2024; see Qiu et al. 2024, TFB, on "drop last"): only so can they be
compared. A linear map and the means over seeds stand beside them.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path

from saiki.bench.harness import Row
from saiki.cli import main as saiki
from saiki.errors import SaikiError
from saiki.experiments.forecast.judgement import Judgement
from saiki.metrics.forecasts import mean_of_known
from saiki.runs.reopen import reopen

BATCH = 256
PUBLISHED = {96: 0.341, 192: 0.385, 336: 0.401, 720: 0.434}
"""Of SegRNN (Lin et al. 2023), look-back 720, by horizon."""


def trained(folder: Path, horizon: int, seed: int) -> Path:
    run = folder / f"{horizon}-{seed}"
    if not (run / "result.json").exists():
        words = ["--preset", "etth1", "--horizon", str(horizon), "--seed", str(seed)]
        resume = ["--resume"] * (run / "checkpoint").exists()
        if saiki(["run", "forecast", *(resume or words), "--out", str(run)]):
            raise SaikiError(f"{run} could not be trained")
    return run


def errors(judgement: Judgement, name: str = "") -> tuple[float, float]:
    """Mean squared, of all windows and of those in whole batches."""
    every = judgement.errors(name)
    return mean_of_known(every), mean_of_known(every[: len(every) // BATCH * BATCH])


def rows(folder: Path = Path("runs/etth1"), seeds: int = 3) -> Iterator[Row]:
    for horizon, published in PUBLISHED.items():
        losses, coverage, linear = list[tuple[float, float]](), list[float](), (0.0, 0.0)
        for seed in range(seeds):
            experiment, model = reopen(trained(folder, horizon, seed))
            judgement = experiment.judgement(model)
            losses.append(errors(judgement))
            coverage.append(judgement.covered(0.8).share)
            linear = errors(judgement, "linear")
        yield {
            "workload": f"forecast, {horizon} steps",
            "mse": statistics.fmean(of_all for of_all, _ in losses),
            "mse_of_seeds": [of_all for of_all, _ in losses],
            "mse_of_whole_batches": statistics.fmean(whole for _, whole in losses),
            "published": published,
            "mse_linear": linear[0],
            "mse_linear_of_whole_batches": linear[1],
            "coverage_80": statistics.fmean(coverage),
        }
