"""A recorded function as one native call."""

import ctypes
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saiki.compiler.backend import Recorded
from saiki.compiler.cpu.jit import compile_text
from saiki.compiler.cpu.machine import machine
from saiki.compiler.cpu.recording.emit import emit
from saiki.compiler.cpu.recording.operations import NativeCall, Pointwise
from saiki.compiler.cpu.recording.recorder import Recorder
from saiki.errors import CompileError

_RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Native(Recorded):
    """``native(inputs)`` does again what ``function(inputs)`` did when it was recorded, for other
    numbers in tensors of the same shapes, and returns the same tensors with other numbers in them.

    A number that the function reads from elsewhere than a tensor is that of the recording.

    Raises:
        CompileError: it does what no recording can say.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Tensor]], Sequence[Tensor | None]],
        inputs: Sequence[Tensor],
    ) -> None:
        dtypes = {tensor.dtype for tensor in inputs}
        if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
            raise CompileError("there is no recording of tensors of several types")
        if any(tensor.numel() == 0 for tensor in inputs):
            raise CompileError("there is no recording of tensors without numbers")
        (dtype,) = dtypes
        recorder = Recorder(dtype)
        given = [tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs]
        own = [torch.empty_like(tensor) for tensor in given]
        with recorder:
            for mine, of_caller in zip(own, given, strict=True):
                mine.copy_(of_caller)
            self.results = function(own)
        of_inputs = {*map(id, (*given, *own))}
        self.reads = [t for key, t in recorder.outside.items() if key not in of_inputs]
        self._alive = recorder.alive
        entries = [*recorder.memory]
        for operation in recorder.operations:
            if isinstance(operation, NativeCall):
                entries += [operation.address, *operation.arguments]
        copies = recorder.operations[: len(inputs)]
        self._places = [
            where.memory
            for copy in copies
            if isinstance(copy, Pointwise)
            for where in copy.operands.values()
        ]
        self._table = (ctypes.c_int64 * len(entries))(*entries)
        self._address = ctypes.addressof(self._table)
        text = emit(recorder.operations, len(recorder.memory), dtype, machine())
        self._compiled = compile_text(text, machine())
        self._run = _RUN(self._compiled.address)

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
        held = [tensor.contiguous() for tensor in inputs]
        for place, tensor in zip(self._places, held, strict=True):
            self._table[place] = tensor.data_ptr()
        self._run(self._address)
        return self.results
