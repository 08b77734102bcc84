"""What an experiment is: its knobs, and how to build its data, its model and its loss from them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from saiki.errors import InputError
from saiki.knobs import Knobs, Value, knob

Model = TypeVar("Model", bound=nn.Module)
Batch = TypeVar("Batch")
Figures = dict[str, float | None]
Measures = dict[str, Tensor]
Points = Sequence[Mapping[str, float | None]]
"""Of the curves: figures by name, ``step`` the iteration; None where a figure was no number."""
KEEP = ("last", "best")


@dataclass(frozen=True)
class Trial:
    """One set of knobs, run with several seeds: the figures of each."""

    knobs: dict[str, Value]
    results: tuple[Figures, ...]

    def values(self, figure: str) -> list[float]:
        """The figure of each seed; NaN where a run has none."""
        return [float("nan") if (v := r.get(figure)) is None else v for r in self.results]

    def mean(self, figure: str) -> float:
        values = self.values(figure)
        return sum(values) / len(values)


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


@dataclass(frozen=True)
class Experiment(Knobs, ABC, Generic[Model, Batch]):
    """An exercise. An instance is one setting of its knobs; the training engine does the rest."""

    batch_size: int = knob(32, "examples of a batch, in each process", minimum=1)
    accumulate: int = knob(1, "batches for each update of the weights", minimum=1)
    optimiser: str = knob(
        "adam", "rule of the update", choices=("sgd", "momentum", "adam", "adamw")
    )
    learning_rate: float = knob(0.01, "size of the update, at its largest", minimum=0)
    warmup: float = knob(
        0.0, "share of the training in which the learning rate rises to it", minimum=0, maximum=1
    )
    schedule: str = knob(
        "constant",
        "of the learning rate after that: to 0 along a line or half a cosine, or as it is",
        choices=("constant", "linear", "cosine"),
    )
    weight_decay: float = knob(
        0.0, "pull of the weights to 0; apart from Adam's in adamw", minimum=0
    )
    clip_value: float = knob(0.0, "bound on each entry of the gradient; 0: none", minimum=0)
    clip_norm: float = knob(0.0, "bound on the norm of the whole gradient; 0: none", minimum=0)
    average: float = knob(
        0.0,
        "decay of a running mean of the weights, used instead of them",
        minimum=0,
        maximum=0.9999,
    )
    patience: int = knob(
        0, "points of the curves without a better one after which training ends; 0: all", minimum=0
    )
    keep: str = knob("last", "the weights kept: the last, or the best at a point", choices=KEEP)
    precision: str = knob(
        "float32",
        "of numbers; bfloat16 is mixed, for the operations that bear it",
        choices=("float32", "float64", "bfloat16"),
    )
    device: str = knob(
        "auto", "that trains; auto: a GPU if there is one", choices=("auto", "cpu", "cuda", "mps")
    )
    log_every: int = knob(100, "iterations from one point of the curves to the next", minimum=1)
    seed: int = knob(0, "of the weights and the order of the data", minimum=0, maximum=2**31)

    name: ClassVar[str]
    summary: ClassVar[str]
    score: ClassVar[str]
    """The figure that says how well it did, the larger the better."""
    judged_by: ClassVar[str] = "loss"
    """The figure of a point, the smaller the better, by which ``patience`` and ``keep`` go."""
    shown: ClassVar[tuple[str, ...]] = ("loss",)
    """The figures of a point that a person sees while it trains."""
    hears: ClassVar[bool] = False
    """Whether ``predict`` takes the path of a sound file."""
    by_line: ClassVar[bool] = False
    """Whether ``predict`` takes one line of text, so that a file of lines is many inputs."""
    at_use: ClassVar[tuple[str, ...]] = ()
    """Knobs that may be changed when the trained model is used."""
    at_once: ClassVar[int] = 1
    """Inputs that ``predict_all`` is given together."""
    ahead: ClassVar[int] = 0
    """Batches that a thread of its own prepares while the model learns; 0: no such thread."""
    threads: ClassVar[int | None] = None
    """CPU threads that pay for a model of this size; all of them if None."""
    same_operations: ClassVar[bool] = False
    """Whether a batch is a tuple of tensors, and ``measure`` does the same operations of PyTorch
    for all batches of the same shapes: it asks no number to decide what comes next. An iteration of
    the adder's preset ``report`` then takes less than half the time."""
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {}
    claims: ClassVar[Sequence[Claim]] = ()

    @classmethod
    def preset(cls, name: str | None) -> dict[str, Value]:
        """The knobs a preset changes; none for None."""
        if name is None:
            return {}
        if name not in cls.presets:
            raise InputError(
                f"{cls.name} has no preset {name!r}; there are {', '.join(cls.presets)}"
            )
        return dict(cls.presets[name])

    def keep_paths(self, *names: str) -> None:
        """Make the paths in these knobs absolute, so that a run goes on from any folder."""
        for name in names:
            if path := getattr(self, name):
                object.__setattr__(self, name, str(Path(path).expanduser().absolute()))

    @property
    @abstractmethod
    def iterations(self) -> int:
        """Updates of the weights; a knob, or what follows from the number of examples."""

    @property
    def point_every(self) -> int:
        """Iterations from one point of the curves to the next: ``log_every`` as a rule."""
        return self.log_every

    @abstractmethod
    def model(self) -> Model:
        """A new model; the random state has been seeded."""

    @abstractmethod
    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Training batches without end from number ``start`` on, the same for the same seed.

        Where several processes train, each batch is the part of this process, ``batch_size``
        examples, of one for all of them: see :func:`saiki.processes.part`.
        """

    def example(self) -> Any:
        """Two or more inputs of the model, as an export needs them, made without any data; here the
        first part of a batch."""
        batch: Any = next(self.batches())
        return batch[0] if isinstance(batch, tuple) else batch

    @abstractmethod
    def measure(self, model: Model, batch: Batch) -> Measures:
        """What one batch tells, each the mean over its examples; training lowers ``"loss"``."""

    @abstractmethod
    def evaluate(self, model: Model) -> Figures:
        """The final figures, on data kept apart."""

    def monitor(self, model: Model) -> dict[str, float]:
        """Figures that go with each point of the curves, beside the loss."""
        return {}

    def summarise(self, curve: Sequence[Mapping[str, float]]) -> Figures:
        """Final figures that only the whole curve tells, from its points as they are logged."""
        return {}

    @abstractmethod
    def sample(self, model: Model) -> str:
        """One line that shows a person what the model can do by now."""

    @abstractmethod
    def predict(self, model: Model, text: str) -> dict[str, Any]:
        """What the trained model makes of a user's input, for people under ``"text"``."""

    def predict_all(
        self, model: Model, texts: Sequence[str]
    ) -> Sequence[dict[str, Any] | InputError]:
        """:meth:`predict` of each input, or why there is no answer."""
        answers: list[dict[str, Any] | InputError] = []
        for text in texts:
            try:
                answers.append(self.predict(model, text))
            except InputError as error:
                answers.append(error)
        return answers

    @classmethod
    def beside(cls, results: Mapping[str, Figures], folder: Path) -> list[Path]:
        """Pictures of the final figures of several runs, by their labels, written to ``folder``."""
        return []

    def opening(self) -> str:
        """What a person should know of the data before the training begins; nothing if empty."""
        return ""

    def remarks(self, model: Model) -> str:
        """What a person should know of the trained model beside its figures."""
        return ""

    def draw(self, model: Model, points: Points, folder: Path) -> list[Path]:
        """Pictures of what the trained model does and of how it came to it, written into
        ``folder``."""
        return []

    def metadata(self, model: Model) -> dict[str, str]:
        """What a file for other programs should say of the model, such as the names of classes."""
        return {}

    def folds(self, by: str) -> list[dict[str, Value]]:
        """The knobs of each fold of a cross-validation, such as each speaker held out in turn.

        Raises:
            InputError: there is nothing of that name to hold out.
        """
        raise InputError(f"{self.name} cannot be cross-validated by {by!r}")

    @abstractmethod
    def equations(self) -> str:
        """The model, as the equations it computes."""


def only(answers: Sequence[dict[str, Any] | InputError]) -> dict[str, Any]:
    """The one answer of :meth:`Experiment.predict_all`; raises if it is an error."""
    [answer] = answers
    if isinstance(answer, InputError):
        raise answer
    return answer


def placed(values: Any, model: nn.Module) -> Any:
    """Tensors, alone or in tuples, on the device of ``model``; numbers with a point in its type."""
    like = next(model.parameters(), None)
    if like is None:
        return values
    if values is None:
        return None
    if isinstance(values, Tensor):
        return values.to(like.device, like.dtype if values.is_floating_point() else None)
    return tuple(placed(value, model) for value in values)
