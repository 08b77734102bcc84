"""From a sine to its cosine, or between two series of your own: an encoder and a decoder."""

import time
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from saiki.data.series.windows import Array, Pair, numbers_of
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Measures, Points, placed, untrained
from saiki.experiments.groups.layers import CellChoice, bidirectional
from saiki.experiments.groups.targets import ScheduledForcing
from saiki.experiments.sin_cos.claims import CLAIMS
from saiki.experiments.sin_cos.series import SHORTEST, Batch, PairSource, SeriesPairs
from saiki.knobs import Value
from saiki.layers.bidirectional import Bidirectional
from saiki.metrics.series import r2, rms
from saiki.models.series import SeriesSeq2Seq, Units, written
from saiki.optimisation import Optimisation
from saiki.plots.errors import draw_errors
from saiki.plots.series import draw_written

EVALUATED = 1024
"""Rows of a batch where nothing is learned."""


class SinCos(Experiment[SeriesSeq2Seq, Batch]):
    """An encoder reads some points of a sine, and a decoder, which has only the encoder's last
    state and its own last output to go on, writes the cosine of the same points; or whatever the
    two columns of your own file are. The default, also called ``good``, learns from what it writes
    itself.
    """

    source: PairSource = PairSource()
    recurrent: CellChoice = CellChoice(cell="gru", hidden_size=24)
    bidirectional: bool = bidirectional(False)
    forcing: ScheduledForcing = ScheduledForcing(teacher_forcing=0.0)
    duration: Epochs = Epochs(epochs=300.0)
    optimisation: Optimisation = Optimisation(batch_size=16, schedule="cosine", clip_norm=1.0)

    name = "sin-cos"
    summary = "read a sine and write its cosine, or go from one series of yours to another"
    minutes = 0.15
    score = "validation_r2"
    shown = ("loss", "validation_loss", "validation_free_running_rmse")
    threads = 1
    recordable: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "quick": {"epochs": 100.0, "updates": 300, "most_updates": 3000},
        "report": {
            "cell": "rnn", "hidden_size": 10, "teacher_forcing": 1.0, "epochs": 80.0,
            "learning_rate": 0.001, "schedule": "constant", "clip_norm": 0.0,
        },
    }  # fmt: skip
    claims = CLAIMS

    @cached_property
    def data(self) -> SeriesPairs:
        def share(update: int) -> float:
            return self.forcing.share(update, self.iterations)

        return SeriesPairs(self.optimisation.batching, self.source, share, self.dtype)

    def model(self) -> SeriesSeq2Seq:
        return self.network(*self.data.units)

    def network(self, *units: Units) -> SeriesSeq2Seq:
        """The model in these units of input and target."""
        reads, decoder = self.recurrent.build_cell(1), self.recurrent.build_cell(1)
        encoder = Bidirectional(reads) if self.bidirectional else reads
        return SeriesSeq2Seq(encoder, decoder, *units)

    def measure(self, model: SeriesSeq2Seq, batch: Batch) -> Measures:
        x, before, target = batch
        return {"loss": F.mse_loss(model.write(x, before), target)}

    @torch.no_grad()
    def errors(self, model: SeriesSeq2Seq, pair: Pair, share: float) -> Array:
        """What is written minus what should be, ``(rows, steps)``, in units of the target; the
        noise and what is told are always the same."""
        random = np.random.default_rng(0)
        found = [np.empty((0, pair.x.shape[1]))]
        for at in range(0, len(pair), EVALUATED):
            batch = self.data.normalised(pair[at : at + EVALUATED], share, random)
            x, before, target = placed(batch, model)
            found.append((model.write(x, before) - target)[..., 0].double().cpu().numpy())
        return np.concatenate(found) * model.writes.scale

    def monitor(self, model: SeriesSeq2Seq) -> dict[str, float]:
        pair = self.data.series.pairs[self.data.series.learnt :]
        loss = np.square(self.errors(model, pair, self.forcing.last) / model.writes.scale).mean()
        return {
            "validation_loss": float(loss),
            "validation_free_running_rmse": rms(self.errors(model, pair, 0.0)),
        }

    def evaluate(self, model: SeriesSeq2Seq) -> Figures:
        target, held = self.data.series.pairs.target, slice(self.data.series.learnt, None)
        free, forced = (self.errors(model, self.data.series.pairs, share) for share in (0.0, 1.0))
        figures: Figures = {
            "loss": self.monitor(model)["validation_loss"],
            "free_running_rmse": rms(free),
            "teacher_forced_rmse": rms(forced),
            "validation_rmse": rms(free[held]),
            "validation_r2": r2(free[held], target[held]),
            "unseen_rmse": None,
            "short_rmse": None,
            "free_running_r2": r2(free, target),
        }
        if len(self.data.unseen):
            short = self.data.unseen.first(max(SHORTEST, self.source.steps // 4))
            figures["unseen_rmse"] = rms(self.errors(model, self.data.unseen, 0.0))
            figures["short_rmse"] = rms(self.errors(model, short, 0.0))
        return figures

    def sample(self, model: SeriesSeq2Seq) -> str:
        target = self.data.series.pairs.target[0]
        y = target + self.errors(model, self.data.series.pairs[:1], 0.0)[0]
        places = sorted({0, self.source.steps // 2, self.source.steps - 1})
        return "writes " + ", ".join(f"{y[i]:.3g} ({target[i]:.3g})" for i in places)

    def draw(self, model: SeriesSeq2Seq, points: Points, folder: Path) -> list[Path]:
        series = self.data.series
        free, forced = (self.errors(model, series.pairs, share) for share in (0.0, 1.0))
        errors = {"free running": free, "teacher forcing": forced}
        lines = {start: series.pairs.target[start] + free[start] for start in series.starts()}
        path = folder / "predictions.png"
        return [
            draw_written(path, series.values[:, 1], lines, series.names, self.title),
            draw_errors(folder / "error_by_step.png", errors, self.title),
        ]

    def predict(self, model: SeriesSeq2Seq, text: str) -> dict[str, Any]:
        started, (x, target) = time.perf_counter(), numbers_of(text)
        if len(x) < SHORTEST:
            raise InputError(f"sin-cos needs {SHORTEST} numbers at least, got {len(x)}")
        y = written(model, x, self.source.steps)
        answer: dict[str, Any] = {"input": text, "output": y.tolist()}
        answer |= {"seconds": time.perf_counter() - started}
        answer["text"] = " ".join(f"{value:.5g}" for value in y)
        if len(x) < self.source.steps and not self.source.cut_short:
            answer["note"] = (
                f"it has learnt from {self.source.steps} points at a time, got {len(x)}"
            )
            answer["text"] += f"\n{answer['note']}; trained with --cut-short 0.5 it knows fewer"
        if target is not None:
            answer["rmse"] = rms(y - target)
            answer["text"] += f"\nroot mean square error {answer['rmse']:.5g}"
        return answer

    def metadata(self, model: SeriesSeq2Seq) -> dict[str, str]:
        return {"steps": str(self.source.steps), "noise": str(self.source.noise)}

    def equations(self) -> str:
        model = untrained(self.network).equations()
        return f"{model}\n{self.forcing.equation()}\nE = 1/T Σₜ (yᵗ − targetᵗ)²"
