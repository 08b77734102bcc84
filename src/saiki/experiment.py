"""What an experiment is: its knobs, and how to build its data, its model and its loss from them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from saiki.errors import InputError
from saiki.knobs import Knobs, Value, knob

Model = TypeVar("Model", bound=nn.Module)
Batch = TypeVar("Batch")
Figures = dict[str, float | None]


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

    iterations: int = knob(1000, "updates of the weights", minimum=1)
    batch_size: int = knob(32, "examples for each update", minimum=1)
    optimiser: str = knob("adam", "rule of the update", choices=("sgd", "momentum", "adam"))
    learning_rate: float = knob(0.01, "size of the update", minimum=0)
    clip_value: float = knob(0.0, "bound on each entry of the gradient; 0: none", minimum=0)
    clip_norm: float = knob(0.0, "bound on the norm of the whole gradient; 0: none", minimum=0)
    log_every: int = knob(100, "iterations from one point of the curves to the next", minimum=1)
    seed: int = knob(0, "of the weights and the order of the data", minimum=0, maximum=2**31)

    name: ClassVar[str]
    summary: ClassVar[str]
    score: ClassVar[str]
    """The figure that says how well it did, the larger the better."""
    threads: ClassVar[int | None] = None
    """CPU threads that pay for a model of this size; all of them if None."""
    same_operations: ClassVar[bool] = False
    """Whether a batch is a tuple of tensors, and ``loss`` does the same operations of PyTorch for
    all batches of the same shapes: it asks no number to decide what comes next. An iteration of
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

    @abstractmethod
    def model(self) -> Model:
        """A new model; the random state has been seeded."""

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Training batches without end, the same for the same seed."""

    def example(self) -> Any:
        """Two or more inputs of the model, as an export needs them: the first part of a batch."""
        batch: Any = next(self.batches())
        return batch[0] if isinstance(batch, tuple) else batch

    @abstractmethod
    def loss(self, model: Model, batch: Batch) -> Tensor:
        """The loss of one batch."""

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
        """What the trained model makes of a user's input."""

    @abstractmethod
    def equations(self) -> str:
        """The model, as the equations it computes."""
