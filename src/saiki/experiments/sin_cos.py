"""From a sine to its cosine, or between two series of your own: an encoder and a decoder."""

import itertools
import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor
from torch.nn import functional as F

from saiki import processes
from saiki.cells import FAMILIES
from saiki.data.series import read_table
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed
from saiki.knobs import Value, knob, other
from saiki.models.series import SeriesSeq2Seq, Units
from saiki.plots import canvas
from saiki.plots.curves import draw_curves
from saiki.recurrent import Bidirectional

WAVE = ("sine", "cosine")
SCORED = "free_running_rmse"
SHORTEST = 2
"""Points of a wave that tell its cosine; with one alone the sign would be open."""
PHASES = 200
"""Windows of the wave that begin between its points, at phases never trained on."""
EVALUATED = 1024
"""Rows of a batch where nothing is learned."""
WINDOWS_SHOWN = 8
"""As many windows side by side fit into the picture of a long series."""

Array = np.ndarray[Any, Any]
Batch = tuple[Tensor, Tensor, Tensor]
"""The normalised input ``(batch, steps, 1)``, what the decoder is told ``(batch, steps, 2)``, and
the normalised target ``(batch, steps, 1)``."""


@dataclass(frozen=True)
class Pair:
    """Windows of the input, ``(rows, steps)``, and of what is to be written, in a user's units."""

    x: Array
    target: Array

    def __getitem__(self, rows: Any) -> "Pair":
        return Pair(self.x[rows], self.target[rows])

    def __len__(self) -> int:
        return len(self.x)

    def first(self, steps: int) -> "Pair":
        """The same windows, cut short."""
        return Pair(self.x[:, :steps], self.target[:, :steps])


