"""What an experiment is: its knobs, and how to build its data, its model and its loss from them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from saiki.data.dataset import Dataset
from saiki.duration import Duration, Updates
from saiki.errors import InputError
from saiki.input_kind import TEXT, InputKind
from saiki.knobs import Knobs, Value, knob
from saiki.optimisation import Optimisation
from saiki.outline import Outline
from saiki.prediction import Prediction
from saiki.weak import WeakKeys

Model = TypeVar("Model", bound=nn.Module)
Batch = TypeVar("Batch")
Values = TypeVar("Values")
Figures = dict[str, float | None]
Measures = dict[str, Tensor]
Points = Sequence[Mapping[str, float | None]]
"""Of the curves: figures by name, ``step`` the iteration; None where a figure was no number."""


@dataclass(frozen=True)
class Trial:
    """One set of knobs, run with several seeds: the figures of each."""

    knobs: dict[str, Value]
    results: tuple[Figures, ...]
    folders: tuple[Path, ...] = ()
    """Of the runs, where they are on disk."""

    @property
    def figures(self) -> list[str]:
        """The names of all that any seed has."""
        return list(dict.fromkeys(name for result in self.results for name in result))

    def values(self, figure: str) -> list[float]:
        """The figure of each seed; NaN where a run has none."""
        return [float("nan") if (v := r.get(figure)) is None else v for r in self.results]

    def mean(self, figure: str) -> float:
        values = self.values(figure)
        return sum(values) / len(values)

    def means(self) -> Figures:
        """The mean of each figure; None where a seed has none."""
        return {n: v if math.isfinite(v := self.mean(n)) else None for n in self.figures}


@dataclass(frozen=True)
class Claim:
    """A statement and the measurement that decides it.

    Args:
        statement: one sentence, true or false.
        preset: the settings it is about.
        changes: the knobs changed in each trial it needs.
        judge: from the trials, in the order of ``changes``: whether it holds, and the figures.
    """

    statement: str
    preset: str
    changes: tuple[Mapping[str, Value], ...]
    judge: Callable[[Sequence[Trial]], tuple[bool, str]]


class Experiment(Knobs, ABC, Generic[Model, Batch]):
    """An exercise. An instance is one setting of its knobs; the training engine does the rest."""

    optimisation: Optimisation = Optimisation()
    duration: Duration = Updates()
    precision: str = knob(
        "float32",
        "of numbers; bfloat16 is mixed, for the operations that bear it",
        choices=("float32", "float64", "bfloat16"),
    )
    device: str = knob(
        "auto", "that trains; auto: a GPU if there is one", choices=("auto", "cpu", "cuda", "mps")
    )
    seed: int = knob(0, "of the weights and the order of the data", minimum=0, maximum=2**31)

    name: ClassVar[str]
    summary: ClassVar[str]
    score: ClassVar[str]
    """The figure that says how well it did, the larger the better."""
    selected_by: ClassVar[str] = "loss"
    """The figure of a point, the smaller the better, by which ``patience`` and ``keep`` go."""
    shown: ClassVar[tuple[str, ...]] = ("loss",)
    """The figures of a point that a person sees while it trains, those of them that there are."""
    takes: ClassVar[InputKind] = TEXT
    """What ``predict`` is given: a text or path as it stands, or what else is defined beside the
    readers of ``data``: a line, a dialogue, a sound, an image."""
    predict_knobs: ClassVar[tuple[str, ...]] = ()
    """Knobs that may be changed when the trained model is used."""
    predict_batch: ClassVar[int] = 1
    """Inputs that ``predict_all`` is given together."""
    points: ClassVar[int] = 100
    """Points of the curves, about, where their number follows from the length of the training."""
    minutes: ClassVar[float] = 0.0
    """That a run with the defaults takes on two cores, as measured; 0 where nobody has."""
    threads: ClassVar[int | None] = None
    """CPU threads that pay for a model of this size; all of them if None."""
    recordable: ClassVar[bool] = False
    """Whether a batch is a tuple of tensors, and ``measure`` does the same operations of PyTorch
    for all batches of the same shapes: it asks no number to decide what comes next, reads none but
    of tensors, and what it keeps for the next batch it changes in place. Then a training step is
    recorded and done again as one native call, where all of it can be."""
    updates_itself: ClassVar[bool] = False
    """Whether ``measure`` changes the model by a rule of its own, and there is no gradient."""
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {}
    claims: ClassVar[Sequence[Claim]] = ()

    @classmethod
    def outline(cls) -> Outline:
        """What words about it are held to."""
        return Outline(
            cls.name,
            cls.summary,
            cls.minutes,
            cls.takes.name,
            cls.knobs(),
            cls.presets,
            cls.predict_knobs,
            len(cls.claims),
        )

    @classmethod
    def preset(cls, name: str | None) -> dict[str, Value]:
        """The knobs a preset changes; none for None."""
        return cls.outline().preset(name)

    @property
    def title(self) -> str:
        """What a picture of this setting is headed with."""
        return self.title_of(self.to_dict())

    @classmethod
    def title_of(cls, *settings: Mapping[str, Value]) -> str:
        """The name, and what settings have in common: the largest preset they all keep to, and
        the knobs that they change from it."""
        first, *others = settings
        common = {k: v for k, v in first.items() if all(setting.get(k) == v for setting in others)}
        presets = {n: p for n, p in cls.presets.items() if p and p.items() <= common.items()}
        preset = max(presets, key=lambda name: len(presets[name]), default="")
        parts = [cls.name, *([f"preset {preset}"] if preset else [])]
        for name, definition in cls.knobs().items():
            value = common.get(name, definition.default)
            if value != presets.get(preset, {}).get(name, definition.default):
                parts.append(f"{name} {Path(str(value)).name if definition.is_path else value}")
        return ", ".join(parts)

    @cached_property
    @abstractmethod
    def data(self) -> Dataset[Batch]:
        """What is learned from and judged by, made of these knobs; it is not read yet."""

    @property
    def iterations(self) -> int:
        """Updates of the weights."""
        return self.duration.updates_of(self.data.epoch)

    @property
    def point_every(self) -> int:
        """Iterations from one point of the curves to the next."""
        return self.duration.point_every(self.data.epoch, self.points)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and data."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @abstractmethod
    def model(self) -> Model:
        """A new model; the random state has been seeded."""

    @abstractmethod
    def measure(self, model: Model, batch: Batch) -> Measures:
        """What one batch tells, each the mean over its examples; training lowers ``"loss"``."""

    @abstractmethod
    def evaluate(self, model: Model) -> Figures:
        """The final figures, on data kept apart."""

    @abstractmethod
    def predict(self, model: Model, text: str) -> Prediction:
        """What the trained model makes of a user's input."""

    def predict_all(self, model: Model, texts: Sequence[str]) -> Sequence[Prediction | InputError]:
        """:meth:`predict` of each input, or why there is no answer."""
        answers: list[Prediction | InputError] = []
        for text in texts:
            try:
                answers.append(self.predict(model, text))
            except InputError as error:
                answers.append(error)
        return answers

    @cached_property
    def evaluated(self) -> WeakKeys[Model, Any]:
        """What was measured of a model when it was evaluated last, for its pictures and remarks."""
        return WeakKeys()

    def describe_data(self) -> str:
        """What a person should know of the data, and of what is done with them, before the training
        begins; nothing if empty.

        Raises:
            InputError: they cannot be read, or nothing can be learned from them.
        """
        return self.data.describe()

    @abstractmethod
    def equations(self) -> str:
        """The model, as the equations it computes."""


def untrained(make: Callable[[], Model]) -> Model:
    """A model as it is made, without a trace in the random state: for what it says of itself."""
    with torch.random.fork_rng(devices=[]):
        return make()


def placed(values: Values, model: nn.Module) -> Values:
    """Tensors, alone or in tuples, on the device of ``model``; numbers with a point in its type."""
    like = next(model.parameters(), None)
    if like is None or values is None:
        return values
    if isinstance(values, Tensor):
        kind = like.dtype if values.is_floating_point() else None
        return cast(Values, values.to(like.device, kind))
    return cast(Values, tuple(placed(value, model) for value in cast(Any, values)))
