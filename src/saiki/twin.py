"""A copy of a cell whose tensors are others, on which its step may do what it likes.

Modules are copied, and what holds modules or tensors: lists, dictionaries, sets, objects, and
functions in whose closures they are. Everything else is shared, so that what is one and the same
stays so; what a step changes of it is noticed, and put back.
"""

import functools
import itertools
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

_SHARED = (type(None), bool, int, float, complex, str, bytes, type, types.ModuleType,
           types.BuiltinFunctionType, Enum)  # fmt: skip


def like(tensor: Tensor, real: Tensor) -> Tensor:
    """``tensor``, which is nobody else's, as a parameter for ``isinstance`` if ``real`` is one."""
    if isinstance(real, nn.Parameter):
        tensor._is_param = True
    return tensor


class Twin:
    """Copies of modules with other tensors in the place of theirs.

    Args:
        tensors: pairs of a tensor and what takes its place.
        clone: whether other tensors than parameters are cloned rather than shared.
    """

    def __init__(self, tensors: Iterable[tuple[Tensor, Tensor]] = (), clone: bool = False) -> None:
        self.known: dict[int, Any] = {}
        self.arrays: list[tuple[str, np.ndarray, np.ndarray]] = []
        for real, other in tensors:
            self.known[id(real)] = other
        self.clone = clone
        self.alive: list[Any] = []
        self.noted: list[tuple[str, Any, list[Any], list[Any]]] = []
        """Containers: name, container, keys and values."""

    def of(self, module: Module) -> Module:
        """The copy of ``module``."""
        copy: Module = self._copy(module, "")
        return copy

    def has_copied(self, value: Any) -> bool:
        """Whether something else is in its place in the copy."""
        return self.known.get(id(value), value) is not value

    def changed(self) -> str:
        """The name of what has changed since the copy was made; empty if nothing."""
        for name, array, before in self.arrays:
            if array.tobytes() != before.tobytes():
                return name
        return next(filter(None, itertools.starmap(_change, self.noted)), "")

    @contextmanager
    def putting_back(self) -> Iterator[None]:
        """Puts back what the block changes of what is shared."""
        try:
            yield
        finally:
            for _, array, before in self.arrays:
                if array.tobytes() != before.tobytes():
                    array[...] = before
            for name, container, keys, values in self.noted:
                if _change(name, container, keys, values):
                    _put_back(container, keys, values)

    def _copy(self, value: Any, path: str) -> Any:
        if isinstance(value, _SHARED):
            return value
        if id(value) in self.known:
            return self.known[id(value)]
        self.alive.append(value)
        match value:
            case Tensor():
                own = self.clone and not isinstance(value, nn.Parameter)
                return self._known(value, value.detach().clone() if own else value)
            case np.ndarray():
                self.arrays.append((path, value, value.copy()))
                return self._known(value, value)
            case nn.Module():
                made = self._known(value, object.__new__(type(value)))
                self._fill(vars(made), vars(value), path)
                return made
            case dict():
                return self._dict(value, path)
            case list() | deque():
                made = self._known(value, value.copy())
                for i, item in enumerate(value):
                    made[i] = self._copy(item, f"{path}[{i}]")
                return self._one_of(value, made, _are_same(made, value), path)
            case set():
                return self._one_of(value, value, True, path)
            case tuple():
                items = [self._copy(item, path) for item in value]
                if all(a is b for a, b in zip(items, value, strict=True)):
                    return value
                make = getattr(type(value), "_make", type(value))
                made = make(items)
                if getattr(value, "__dict__", None):
                    vars(made).update(vars(value))
                return self._known(value, made)
            case types.MethodType():
                owner = self._copy(value.__self__, path)
                if owner is value.__self__:
                    return value
                return types.MethodType(value.__func__, owner)
            case functools.partial():
                function, args = self._copy(value.func, path), self._copy(value.args, path)
                keywords = self._copy(value.keywords, path)
                made = functools.partial(function, *args, **keywords)
                vars(made).update(vars(value))
                return self._known(value, made)
            case types.FunctionType():
                return self._function(value, path)
        return self._object(value, path)

    def _known(self, value: Any, copy: Any) -> Any:
        self.known[id(value)] = copy
        return copy

    def _fill(self, made: dict[str, Any], own: Mapping[str, Any], path: str) -> None:
        prefix = path + "." if path else ""
        for name, item in own.items():
            if name in _PARTS and isinstance(
                item, dict
            ):  # a module may get another part without its original getting it
                made[name] = copied = self._known(item, item.copy())
                copied.update((k, self._copy(v, prefix + k)) for k, v in item.items())
                self._note(path, copied)
            else:
                made[name] = self._copy(item, prefix + name)
        self._note(path, made)

    def _dict(self, value: dict[Any, Any], path: str) -> dict[Any, Any]:
        made: dict[Any, Any] = self._known(value, value.copy())
        for key, item in value.items():
            made[key] = self._copy(item, f"{path}.{key}" if path else str(key))
        whole: dict[Any, Any] = self._one_of(
            value, made, _are_same(made.values(), value.values()), path
        )
        return whole

    def _one_of(self, value: Any, made: Any, is_same: bool, path: str) -> Any:
        """A container, or its copy if it holds others."""
        self._note(path, value if is_same else made)
        return self._known(value, value) if is_same else made

    def _function(self, value: types.FunctionType, path: str) -> Any:
        """A function that sees copies of what its closure holds, if there are any."""
        if not value.__closure__ or (value.__module__ or "").partition(".")[0] == "torch":
            return value
        cells = [types.CellType() for _ in value.__closure__]
        made = types.FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, tuple(cells)
        )
        made.__kwdefaults__ = value.__kwdefaults__
        self.known[id(value)] = made  # which may hold itself
        same = True
        for cell, old in zip(cells, value.__closure__, strict=True):
            try:
                content = old.cell_contents
            except ValueError:
                continue
            cell.cell_contents = self._copy(content, path)
            same = same and (cell.cell_contents is content or cell.cell_contents is made)
        return self._known(value, value) if same else made

    def _object(self, value: Any, path: str) -> Any:
        cls = type(value)
        own, slots = getattr(value, "__dict__", None), Slots(value)
        has_own = isinstance(own, dict)
        own = own if isinstance(own, dict) else {}
        is_shared = cls.__module__.startswith(("torch", "saiki.compiler", "saiki.activations"))
        if is_shared or not (has_own or slots.members):
            return self._known(value, value)
        try:
            made = object.__new__(cls)
        except TypeError:  # made by C code, and so no place for the tensors of a step
            made = value
        self._known(value, made)
        copied = {name: self._copy(item, f"{path}.{name}") for name, item in own.items()}
        content = slots.content()
        in_slots = {k: self._copy(item, f"{path}.{k.__name__}") for k, item in content.items()}
        if _are_same(copied.values(), own.values()) and _are_same(
            in_slots.values(), content.values()
        ):
            made = self._known(value, value)
        if made is not value:
            made.__dict__.update(copied) if copied else None
            Slots(made).fill(in_slots)
        if has_own:
            self._note(path, vars(made))
        if slots.members:
            self._note(path, Slots(made))
        return made

    def _note(self, path: str, made: Any) -> None:
        self.noted.append((path, made, *_content(made)))


