"""An update of the preset etth1 of the exercise forecast (forward pass, backward pass, clipping,
Adam), and of the same network written with ``torch.nn.GRU``, from the same batches in turn.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from benchmarks.updates import updates
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.bench.harness import Row
from saiki.data.series.origins import Window
from saiki.experiments.forecast.exercise import Forecasting
from saiki.experiments.forecast.model import LEVELS
from saiki.models.segment_forecaster import OUTER_WEIGHT

BATCHES = 4
"""Each repeat does all of them."""


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
        self.offsets = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, others))
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
        outer = middle.detach() + self.offsets(o).view(*middle.shape[:2], -1)
        low, high = outer.chunk(2, -1)
        y = torch.cat((low, middle, high), -1)[:, : self.horizon]
        error = ((window.future - last) / deviation)[..., None] - y
        levels = y.new_tensor(LEVELS)
        weights = torch.where(levels == 0.5, 1.0, OUTER_WEIGHT)
        each = torch.maximum(levels * error, (levels - 1) * error)
        return (each @ (weights / weights.sum())).mean()


def rows(repeats: int = 9) -> Iterator[Row]:
    for horizon in (96, 720):
        preset = Forecasting.preset("etth1")
        experiment = Forecasting(**(preset | {"horizon": horizon, "device": "cpu"}))
        batches = [*itertools.islice(experiment.data.batches(experiment.seed), BATCHES)]
        torch.manual_seed(0)
        ours, peer = experiment.model(), Peer(experiment)

        def loss(batch: tuple[Tensor, ...], peer: Peer = peer) -> Tensor:
            return peer(Window(*batch))

        name = f"forecast, horizon {horizon}"
        yield updates(name, experiment, ours, peer, loss, batches, repeats)
