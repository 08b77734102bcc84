"""From a sine to its cosine, or between two series of your own: an encoder and a decoder."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.capabilities import Annotates, Draws, Monitors, Samples
from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.series.windows import NAMES, Array, Pair, Wave, Windows, learnt, numbers_of
from saiki.data.tables.encoding import Encoding
from saiki.duration import Epochs
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.groups.layers import CellChoice, bidirectional
from saiki.experiments.groups.targets import ScheduledForcing, decoder_input
from saiki.knobs import Knobs, Value, knob
from saiki.layers.bidirectional import Bidirectional
from saiki.metrics.series import r2, rms
from saiki.models.series import SeriesSeq2Seq, Units, written
from saiki.optimisation import Optimisation
from saiki.plots.errors import draw_errors
from saiki.plots.series import draw_written
from saiki.prediction import Prediction

SHORTEST = 2
"""Points of a wave that tell its cosine; with one alone the sign would be open."""
SHOWN, EVALUATED = 24, 1024
"""Points of an input that is shown, and rows of a batch where nothing is learned."""
Batch = tuple[Tensor, Tensor, Tensor]
"""The normalised input ``(batch, steps, 1)``, what the decoder is told ``(batch, steps, 2)``, and
the normalised target ``(batch, steps, 1)``."""

SCORED = "free_running_rmse"


def _ratios(trial: Trial) -> list[float]:
    """The error of running free over that with teacher forcing, of each seed."""
    forced = trial.values("teacher_forced_rmse")
    return [free / guided for free, guided in zip(trial.values(SCORED), forced, strict=True)]


def _errors(trials: Sequence[Trial], *knobs: str) -> str:
    """The error of running free, its extremes, and that with teacher forcing, of each trial."""
    errors = []
    for trial in trials:
        values = trial.values(SCORED)
        named = "".join(f"{knob} {trial.knobs[knob]}: " for knob in knobs)
        errors.append(
            f"{named}{trial.mean(SCORED):.4f} ({min(values):.4f} to {max(values):.4f}) free, "
            f"{trial.mean('teacher_forced_rmse'):.4f} with teacher forcing"
        )
    return "; ".join(errors)


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


class PairSource(Knobs):
    """A wave, or the two series of a file, and the windows of them."""

    data: str = knob("", "table of input and target; sine and cosine without", is_path=True)
    encoded: Encoding = Encoding()
    wave: Wave = Wave()
    steps: int = knob(24, "points of a window", minimum=2, maximum=10_000)
    noise: float = knob(
        0.0, "standard deviation of noise on the input, whose amplitude is about 1", minimum=0
    )
    validation: float = knob(
        0.2, "share of the windows, the last ones, kept from training", minimum=0.001, maximum=0.999
    )
    cut_short: float = knob(
        0.0, "share of the training batches whose windows are cut at random", minimum=0, maximum=1
    )

    def validate(self) -> None:
        if not self.data:
            learnt(self.wave.points, self.steps, self.validation)

    def read(self) -> Windows:
        if self.data:
            encoding = self.encoded.encoding
            return Windows.of_file(Path(self.data), self.steps, self.validation, encoding)
        return Windows(self.wave.values(), NAMES, "the wave", self.steps, self.validation)


class SeriesPairs(IndexedDataset[Batch]):
    """Windows of both series.

    Args:
        share: of the true values that the decoder is told, at each update.
    """

    source: PairSource
    share: Callable[[int], float]
    dtype: torch.dtype

    @cached_property
    def series(self) -> Windows:
        return self.source.read()

    @cached_property
    def unseen(self) -> Pair:
        """Windows that share no point with training: of the wave such as begin between its points.
        Of a user's series there may be none."""
        if self.source.data:
            return self.series.pairs[self.series.learnt + self.source.steps - 1 :]
        return self.source.wave.between(self.source.steps)

    @cached_property
    def units(self) -> tuple[Units, Units]:
        """Of input and target: mean 0 and variance 1 over the points of training; the wave stays
        as it is."""
        read, wanted = self.series.scales() if self.source.data else ((), ())
        return Units(*read), Units(*wanted)

    def examples(self) -> tuple[int, int] | None:
        train = self.series.learnt
        return (train, len(self.series.pairs) - train) if self.source.data else None

    @property
    def count(self) -> int:
        return self.series.learnt

    def batch(self, draw: Draw) -> Batch:
        random = np.random.default_rng(draw.key)
        pair = self._windows(draw.rows, random)
        x, before, target = self.normalised(pair, self.share(draw.update), random)
        return x[draw.part], before[draw.part], target[draw.part]

    def _windows(self, rows: Array, random: np.random.Generator) -> Pair:
        """Those of these numbers as training sees them."""
        wave, steps, cut_short = self.source.wave, self.source.steps, self.source.cut_short
        as_it_is = bool(self.source.data) or wave.stretch == 1
        pair = self.series.pairs[rows] if as_it_is else wave.stretched(rows, steps, random)
        if cut_short and random.random() < cut_short:
            pair = pair.first(int(random.integers(SHORTEST, steps + 1)))
        return pair

    def normalised(self, pair: Pair, share: float, random: np.random.Generator) -> Batch:
        """Windows as the network reads them, each true value told with probability ``share``."""
        reads, writes = self.units
        x, target = reads.normalised(pair.x), writes.normalised(pair.target)
        if self.source.noise:
            x = x + self.source.noise * random.standard_normal(x.shape)
        arrays = x[..., None], decoder_input(target, share, random), target[..., None]
        read, before, wanted = (torch.from_numpy(array).to(self.dtype) for array in arrays)
        return read, before, wanted

    def describe(self) -> str:
        self.units  # noqa: B018  which may be refused
        return self.series.in_words()

    def items(self) -> dict[str, Iterator[bytes]]:
        own = bool(self.source.data)
        return {"points": (row.tobytes() for row in self.series.values)} if own else {}

    def example(self) -> Tensor:
        random = torch.Generator().manual_seed(0)
        return torch.randn(2, self.source.steps, 1, generator=random, dtype=self.dtype)

    def input_example(self) -> str:
        values = self.series.pairs.x[-1][:SHOWN]
        return self.source.data or " ".join(f"{value:.3g}" for value in values)


