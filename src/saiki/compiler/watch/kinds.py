"""What kinds of values a step may read, how each is told from another, and what is compared at each
call: whether they are the same ones."""

import abc
import array
import contextvars
import datetime
import functools
import operator
import pathlib
import re
import struct
import threading
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saiki.compiler.watch.code import UNWATCHED
from saiki.compiler.watch.whose import is_changeable, is_installed, is_library
from saiki.errors import CompileError


class Itself:
    """Equal where two objects are one and the same, which its address does not say: another may
    have it afterwards."""

    def __init__(self, value: Any) -> None:
        self.address = id(value)
        try:
            self.get: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            self.get = lambda: value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Itself):
            return False
        value = self.get()
        return self is other or (value is not None and value is other.get())

    def __hash__(self) -> int:
        return self.address


class _Contents:
    """The variables of a closure as a container of tensors."""

    def __getitem__(self, cell: types.CellType) -> Any:
        return cell.cell_contents

    def __setitem__(self, cell: types.CellType, value: Any) -> None:
        cell.cell_contents = value


CONTENTS = _Contents()
FUNCTION = operator.attrgetter(
    "__code__", "__defaults__", "__kwdefaults__", "__closure__", "__name__", "__qualname__",
    "__module__", "__doc__", "__dict__",
)  # fmt: skip
ABSENT = object()
"""What stands for a value that is not there."""


def is_absent(known: Mapping[str, Any], names: Iterable[str]) -> bool:
    return not any(name in known for name in names)


def in_context(variable: "contextvars.ContextVar[Any]") -> list[Any]:
    try:
        return [variable.get()]
    except LookupError:
        return [ABSENT]


def in_slots(members: Iterable[Any], value: Any) -> list[Any]:
    """What an object holds in its slots."""
    return [in_slot(member, value) for member in members]


def in_slot(member: Any, value: Any) -> Any:
    try:
        return member.__get__(value)
    except AttributeError:
        return ABSENT


def contents(cells: Iterable[types.CellType]) -> list[Any]:
    return [cell.cell_contents if is_filled(cell) else ABSENT for cell in cells]


def is_same_referent(reference: "weakref.ref[Any]", value: Any) -> bool:
    return reference() is value


def is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def are_same(left: Iterable[Any], right: Iterable[Any]) -> bool:
    left, right = list(left), list(right)
    return len(left) == len(right) and all(map(operator.is_, left, right))


def virtual_subclasses(cls: type, known: list[type] | None = None) -> list[type]:
    """The classes that somebody registered as being of that kind, or of a kind of it."""
    subclasses = [] if known is None else known
    dump: Any = vars(abc)["_get_dump"]  # what print(cls._dump_registry()) reads, too
    registered = [reference() for reference in dump(cls)[0]] if isinstance(cls, abc.ABCMeta) else []
    for each in (*registered, *type.__subclasses__(cls)):
        if each is not None and each not in subclasses:
            subclasses.append(each)
            virtual_subclasses(each, subclasses)
    return subclasses


SCALARS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device,
            torch.Size, range, Enum, np.generic)  # fmt: skip
WRITTEN = (float, complex, range, np.generic)
"""Of these, what differs though it is equal."""
EXTENDED = (int, float, complex, str, bytes)
"""Of what a user's class may be a kind, with a value beside its attributes."""
VALUES = {datetime.timedelta, datetime.date, pathlib.PurePosixPath, pathlib.PureWindowsPath,
          type(pathlib.Path())}  # fmt: skip
"""What stays as it is and says all of itself when it is written down."""
ARRAYS = (bytearray, array.array, memoryview, np.ndarray)
"""What holds numbers in memory."""
BUILT_IN = (list, dict, set, frozenset, deque, tuple, functools.partial, *ARRAYS)
"""What is followed as it is, without attributes that somebody gave it."""
SELDOM = {
    "__init__", "__new__", "__repr__", "__str__", "__init_subclass__", "__reduce__",
    "__reduce_ex__", "__deepcopy__", "__copy__", "__getstate__", "__setstate__", "__del__",
}  # fmt: skip
"""Functions of a class that are followed only where they are seen to run: few steps make objects,
and those that do the rest of the work read much that no step reads."""
UNREAD = {"__dict__", "__weakref__", "__annotate__", "__annotate_func__", "_abc_impl"}
"""Of a class: what is no value of its own."""
IN_C = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.MethodWrapperType, types.GetSetDescriptorType, types.ClassMethodDescriptorType,
    types.MemberDescriptorType,
)  # fmt: skip
"""What functions and attributes of classes that are written in C are."""
OPERATORS = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)
CONSTANT = (
    *IN_C, types.GenericAlias, types.UnionType, types.CodeType,
    type(Ellipsis), type(NotImplemented), slice, operator.attrgetter, operator.itemgetter,
    operator.methodcaller, re.Pattern, np.dtype, np.ufunc, super,
    type(np.clip), type(threading.Lock()), type(threading.RLock()),
    type(vars(namedtuple("Named", "field"))["field"]),
)  # fmt: skip
"""What objects without attributes of their own are: they hold the same as long as they live."""
OF_A_KIND = (Tensor, tuple, np.ndarray)
"""What is not followed as an object with a class, of whatever class it is."""
CLASS = operator.attrgetter("__name__", "__qualname__", "__bases__")
"""What a class is beside its attributes."""
PLAIN = {list, dict, set, frozenset, deque, OrderedDict, defaultdict, Counter, *ARRAYS}
"""What is followed where it is of this very class."""
READERS = {getattr, hasattr, vars, dir, object.__getattribute__, type.__getattribute__,
           operator.attrgetter, operator.methodcaller, str.format, str.format_map}  # fmt: skip
