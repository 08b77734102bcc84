"""What has been reached from a cell so far, and what waits to be."""

import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from saiki.compiler.watch.code import ALL, FIELD, Ran, functions_of
from saiki.compiler.watch.kinds import SCALARS

_CALLED = {"step", "forward", "backward", "setup_context", "_call_impl", "_compiled_call_impl",
           "_slow_forward", "__array_interface__", "__array_struct__", "__bases__",
           "__class__"}  # fmt: skip
"""What PyTorch calls of modules and functions of its own accord, and C code asks objects for."""
Place = tuple[Any, Any]
"""A container and the key under which it holds a tensor."""


class Reach:
    """All that was found, and the rule by which attributes are followed.

    Args:
        ran: what ran beside what the cell leads to.
    """

    def __init__(self, cell: nn.Module, ran: Ran) -> None:
        self.ran = ran
        self.codes: set[int] = set()
        """What of the code of users is followed, by identity."""
        self.tokens: list[tuple[Any, ...]] = []
        self.places: dict[str, Place] = {}
        self.tables: list[Any] = []
        self.table_names: list[str] = []
        self.tensor_tables: list[Mapping[str, Tensor | None]] = []
        self.buffer_tables: list[Mapping[str, Tensor | None]] = []
        self.class_tables: list[tuple[str, type, dict[str, Any]]] = []
        self.sequences: list[Any] = []
        self.sequence_names: list[str] = []
        self.objects: list[Any] = []
        self.owners: list[tuple[Any, dict[str, Any]]] = []
        """Objects, each with the dictionary of its attributes."""
        self.tensors: list[Tensor] = []
        """Those that are not parameters or buffers of modules."""
        self.classes: set[type] = set()
        self.outside: list[tuple[str, Any]] = []
        """What globals hold, with their names."""
        self.spaces: list[tuple[str, Any, set[str]]] = []
        """Installed modules and classes, each with the names that were followed in it."""
        self.arrays: list[tuple[str, np.ndarray]] = []
        self.getters: list[tuple[Any, Any]] = []
        self.values: list[tuple[Callable[[], Any], Any]] = []
        self.seen: dict[int, int] = {}
        """In which order things were found, of which several may have one name."""
        self.read_modules: dict[str, types.ModuleType] = {}
        self.alive: list[Any] = []
        self.mentioned = {*_CALLED, *ran.names}
        self.named = {"forward", "backward", *ran.names}
        """What users' code mentions, and what was seen to be read for it."""
        self.waiting: dict[str, list[tuple[str, Any, Place | None]]] = {}
        self.stack: list[tuple[str, Any, Place | None]] = [("", cell, None)]
        self.attributes: list[tuple[str, str]] = []
        """Names of attributes that somebody gave tensors, or that lead from arrays to what they are
        views of, each with the path of the tensor or array."""
        self.own = {id(module): name for name, module in cell.named_modules()}
        self._own_tensors(cell)

    def _own_tensors(self, cell: nn.Module) -> None:
        """Parameters and buffers in the order of ``named_parameters``."""
        for prefix, module in cell.named_modules():
            for name, tensor in module._parameters.items():
                path = f"{prefix}.{name}" if prefix else name
                self._place(path, tensor, module._parameters, name)
        for prefix, module in cell.named_modules():
            for name, tensor in module._buffers.items():
                path = f"{prefix}.{name}" if prefix else name
                self._place(path, tensor, module._buffers, name)
        self.parameters = len(self.places)

    def _place(self, path: str, tensor: Tensor | None, owner: Any, key: Any) -> None:
        if tensor is not None and id(tensor) not in self.seen:
            self._see(tensor)
            self.alive.append(tensor)
            self.places[path] = owner, key

    def _see(self, value: Any) -> None:
        self.seen[id(value)] = len(self.seen)

    def _push(self, path: str, value: Any, place: Place | None = None) -> None:
        self.stack.append((path, value, place))

    def _offer(self, path: str, name: str, value: Any, place: Place | None = None) -> None:
        """An attribute, which is followed when its name is mentioned; numbers, tensors and modules
        always."""
        if isinstance(value, (*SCALARS, Tensor, nn.Module)) or self._has_run(value):
            self._push(path, value, place)
        else:
            self._await(path, name, value, place)

    def _await(self, path: str, name: str, value: Any, place: Place | None = None) -> None:
        """An attribute, which is followed when its name is mentioned."""
        if name in self.mentioned or self.mentioned & ALL:
            self._push(path, value, place)
        else:
            self.waiting.setdefault(name, []).append((path, value, place))

    def _has_run(self, value: Any) -> bool:
        """Whether it is a function, or holds one, that nothing else led to and that ran."""
        return any(each.__code__ in self.ran for each in functions_of(value))

    def _mention(self, names: Iterable[str]) -> None:
        new = set(names) - self.mentioned
        if {FIELD, "format"} <= self.mentioned | new:
            new |= {"getattr"} - self.mentioned
        self.mentioned |= new
        for name in sorted(self.waiting.keys() if new & ALL else new & self.waiting.keys()):
            self.stack += self.waiting.pop(name)
