"""What a step depends on, in words that mean the same in another process.

A fingerprint holds objects, which are told apart by who they are. Here each is written by what it
is: numbers and strings as they are, code as its instructions, classes and functions of installed
packages by their names. What cannot be written so has no name that lasts.
"""

import sys
import types
from enum import Enum
from typing import Any

import torch

from saiki.compiler.code import is_library
from saiki.compiler.identity import Itself

_EXACT = (type(None), bool, int, float, complex, str, bytes, range, slice, type(...))
_NAMED = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_CODE = (
    "co_name", "co_filename", "co_firstlineno", "co_linetable", "co_argcount",
    "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_code", "co_exceptiontable",
    "co_names", "co_varnames", "co_freevars", "co_cellvars",
)  # fmt: skip
"""All of a code object but for its constants; those that this Python has."""
_BUILT_IN = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.MethodWrapperType, types.GetSetDescriptorType, types.ClassMethodDescriptorType,
    types.MemberDescriptorType,
)  # fmt: skip
_OPERATORS = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)
_VERSIONED = {"torch", "numpy", "saiki", "builtins"} | sys.stdlib_module_names
"""Packages whose versions are part of every key."""


class PassingError(Exception):
    """What something is cannot be said to another process."""


def lasting(value: Any) -> str:
    """The value in words.

    Raises:
        PassingError: there are none.
    """
    if isinstance(value, Enum):
        return f"{lasting(type(value))}.{value.name}"
    if type(value) in _EXACT:
        return repr(value)
    if isinstance(value, _NAMED):
        return str(value)
    if isinstance(value, tuple | list):
        return f"({','.join(map(lasting, value))})"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(map(lasting, value)))}}}"
    if isinstance(value, type):
        return _named(value)
    if isinstance(value, types.CodeType):
        own = (getattr(value, name, None) for name in _CODE)
        return lasting(("code", *own, value.co_consts))
    if isinstance(value, Itself):
        return _object(value.get())
    raise PassingError(type(value).__name__)


def _object(value: Any) -> str:
    """What is told apart by who it is."""
    match value:
        case type():
            return _named(value)
        case types.FunctionType():
            more = value.__defaults__, tuple((value.__kwdefaults__ or {}).items())
            around = tuple(_captured(cell) for cell in value.__closure__ or ())
            return f"{_named(value)}{lasting((value.__code__, *more, around))}"
        case _ if isinstance(value, _OPERATORS):
            return f"operator {value}"
        case _ if isinstance(value, _BUILT_IN):
            owner = getattr(value, "__self__", None)
            if owner is None:
                owner = getattr(value, "__objclass__", None)
            if owner is None:
                return _named(value)
            whose = owner.__name__ if isinstance(owner, types.ModuleType) else _named(owner)
            return f"{whose}.{value.__qualname__}"
    raise PassingError(type(value).__name__)


def _captured(cell: types.CellType) -> str:
    try:
        value = cell.cell_contents
    except ValueError:
        return "empty"
    try:
        return lasting(value)
    except PassingError:
        return _object(value)


def _named(value: Any) -> str:
    """A class or function by its name, and by the version of its package where that is none of
    those that every key names."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise PassingError(type(value).__name__)
    root = module.partition(".")[0]
    if root in _VERSIONED or not is_library(module):
        return f"{module}.{name}"
    version = getattr(sys.modules.get(root), "__version__", None)
    if not isinstance(version, str):
        raise PassingError(f"{root}, which tells no version")
    return f"{module}.{name} of {version}"