"""What reads attributes whose names it is given."""


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


def declared(cls: type, attribute: str) -> set[str]:
    """The names that installed classes list in an attribute: of what saiki gives their objects and
    that says nothing of what they compute."""
    bases = [base for base in cls.__mro__ if attribute in vars(base) and is_installed(base)]
    return {name for base in bases for name in vars(base)[attribute]}


def is_key(value: Any) -> bool:
    """Whether it is equal to no other than what means the same."""
    if isinstance(value, tuple | frozenset):
        return is_library(type(value).__module__) and all(map(is_key, value))
    return isinstance(value, (*SCALARS, type, types.FunctionType))


def key_of(value: Any) -> Any:
    """What says of a key which it is."""
    if isinstance(value, tuple | frozenset):
        return type(value)(map(key_of, value))
    if isinstance(value, Enum | type | types.FunctionType):
        return Itself(value)
    return repr(value), bits_of(value)


def bits_of(value: Any) -> bytes | None:
    """All bits of a number that may be none, of which there are several, and of one of NumPy."""
    if isinstance(value, np.generic):
        filled = value.dtype.char in "gG"  # with what says nothing
        return None if filled else np.generic.tobytes(value)
    if isinstance(value, float):
        return struct.pack("d", value)
    if isinstance(value, complex):
        return struct.pack("dd", complex.real.__get__(value), complex.imag.__get__(value))
    return None


def is_of_numpy(value: Any) -> bool:
    """Whether it is NumPy's, or of a kind of it."""
    if isinstance(value, types.ModuleType):
        name = value.__name__
    elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        name = value.__module__
    else:
        name = type(value).__module__
    return str(name).partition(".")[0] == "numpy"


def without_owner(value: Any) -> Itself:
    """A built-in function or class; a bound method by the name that others of its type share."""
    if not is_bound(value):
        return Itself(value)
    return Itself(getattr(type(value.__self__), value.__name__))


def is_bound(value: Any) -> bool:
    """Whether it is a built-in method of some object."""
    is_method = isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType)
    return is_method and not isinstance(value.__self__, types.ModuleType | type | None)


def parts_of(value: Any) -> tuple[Any, ...]:
    """What a constant holds."""
    match value:
        case types.GenericAlias() | types.UnionType():
            return (value.__args__,)
        case slice():
            return value.start, value.stop, value.step
        case super():
            return tuple(getattr(value, name) for name in ("__thisclass__", "__self__"))
        case operator.attrgetter() | operator.itemgetter() | operator.methodcaller():
            return tuple(value.__reduce__()[1:])
    return ()


def members_of(cls: type) -> list[tuple[str, Any]]:
    """The slots of its objects with their names, those of bases, too."""
    return [
        (name, each) for base in reversed(cls.__mro__) for name, each in vars(base).items()
        if isinstance(each, types.MemberDescriptorType) and is_changeable(base)
    ]  # fmt: skip


def holds_more(cls: type) -> bool:
    """Whether its objects hold more than their attributes and slots."""
    word = tuple.__itemsize__
    members = len(members_of(cls))
    own = (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return cls.__itemsize__ > 0 or cls.__basicsize__ > object.__basicsize__ + word * (members + own)


def of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    is_parameter = isinstance(tensor, nn.Parameter)
    return tuple(tensor.shape), tensor.dtype, tensor.layout, type(tensor), is_parameter


def of_memory(value: Any) -> tuple[Any, ...]:
    """What an array holds, and how it lies in memory."""
    match value:
        case np.ndarray():
            return value.shape, value.strides, value.dtype.str, value.flags.num, value.tobytes()
        case array.array():
            return value.typecode, value.tobytes()
        case memoryview():
            return value.format, value.shape, value.strides, value.readonly, value.tobytes()
    return (bytes(value),)