_PARTS = ("_parameters", "_buffers", "_modules")


class Slots:
    """What an object holds in its slots, as a container."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.members = [
            each
            for base in reversed(type(value).__mro__)
            for each in vars(base).values()
            if isinstance(each, types.MemberDescriptorType) and "__slots__" in vars(base)
        ]

    def content(self) -> dict[types.MemberDescriptorType, Any]:
        """What those hold that hold something; of one name there may be several."""
        content = {}
        for member in self.members:
            with suppress(AttributeError):
                content[member] = member.__get__(self.value)
        return content

    def fill(self, content: Mapping[types.MemberDescriptorType, Any]) -> None:
        """Put these values there, and nothing else."""
        for member in self.content():
            member.__delete__(self.value)
        for member, value in content.items():
            member.__set__(self.value, value)


def _content(container: Any) -> tuple[list[Any], list[Any]]:
    if isinstance(container, Slots):
        container = container.content()
    if isinstance(container, dict):
        return list(container), list(container.values())
    return list(range(len(container))), list(container)


def _are_same(left: Iterable[Any], right: Iterable[Any]) -> bool:
    return all(a is b for a, b in zip(left, right, strict=True))


def _change(name: str, container: Any, keys: list[Any], values: list[Any]) -> str:
    """The name of what is another in a container; empty if nothing."""
    now_keys, now = _content(container)
    for i, (key, value) in enumerate(zip(keys, values, strict=True)):
        if i >= len(now) or now_keys[i] != key or now[i] is not value:
            key = getattr(key, "__name__", key)
            return f"{name}.{key}" if isinstance(key, str) and name else str(key or name)
    if len(now) != len(values):
        return (
            f"{name}.{now_keys[-1]}" if isinstance(container, dict | Slots) and now_keys else name
        )
    return ""


def _put_back(container: Any, keys: list[Any], values: list[Any]) -> None:
    if isinstance(container, Slots):
        container.fill(dict(zip(keys, values, strict=True)))
        return
    container.clear()
    match container:
        case dict():
            container.update(zip(keys, values, strict=True))
        case set():
            container.update(values)
        case _:
            container.extend(values)
