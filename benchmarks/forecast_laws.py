"""Laws of the next value beside ``RNNModel`` of darts (pip install u8darts pytorch-lightning), with
the same layer, law, windows, batches and number of epochs.

Both learn from the first part of ETTh1's temperature of the oil and forecast a day ahead from every
24th hour of the last, by as many paths; each otherwise as it comes, ours with its schedule, its
choice of the best epoch and its reading of changes. The CRPS of the same quantiles of both counts
in deviations of what is learned from; beside it the seconds of training.
"""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.models import RNNModel
from darts.utils.likelihood_models.torch import GaussianLikelihood

from saiki.bench.harness import Row
from saiki.experiments.forecast.exercise import Forecasting
from saiki.experiments.forecast.model import LEVELS
from saiki.metrics.forecasts import crps_of_quantiles, mean_of_known
from saiki.training.loop import Training

STEPWISE: dict[str, Any] = {
    "steps": "one-by-one", "likelihood": "gaussian", "cell": "lstm", "hidden_size": 64,
    "horizon": 24, "look_back": 168, "batch_size": 64, "learning_rate": 0.001, "calendar": False,
    "every": 24, "paths": 200, "calibrated": False, "epochs": 5.0, "device": "cpu",
}  # fmt: skip


def rows(seeds: int = 3) -> Iterator[Row]:
    runs: dict[str, list[tuple[float, float]]] = {"saiki": [], "darts": []}
    for seed in range(seeds):
        for name, run in (("saiki", by_saiki), ("darts", by_darts)):
            runs[name].append(run(seed))
    medians = {name: statistics.median(s for s, _ in each) for name, each in runs.items()}
    yield {
        "workload": f"forecast, laws, {seeds} seeds",
        "seconds": medians,
        "ratio": {"darts": medians["darts"] / medians["saiki"]},
        "crps": {name: statistics.mean(crps for _, crps in each) for name, each in runs.items()},
        "runs": runs,
    }


def by_saiki(seed: int) -> tuple[float, float]:
    experiment = Forecasting(seed=seed, **STEPWISE)
    experiment.data.train  # noqa: B018 - what is read is not timed
    torch.manual_seed(seed)
    model = experiment.model()
    started = time.perf_counter()
    Training(experiment, model).run(lambda point: None)
    seconds = time.perf_counter() - started
    crps = experiment.evaluate(model)["crps"]
    assert isinstance(crps, float)
    return seconds, crps


def by_darts(seed: int) -> tuple[float, float]:
    experiment = Forecasting(seed=seed, **STEPWISE)
    [column], [split] = experiment.source.columns, experiment.source.splits
    mean, deviation = (f(column.values[: split.train]) for f in (np.mean, np.std))
    z = ((column.values - mean) / deviation).astype(np.float32)
    look_back, horizon = experiment.look_back, experiment.horizon
    model = RNNModel(
        input_chunk_length=look_back, model="LSTM", hidden_dim=64, n_rnn_layers=1,
        training_length=look_back + horizon - 1, batch_size=64, n_epochs=5,
        optimizer_kwargs={"lr": 0.001}, likelihood=GaussianLikelihood(), random_state=seed,
        pl_trainer_kwargs={
            "accelerator": "cpu", "enable_progress_bar": False, "logger": False,
            "enable_checkpointing": False, "enable_model_summary": False,
        },
    )  # fmt: skip
    started = time.perf_counter()
    model.fit(TimeSeries.from_values(z[: split.train]))
    seconds = time.perf_counter() - started
    origins = experiment.data.test.origin[::24]
    series = [TimeSeries.from_values(z[:t][-look_back:]) for t in origins]
    paths = model.predict(horizon, series=series, num_samples=experiment.paths, verbose=False)
    samples = np.stack([each.all_values()[:, 0] for each in paths])
    quantiles = torch.from_numpy(np.quantile(samples, LEVELS, -1).transpose(1, 2, 0)).float()
    truth = torch.from_numpy(np.stack([z[t : t + horizon] for t in origins]))
    return seconds, mean_of_known(crps_of_quantiles(quantiles, LEVELS, truth))
