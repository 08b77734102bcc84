"""The recorder sees each operation of PyTorch as it is done, and notes it down; what it has noted
is one native call."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from saiki.compiler.backend import Recorded
from saiki.compiler.cpu import threads
from saiki.compiler.cpu.recording.programs import COPY, Programs
from saiki.compiler.cpu.threads import Job
from saiki.compiler.run.compiled import call_of, compiled_cells
from saiki.compiler.run.loops import backward, forward
from saiki.compiler.trace.nodes import POINTWISE, aten
from saiki.compiler.trace.rewrites import decompositions
from saiki.errors import CompileError
from saiki.torch_internals import tree_leaves

MAX_COST = 1 << 26
"""Multiplications in all of what is recorded: what takes longer is not waiting for Python."""
COPIES = {aten.clone.default, COPY, aten.lift_fresh_copy.default}
VIEWS = {
    aten.detach.default, aten.alias.default, aten._unsafe_view.default, aten.lift_fresh.default,
    aten._reshape_alias.default,
}  # fmt: skip
FRESH = {aten.lift_fresh.default, aten.lift_fresh_copy.default}
"""What is done to a tensor that was made of numbers just now."""
EMPTY = {
    aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default,
    aten.empty_strided.default, aten.new_empty_strided.default,
}  # fmt: skip
FILLED: dict[Any, float | None] = {
    aten.zeros.default: 0.0, aten.zeros_like.default: 0.0, aten.new_zeros.default: 0.0,
    aten.ones.default: 1.0, aten.ones_like.default: 1.0, aten.new_ones.default: 1.0,
    aten.full.default: None, aten.full_like.default: None, aten.new_full.default: None,
    aten.scalar_tensor.default: None, aten.fill.Scalar: None,
}  # fmt: skip
"""What makes tensors of one number: that number, or None where it is the last argument."""
PLAINER: dict[Any, Callable[..., Tensor]] = {aten.mean.default: lambda x: x.sum() / x.numel()}
"""Beside those of :func:`saiki.compiler.trace.rewrites.decompositions`."""
SUMS = {"sum", "amax", "amin"}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}


class Recorder(TorchDispatchMode):
    """Notes down what is done inside the block, with the memory that it is done in.

    Everything is really done, so that later operations find real numbers, and all memory stays, so
    that no two tensors lie in the same place. Views need no note: a tensor says where it lies.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.programs = Programs(dtype)
        self.alive: list[Any] = []
        """What the memory belongs to."""
        self._flags: dict[int, Tensor] = {}
        """Flags as numbers, by the address of the memory that holds them as bytes."""
        self.flags: list[tuple[Tensor, Tensor]] = []
        """Of those that were there before: the numbers, and the flags that they are read from."""
        self.outside: dict[int, Tensor] = {}
        """What is read and was there before, by ``id``."""
        self._made: set[int] = set()
        """The ``id`` of what operations returned."""
        self._inside: set[int] = set()
        """Addresses of the memory that they made."""
        self._in_loops = False
        self._constants: set[int] = set()
        """Addresses of what follows from numbers alone, such as places; nobody writes there."""
        self._cost = 0

    @classmethod
    def is_infra_mode(cls) -> bool:
        """It changes nothing, so layers run as ever."""
        return True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        operands = _tensors(args, kwargs)
        self.alive += operands
        if func in FRESH:
            self._inside |= set(map(_address, operands))
        elif not self._in_loops:  # whose own constants stay as they are
            self.outside |= {id(t): t for t in operands if self._is_outside(t)}
        results = self._done(func, args, kwargs)
        tensors = _tensors(results)
        self.alive += tensors
        self._made |= set(map(id, tensors))
        self._inside |= {*map(_address, tensors)} - {*map(_address, self.outside.values())}
        return results

    def _is_outside(self, tensor: Tensor) -> bool:
        is_known = id(tensor) in self._made or _address(tensor) in self._inside
        return tensor.numel() > 0 and not is_known

    def _is_constant(self, tensor: Tensor) -> bool:
        return _address(tensor) in self._constants

    def _done(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func.namespace == "saiki":
            return self._scanned(func, *args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if name.startswith("_foreach_"):
            return self._one_by_one(name.removeprefix("_foreach_"), *args, **kwargs)
        if func in VIEWS or func.is_view:
            view = func(*args, **kwargs)
            source: Tensor = args[0]
            if all(_address(t) == _address(source) for t in tree_leaves(view)):
                return view
            return self._plainer(func, args, kwargs)  # it may be a copy, as of aten.contiguous
        if func in EMPTY:
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            return self._changed(func, name, args, kwargs)
        if func in FILLED:
            number = FILLED[func]
            result = func(*args, **kwargs)
            self._fill(result, args[-1] if number is None else number)
            return result
        if (
            all(map(self._is_constant, _tensors(args, kwargs)))
            and torch.Tag.nondeterministic_seeded not in func.tags
        ):
            result = func(*args, **kwargs)
            self._constants |= {*map(_address, _tensors(result))}
            return result
        if func in COPIES:
            result = func(*args, **kwargs)
            self._pointwise(COPY, (args[0],), {}, result)
            return result
        if func in POINTWISE:
            result = func(*args, **kwargs)
            self._pointwise(func, args, kwargs, result)
            return result
        if name in SUMS:
            return self._reduced(func, name, *args, **kwargs)
        if name in PRODUCTS and not kwargs:
            result = func(*args)
            self._product(name, args, result)
            return result
        if func is aten.cat.default:
            return self._concatenated(*args, **kwargs)
        return self._plainer(func, args, kwargs)

    def _plainer(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """By operations of which it is made."""
        known = PLAINER.get(func) or decompositions().get(func)
        try:
            with self:
                result = NotImplemented if known is None else known(*args, **kwargs)
                if result is NotImplemented:
                    result = func.decompose(*args, **kwargs)
        except CompileError:
            raise
        except Exception as error:
            raise CompileError(f"there is no recording of {func}: {error}") from error
        if result is NotImplemented:
            raise CompileError(f"there is no recording of {func}")
        return result

    def _one_by_one(self, name: str, tensors: Sequence[Tensor], *rest: Any) -> list[Tensor] | None:
        """An operation on each tensor of a list."""
        operation = aten.linalg_vector_norm if name == "norm" else getattr(aten, name)
        many = [rest] * len(tensors)
        if rest and isinstance(rest[0], list | tuple):
            many = [(one, *rest[1:]) for one in rest[0]]
        with self:
            results = [operation(t, *more) for t, more in zip(tensors, many, strict=True)]
        return None if name.endswith("_") else results

    def _changed(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that writes into a tensor which is there."""
        changed = kwargs.get("out", args[0])
        if self._is_constant(changed):
            raise CompileError(f"{func} changes a constant")
        if changed.dtype == torch.bool and _address(changed) not in self._inside:
            raise CompileError(f"{func} changes flags that were there before")
        if name == "copy_":
            self._pointwise(COPY, (args[1],), {}, args[0])
        elif name in ("zero_", "fill_"):
            self._fill(args[0], 0.0 if name == "zero_" else args[1])
        elif name in PRODUCTS and kwargs.keys() == {"out"}:
            result = func(*args, **kwargs)
            self._product(name, args, kwargs["out"])
            return result
        else:
            plain = getattr(getattr(aten, name.removesuffix("_")), func._overloadname, None)
            if plain is None or not name.endswith("_"):
                raise CompileError(f"there is no recording of {func}")
            if plain not in POINTWISE and not plain.is_view:
                with self:
                    return args[0].copy_(plain(*args, **kwargs))
            if not plain.is_view:
                self._pointwise(plain, args, kwargs, args[0])
        return func(*args, **kwargs)

    def _fill(self, result: Tensor, number: Any) -> None:
        self._pointwise(COPY, (number,), {}, result)

    def _pointwise(
        self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
    ) -> None:
        """Note down a value for each place of ``result``."""
        if not result.numel():
            return

        def operand(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            number = self._number(value)
            return self.numbers(value).expand(result.shape) if number is None else number

        operands, is_flag = [*map(operand, args)], result.dtype == torch.bool
        if is_flag:
            self._inside.add(_address(result))
        self.programs.pointwise(target, operands, kwargs, self.numbers(result), is_flag)
        self._charge(result.numel())

    def _number(self, tensor: Tensor) -> float | bool | None:
        """The number that a constant of another type stands for."""
        if tensor.dtype in (self.dtype, torch.bool):
            return None
        if tensor.ndim or not self._is_constant(tensor):
            raise CompileError(f"there is no recording of {tensor.dtype} beside {self.dtype}")
        number: float = tensor.item()
        return number

    def _reduced(
        self,
        func: Any,
        name: str,
        x: Tensor,
        dim: Sequence[int] | None = None,
        keepdim: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        result: Tensor = func(x, dim, keepdim, **kwargs) if dim is not None else func(x, **kwargs)
        over = tuple(d % x.ndim for d in dim) if dim else tuple(range(x.ndim))
        whole = result
        for d in sorted(over) if result.ndim < x.ndim else ():
            whole = whole.unsqueeze(d)
        if x.numel():
            self.programs.reduction(name, self.numbers(x), over, self.numbers(whole))
            self._charge(x.numel())
        return result

    def _product(self, name: str, args: Sequence[Tensor], result: Tensor) -> None:
        *added, left, right = args
        if not left.shape[-1]:
            raise CompileError("there is no recording of products of nothing")
        more = self.numbers(added[0]).expand(result.shape) if added else None
        self._charge(result.numel() * left.shape[-1])
        if result.numel():
            factors = self.numbers(left), self.numbers(right)
            self.programs.product(*factors, more, self.numbers(result))

    def _concatenated(self, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
        result: Tensor = aten.cat.default(tensors, dim)
        real = [tensor for tensor in tensors if tensor.shape != (0,)]
        parts = result.split([tensor.shape[dim] for tensor in real], dim)
        for tensor, part in zip(real, parts, strict=True):
            self._pointwise(COPY, (tensor,), {}, part)
        return result

    def _scanned(self, func: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
        """The loops of compiled cells, forward or backward, with what is done around them."""
        call, *options = call_of(*args, **kwargs)
        cells = compiled_cells(call.parts)
        is_forward = func is torch.ops.saiki.scan.default
        work: Callable[..., list[Tensor]] = forward if is_forward else backward
        refused = any(cell.why_refused or cell.step.draws for cell in cells)
        if refused or call.lengths is not None:
            raise CompileError("there is no recording of loops that draw or go step by step")
        before, self._in_loops = self._in_loops, True
        try:
            with self:
                return work(call, *options, self._run)
        finally:
            self._in_loops = before

    def _run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._charge(job.cost * job.rows * job.arguments[4])
            self.programs.job(job)
        threads.run(jobs)

    def numbers(self, tensor: Tensor) -> Tensor:
        """The tensor, or the numbers that stand for its flags."""
        if tensor.dtype == self.dtype:
            return tensor
        if tensor.dtype != torch.bool:
            raise CompileError(f"there is no recording of {tensor.dtype} beside {self.dtype}")
        address = _address(tensor)
        if address not in self._flags:
            flags = torch.empty(0, dtype=torch.bool).set_(tensor.untyped_storage())
            self._flags[address] = flags.to(self.dtype)
            self.alive.append(flags)
            if address not in self._inside:
                self.flags.append((self._flags[address], flags))
        numbers = self._flags[address]
        return numbers.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def _charge(self, cost: int) -> None:
        """For so many multiplications or so."""
        self._cost += cost
        if self._cost > MAX_COST:
            raise CompileError("it takes so long that nothing is gained by a recording")


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


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
        copies = [tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs]
        recorded_inputs = [recorder.programs.copy(tensor) for tensor in copies]
        for mine, tensor in zip(recorded_inputs, copies, strict=True):
            mine.copy_(tensor)
        with recorder:
            self.results = function(recorded_inputs)
        of_inputs = {*map(id, recorded_inputs)}
        self.reads = [t for key, t in recorder.outside.items() if key not in of_inputs]
        pieces, self._slots, held = recorder.programs.compile(copies)
        self._flags_before = recorder.flags
        self._flags_after = [
            (result, recorder.numbers(result))
            for result in self.results
            if result is not None and result.dtype == torch.bool
        ]
        self._run, table = threads.sequence(pieces)
        self._alive = recorded_inputs, recorder.alive, held, table

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
