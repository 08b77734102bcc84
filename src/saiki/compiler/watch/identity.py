"""What is compared at each call: whether things are the same ones, and where to find them."""

import abc
import contextvars
import operator
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any


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
