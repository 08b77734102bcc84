"""What a trained model makes of an input of its user."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from saiki.errors import InputError


class FileOutput(ABC):
    """An output that becomes a file of its own, such as an image or a sound."""

    ending: ClassVar[str]
    """Of the name of the file."""

    @abstractmethod
    def save(self, path: Path) -> Path:
        """Write the file, whole or not at all."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a trained model makes of one input.

    Args:
        input: what it was given.
        text: all of it, for people.
        output: what it makes of it; None where ``figures`` alone say so, such as the class.
        figures: what else is known of it, by name.
        alternatives: outputs, where there were several to choose from.
        unknown: the words of the input that the model does not know; None where it reads none.
        rows: of a table, a dataclass each; they stand in place of all the rest.
        seconds: that it took.
        remark: what a person should know of the model or the input.

    >>> seven = Prediction(input="3 + 4", text="3 + 4 = 7", output="7", figures={"correct": True})
    >>> seven.objects()
    [{'input': '3 + 4', 'output': '7', 'correct': True}]
    """

    text: str
    input: str = ""
    output: Any = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    alternatives: Sequence[Any] | None = None
    unknown: Sequence[str] | None = None
    rows: Sequence[Any] = ()
    seconds: float | None = None
    remark: str = ""

    def objects(self) -> list[Mapping[str, Any]]:
        """As JSON has it: one object, or one for each row of a table."""
        others = {name: getattr(self, name) for name in ("alternatives", "unknown", "seconds")}
        each = {"output": self.output, **self.figures, **others}
        named = {name: value for name, value in each.items() if value is not None}
        return [asdict(row) for row in self.rows] or [{"input": self.input, **named}]


class PredictsTogether(ABC):
    """Answers several inputs at once, in less time than one after the other."""

    predict_batch: ClassVar[int] = 64

    @abstractmethod
    def predict_together(
        self, model: Any, texts: Sequence[str]
    ) -> Sequence[Prediction | InputError]:
        """:meth:`predict` of each input, or why there is no answer.

        Raises:
            InputError: there is none to one of them.
        """

    def predict(self, model: Any, text: str) -> Prediction:
        [answer] = self.predict_all(model, [text])
        if isinstance(answer, InputError):
            raise answer
        return answer

    def predict_all(self, model: Any, texts: Sequence[str]) -> Sequence[Prediction | InputError]:
        try:
            return self.predict_together(model, texts) if texts else []
        except InputError as error:
            if len(texts) == 1:
                return [error]
        halves = texts[: len(texts) // 2], texts[len(texts) // 2 :]
        return [answer for half in halves for answer in self.predict_all(model, half)]
