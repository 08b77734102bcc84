"""What an exercise can do beside learning, predicting and being judged: each is a class that it
declares, in front of :class:`~saiki.experiment.Experiment`.

Whoever needs one asks for it, ``Follows.of(experiment)``; where an exercise is better with one and
does without, it is asked whether it is an instance.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import nn

from saiki.errors import InputError
from saiki.experiment import Experiment, Figures, Points, Trial
from saiki.knobs import Value
from saiki.prediction import Prediction
from saiki.text.vectors import Vectors


class Capability(ABC):
    """Something that not every exercise can do."""

    name: ClassVar[str]
    """Of the exercise."""
    lacking: ClassVar[str]
    """What is said of an exercise that cannot, behind its name."""

    @classmethod
    def of(cls, experiment: Experiment | Self) -> Self:
        """The same exercise, as one that can.

        Raises:
            InputError: it cannot.
        """
        if isinstance(experiment, cls):
            return experiment
        raise InputError(f"{experiment.name} {cls.lacking}")


class Monitors(ABC):
    """Measures the model while it learns."""

    @abstractmethod
    def monitor(self, model: Any) -> dict[str, float]:
        """Figures that go with each point of the curves, beside the loss."""


class Samples(ABC):
    """Shows the model at work while it learns."""

    @abstractmethod
    def sample(self, model: Any) -> str:
        """One line that shows a person what the model can do by now; nothing if empty."""


class Summarises(ABC):
    """Has figures of the whole course of a training."""

    @abstractmethod
    def summarise(self, curve: Sequence[Mapping[str, float]]) -> Figures:
        """Final figures that only the whole curve tells, from its points as they are logged."""


class Settles(ABC):
    """Learns something after the weights."""

    @abstractmethod
    def settle(self, model: Any) -> None:
        """Set what a trained model holds beside its weights, such as a threshold, before it is
        evaluated and written."""


class Describes(ABC):
    """Says more of a trained model than its figures do."""

    @abstractmethod
    def describe_model(self, model: Any) -> str:
        """What a person should know of the trained model beside its figures."""


class Draws(ABC):
    """Draws a trained model."""

    @abstractmethod
    def draw(self, model: Any, points: Points, folder: Path) -> list[Path]:
        """Pictures of what the trained model does and of how it came to it, written into
        ``folder``."""


class DrawsComparisons(ABC):
    """Draws several settings beside each other."""

    @classmethod
    @abstractmethod
    def compare_plots(cls, trials: Mapping[str, Trial], folder: Path) -> list[Path]:
        """Pictures of the final figures of several settings, by their labels, written to
        ``folder``."""


class DrawsAnswers(Capability):
    """Draws how a trained model comes to its answers."""

    lacking = "has no picture of an answer to draw"

    @abstractmethod
    def draw_answers(self, model: Any, texts: Sequence[str], path: Path) -> Path:
        """A picture of how the trained model comes to its answers to a user's inputs.

        Raises:
            InputError: there is none of this model.
        """


class Follows(Capability):
    """Goes on with its input line by line."""

    lacking = "has nothing that goes on line by line, to be followed"

    @abstractmethod
    def follow(
        self, model: Any, inputs: Sequence[str], arriving: Iterable[Sequence[bytes]]
    ) -> Iterator[Prediction | InputError]:
        """What the trained model makes of each line that arrives, as :meth:`predict` says it, after
        all before it, those of ``inputs`` first; or why there is no answer.

        Args:
            arriving: lines without their ends, those together that are there together.

        Raises:
            InputError: ``inputs`` cannot be read.
        """


class Scores(Capability):
    """Judges a trained model by data that come later."""

    lacking = "has no figures of a file"

    @abstractmethod
    def score_file(self, model: Any, path: Path) -> Figures:
        """The final figures of a trained model, on data of a file or folder of a user's own.

        Raises:
            InputError: the file cannot be read.
        """


class Folds(Capability):
    """Parts its data in several ways, for a cross-validation."""

    lacking = "cannot be cross-validated"

    @abstractmethod
    def folds(self, by: str) -> list[dict[str, Value]]:
        """The knobs of each fold of a cross-validation, such as each speaker held out in turn.

        Raises:
            InputError: there is nothing of that name to hold out.
        """


class ExportsVectors(Capability):
    """Learns vectors of words, for other programs."""

    lacking = (
        "has no word vectors; those of a run of words are written, and --onnx writes any model"
    )

    @abstractmethod
    def vectors_of(self, model: Any) -> Vectors:
        """Those that the trained model has learned."""


class Exports(ABC):
    """Is not exported as one model as it was trained."""

    @abstractmethod
    def exported(self, model: Any) -> Mapping[str, tuple[nn.Module, Any]]:
        """What is exported of the trained model, and an example of its arguments, by the names of
        the parts; made without any data. A model that is exported as a whole needs no name."""


class Annotates(ABC):
    """Says in an exported file what its numbers mean."""

    @abstractmethod
    def metadata(self, model: Any) -> dict[str, str]:
        """What a file for other programs should say of the model, such as the names of classes."""
