"""What a training leaves in its folder as it goes: curves, looks inside, checkpoints."""

import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from saiki import lens, processes
from saiki.duration import LENGTHS
from saiki.errors import InputError
from saiki.experiment import Experiment
from saiki.inputs import open_file
from saiki.plots.training import draw_training
from saiki.progress import Rate, duration
from saiki.runs.fingerprint import changes, fingerprint
from saiki.runs.folder import RunFolder
from saiki.saving import tensors
from saiki.training import Point, Training

Say = Callable[[str], None]
CHECKPOINT = Path("checkpoint", "training.safetensors")
REDRAW_SECONDS = 30.0
"""From one picture of the curves to the next, at least."""
REDRAW_TIMES = 50
"""How many times as long as a picture takes, at least, until the next."""
METRICS, LENS = "metrics.jsonl", "lens.jsonl"
KNOWN_AFTER = 10.0
"""Seconds after which it is known how long a training takes."""
LONG = 3600.0
"""Seconds that a person is told of."""


@dataclass(frozen=True)
class Options:
    """What goes with a run and changes none of its numbers."""

    watch: bool = False
    """Look inside with :mod:`saiki.lens` at each point of the curves."""
    tensorboard: bool = False
    """Write the curves for TensorBoard too, into ``tensorboard/``."""
    checkpoint_seconds: float = 30.0
    """From one checkpoint to the next; there is one more at the end, and on Ctrl-C."""
    data_changed: bool = False
    """Go on although the data are not those that the run began with."""
    finish_on_interrupt: bool = False
    """Let Ctrl-C end the training and use what there is, instead of pausing it."""
    say: Say | None = None
    """Called with each line a person should see; silent without it."""


def checkpoint(experiment: Experiment, folder: RunFolder) -> tensors.Contents | None:
    """The checkpoint of the run in ``folder``, if there is one."""
    path = folder.path / CHECKPOINT
    data = None
    if processes.is_first() and path.is_file():
        with open_file(path) as file:
            data = file.read()
    data = processes.from_first(data)
    if data is None:
        return None
    weights, about = tensors.parse(data, path)
    if not is_same_run(about.get("run"), experiment):
        raise InputError(f"{path} is of a run with other knobs than {folder.path}")
    if not _is_whole(about):
        raise InputError(f"{path} does not hold what a checkpoint of this saiki holds")
    return weights, about


def _is_whole(about: dict[str, Any]) -> bool:
    """Whether all that a checkpoint says beside its tensors is there, and of the right kind."""
    match about:
        case {
            "processes": processes,
            "data": dict(data),
            "curve": list(curve),
            "looks": looks,
            "seconds": int() | float() as seconds,
            "training": {
                "step": step,
                "since": list(since),
                "best": int() | float() | None,
                "points_since_best": waited,
                "optimiser": dict(),
            },
        }:
            counted = all(map(_is_fingerprint, data.values()))
            counts = all(map(_is_count, (processes, looks, step, waited)))
            points = all(_is_point(each) for each in (*curve, *since))
            return counted and counts and points and 0 <= seconds < math.inf
    return False


def _is_fingerprint(value: Any) -> bool:
    match value:
        case [count, str(), str()]:
            return _is_count(count)
    return False


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_point(point: Any) -> bool:
    return (
        isinstance(point, dict)
        and "loss" in point
        and all(type(value) in (int, float) for value in point.values())
    )


def is_same_run(run: Any, experiment: Experiment) -> bool:
    """Whether what a file says of its run fits the experiment, which may be longer by now."""
    match run:
        case [experiment.name, dict(knobs)]:
            lengths = {n: v for n, v in experiment.to_dict().items() if n in LENGTHS}
            return {**knobs, **lengths} == experiment.to_dict()
    return False


