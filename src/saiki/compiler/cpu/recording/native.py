"""A recorded function as one native call."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saiki.compiler.backend import Recorded
from saiki.compiler.cpu import threads
from saiki.compiler.cpu.recording.recorder import Recorder
from saiki.errors import CompileError


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
        own = [recorder.programs.copy(tensor) for tensor in given]
        for mine, tensor in zip(own, given, strict=True):
            mine.copy_(tensor)
        with recorder:
            self.results = function(own)
        of_inputs = {*map(id, own)}
        self.reads = [t for key, t in recorder.outside.items() if key not in of_inputs]
        pieces, self._slots, held = recorder.programs.compile(given)
        self._flags_before = recorder.flags
        self._flags_after = [
            (result, recorder.numbers(result))
            for result in self.results
            if result is not None and result.dtype == torch.bool
        ]
        self._run, table = threads.sequence(pieces)
        self._alive = own, recorder.alive, held, table

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
        held = [tensor.contiguous() for tensor in inputs]
        for (table, i), tensor in zip(self._slots, held, strict=True):
            table[i] = tensor.data_ptr()
        for numbers, flags in self._flags_before:
            numbers.copy_(flags)
        self._run()
        for flags, numbers in self._flags_after:
            flags.copy_(numbers)
        return self.results
