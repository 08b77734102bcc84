"""Networks that forecast, beside the same networks of others, in one process.

    SAIKI_DATA=… python benchmarks/forecast.py together --json benchmarks/results/forecast.json
    SAIKI_DATA=… python benchmarks/forecast.py one-by-one --json benchmarks/results/forecast.json

``together``: an update of the preset etth1 (forward, backward, clipping, Adam), and of the same
network written with ``torch.nn.GRU``, from the same batches in turn; medians of interleaved
repeats.

``one-by-one``: the network of laws beside ``RNNModel`` of darts (pip install u8darts
pytorch-lightning) with the same layer, law, windows, batches and number of epochs. Both learn from
the first part of ETTh1's temperature of the oil and forecast a day ahead from every 24th hour of
the last, by as many paths; each otherwise as it comes, ours with its schedule, its choice of the
best epoch and its reading of changes. The CRPS of the same quantiles of both counts in deviations
of what is learned from; beside it the seconds of training. Each is trained ``--seeds`` times.

Without darts the second says so and ends with 2.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.bench.harness import machine
from saiki.bench.updates import in_words, updates
from saiki.data.series.origins import Window
from saiki.experiments.forecast.exercise import Forecasting
from saiki.experiments.forecast.model import LEVELS
from saiki.metrics.forecasts import crps_of_quantiles, mean_of_known
from saiki.models.segment_forecaster import BESIDE
from saiki.training.loop import Training

BATCHES = 4
"""Each repeat does all of them."""
STEPWISE: dict[str, Any] = {
    "steps": "one-by-one", "likelihood": "gaussian", "cell": "lstm", "hidden_size": 64,
    "horizon": 24, "look_back": 168, "batch_size": 64, "learning_rate": 0.001, "calendar": False,
    "every": 24, "paths": 200, "calibrated": False, "epochs": 5.0, "device": "cpu",
}  # fmt: skip


class Peer(nn.Module):
    """SegRNN with quantiles as one writes it with PyTorch."""

    def __init__(self, experiment: Forecasting) -> None:
        super().__init__()
        knobs, size = experiment.of_model, experiment.of_model.recurrent.hidden_size
        self.segment, self.horizon = knobs.segment, experiment.horizon
        self.segments = -(-experiment.horizon // knobs.segment)
        self.embed = nn.Linear(knobs.segment, size)
        self.rnn = nn.GRU(size, size, batch_first=True)
        self.position = nn.Parameter(torch.randn(self.segments, size // 2))
        self.column = nn.Embedding(1 + len(experiment.source.columns), size - size // 2)
        self.drop = nn.Dropout(knobs.dropout)
        self.readout = nn.Linear(size, knobs.segment)
        others = knobs.segment * (len(LEVELS) - 1)
        self.beside = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, others))
        deviations = [
            np.nanstd(column.values[: split.train])
            for column, split in zip(
                experiment.source.columns, experiment.source.splits, strict=True
            )
        ]
        self.register_buffer("deviation", torch.tensor([1.0, *deviations], dtype=torch.float32))

    def forward(self, window: Window) -> Tensor:
        rows, last = len(window.past), window.past[:, -1:]
        deviation = self.deviation[window.column][:, None]
        z = (window.past - last) / deviation
        _, h = self.rnn(F.relu(self.embed(z.view(rows, -1, self.segment))))
        column = self.column(window.column)[:, None].expand(-1, self.segments, -1)
        queries = torch.cat((self.position.expand(rows, -1, -1), column), -1)
        start = h.repeat_interleave(self.segments, 1)
        o, _ = self.rnn(queries.flatten(0, 1)[:, None], start)
        o = self.drop(o[:, 0])
        middle = self.readout(o).view(rows, -1, 1)
        beside = middle.detach() + self.beside(o).view(*middle.shape[:2], -1)
        low, high = beside.chunk(2, -1)
        y = torch.cat((low, middle, high), -1)[:, : self.horizon]
        error = ((window.future - last) / deviation)[..., None] - y
        levels = y.new_tensor(LEVELS)
        weights = torch.where(levels == 0.5, 1.0, BESIDE)
        each = torch.maximum(levels * error, (levels - 1) * error)
        return (each @ (weights / weights.sum())).mean()


def together(horizon: int, repeats: int) -> dict[str, Any]:
    preset = Forecasting.preset("etth1")
    experiment = Forecasting(**(preset | {"horizon": horizon, "device": "cpu"}))
    batches = [*itertools.islice(experiment.data.batches(experiment.seed), BATCHES)]
    torch.manual_seed(0)
    ours, peer = experiment.model(), Peer(experiment)
    found = updates(experiment, ours, peer, lambda batch: peer(Window(*batch)), batches, repeats)
    print(f"horizon {horizon}: {in_words(found)}", flush=True)
    return {"horizon": horizon, **found}


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
    from darts import TimeSeries
    from darts.models import RNNModel
    from darts.utils.likelihood_models.torch import GaussianLikelihood

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
    drawn = model.predict(horizon, series=series, num_samples=experiment.paths, verbose=False)
    samples = np.stack([each.all_values()[:, 0] for each in drawn])
    quantiles = torch.from_numpy(np.quantile(samples, LEVELS, -1).transpose(1, 2, 0)).float()
    truth = torch.from_numpy(np.stack([z[t : t + horizon] for t in origins]))
    return seconds, mean_of_known(crps_of_quantiles(quantiles, LEVELS, truth))


def one_by_one(seeds: int) -> dict[str, Any]:
    found: dict[str, list[tuple[float, float]]] = {"saiki": [], "darts": []}
    for seed in range(seeds):
        for name, run in (("saiki", by_saiki), ("darts", by_darts)):
            found[name].append(run(seed))
            seconds, crps = found[name][-1]
            print(f"seed {seed}, {name}: {seconds:.1f} s, CRPS {crps:.4f}", flush=True)
    medians = {n: statistics.median(s for s, _ in each) for n, each in found.items()}
    crps = {n: statistics.mean(c for _, c in each) for n, each in found.items()}
    ratio = medians["darts"] / medians["saiki"]
    print(f"{ratio:.2f}×; CRPS {crps['saiki']:.4f} beside {crps['darts']:.4f}")
    return {"seconds": medians, "ratio": ratio, "crps": crps, "runs": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition(",")[0])
    parser.add_argument("what", choices=("together", "one-by-one"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="what is in it already is kept")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.what == "together":
        found: Any = [together(horizon, asked.repeats) for horizon in (96, 720)]
    else:
        try:
            import darts  # noqa: F401
        except ImportError:
            print("darts is not installed: pip install u8darts pytorch-lightning", file=sys.stderr)
            return 2
        found = one_by_one(asked.seeds)
    if asked.json:
        kept = json.loads(asked.json.read_text()) if asked.json.exists() else {}
        kept |= {asked.what: found, f"machine of {asked.what}": machine()}
        asked.json.write_text(json.dumps(kept, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