class Record:
    """What a training leaves in its folder as it goes: the curves, and checkpoints."""

    def __init__(self, training: Training, folder: RunFolder, options: Options) -> None:
        self.training = training
        self.experiment = training.experiment
        self.folder = folder
        self.options = options
        self.curve: list[dict[str, float]] = []
        self.history: list[tuple[int, lens.View]] = []
        self.started = self.saved = time.monotonic()
        self.seconds_before = 0.0
        self.writes = processes.is_first()
        self.drawn_at = self.started
        self.redraw_seconds = REDRAW_SECONDS
        self.board: Any = None
        self.data = fingerprint(self.experiment.data) if self.writes else {}

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def add(self, point: Point) -> None:
        self.curve.append(point.record())
        if not self.writes:
            return
        self.folder.append(METRICS, self.curve[-1])
        self.show(self.curve[-1])
        self.draw()
        if point.view is not None:
            # without the states, which are as long as the input and go into no file
            looks = {name: replace(layer, states={}) for name, layer in point.view.items()}
            self.history.append((point.step, looks))
            layers = {name: layer.to_dict() for name, layer in looks.items()}
            self.folder.append(LENS, {"step": point.step, "layers": layers})

    def draw(self) -> None:
        """Draw the curves anew where it is time to, and takes a fiftieth of the time at most."""
        now = time.monotonic()
        if now - self.drawn_at > self.redraw_seconds:
            draw_training(self.folder.path, self.curve)
            self.drawn_at = time.monotonic()
            self.redraw_seconds = max(REDRAW_SECONDS, REDRAW_TIMES * (self.drawn_at - now))

    def show(self, record: Mapping[str, float | None]) -> None:
        """Put a line of the curves on the board, if there is one."""
        for name, value in record.items():
            if self.board is not None and name != "step":
                self.board.add_scalar(name, math.nan if value is None else value, record["step"])

    def is_shown(self, point: Point) -> bool:
        """Whether a tenth of the training ends with this point."""
        tenth, every = self.experiment.iterations / 10, self.experiment.point_every
        return point.step // tenth > (point.step - every) // tenth

    def keep(self) -> None:
        """Save where it is time to."""
        if self.writes and time.monotonic() - self.saved > self.options.checkpoint_seconds:
            self.save()

    def save(self) -> None:
        """Write a checkpoint: the training, and what of the logs belongs to it."""
        if not self.writes:
            return
        weights, state = self.training.state()
        about = {
            "run": [self.experiment.name, self.experiment.to_dict()],
            "processes": processes.count(),
            "data": self.data,
            "training": state,
            "curve": self.curve,
            "looks": len(self.history),
            "seconds": self.seconds,
        }
        tensors.save(self.folder.path / CHECKPOINT, weights, about)
        if self.board is not None:
            self.board.flush()
        self.saved = time.monotonic()

    def restore(self, contents: tensors.Contents | None) -> None:
        """Go on from a checkpoint, if there is one; the logs become what they were then."""
        looks = 0
        if contents is not None:
            weights, about = contents
            differs = changes(about["data"], self.data) if self.writes else ""
            if differs and not self.options.data_changed:
                raise InputError(
                    f"the data of {self.folder.path} have changed since it was stopped: {differs}; "
                    "put them back, or go on with --data-changed"
                )
            self.training.restore((weights, about["training"]))
            if self.training.has_ended and about["run"][1] != self.experiment.to_dict():
                self.training.points_since_best = 0  # it lost patience, and is to go on for longer
            self.seconds_before, self.curve = about["seconds"], about["curve"]
            looks = about["looks"]
        if self.writes:
            self.folder.rewrite(METRICS, self.curve)
            self.folder.rewrite(LENS, itertools.islice(self.folder.lines(LENS), looks))
            self.history = looks_of(self.folder)
            if self.options.tensorboard:
                # what a board was told before is void from step 0 on, and told again
                path = self.folder.path / "tensorboard"
                self.board = summary_writer()(path, purge_step=0)
                for point in self.curve:
                    self.show(point)


def looks_of(folder: RunFolder) -> list[tuple[int, lens.View]]:
    """What the lens saw in a run, by iteration."""
    return [_look(line, folder.path / LENS) for line in folder.lines(LENS)]


def _look(line: dict[str, Any], path: Path) -> tuple[int, lens.View]:
    """What the lens saw, out of a line of its log."""
    try:
        return int(line["step"]), {n: lens.LayerView.of(v) for n, v in line["layers"].items()}
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{path} is damaged at iteration {line.get('step')}") from None


def summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs a package: pip install 'saiki[tensorboard]'"
        ) from None
    return SummaryWriter


class Outlook:
    """Of one training, from where it goes on.

    Args:
        say: told once how long it will take, where that is more than an hour.
    """

    def __init__(self, training: Training, say: Say | None) -> None:
        self.training = training
        self.say = say
        self.rate = Rate()
        self.started = time.monotonic()
        self.first_step = training.step

    def line(self) -> str:
        """For the line that is rewritten."""
        training, last = self.training, self.training.experiment.iterations
        words = f"iteration {training.step:,} of {last:,}"
        rate = self.rate.of(training.step)
        if rate is None:
            return words
        remaining = duration((last - training.step) / rate)
        return f"{words}  loss {training.loss:.4g}  {rate:.3g} a second  {remaining} left"

    def tell(self) -> None:
        """After an iteration: say how long it will take, once that is known."""
        seconds = time.monotonic() - self.started
        if self.say is None or seconds < KNOWN_AFTER:
            return
        done = self.training.step - self.first_step
        remaining = seconds / done * (self.training.experiment.iterations - self.training.step)
        if remaining > LONG:
            self.say(f"this will take about {duration(remaining)}; Ctrl-C pauses it")
        self.say = None
