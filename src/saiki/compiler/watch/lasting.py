"""What a step depends on, in words that mean the same in another process.

A fingerprint holds objects, which are told apart by who they are. Here each is written by what it
is: numbers and strings as they are, code as its instructions, classes and functions of Python,
PyTorch and NumPy by their names. What cannot be written so has no name that lasts.
"""

import sys
import types
from collections.abc import Iterable
from enum import Enum
from typing import Any

import torch

from saiki.compiler.watch.code import imports_in, makes_sets
from saiki.compiler.watch.kinds import IN_C, OPERATORS, Itself
from saiki.compiler.watch.whose import is_installed, is_library

_EXACT = (type(None), bool, int, float, complex, str, bytes, range, slice, type(...))
_NAMED = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_CODE = (
    "co_name", "co_filename", "co_firstlineno", "co_linetable", "co_argcount",
    "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_code", "co_exceptiontable",
    "co_names", "co_varnames", "co_freevars", "co_cellvars",
)  # fmt: skip
"""All of a code object but for its constants; those that this Python has."""
_VERSIONED = {"torch", "numpy", "saiki", "builtins"} | sys.stdlib_module_names
"""Packages whose versions are part of every key. Of others nobody knows what state they hold."""


class PassingError(Exception):
    """What something is cannot be said to another process."""


def lasting(value: Any) -> str:
    """The value in words.

    Raises:
        PassingError: there are none.
    """
    if isinstance(value, Enum):
        return f"{_of_package(type(value))}.{value.name} {lasting(value.value)}"
    if type(value) in _EXACT:
        return repr(value)
    if isinstance(value, _NAMED):
        return str(value)
    if type(value) in (tuple, list, torch.Size):
        return f"({','.join(map(lasting, value))})"
    if type(value) is frozenset:
        return f"{{{','.join(sorted(map(lasting, value)))}}}"
    if isinstance(value, type):
        return _of_package(value)
    if isinstance(value, types.CodeType):
        if imports_in(value):
            raise PassingError("what code imports is found when it runs")
        if makes_sets(value):
            raise PassingError("sets come in another order in another process")
        own = (getattr(value, name, None) for name in _CODE)
        return lasting(("code", *own, value.co_consts))
    if isinstance(value, Itself):
        return _object(value.get())
    raise PassingError(type(value).__name__)


def lasting_tokens(fingerprint: Iterable[tuple[Any, ...]]) -> str:
    """A fingerprint of :class:`~saiki.compiler.watch.watch.Watch` in words.

    Raises:
        PassingError: it holds what has none.
    """
    words = []
    for token in fingerprint:
        match token:
            case (_, "module", str(name)) if is_library(name):
                _must_be_versioned(name)
        words.append(lasting(token))
    return "\n".join(words)


def _object(value: Any) -> str:
    """What is told apart by who it is."""
    match value:
        case type() if not is_installed(value):  # whose code is followed
            return f"{value.__module__}.{value.__qualname__}"
        case type():
            return _of_package(value)
        case types.CodeType():  # of a function that is told of beside it
            return value.co_qualname
        case types.FunctionType():
            more = value.__defaults__, tuple((value.__kwdefaults__ or {}).items())
            around = tuple(_captured(cell, value) for cell in value.__closure__ or ())
            return f"{_of_package(value)}{lasting((value.__code__, *more, around))}"
        case _ if isinstance(value, OPERATORS):
            return f"operator {value}"
        case _ if isinstance(value, IN_C):
            owner = getattr(value, "__self__", None)
            if owner is None:
                owner = getattr(value, "__objclass__", None)
            if owner is None:
                return _of_package(value)
            if isinstance(owner, types.ModuleType):
                _must_be_versioned(owner.__name__)
                return f"{owner.__name__}.{value.__qualname__}"
            if isinstance(owner, type):
                return f"{_of_package(owner)}.{value.__qualname__}"
    raise PassingError(type(value).__name__)


def _captured(cell: types.CellType, function: types.FunctionType) -> str:
    try:
        value = cell.cell_contents
    except ValueError:
        return "empty"
    if value is function:
        return "itself"
    try:
        return lasting(value)
    except PassingError:
        if isinstance(value, (types.FunctionType, *IN_C)):
            return _object(value)
        raise


def _of_package(value: Any) -> str:
    """A class or function of a package whose version is part of every key, by its name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise PassingError(type(value).__name__)
    _must_be_versioned(module)
    return f"{module}.{name}"


def _must_be_versioned(module: str) -> None:
    if module.partition(".")[0] not in _VERSIONED or not is_library(module):
        raise PassingError(f"something of {module}")
