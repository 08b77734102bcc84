"""Knobs: the typed settings of an experiment, told once and read by every front end.

A knob is a field of a frozen dataclass with its help and what it allows. Command-line flags, the
grid of a sweep, ``config.json`` and the pages of the documentation all come from it.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from saiki.errors import InputError

Value = bool | int | float | str


def knob(
    default: Value,
    help: str,
    *,
    choices: Sequence[str] = (),
    minimum: float = -math.inf,
    maximum: float = math.inf,
) -> Any:
    """A dataclass field with its help and its choices or its range, bounds included."""
    metadata = {"help": help, "choices": tuple(choices), "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


def other(base: "type[Knobs]", name: str, default: Value) -> Any:
    """The knob ``name`` of ``base``, with another default."""
    k = base.knob(name)
    return knob(default, k.help, choices=k.choices, minimum=k.minimum, maximum=k.maximum)


@dataclass(frozen=True)
class Knob:
    """What is known of one knob."""

    name: str
    type: type[Value]
    default: Value
    help: str
    choices: tuple[str, ...]
    minimum: float
    maximum: float

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """What the knob takes, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.type is bool:
            return "true or false"
        if self.type is str:
            return "text"
        kind = "a whole number" if self.type is int else "a number"
        match math.isfinite(self.minimum), math.isfinite(self.maximum):
            case True, True:
                return f"{kind} from {self.minimum} to {self.maximum}"
            case True, False:
                return f"{kind} of at least {self.minimum}"
            case False, True:
                return f"{kind} of at most {self.maximum}"
        return kind

    def parse(self, text: str) -> Value:
        """The value written as ``text`` on a command line."""
        text = text.strip()
        if self.type is bool:
            if text.lower() not in ("true", "false"):
                raise self._refusal(text)
            return text.lower() == "true"
        try:
            return self.check(self.type(text))
        except ValueError:
            raise self._refusal(text) from None

    def check(self, value: Value) -> Value:
        """``value`` itself, or an error that names the knob and what it allows."""
        if self.type is float and type(value) is int and abs(value) <= sys.float_info.max:
            value = float(value)
        if type(value) is not self.type or (self.choices and value not in self.choices):
            raise self._refusal(value)
        if isinstance(value, int | float):
            finite = isinstance(value, int) or math.isfinite(value)
            if not finite or not self.minimum <= value <= min(self.maximum, sys.float_info.max):
                raise self._refusal(value)
        return value

    def _refusal(self, value: Any) -> InputError:
        return InputError(f"{self.name} must be {self.allowed}, got {value!r}")


@dataclass(frozen=True)
class Knobs:
    """Base of a frozen dataclass of knobs: made only of allowed values."""

    def __post_init__(self) -> None:
        for each in self.knobs().values():
            object.__setattr__(self, each.name, each.check(getattr(self, each.name)))
        self.validate()

    def validate(self) -> None:
        """Raise :class:`InputError` where knobs that are each allowed do not fit each other."""

    @classmethod
    def knobs(cls) -> dict[str, Knob]:
        """The knobs by name, in the order they are written."""
        defaults = {f.name: cast(Value, f.default) for f in dataclasses.fields(cls)}
        return {
            f.name: Knob(f.name, type(defaults[f.name]), defaults[f.name], **f.metadata)
            for f in dataclasses.fields(cls)
        }

    @classmethod
    def knob(cls, name: str) -> Knob:
        """The knob of that name."""
        knobs = cls.knobs()
        try:
            return knobs[name.replace("-", "_")]
        except KeyError:
            known = ", ".join(knobs)
            raise InputError(f"there is no knob {name!r}; the knobs are {known}") from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From ``config.json`` or a preset; an unknown name is an error."""
        return cls(**{cls.knob(name).name: value for name, value in values.items()})

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The same knobs but for these."""
        return self.from_dict({**self.to_dict(), **values})

    def to_dict(self) -> dict[str, Value]:
        return dataclasses.asdict(self)
