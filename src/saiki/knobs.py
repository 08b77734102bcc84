"""Knobs: the typed settings of an experiment, told once and read by every front end.

A knob is a field of a frozen dataclass with its help and what it allows. Command-line flags, the
grid of a sweep, ``config.json`` and the pages of the documentation all come from it.

Knobs that belong together are a group: a :class:`Knobs` of their own, with its own check, which
builds what it describes. Whoever needs it has it as a field, with defaults of its own. All front
ends see through groups, as if their knobs stood in the class that holds them.
"""

import dataclasses
import math
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from saiki.errors import InputError, near, shown

Value = bool | int | float | str
LARGEST = {int: 10**9, float: 1e30}
"""Of knobs without a bound of their own: what float32 and a lifetime can do with."""


def knob(
    default: Value,
    help: str,
    *,
    choices: Collection[str] = (),
    minimum: float = -math.inf,
    maximum: float | None = None,
    is_path: bool = False,
    names: Collection[str] = (),
) -> Any:
    """A field with its help and its choices or its range, bounds included.

    Args:
        choices: where they may grow, as those of a registry do, the registry itself.
        is_path: whether it names a file or folder, which is written down in full, so that a run
            goes on from any folder; ``-``, the standard input, stays as it is.
        names: what is no path though ``is_path``, and stays as it is too.
    """
    if maximum is None:
        maximum = LARGEST.get(type(default), math.inf)
    metadata = {"help": help, "choices": choices, "minimum": minimum, "maximum": maximum}
    metadata |= {"is_path": is_path, "names": names}
    return dataclasses.field(default=default, metadata=metadata)


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
    is_path: bool
    names: tuple[str, ...]

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
            if not finite or not self.minimum <= value <= self.maximum:
                raise self._refusal(value)
        is_path = self.is_path and value not in ("", "-", *self.names)
        if is_path and isinstance(value, str) and "\0" not in value:
            try:
                value = str(Path(value).expanduser().absolute())
            except RuntimeError:
                raise InputError(
                    f"{self.name} begins in a home folder that is not known, got {shown(value)}"
                ) from None
        if isinstance(value, str) and not is_text(value):
            raise self._refusal(value)
        return value

    def _refusal(self, value: Any) -> InputError:
        hint = near(value, self.choices) if isinstance(value, str) else ""
        return InputError(f"{self.name} must be {self.allowed}, got {shown(value)}{hint}")


def is_text(value: str) -> bool:
    """Whether a file of text can hold it and a file be called so."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


class Knobs:
    """Settings, made only of allowed values, and never changed afterwards.

    A subclass tells its knobs and groups as fields, and is a frozen dataclass without being called
    one. Each is given by its own name, also one of a group:

    >>> class Rule(Knobs):
    ...     rate: float = knob(0.1, "size of the update", minimum=0)
    >>> class Exercise(Knobs):
    ...     rounds: int = knob(3, "of training")
    ...     rule: Rule = Rule(rate=0.5)
    >>> Exercise(rounds=2).rule.rate
    0.5
    >>> Exercise(rate=1).to_dict()
    {'rounds': 3, 'rate': 1.0}

    Raises:
        InputError: there is no such knob, or a value is not allowed.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(frozen=True, init=False)(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        groups = [field.name for field in fields if isinstance(field.default, Knobs)]
        names = [*groups, *(each.name for each in cls._every())]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TypeError(f"{cls.__name__} has {twice[0]} twice among its knobs and groups")

    def __init__(self, **values: Any) -> None:
        known = self.knobs()
        for name in values:
            named(known, name)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            group: Any = field.default
            if isinstance(group, Knobs):
                inner = group.to_dict()
                value: Any = type(group)(**{n: values.get(n, v) for n, v in inner.items()})
            else:
                value = known[field.name].check(values.get(field.name, field.default))
            object.__setattr__(self, field.name, value)
        self.validate()

    def validate(self) -> None:
        """Raise :class:`InputError` where knobs that are each allowed do not fit each other."""

    def refuse_unused(self, choice: str, users: Mapping[str, Sequence[str]]) -> None:
        """Refuse a knob that was changed and has no effect.

        Args:
            choice: the knob on whose value that depends.
            users: the values of it with which each knob has one.

        Raises:
            InputError: there is such a knob.
        """
        chosen = getattr(self, choice)
        for name, values in users.items():
            if chosen not in values and getattr(self, name) != self.knob(name).default:
                raise InputError(f"{name} goes with {choice} {' or '.join(values)}, got {chosen}")

    @classmethod
    def knobs(cls) -> dict[str, Knob]:
        """The knobs by name, those of groups among them, in the order they are written."""
        return {each.name: each for each in cls._every()}

    @classmethod
    def _every(cls) -> Iterator[Knob]:
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            default: Any = field.default
            if isinstance(default, Knobs):
                values = default.to_dict()
                for each in default._every():
                    yield dataclasses.replace(each, default=values[each.name])
            else:
                lists = {name: tuple(field.metadata[name]) for name in ("choices", "names")}
                about = {**field.metadata, **lists}
                yield Knob(field.name, type(default), default, **about)

    @classmethod
    def knob(cls, name: str) -> Knob:
        """The knob of that name."""
        return named(cls.knobs(), name.replace("-", "_"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From ``config.json`` or a preset; an unknown name is an error."""
        return cls(**values)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The same knobs but for these."""
        return self.from_dict({**self.to_dict(), **values})

    def to_dict(self) -> dict[str, Value]:
        """Each knob and its value, those of groups among them."""
        values: dict[str, Value] = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            values |= value.to_dict() if isinstance(value, Knobs) else {field.name: value}
        return values


def named(knobs: Mapping[str, Knob], name: str) -> Knob:
    """The knob of that name.

    Raises:
        InputError: there is none.
    """
    try:
        return knobs[name]
    except KeyError:
        raise InputError(
            f"there is no knob {shown(name)}; the knobs are {', '.join(knobs)}{near(name, knobs)}"
        ) from None
