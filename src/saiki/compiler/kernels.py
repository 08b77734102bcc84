"""Which kernel serves a cell: compiled at the first call, and again when the cell has changed."""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from saiki.cell import Cell
from saiki.compiler.layer import CompiledCell
from saiki.compiler.op import register
from saiki.errors import CompileError

KEPT = 8
"""Compiled forms of a cell in one type."""
_LOCK = threading.RLock()
_INTERNAL = set(vars(torch.nn.Module())) - {"training"} | {"_given"}


class Setting:
    """What a trace takes as it is: the attributes of a cell and its modules, and all shapes."""

    def __init__(self, cell: Cell) -> None:
        names = [*dict(cell.named_parameters()), *dict(cell.named_buffers())]
        owners = [cell.get_submodule(name.rpartition(".")[0]) for name in names]
        self.places: list[tuple[dict[str, Any], str]] = [
            (owner._parameters if last in owner._parameters else owner._buffers, last)
            for owner, last in zip(owners, (n.rpartition(".")[2] for n in names), strict=True)
        ]
        self.values: list[tuple[dict[str, Any], str, Any]] = []
        for module in cell.modules():
            own = vars(module)
            self.values += [(own, n, _frozen(v)) for n, v in own.items() if n not in _INTERNAL]
            self.values += [(module._modules, n, v) for n, v in module._modules.items()]
        self.shapes = [t.shape for t in self.tensors()]

    def tensors(self) -> list[Tensor]:
        """Parameters, then buffers, as a trace orders them."""
        return [owner[name] for owner, name in self.places]

    def holds(self) -> bool:
        """Whether nothing of it has changed."""
        for values, name, value in self.values:
            now = _frozen(values.get(name, _INTERNAL))
            if now is not value and (not isinstance(value, int | float | str) or now != value):
                return False
        return [t.shape for t in self.tensors()] == self.shapes


def _frozen(value: Any) -> Any:
    """A value that tells whether ``value`` has changed: what a list holds may change in place."""
    return repr(value) if isinstance(value, list | dict | set | tuple) else value


@dataclass(frozen=True)
class Known:
    """A compiled cell and its number for :func:`saiki.compiler.op.scan`, or why there is none."""

    setting: Setting
    compiled: CompiledCell | None
    key: int
    why_not: str
    for_ever: bool = False

    def holds(self) -> bool:
        return self.for_ever or self.setting.holds()


class Kernels:
    """The compiled forms of one cell, one for each floating-point type."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.known: dict[torch.dtype, tuple[Known, ...]] = {}
        """The last one first. Those before may come again, as after ``eval()`` and ``train()``, and
        a backward pass may still need them."""
        self.hooks = [
            hooks
            for module in cell.modules()
            for hooks in (
                module._forward_hooks,
                module._forward_pre_hooks,
                module._backward_hooks,
                module._backward_pre_hooks,
            )
        ]

    def find(self, dtype: torch.dtype) -> Known:
        """What is known of the cell as it now is; compiled if need be."""
        known = self.known.get(dtype, ())
        if known and known[0].holds():
            return known[0]
        with _LOCK:
            known = self.known.get(dtype, ())
            found = next((each for each in known if each.holds()), None) or self._compile(dtype)
            others = (each for each in known if each is not found)
            self.known[dtype] = (found, *itertools.islice(others, KEPT - 1))
        return found

    def _compile(self, dtype: torch.dtype) -> Known:
        setting = Setting(self.cell)
        try:
            compiled = CompiledCell(self.cell, dtype)
        except CompileError as error:
            return Known(setting, None, -1, str(error))
        if not setting.holds():
            why = f"step of {type(self.cell).__name__} changes an attribute of the cell each time"
            return Known(setting, None, -1, why, for_ever=True)
        return Known(setting, compiled, register(compiled), "")

    def obstacle(self, x: Tensor) -> str:
        """Why no kernel can serve this input, whatever the cell computes; empty if one can."""
        if x.device.type != "cpu":
            return f"there is no kernel for {x.device.type} tensors"
        if x.dtype not in (torch.float32, torch.float64):
            return f"there is no kernel for {x.dtype}"
        if any(self.hooks):
            return "hooks on the cell see every step, which only the eager loop makes"
        if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
            return "transforms of torch.func and forward derivatives need the eager loop"
        return ""

    @staticmethod
    def mixture(x: Tensor, others: Sequence[Tensor]) -> str:
        """Why a kernel for x cannot take the states and parameters ``others``; empty if it can."""
        for tensor in others:
            of_x = tensor.dtype == x.dtype or not tensor.is_floating_point()  # flags and counts
            if not of_x or tensor.device != x.device:
                return f"x is of {x.dtype} and a state or parameter of {tensor.dtype}"
        return ""
