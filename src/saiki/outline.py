"""What the words of a command line are held to, apart from the exercise that they are about: its
knobs and presets as plain data."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from saiki.errors import InputError, near, shown
from saiki.knobs import Knob, Value, named

TYPES: dict[str, type[Value]] = {each.__name__: each for each in (bool, int, float, str)}


@dataclass(frozen=True)
class Outline:
    """An exercise in outline.

    Args:
        minutes: that a run with the defaults takes on two cores; 0 where nobody has measured it.
        claims: how many it makes.
    """

    name: str
    summary: str
    minutes: float
    takes: str
    knobs: Mapping[str, Knob]
    presets: Mapping[str, Mapping[str, Value]]
    predict_knobs: tuple[str, ...]
    claims: int

    def knob(self, name: str) -> Knob:
        """The knob of that name."""
        return named(self.knobs, name.replace("-", "_"))

    def preset(self, name: str | None) -> dict[str, Value]:
        """The knobs a preset changes; none for None."""
        if name is None:
            return {}
        if name not in self.presets:
            raise InputError(
                f"{self.name} has no preset {shown(name)}; there are {', '.join(self.presets)}"
                f"{near(name, self.presets)}"
            )
        return dict(self.presets[name])

    def parse(self, words: Iterable[str], flags: Mapping[str, Value]) -> dict[str, Value]:
        """Knobs given as flags, and those of words that are ``knob=value``."""
        values = dict(flags)
        for word in words:
            name, equals, value = word.partition("=")
            if not (name and equals):
                raise InputError(f"expected knob=value, got {shown(word)}")
            knob = self.knob(name)
            if knob.name in values:
                raise InputError(f"{knob.name} is given twice")
            values[knob.name] = knob.parse(value)
        return values

    def grid(self, words: Iterable[str]) -> list[dict[str, Value]]:
        """The settings that ``knob=a,b,c`` words span, in their order.

        Raises:
            InputError: a word is not of that form, or names a knob or value that is not allowed.
        """
        axes: dict[str, list[Value]] = {}
        for word in words:
            name, equals, values = word.partition("=")
            if not (name and equals and values):
                raise InputError(f"expected knob=value,value, got {word!r}")
            knob = self.knob(name)
            if knob.name in axes:
                raise InputError(f"{knob.name} is given twice; write {knob.name}=a,b")
            if knob.name == "seed":
                raise InputError("seeds are counted with --seeds N, not listed")
            axes[knob.name] = [knob.parse(value) for value in values.split(",")]
        spanned = itertools.product(*axes.values())
        return [dict(zip(axes, values, strict=True)) for values in spanned]

    def check_paths(self, values: Mapping[str, Value]) -> None:
        """Refuse a file or folder that is to be read and is not there."""
        for name, value in values.items():
            knob = self.knobs[name]
            if knob.is_path and value not in ("", "-", *knob.names):
                path = Path(str(knob.check(value)))
                if not path.exists():
                    raise InputError(f"{path} does not exist")

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self) | {"knobs": [_written(knob) for knob in self.knobs.values()]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From what :meth:`to_dict` said."""
        knobs = {knob.name: knob for knob in map(_read, values["knobs"])}
        lists = {"predict_knobs": tuple(values["predict_knobs"])}
        return cls(**{**values, **lists, "knobs": knobs})


def _written(knob: Knob) -> dict[str, Any]:
    """A knob as JSON can hold it."""
    return asdict(knob) | {"type": knob.type.__name__}


def _read(values: Mapping[str, Any]) -> Knob:
    """The knob of which :func:`_written` said this."""
    lists = {name: tuple(values[name]) for name in ("choices", "names")}
    return Knob(**{**values, **lists, "type": TYPES[values["type"]]})
