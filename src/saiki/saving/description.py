"""Objects that remember how they were made, as data from which they can be made again.

The data calls a class by a short name, whatever file defines it. saiki's own names end in a
version, as in ``lstm.v1``: a class whose arguments change their meaning becomes ``lstm.v2``, and
the one that reads what was saved before stays under its name.
"""

import importlib
import inspect
import itertools
import math
import pkgutil
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

import saiki
from saiki import activations
from saiki.errors import InputError, shown
from saiki.saving.kinds import fits, in_words, kinds_of

Description = dict[str, Any]


class Described:
    """Keeps the arguments of its constructor; see :func:`describe` and :func:`make`.

    A subclass is registered under the name it asks for, ``class Leaky(Cell, name="leaky.v1")``, or
    else under that of the class. Defined anew, it takes the place of what it was before.
    """

    _saiki_bookkeeping: ClassVar[tuple[str, ...]] = ("_saiki_given",)
    """Attributes that say nothing of what objects compute; each class lists those that it adds."""
    registered_name: ClassVar[str]
    """What saved files call the class."""

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None and not (isinstance(name, str) and name):
            raise InputError(f"the name of {cls.__name__} must be text, got {name!r}")
        cls.registered_name = cls.__name__ if name is None else name
        _registry.setdefault(cls.registered_name, {})[_place(cls)] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> "Described":
        instance = super().__new__(cls)
        instance.__dict__["_saiki_given"] = args, kwargs
        return instance

    def arguments(self) -> dict[str, Any]:
        """The arguments it was made with, by name; those of ``*args`` as a list."""
        args, kwargs = self.__dict__["_saiki_given"]
        bound = inspect.signature(type(self).__init__).bind(self, *args, **kwargs)
        named = dict(list(bound.arguments.items())[1:])
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                named |= named.pop(name, {})
        return named


_registry: dict[str, dict[str, type[Described]]] = {}
"""The classes of each name, by the places where they are defined."""
LARGEST = 2**63
"""Whole numbers from here on are none of a model's."""
_VERSIONED = re.compile(r".+\.v[0-9]+")
_FRONT_ENDS = ("saiki.__main__", "saiki.bench", "saiki.cli", "saiki.lab")
"""What defines nothing that is saved."""


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _known(name: str) -> dict[str, type[Described]]:
    """The classes of that name, saiki's own whether or not they have been imported."""
    classes = _registry.get(name, {})
    if _VERSIONED.fullmatch(name) and not any(p.startswith("saiki.") for p in classes):
        _import_all_of_saiki()
    return _registry.get(name, {})


@cache
def _import_all_of_saiki() -> None:
    for module in pkgutil.walk_packages(saiki.__path__, "saiki."):
        if not module.name.startswith(_FRONT_ENDS):
            with suppress(ImportError):  # of an optional package
                importlib.import_module(module.name)


def _ambiguous(name: str, classes: Iterable[type]) -> InputError:
    places = " and ".join(sorted(map(_place, classes)))
    return InputError(
        f'{name} is the name of {places}; give one of them another, class …(…, name="…"), or pass '
        "the one that is meant in classes=[...]"
    )


