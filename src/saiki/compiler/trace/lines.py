"""Which line of ``step`` an operation comes from, and what must not be asked of a tensor there."""

import linecache
import sys
import traceback
from types import FrameType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import traceback as fx_traceback
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from saiki.cell import Cell
from saiki.compiler.watch.audit import Audit
from saiki.compiler.watch.kinds import OPERATORS
from saiki.compiler.watch.whose import is_installed, is_library
from saiki.errors import CompileError
from saiki.torch_internals import FakeTensor, tree_leaves

_READS = {
    Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__float__, Tensor.__int__,
    Tensor.__bool__, Tensor.__index__, Tensor.__complex__, torch.equal,
}  # fmt: skip
"""What makes numbers of Python of those of a tensor."""
_OF_MEMORY = {"as_strided", "as_strided_", "as_strided_copy", "_base", "grad", "_grad"}
"""Functions and attributes that make tensors of how one lies in memory, or of what else it has."""
_ALIKE = {
    "shape", "size", "sym_size", "dim", "ndim", "ndimension", "numel", "nelement", "sym_numel",
    "__len__", "dtype", "device", "layout", "type", "itemsize", "element_size", "nbytes",
    "get_device", "result_type", "is_same_size", "is_floating_point", "is_complex", "is_signed",
    "is_sparse", "is_sparse_csr", "is_quantized", "is_nested", "is_mkldnn", "is_cpu", "is_cuda",
    "is_meta", "is_mps", "is_xpu", "__iter__", "register_hook",
}  # fmt: skip
"""What may be asked of a tensor, since it is the same of the one that stands for it."""
_OWN = {"aten", "prims", "prim", "_c10d_functional"}
"""Namespaces of PyTorch's operators."""
_PLAIN = (Tensor, type(None), bool, int, float, complex, str, bytes, slice, type(...), torch.dtype,
          torch.device, torch.layout, torch.memory_format, torch.Generator, np.ndarray, np.generic,
          range)  # fmt: skip
"""What holds no code of a user's."""
_PYTHON_OF_TENSORS = {"torch._tensor", "torch.overrides", "torch._ops"}
"""Modules in which some of these are written."""


class Lines(TorchFunctionMode):
    """Notes for each operation which line of ``step`` it comes from."""

    def __init__(self, cell: Cell, audit: Audit) -> None:
        super().__init__()
        self.code = type(cell).step.__code__
        self.audit = audit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        real = args and isinstance(args[0], Tensor) and not isinstance(args[0], FakeTensor)
        if real and func in _READS:
            raise CompileError(
                f"step reads the numbers of a tensor of shape {tuple(args[0].shape)}, which may be "
                "others at the next call"
            )
        frame: FrameType | None = sys._getframe(1)
        result = self._run(func, args, kwargs or {}, frame)
        name = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__
        is_told = result is not None or func.__name__ == "__get__"
        asks = (
            is_told
            and name not in _ALIKE
            and not any(isinstance(leaf, Tensor) for leaf in tree_leaves(result))
        )
        if (asks or name in _OF_MEMORY) and _is_of_user(frame):
            raise CompileError(
                f"step asks {name} of a tensor, which differs from call to call and which a kernel "
                "does not know"
            )
        return result

    def _run(self, func: Any, args: Any, kwargs: Any, frame: FrameType | None) -> Any:
        while frame is not None and frame.f_code is not self.code:
            frame = frame.f_back
        if frame is not None:
            place = self.code.co_filename, frame.f_lineno
            line = linecache.getline(*place).strip()
            fx_traceback.set_stack_trace([f" at {place[0]}, line {place[1]}: {line}"])
        if isinstance(func, FunctionType) or not _is_of_pytorch_alone(func, (args, kwargs)):
            return func(*args, **kwargs)
        with self.audit.deaf():
            return func(*args, **kwargs)

    def __exit__(self, *error: Any) -> None:
        fx_traceback.set_stack_trace([])  # the gradients have no line
        super().__exit__(*error)


class Deaf(TorchDispatchMode):
    """Runs what PyTorch does with an operation, in which nothing of a user's is, unheard."""

    def __init__(self, audit: Audit) -> None:
        super().__init__()
        self.audit = audit

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _is_of_pytorch_alone(func):
            return func(*args, **kwargs)
        with self.audit.deaf():
            return func(*args, **kwargs)


def _is_of_pytorch_alone(func: Any, arguments: Any = ()) -> bool:
    """Whether an operation runs no code of anybody else's: neither its own nor that of what it is
    given."""
    if isinstance(func, OPERATORS) and str(func).partition(".")[0] not in _OWN:
        return False
    match arguments:
        case list() | tuple():
            return all(_is_of_pytorch_alone(None, each) for each in arguments)
        case dict():
            return all(_is_of_pytorch_alone(None, each) for each in arguments.values())
    return isinstance(arguments, _PLAIN) and is_installed(type(arguments))


def _is_of_user(frame: FrameType | None) -> bool:
    """Whether it is a user's code that calls a method of tensors."""
    while frame is not None and frame.f_globals.get("__name__") in _PYTHON_OF_TENSORS:
        frame = frame.f_back
    return frame is not None and not is_library(frame.f_globals.get("__name__"))


def line_of_step(cell: Cell, frames: traceback.StackSummary) -> str:
    for frame in reversed(frames):
        if frame.name == "step":
            return f" at {frame.filename}, line {frame.lineno}: {frame.line}"
    return ""
