"""Modules that remember how they were made, as data from which they can be made again."""

import importlib
import inspect
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import torch

from saiki import activations
from saiki.errors import InputError

Description = dict[str, Any]


class Described:
    """Keeps the arguments of its constructor; see :func:`describe` and :func:`make`."""

    known: ClassVar[dict[str, type["Described"]]] = {}
    """Every class of the kind, by its full name."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Described.known[_full_name(cls)] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> "Described":
        made = super().__new__(cls)
        made.__dict__["_given"] = args, kwargs
        return made

    def arguments(self) -> dict[str, Any]:
        """The arguments it was made with, by name; those of ``*args`` as a list."""
        args, kwargs = self.__dict__["_given"]
        bound = inspect.signature(type(self).__init__).bind(self, *args, **kwargs)
        named = dict(list(bound.arguments.items())[1:])
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                named |= named.pop(name, {})
        return named

    def __prepare_scriptable__(self) -> None:
        """TorchScript asks for what it can read in place of the module.

        Raises:
            InputError: always; it reads neither cells nor loops over them.
        """
        raise InputError(
            f"TorchScript cannot read {type(self).__name__}; saiki.export.onnx writes any model"
        )

    def save_pretrained(self: Any, folder: str | Path) -> Path:
        """Write the model as data; ``saiki.load(folder)`` makes it again. See
        :func:`saiki.pretrained.save`."""
        from saiki.pretrained import save  # which stands on modules that stand on this one

        return save(self, folder)


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def describe(module: Described) -> Description:
    """``{"class": …, "arguments": {…}}``, ready for JSON. A module that occurs twice is described
    once, and meant by its number afterwards.

    Raises:
        InputError: an argument is of a kind that JSON cannot say.
    """
    description: Description = _Describer().value("", module)
    return description


class _Describer:
    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def value(self, where: str, value: Any) -> Any:
        match value:
            case None | bool() | int() | str():
                return value
            case float() if math.isfinite(value):
                return value
            case activations.Activation():
                return {"activation": value.name, "parameters": dict(value.parameters)}
            case torch.dtype():
                return {"dtype": str(value).removeprefix("torch.")}
            case Described():
                if id(value) in self.numbers:
                    return {"same": self.numbers[id(value)]}
                self.numbers[id(value)] = len(self.numbers)
                name = type(value).__name__
                arguments = {
                    k: self.value(f"{k} of {name}", v) for k, v in value.arguments().items()
                }
                return {"class": _full_name(type(value)), "arguments": arguments}
            case list() | tuple() | torch.nn.ModuleList():
                return [self.value(where, v) for v in value]
        raise InputError(
            f"{where} is {value!r}, which cannot be saved as data; give a number, a name of "
            "saiki.activations, or a module of saiki's kind"
        )


def make(description: Any, classes: Iterable[type] = ()) -> Any:
    """The module that :func:`describe` described, with new weights.

    Args:
        classes: what may be made beside saiki's own and what has been defined in this process.

    Raises:
        InputError: the description names an unknown class, or arguments that it refuses.
    """
    return _Maker({_full_name(c): c for c in classes}).value(description)


class _Maker:
    def __init__(self, classes: Mapping[str, type]) -> None:
        self.classes = classes
        self.made: list[Any] = []

    def value(self, value: Any) -> Any:
        match value:
            case {"class": str(name), "arguments": dict(arguments), **rest} if not rest:
                number = len(self.made)
                self.made.append(None)
                self.made[number] = self._new(name, arguments)
                return self.made[number]
            case {"same": int(number), **rest} if not rest:
                if 0 <= number < len(self.made) and self.made[number] is not None:
                    return self.made[number]
                raise InputError(f"the configuration means module {number} before it is there")
            case {"activation": str(name), "parameters": dict(parameters), **rest} if not rest:
                return activations.get(name, **parameters)
            case {"dtype": str(name), **rest} if not rest:
                dtype = getattr(torch, name, None)
                if isinstance(dtype, torch.dtype):
                    return dtype
                raise InputError(f"there is no type {name!r} of numbers")
            case list():
                return [self.value(v) for v in value]
            case None | bool() | int() | float() | str():
                return value
        raise InputError(f"the configuration holds {str(value)[:80]!r}, which describes nothing")

    def _new(self, name: str, arguments: dict[str, Any]) -> Any:
        cls = self.classes.get(name) or self._known(name)
        given = {k: self.value(v) for k, v in arguments.items()}
        signature = inspect.signature(cls)
        rest = [p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL]
        positional = given.pop(rest[0], []) if rest else []
        try:
            signature.bind(*positional, **given)
            return cls(*positional, **given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{name} cannot be made from the configuration: {error}") from None

    @staticmethod
    def _known(name: str) -> type[Described]:
        if name not in Described.known and name.startswith("saiki."):
            with suppress(ImportError):  # the sentence below says that there is no such class
                importlib.import_module(name.rpartition(".")[0])
        if name not in Described.known:
            raise InputError(
                f"the configuration needs the class {name}, which is not defined here; import it "
                "first, or pass classes=[...]"
            )
        return Described.known[name]