def describe(module: Described) -> Description:
    """``{"class": …, "arguments": {…}}``, ready for JSON. A module that occurs twice is described
    once, and meant by its number afterwards.

    Raises:
        InputError: an argument is of a kind that JSON cannot say, or two classes have one name.
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
                cls = type(value)
                if len(known := _known(cls.registered_name)) > 1:
                    raise _ambiguous(cls.registered_name, known.values())
                arguments = {
                    k: self.value(f"{k} of {cls.__name__}", v) for k, v in value.arguments().items()
                }
                return {"class": cls.registered_name, "arguments": arguments}
            case list() | tuple() | nn.ModuleList():
                return [self.value(where, v) for v in value]
        raise InputError(
            f"{where} is {value!r}, which cannot be saved as data; give a number, a name of "
            "saiki.activations, or a module of saiki's kind"
        )


def make(description: Any, classes: Iterable[type] = ()) -> Any:
    """The module that :func:`describe` described, with new weights.

    Args:
        classes: those that are meant where a name is unknown in this process, or that of several.

    Raises:
        InputError: the description names an unknown class, or one of several of that name, or
            arguments that it refuses.
    """
    chosen: dict[str, type[Described]] = {}
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Described)):
            raise InputError(
                f"classes=[...] takes cells and other classes of saiki's kind, got {cls}"
            )
        if chosen.setdefault(cls.registered_name, cls) is not cls:
            raise _ambiguous(cls.registered_name, (chosen[cls.registered_name], cls))
    try:
        return _Maker(chosen).value(description)
    except RecursionError:
        raise InputError("the configuration is nested too deep to be one") from None


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Let no more than so many modules be given to others in this thread: a number in a
    description may ask for any number of layers.

    Raises:
        InputError: more are.
    """
    thread, counter = threading.get_ident(), itertools.count(1)

    def counted(module: nn.Module, name: str, inner: nn.Module) -> None:
        if threading.get_ident() == thread and next(counter) > count:
            raise InputError(f"it asks for more than {count:,} layers, and so many are not stored")

    handle = register_module_module_registration_hook(counted)
    try:
        yield
    finally:
        handle.remove()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_own(description: Any, classes: Iterable[type] = ()) -> bool:
    """Whether all classes that are meant are saiki's own.

    Args:
        classes: as of :func:`make`.
    """
    names, rest = {getattr(cls, "registered_name", "") for cls in classes}, [description]
    while rest:
        match rest.pop():
            case {"class": str(name), **others}:
                if name in names or not all(map(_is_of_saiki, _known(name).values())):
                    return False
                rest += others.values()
            case dict(values):
                rest += values.values()
            case list(values):
                rest += values
    return True


def _is_of_saiki(cls: type) -> bool:
    """Whether it is none of a user's own."""
    return cls.__module__.startswith("saiki.")


_CANNOT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What constructors raise that are given numbers which make no sense."""


class _Maker:
    def __init__(self, classes: Mapping[str, type[Described]]) -> None:
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
            case None | bool():
                return value
            case int() if abs(value) < LARGEST:
                return value
            case float() if math.isfinite(value):
                return value
            case str() if _is_unicode(value):
                return value
        raise InputError(f"the configuration holds {shown(value)}, which describes nothing")

    def _new(self, name: str, arguments: dict[str, Any]) -> Any:
        cls = self.classes.get(name) or _registered(name)
        values = {k: self.value(v) for k, v in arguments.items()}
        if _is_of_saiki(cls):
            _check_kinds(cls, values)
        signature = inspect.signature(cls)
        positional = _positional(signature, values)
        try:
            signature.bind(*positional, **values)
            return cls(*positional, **values)
        except RecursionError:
            raise
        except _CANNOT as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"{name} cannot be made from the configuration: {reason}") from None


def _check_kinds(cls: type[Described], arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of other kinds than the constructor says, which would be found out when the
    model is used, if at all."""
    kinds = kinds_of(cls.__init__)
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.name not in arguments or parameter.name not in kinds:
            continue
        kind, value = kinds[parameter.name], arguments[parameter.name]
        several = value if parameter.kind is parameter.VAR_POSITIONAL else [value]
        if not isinstance(several, list) or not all(fits(each, kind) for each in several):
            raise InputError(
                f"{parameter.name} of {cls.registered_name} must be {in_words(kind)}, "
                f"got {shown(value)}"
            )


def _positional(signature: inspect.Signature, arguments: dict[str, Any]) -> list[Any]:
    """What of the arguments ``given`` by name has to go by its place, out of them: those of
    ``*args``, if there are any, and all in front of them."""
    names = list(signature.parameters)
    kinds = [p.kind for p in signature.parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return []
    at = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    rest = arguments.pop(names[at], [])
    return (
        [*(arguments.pop(name) for name in names[:at] if name in arguments), *rest] if rest else []
    )


def _registered(name: str) -> type[Described]:
    match list(_known(name).values()):
        case []:
            raise InputError(
                f"the configuration needs the class {name}, which is not defined here; import it "
                "first, or pass classes=[...]"
            )
        case [cls]:
            return cls
        case several:
            raise _ambiguous(name, several)
