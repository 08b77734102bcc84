"""What kinds of values a step may read, and how each is told from another."""

import array
import ctypes
import functools
import operator
import re
import types
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saiki.compiler.code import UNWATCHED, is_library
from saiki.compiler.identity import Itself
from saiki.errors import CompileError

SCALARS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device,
            torch.Size, range, Enum, np.generic)  # fmt: skip
EXTENDED = (int, float, complex, str, bytes)
"""Of what a user's class may be a kind, with a value beside its attributes."""
BUILT_IN = (tuple, bytearray, array.array, np.ndarray, functools.partial)
"""What is followed as it is, without attributes that somebody gave it."""
SELDOM = {
    "__init__", "__new__", "__repr__", "__str__", "__init_subclass__", "__reduce__",
    "__reduce_ex__", "__deepcopy__", "__copy__", "__getstate__", "__setstate__", "__del__",
}  # fmt: skip
"""Functions of a class that are followed only where they are seen to run: few steps make objects,
and those that do the rest of the work read much that no step reads."""
UNREAD = {"__dict__", "__weakref__", "__annotate__", "__annotate_func__", "_abc_impl"}
"""Of a class: what is no value of its own."""
CONSTANT = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.MethodWrapperType, types.GetSetDescriptorType, types.ClassMethodDescriptorType,
    types.MemberDescriptorType, types.GenericAlias, types.UnionType, types.CodeType,
    type(Ellipsis), type(NotImplemented), slice, operator.attrgetter, operator.itemgetter,
    operator.methodcaller, re.Pattern, np.dtype, np.ufunc, super,
    type(vars(namedtuple("Named", "field"))["field"]),
)  # fmt: skip
"""What objects without attributes that could be read are: they stay what they are."""
OF_A_KIND = (Tensor, tuple, np.ndarray)
"""What is not followed as an object with a class, of whatever class it is."""
CLASS = operator.attrgetter("__name__", "__qualname__", "__bases__")
"""What a class is beside its attributes."""
CTYPES = {ctypes._SimpleCData, ctypes.Structure, ctypes.Array, ctypes.Union}
PLAIN = {list, dict, set, frozenset, deque, OrderedDict, defaultdict, Counter}


def must_be_watched(does: str, module: str) -> None:
    """Raise where no watch can answer for a module of Python or NumPy."""
    why = UNWATCHED.get(module.partition(".")[0])
    if module.startswith("numpy.random"):
        why = UNWATCHED["random"]
    if why:
        raise CompileError(f"step {does} {module}, {why}")


def own_of(value: Any) -> dict[str, Any] | None:
    """The attributes of an object, whatever it says of itself."""
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return own if isinstance(own, dict) else None


def is_key(value: Any) -> bool:
    """Whether it is equal to no other than what means the same."""
    if isinstance(value, tuple | frozenset):
        return is_library(type(value).__module__) and all(map(is_key, value))
    return isinstance(value, (*SCALARS, type, types.FunctionType))


def key_of(value: Any) -> Any:
    """What says of a key which it is."""
    if isinstance(value, tuple | frozenset):
        return type(value)(map(key_of, value))
    return Itself(value) if isinstance(value, Enum | type | types.FunctionType) else repr(value)


def without_owner(value: Any) -> Itself:
    """A built-in function or class; a bound method by the name that others of its type share."""
    if not is_bound(value):
        return Itself(value)
    return Itself(getattr(type(value.__self__), value.__name__))


def is_bound(value: Any) -> bool:
    """Whether it is a built-in method of some object."""
    is_method = isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType)
    return is_method and not isinstance(value.__self__, types.ModuleType | type | None)


def slots_of(cls: type) -> tuple[str, ...]:
    names = vars(cls).get("__slots__", ())
    names = (names,) if isinstance(names, str) else tuple(names)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.dtype, tensor.layout, type(tensor)
