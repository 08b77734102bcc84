"""A copy of a cell whose tensors are others, on which its step may do what it likes.

Modules, lists, dictionaries, sets and objects are copied, functions where their closures hold any
of these; everything else is shared. So a step that is traced or tried changes nothing of the
user's.
"""

import functools
import types
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

_SHARED = (type(None), bool, int, float, complex, str, bytes, type, types.ModuleType,
           types.BuiltinFunctionType)  # fmt: skip


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
        self.arrays: list[tuple[str, np.ndarray, bytes]] = []
        for real, other in tensors:
            self.known[id(real)] = other
        self.clone = clone
        self.alive: list[Any] = []
        self.made: list[tuple[str, Any, list[Any], list[Any]]] = []
        """Containers that were made: name, container, keys and values."""

    def of(self, module: Module) -> Module:
        """The copy of ``module``."""
        copy: Module = self._copy(module, "")
        return copy

    def changed(self) -> str:
        """The name of what has changed in the copies since they were made; empty if nothing."""
        for name, array, before in self.arrays:
            if array.tobytes() != before:
                return name
        for name, container, keys, values in self.made:
            now_keys, now = _content(container)
            for i, (key, value) in enumerate(zip(keys, values, strict=True)):
                if i >= len(now) or now_keys[i] != key or now[i] is not value:
                    return f"{name}.{key}" if isinstance(key, str) and name else str(key or name)
            if len(now) != len(values):
                return f"{name}.{now_keys[-1]}" if isinstance(container, dict) else name
        return ""

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
                whole = value.copy("K")
                made = self._known(value, whole if value.flags.owndata else whole.view())
                self.arrays.append((path, made, made.tobytes()))
                return made
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
                self._note(path, made)
                return made
            case set():
                return self._noted(path, self._known(value, value.copy()))
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
            made[name] = self._copy(item, path if name in _PARTS else prefix + name)
        self._note(path, made)

    def _dict(self, value: dict[Any, Any], path: str) -> dict[Any, Any]:
        made: dict[Any, Any] = self._known(value, value.copy())
        for key, item in value.items():
            made[key] = self._copy(item, f"{path}.{key}" if path else str(key))
        self._note(path, made)
        return made

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
        own = getattr(value, "__dict__", None)
        shared = cls.__module__.startswith(("torch", "saiki.compiler", "saiki.activations"))
        if not isinstance(own, dict) or shared:
            return self._known(value, value)
        try:
            made = object.__new__(cls)
        except TypeError:  # made by C code, and so no place for the tensors of a step
            return self._known(value, value)
        self._known(value, made)
        for base in cls.__mro__:
            names = vars(base).get("__slots__", ())
            for name in (names,) if isinstance(names, str) else names:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    object.__setattr__(made, name, self._copy(getattr(value, name), path))
        self._fill(made.__dict__, own, path)
        return made

    def _noted(self, path: str, made: Any) -> Any:
        self._note(path, made)
        return made

    def _note(self, path: str, made: Any) -> None:
        self.made.append((path, made, *_content(made)))


_PARTS = ("_parameters", "_buffers", "_modules")


def _content(container: Any) -> tuple[list[Any], list[Any]]:
    if isinstance(container, dict):
        return list(container), list(container.values())
    return list(range(len(container))), list(container)