class SinCos(Annotates, Draws, Monitors, Samples, Experiment[SeriesSeq2Seq, Batch]):
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
        share = self.forcing.schedule(self)
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
        errors = [np.empty((0, pair.x.shape[1]))]
        for at in range(0, len(pair), EVALUATED):
            batch = self.data.normalised(pair[at : at + EVALUATED], share, random)
            x, before, target = placed(batch, model)
            errors.append((model.write(x, before) - target)[..., 0].double().cpu().numpy())
        return np.concatenate(errors) * model.writes.scale

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

    def predict(self, model: SeriesSeq2Seq, text: str) -> Prediction:
        x, target = numbers_of(text)
        if len(x) < SHORTEST:
            raise InputError(f"sin-cos needs {SHORTEST} numbers at least, got {len(x)}")
        y = written(model, x, self.source.steps)
        figures: dict[str, Any] = {}
        lines = [" ".join(f"{value:.5g}" for value in y)]
        if len(x) < self.source.steps and not self.source.cut_short:
            figures["note"] = (
                f"it has learnt from {self.source.steps} points at a time, got {len(x)}"
            )
            lines.append(f"{figures['note']}; trained with --cut-short 0.5 it knows fewer")
        if target is not None:
            figures["rmse"] = rms(y - target)
            lines.append(f"root mean square error {figures['rmse']:.5g}")
        return Prediction(input=text, output=y.tolist(), figures=figures, text="\n".join(lines))

    def metadata(self, model: SeriesSeq2Seq) -> dict[str, str]:
        return {"steps": str(self.source.steps), "noise": str(self.source.noise)}

    def equations(self) -> str:
        model = untrained(self.network).equations()
        return f"{model}\n{self.forcing.equation()}\nE = 1/T Σₜ (yᵗ − targetᵗ)²"