@dataclass(frozen=True)
class SinCos(Experiment[SeriesSeq2Seq, Batch]):
    """An encoder reads some points of a sine, and a decoder, which has only the encoder's last
    state and its own last output to go on, writes the cosine of the same points; or whatever the
    two columns of your own file are. The default, also called ``good``, learns from what it writes
    itself.
    """

    data: str = knob("", "CSV file with the columns input and target; sine and cosine without")
    points: int = knob(100, "of the wave", minimum=4, maximum=100_000)
    periods: float = knob(
        3.0, "of the wave, from −π to π times this", minimum=0.001, maximum=10_000
    )
    steps: int = knob(24, "points of a window", minimum=2, maximum=10_000)
    noise: float = knob(
        0.0, "standard deviation of noise on the input, whose amplitude is about 1", minimum=0
    )
    validation: float = knob(
        0.2, "share of the windows, the last ones, kept from training", minimum=0.001, maximum=0.999
    )
    cell: str = knob("gru", "the recurrent cell", choices=tuple(FAMILIES))
    bidirectional: bool = knob(False, "whether the encoder reads from both ends")
    hidden_size: int = knob(24, "units of each layer", minimum=1, maximum=4096)
    stretch: float = knob(
        1.0,
        "of the wave: its points lie wider or closer in training, by this factor at most",
        minimum=1,
        maximum=10,
    )
    cut_short: float = knob(
        0.0,
        "share of the training batches with windows cut to a random number of points",
        minimum=0,
        maximum=1,
    )
    teacher_forcing: float = knob(
        0.0,
        "probability that the decoder is told the true value before, not its own output",
        minimum=0,
        maximum=1,
    )
    forcing_schedule: str = knob(
        "constant",
        "of teacher_forcing: as it is, or along a line to 0 at the end",
        choices=("constant", "linear"),
    )
    epochs: float = knob(300.0, "times that each window is seen", minimum=0.01, maximum=1e6)
    log_every: int = knob(
        0,
        "iterations from one point of the curves to the next; 0: an epoch, or a hundredth of all",
        minimum=0,
    )
    # knobs of the base with other defaults
    batch_size: int = other(Experiment, "batch_size", 16)
    learning_rate: float = other(Experiment, "learning_rate", 0.01)
    schedule: str = other(Experiment, "schedule", "cosine")
    clip_norm: float = other(Experiment, "clip_norm", 1.0)

    name = "sin-cos"
    summary = "read a sine and write its cosine, or go from one series of yours to another"
    score = "free_running_r2"
    shown = ("loss", "validation_loss", "validation_free_running_rmse")
    threads = 1
    same_operations: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "report": {
            "cell": "rnn",
            "hidden_size": 10,
            "teacher_forcing": 1.0,
            "epochs": 80.0,
            "learning_rate": 0.001,
            "schedule": "constant",
            "clip_norm": 0.0,
        },
    }

    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "Running free errs at least 1.5 times as much as teacher forcing shows",
            "report",
            ({},),
            lambda trials: (min(_ratios(trials[0])) >= 1.5, _told(trials)),
        ),
        Claim(
            "Ten times as many epochs of teacher forcing bring that below 1.5 times",
            "report",
            ({"epochs": 800.0},),
            lambda trials: (max(_ratios(trials[0])) < 1.5, _told(trials)),
        ),
        Claim(
            "Scheduled sampling at least halves the error of running free in as many epochs",
            "report",
            ({}, {"forcing_schedule": "linear"}),
            lambda trials: (
                trials[1].mean(SCORED) <= trials[0].mean(SCORED) / 2,
                _told(trials, "forcing_schedule"),
            ),
        ),
        Claim(
            "Without any teacher forcing as many epochs do as well as with scheduled sampling",
            "report",
            ({"teacher_forcing": 0.0}, {"forcing_schedule": "linear"}),
            lambda trials: (
                trials[0].mean(SCORED) <= trials[1].mean(SCORED),
                _told(trials, "teacher_forcing"),
            ),
        ),
        Claim(
            "The preset good runs free with an error of at most 0.02, with every seed",
            "good",
            ({},),
            lambda trials: (max(trials[0].values(SCORED)) <= 0.02, _told(trials)),
        ),
        Claim(
            "From a sine with noise of 0.1 it writes the cosine with an error below half of that",
            "good",
            ({"noise": 0.1},),
            lambda trials: (max(trials[0].values(SCORED)) < 0.05, _told(trials)),
        ),
    )

    def validate(self) -> None:
        self.keep_paths("data")
        if not self.data:
            self._check_count(self.points)

    # Data.

    def _check_count(self, points: int) -> None:
        """Refuse a series with too few windows to learn from some and keep others."""
        windows = points - self.steps
        if windows < 2 or not 0 < self._learnt(windows) < windows:
            raise InputError(
                f"{points} points hold {max(windows, 0)} windows of {self.steps} steps, too few to "
                f"keep {self.validation:g} of them for validation; take fewer steps or more points"
            )

    def _learnt(self, windows: int) -> int:
        return math.floor(windows * (1 - self.validation))

    @cached_property
    def _table(self) -> tuple[Array, tuple[str, ...]]:
        """The two series, ``(points, 2)``, and their names."""
        if not self.data:
            edge = math.pi * self.periods
            return _wave(np.linspace(-edge, edge, self.points)), WAVE
        table = read_table(Path(self.data), (2,))
        self._check_count(len(table.values))
        return table.values, table.names or ("input", "target")

    @property
    def names(self) -> tuple[str, ...]:
        """What is read and what is written."""
        return self._table[1] if self.data else WAVE

    @cached_property
    def windows(self) -> Pair:
        """Every window but the last, in time order, as ``for i in range(points − steps)`` makes
        them; those of training come first."""
        values, _ = self._table
        return Pair(*(sliding_window_view(column, self.steps)[:-1] for column in values.T))

    @property
    def learnt(self) -> int:
        """How many of the windows are trained on."""
        return self._learnt(len(self.windows))

    @cached_property
    def unseen(self) -> Pair:
        """Windows that tell more than those of validation, which overlap with those of training:
        of the wave such as begin between the points, of a user's series such as share no point
        with training, and there may be none."""
        if self.data:
            return self.windows[self.learnt + self.steps - 1 :]
        random = np.random.default_rng(0)
        return self._stretched(random.uniform(0, self.points - 1, PHASES), random)

    def _stretched(self, begin: Array, random: np.random.Generator) -> Pair:
        """Windows of the wave that begin at these of its points, or between them, and whose points
        lie wider or closer by factors between 1 / ``stretch`` and ``stretch``."""
        wider = self.stretch ** random.uniform(-1, 1, (len(begin), 1))
        edge = math.pi * self.periods
        at = begin[:, None] + wider * np.arange(self.steps)
        waves = _wave(2 * edge / (self.points - 1) * at - edge)
        return Pair(waves[..., 0], waves[..., 1])

    def _drawn(self, rows: Array, random: np.random.Generator) -> Pair:
        """The windows ``rows`` as training sees them."""
        is_as_it_is = bool(self.data) or self.stretch == 1
        pair = self.windows[rows] if is_as_it_is else self._stretched(rows, random)
        if self.cut_short and random.random() < self.cut_short:
            pair = pair.first(int(random.integers(SHORTEST, self.steps + 1)))
        return pair

    @cached_property
    def units(self) -> tuple[Units, Units]:
        """Of input and target: mean 0 and variance 1 over the points of training; the wave stays
        as it is."""
        if not self.data:
            return Units(), Units()
        values, names = self._table
        known = values[: self.learnt + self.steps - 1]
        for column, name in zip(known.T, names, strict=True):
            if column.min() == column.max():
                raise InputError(
                    f"the column {name} of {self.data} is {column[0]:g} at all {len(column)} "
                    "points of training, so there is nothing to learn"
                )
        read, written = (Units(float(c.mean()), float(c.std())) for c in known.T)
        return read, written

    def opening(self) -> str:
        count = len(self.windows)
        self.units  # noqa: B018  which may be refused
        return (
            f"{count:,} windows of {self.steps} points, from {self.names[0]} to {self.names[1]}: "
            f"{self.learnt:,} to learn from, the last {count - self.learnt:,} to validate"
        )

    @property
    def _batches_of_epoch(self) -> int:
        return math.ceil(self.learnt / (self.batch_size * processes.count()))

    @property
    def epoch(self) -> int:
        """Iterations in which each window is seen once."""
        return math.ceil(self._batches_of_epoch / self.accumulate)

    @property
    def iterations(self) -> int:
        updates = self.epochs * self._batches_of_epoch / self.accumulate
        return max(1, math.ceil(updates))

    @property
    def point_every(self) -> int:
        return self.log_every or max(self.epoch, self.iterations // 100)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "float64" else torch.float32

    def batches(self, start: int = 0) -> Iterator[Batch]:
        first, place = divmod(start, self._batches_of_epoch)
        size = self.batch_size * processes.count()
        for epoch in itertools.count(first):
            order = np.random.default_rng((self.seed, 0, epoch)).permutation(self.learnt)
            for at in range(place * size, self.learnt, size):
                rows = order[at : at + size]
                # the last batch of an epoch is smaller, but gives each process as much
                shares = math.ceil(len(rows) / processes.count())
                rows = np.resize(rows, shares * processes.count())
                random = np.random.default_rng((self.seed, 1, epoch, at))
                done = (epoch * self._batches_of_epoch + at // size) // self.accumulate
                batch = self.batch(self._drawn(rows, random), self.share(done), random)
                mine = processes.part(len(rows))
                yield batch[0][mine], batch[1][mine], batch[2][mine]
            place = 0

    def share(self, done: int) -> float:
        """The probability of teacher forcing after so many iterations."""
        if self.forcing_schedule == "constant":
            return self.teacher_forcing
        return self.teacher_forcing * max(0.0, 1 - done / max(self.iterations - 1, 1))

    def batch(self, pair: Pair, share: float, random: np.random.Generator) -> Batch:
        """Windows as the network reads them, each true value told with probability ``share``."""
        reads, writes = self.units
        x, target = reads.normalised(pair.x), writes.normalised(pair.target)
        if self.noise:
            x = x + self.noise * random.standard_normal(x.shape)
        before = np.zeros_like(target)
        before[:, 1:] = target[:, :-1]
        told = np.stack((before, random.random(target.shape) < share), -1)
        return self._tensor(x[..., None]), self._tensor(told), self._tensor(target[..., None])

    def _tensor(self, values: Array) -> Tensor:
        return torch.from_numpy(values).to(self.dtype)

    def example(self) -> Tensor:
        random = torch.Generator().manual_seed(0)
        return torch.randn(2, self.steps, 1, generator=random, dtype=self.dtype)

    # Model, loss and figures.

    def model(self) -> SeriesSeq2Seq:
        cell = FAMILIES[self.cell]
        reads, decoder = cell(1, self.hidden_size), cell(1, self.hidden_size)
        encoder = Bidirectional(reads) if self.bidirectional else reads
        return SeriesSeq2Seq(encoder, decoder, *self.units)

    def measure(self, model: SeriesSeq2Seq, batch: Batch) -> Measures:
        x, told, target = batch
        return {"loss": F.mse_loss(model.write(x, told), target)}

    @torch.no_grad()
    def errors(self, model: SeriesSeq2Seq, pair: Pair, share: float) -> Array:
        """What is written minus what should be, ``(rows, steps)``, in units of the target; the
        noise and what is told are always the same."""
        random = np.random.default_rng(0)
        found = [np.empty((0, pair.x.shape[1]))]
        for at in range(0, len(pair), EVALUATED):
            batch = self.batch(pair[at : at + EVALUATED], share, random)
            x, told, target = placed(batch, model)
            found.append((model.write(x, told) - target)[..., 0].double().cpu().numpy())
        return np.concatenate(found) * model.writes.scale

    def monitor(self, model: SeriesSeq2Seq) -> dict[str, float]:
        pair = self.windows[self.learnt :]
        last = 0.0 if self.forcing_schedule == "linear" else self.teacher_forcing
        loss = np.square(self.errors(model, pair, last) / model.writes.scale).mean()
        return {
            "validation_loss": float(loss),
            "validation_free_running_rmse": _rms(self.errors(model, pair, 0.0)),
        }

    def evaluate(self, model: SeriesSeq2Seq) -> Figures:
        free, forced = (self.errors(model, self.windows, share) for share in (0.0, 1.0))
        figures: Figures = {
            "loss": self.monitor(model)["validation_loss"],
            "free_running_rmse": _rms(free),
            "teacher_forced_rmse": _rms(forced),
            "validation_rmse": _rms(free[self.learnt :]),
            "unseen_rmse": None,
            "short_rmse": None,
            "free_running_r2": 1 - np.square(free).mean() / self.windows.target.var(),
        }
        if len(self.unseen):
            short = self.unseen.first(max(SHORTEST, self.steps // 4))
            figures["unseen_rmse"] = _rms(self.errors(model, self.unseen, 0.0))
            figures["short_rmse"] = _rms(self.errors(model, short, 0.0))
        return figures

    def sample(self, model: SeriesSeq2Seq) -> str:
        target = self.windows.target[0]
        written = target + self.errors(model, self.windows[:1], 0.0)[0]
        at = sorted({0, self.steps // 2, self.steps - 1})
        shown = (f"{written[i]:.3g} ({target[i]:.3g})" for i in at)
        return "writes " + ", ".join(shown)

    def draw(self, model: SeriesSeq2Seq, points: Points, folder: Path) -> list[Path]:
        free, forced = (self.errors(model, self.windows, share) for share in (0.0, 1.0))
        steps = range(1, self.steps + 1)
        by_step = {
            name: [(steps, np.sqrt(np.square(errors).mean(0)).tolist())]
            for name, errors in (("free running", free), ("teacher forcing", forced))
        }
        return [
            self._draw_written(free, folder / "predictions.png"),
            draw_curves(
                folder / "error_by_step.png",
                by_step,
                xlabel="step of the decoder",
                ylabel="root mean square error",
            ),
        ]

    def starts(self) -> list[int]:
        """Where the predictions of the picture begin: 0, and a point before each further quarter
        of what is shown, which is all of a short series and the end of a long one."""
        points = len(self._table[0])
        shown = min(points, WINDOWS_SHOWN * self.steps)
        first = points - shown
        quarters = (max(first, first + i * shown // 4 - 1) for i in range(4))
        return sorted({min(start, len(self.windows) - 1) for start in quarters})

    def _draw_written(self, errors: Array, path: Path) -> Path:
        """What is written from a few points on, over what should be."""
        values, (read, written) = self._table[0], self.names
        starts = self.starts()
        at = np.arange(starts[0], len(values))
        figure = canvas.new_figure(9.0, 4.2)
        axes = figure.subplots()
        axes.plot(at, values[at, 1], color="lightgrey", lw=5, label=f"{written}, in truth")
        for start in starts:
            y = self.windows.target[start] + errors[start]
            axes.plot(start + np.arange(self.steps), y, ".-", lw=1.2, ms=4, label=f"from {start}")
        axes.set(xlabel="point", ylabel=written, title=f"{written}, written after reading {read}")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", ncols=len(starts) + 1, fontsize=8)
        return canvas.save(figure, path)

    # Use.

    def predict(self, model: SeriesSeq2Seq, text: str) -> dict[str, Any]:
        started = time.perf_counter()
        x, target = _numbers(text)
        if len(x) < SHORTEST:
            raise InputError(f"sin-cos needs {SHORTEST} numbers at least, got {len(x)}")
        y = self.written(model, x)
        answer: dict[str, Any] = {
            "input": text,
            "output": y.tolist(),
            "seconds": time.perf_counter() - started,
            "text": " ".join(f"{value:.5g}" for value in y),
        }
        if len(x) < self.steps and not self.cut_short:
            answer["note"] = f"it has learnt from {self.steps} points at a time, got {len(x)}"
            answer["text"] += f"\n{answer['note']}; trained with --cut-short 0.5 it knows fewer"
        if target is not None:
            answer["rmse"] = _rms(y - target)
            answer["text"] += f"\nroot mean square error {answer['rmse']:.5g}"
        return answer

    @torch.no_grad()
    def written(self, model: SeriesSeq2Seq, x: Array) -> Array:
        """What is written after ``x``: window by window, as many steps each as in training, but
        that a shorter series is read as it is. The last window may begin within the one before."""
        size = min(self.steps, len(x))
        starts = [*range(0, len(x) - size, size), len(x) - size]
        z = np.stack([model.reads.normalised(x[start : start + size]) for start in starts])
        read = placed(self._tensor(z[..., None]), model)
        pieces = model.writes.restored(model.write(read)[..., 0].double().cpu().numpy())
        y = np.empty(len(x))
        for start, piece in zip(reversed(starts), reversed(pieces), strict=True):
            y[start : start + size] = piece
        return y

    def metadata(self, model: SeriesSeq2Seq) -> dict[str, str]:
        return {"steps": str(self.steps), "noise": json.dumps(self.noise)}

    def equations(self) -> str:
        kind = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[self.cell]
        units = f"{self.hidden_size} units" + (" each way" if self.bidirectional else "")
        start = "s⁰ = tanh(A r + a)" if self.bidirectional else "s⁰ = r"
        share = f"{self.teacher_forcing:g}" + (
            ", falling along a line to 0" if self.forcing_schedule == "linear" else ""
        )
        return "\n".join(
            (
                f"r = the last state of {kind}(x), {units}",
                start,
                f"pᵗ = the target before with probability {share}, otherwise yᵗ⁻¹; p¹ = 0",
                f"sᵗ = {kind}(pᵗ, sᵗ⁻¹)",
                "yᵗ = V sᵗ + c",
                "E = 1/T Σₜ (yᵗ − targetᵗ)²",
            )
        )


def _ratios(trial: Trial) -> list[float]:
    """The error of running free over that with teacher forcing, of each seed."""
    forced = trial.values("teacher_forced_rmse")
    return [free / told for free, told in zip(trial.values(SCORED), forced, strict=True)]


def _told(trials: Sequence[Trial], *knobs: str) -> str:
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


def _wave(at: Array) -> Array:
    """Sine and cosine, side by side along a new last axis."""
    return np.stack((np.sin(at), np.cos(at)), -1)


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.square(errors).mean()))


def _numbers(text: str) -> tuple[Array, Array | None]:
    """The input a user gives, as numbers or in a file, and the target if the file has it."""
    words = re.split(r"[\s,;]+", text.strip())
    with suppress(ValueError):
        numbers = np.array([float(word) for word in words])
        if np.isfinite(numbers).all():
            return numbers, None
    if _is_file(text):
        values = read_table(Path(text), (1, 2)).values
        return values[:, 0], values[:, 1] if values.shape[1] == 2 else None
    shown = text if len(text) <= 80 else f"{text[:80]}…"
    raise InputError(
        f"sin-cos takes finite numbers such as '0 0.5 0.9', or a CSV file of them, got {shown!r}"
    )


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False
