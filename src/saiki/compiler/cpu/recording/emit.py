"""What a recorder noted, as LLVM IR: one function that does all of it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from llvmlite import ir

from saiki.compiler.cpu.builder import INT, POINTER, Builder
from saiki.compiler.cpu.machine import Machine
from saiki.compiler.cpu.recording.operations import (
    NativeCall,
    Operation,
    Pointwise,
    Product,
    Reduction,
    Where,
)
from saiki.compiler.cpu.values import Values, is_flag, maximum, minimum
from saiki.compiler.cpu.vector import Vector
from saiki.compiler.plan.program import Program
from saiki.compiler.trace.nodes import Node

BYTE = ir.IntType(8)
ROWS = 4
"""Of a product that are made at a time."""
Strides = tuple[int, ...]


def emit(operations: Sequence[Operation], memories: int, dtype: torch.dtype, to: Machine) -> str:
    """The text of an LLVM module with a function ``run`` of a table: the addresses of so many
    memories, then of each call its function and its arguments."""
    return str(_Emitter(operations, memories, dtype, to).module)


def places(shape: Sequence[int], *all_strides: Strides) -> tuple[list[int], list[list[int]]]:
    """The sizes and strides of as few dimensions as go through the same places in the same order
    of all that lie so."""
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in all_strides]
    for size, *steps in zip(shape, *all_strides, strict=True):
        if size == 1:
            continue
        pairs = zip(strides, steps, strict=True)
        joins = bool(sizes) and all(known[-1] == step * size for known, step in pairs)
        if joins:
            sizes[-1] *= size
        else:
            sizes.append(size)
        for known, step in zip(strides, steps, strict=True):
            if joins:
                known[-1] = step
            else:
                known.append(step)
    return sizes, strides


class _Emitter(Builder):
    def __init__(
        self, operations: Sequence[Operation], memories: int, dtype: torch.dtype, machine: Machine
    ) -> None:
        super().__init__(Program(), dtype, machine)
        kind = ir.FunctionType(ir.VoidType(), [POINTER])
        function = ir.Function(self.module, kind, "run")
        (self.table,) = function.args
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self.called = memories
        self.known: dict[Any, ir.Function] = {}
        for operation in operations:
            if isinstance(operation, NativeCall):
                self._call(operation)
            else:
                pointers = [self._begin(where) for where in operation.places]
                self.b.call(self._function(operation), pointers)
        self.b.ret_void()

    def _function(self, operation: Pointwise | Reduction | Product) -> ir.Function:
        """Of pointers to its tensors; one for all operations that differ in these alone. Many
        functions are compiled faster than a long one."""
        key = operation.kind
        if key not in self.known:
            kind = ir.FunctionType(ir.VoidType(), [POINTER] * len(operation.places))
            name = f"operation.{len(self.known)}"
            function = self.known[key] = ir.Function(self.module, kind, name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            outside, self.b = self.b, ir.IRBuilder(function.append_basic_block("entry"))
            match operation:
                case Pointwise():
                    self._pointwise(operation, function.args)
                case Reduction():
                    self._reduce(operation, *function.args)
                case Product():
                    self._product(operation, function.args)
            self.b.ret_void()
            self.b = outside
        return self.known[key]

    def _entry(self, index: int, kind: ir.Type) -> ir.Value:
        at = self.b.gep(self.table, [INT(index)], source_etype=INT)
        return self.b.load(at, typ=kind, align=8)

    def _begin(self, where: Where) -> ir.Value:
        """A pointer to the first number of a tensor."""
        kind = BYTE if where.dtype == torch.bool else self.element
        memory = self._entry(where.memory, POINTER)
        return self.b.gep(memory, [INT(where.offset)], source_etype=kind)

    def moved(
        self, pointer: ir.Value, kind: ir.Type, indices: Sequence[ir.Value], strides: Sequence[int]
    ) -> ir.Value:
        """``pointer`` at a place of these dimensions."""
        at: ir.Value = INT(0)
        for index, stride in zip(indices, strides, strict=True):
            at = self.b.add(at, self.b.mul(index, INT(stride)))
        return self.b.gep(pointer, [at], source_etype=kind)

    @contextmanager
    def over(self, sizes: Sequence[int]) -> Iterator[list[ir.Value]]:
        """Around the block a loop for each dimension; yields the indices."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.loop(INT(0), INT(size))) for size in sizes]

    def along(self, size: int, in_vectors: bool) -> Iterator[tuple[ir.Value, int]]:
        """Runs of places along a dimension."""
        if in_vectors:
            yield from self.chunks(size)
        else:
            with self.loop(INT(0), INT(size)) as i:
                yield i, 1

    def _call(self, call: NativeCall) -> None:
        kinds = [POINTER if call.pointers >> i & 1 else INT for i in range(len(call.arguments))]
        kind = ir.FunctionType(ir.VoidType(), kinds)
        function = self._entry(self.called, kind.as_pointer())
        arguments = [self._entry(self.called + 1 + i, kind) for i, kind in enumerate(kinds)]
        self.called += 1 + len(arguments)
        self.b.call(function, arguments)

    def _pointwise(self, operation: Pointwise, begins: Sequence[ir.Value]) -> None:
        result, operands, of_all = operation.result, operation.operands, operation.places
        order = sorted(range(len(result.shape)), key=lambda d: -result.strides[d])
        sizes, strides = places(
            [result.shape[d] for d in order],
            *(tuple(where.strides[d] for d in order) for where in of_all),
        )
        *outer, size = sizes or [1]
        strides = [each or [0] for each in strides]
        is_whole = strides[0][-1] == 1 and all(each[-1] in (0, 1) for each in strides)
        with self.over(outer) as indices:
            rows = [
                self.moved(pointer, self._kind(where), indices, steps[:-1])
                for pointer, where, steps in zip(begins, of_all, strides, strict=True)
            ]
            leaves = {
                node: (row, where.dtype, steps[-1])
                for (node, where), row, steps in zip(
                    operands.items(), rows[1:], strides[1:], strict=True
                )
            }
            for column, lanes in self.along(size, is_whole):
                value = _Places(self, column, lanes, leaves).of(operation.node)
                self._put(value, result, rows[0], self.b.mul(column, INT(strides[0][-1])))

    def _kind(self, where: Where) -> ir.Type:
        return BYTE if where.dtype == torch.bool else self.element

    def _put(self, value: ir.Value, where: Where, row: ir.Value, at: ir.Value) -> None:
        pointer = self.b.gep(row, [at], source_etype=self._kind(where))
        if where.dtype == torch.bool:
            lanes = _lanes(value)
            if not is_flag(value):
                value = self.b.fcmp_unordered("!=", value, ir.Constant(value.type, None))
            value = self.b.zext(value, BYTE if lanes == 1 else ir.VectorType(BYTE, lanes))
            self.b.store(value, pointer, align=1)
            return
        if is_flag(value):
            value = self.b.uitofp(value, self.vector(_lanes(value)))
        self.store(value, pointer)

    # reductions

    def _reduce(self, operation: Reduction, start: ir.Value, end: ir.Value) -> None:
        x, result, over = operation.operand, operation.result, operation.over
        kept = [d for d in range(len(x.shape)) if d not in over]
        sizes, (to, of) = places(
            [x.shape[d] for d in kept],
            tuple(result.strides[d] for d in kept),
            tuple(x.strides[d] for d in kept),
        )
        depth, (deep,) = places([x.shape[d] for d in over], tuple(x.strides[d] for d in over))
        if sizes and to[-1] == of[-1] == 1:
            with self.over(sizes[:-1]) as outer:
                row = self.moved(start, self.element, outer, of[:-1])
                total = self.moved(end, self.element, outer, to[:-1])
                for column, lanes in self.chunks(sizes[-1]):
                    state = self._began(operation.name, lanes)
                    with self.over(depth) as indices:
                        at = self.moved(self.at(row, column), self.element, indices, deep)
                        self._fold(operation.name, state, self.load(at, lanes))
                    self.store(self.load(state, lanes), self.at(total, column))
            return
        *depth, size = depth or [1]
        *deep, step = deep or [1]
        with self.over(sizes) as outer:
            row = self.moved(start, self.element, outer, of)
            state = self._began(operation.name, 1)
            lanes = self.lanes if step == 1 and size >= self.lanes else 1
            wide = self._began(operation.name, lanes) if lanes > 1 else state
            with self.over(depth) as indices:
                inner = self.moved(row, self.element, indices, deep)
                if lanes > 1:
                    whole = INT(size - size % lanes)
                    with self.loop(INT(0), whole, lanes) as i:
                        self._fold(operation.name, wide, self.load(self.at(inner, i), lanes))
                begin = INT(size - size % lanes) if lanes > 1 else INT(0)
                with self.loop(begin, INT(size)) as i:
                    at = self.at(inner, self.b.mul(i, INT(step)))
                    self._fold(operation.name, state, self.load(at, 1))
            if lanes > 1:
                vector = self.load(wide, lanes)
                self._fold(operation.name, state, self._across(operation.name, vector))
            self.store(self.load(state, 1), self.moved(end, self.element, outer, to))

    def _began(self, name: str, lanes: int) -> ir.Value:
        """Where what has been folded so far is kept, in a register in the end."""
        first = {"sum": 0.0, "amax": float("-inf"), "amin": float("inf")}[name]
        return self._variable(self.number(first, lanes))

    def _variable(self, value: ir.Value) -> ir.Value:
        with self.b.goto_entry_block():
            state = self.b.alloca(value.type)
        self.store(value, state)
        return state

    def _fold(self, name: str, state: ir.Value, value: ir.Value) -> None:
        self.store(self._both(name, self.load(state, _lanes(value)), value), state)

    def _both(self, name: str, x: ir.Value, y: ir.Value) -> ir.Value:
        if name == "sum":
            return self.b.fadd(x, y)
        return (maximum if name == "amax" else minimum)(self.b, x, y)

    def _across(self, name: str, vector: ir.Value) -> ir.Value:
        """All lanes together, halves at a time."""
        lanes = vector.type.count
        while lanes > 1:
            lanes //= 2
            halves = [
                ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(i, i + lanes)))
                for i in (0, lanes)
            ]
            low, high = (self.b.shuffle_vector(vector, vector, half) for half in halves)
            vector = self._both(name, low, high)
        return self.b.extract_element(vector, INT(0))

    # products

    def _product(self, operation: Product, begins: Sequence[ir.Value]) -> None:
        batch, rows, inner = operation.left.shape
        columns = operation.right.shape[2]
        with self.loop(INT(0), INT(batch)) as n:
            pointers = [
                self.moved(pointer, self.element, [n], where.strides[:1])
                for pointer, where in zip(begins, operation.places, strict=True)
            ]
            if operation.is_dot:
                self._dots(operation, pointers)
                return
            whole = rows - rows % ROWS
            for first, last, count in ((0, whole, ROWS), (whole, rows, 1)):
                if first == last:
                    continue
                with self.loop(INT(first), INT(last), count) as i:
                    for j, lanes in self.chunks(columns):
                        block = [self.b.add(i, INT(k)) for k in range(count)]
                        self._block(operation, pointers, block, j, lanes, inner)

    def _block(
        self,
        operation: Product,
        pointers: Sequence[ir.Value],
        rows: Sequence[ir.Value],
        j: ir.Value,
        lanes: int,
        inner: int,
    ) -> None:
        """Some rows of a product, in as many columns as there are lanes."""
        left, right, result, added = (*pointers, None)[:4]
        a, b, c = operation.left.strides, operation.right.strides, operation.result.strides
        states = []
        for row in rows:
            value = self.number(0.0, lanes)
            if added is not None and operation.added is not None:
                steps = operation.added.strides
                at = self.moved(added, self.element, [row, j], steps[1:])
                value = self.load(at, lanes if steps[2] else 1)
                value = value if steps[2] else self.splat(value, lanes)
            states.append(self._variable(value))
        with self.loop(INT(0), INT(inner)) as k:
            weight = self.load(self.moved(right, self.element, [k, j], b[1:]), lanes)
            for row, state in zip(rows, states, strict=True):
                factor = self.load(self.moved(left, self.element, [row, k], a[1:]), 1)
                self._accumulate(state, self.splat(factor, lanes), weight, lanes)
        for row, state in zip(rows, states, strict=True):
            at = self.moved(result, self.element, [row, j], c[1:])
            self.store(self.load(state, lanes), at)

    def _accumulate(self, state: ir.Value, x: ir.Value, y: ir.Value, lanes: int) -> None:
        total = Vector(self.b, self.load(state, lanes))
        self.store(Vector(self.b, x).muladd(Vector(self.b, y), total).value, state)

    def _dots(self, operation: Product, pointers: Sequence[ir.Value]) -> None:
        """A matrix times a vector."""
        left, right, result, added = (*pointers, None)[:4]
        _, rows, inner = operation.left.shape
        whole = inner - inner % self.lanes
        with self.loop(INT(0), INT(rows)) as i:
            row = self.moved(left, self.element, [i], operation.left.strides[1:2])
            value = self.number(0.0, 1)
            if added is not None and operation.added is not None:
                at = self.moved(added, self.element, [i], operation.added.strides[1:2])
                value = self.load(at, 1)
            state = self._variable(value)
            if whole:
                wide = self._variable(self.number(0.0, self.lanes))
                with self.loop(INT(0), INT(whole), self.lanes) as k:
                    x, y = (self.load(self.at(of, k), self.lanes) for of in (row, right))
                    self._accumulate(wide, x, y, self.lanes)
                self._fold("sum", state, self._across("sum", self.load(wide, self.lanes)))
            if whole < inner:
                with self.loop(INT(whole), INT(inner)) as k:
                    x, y = (self.load(self.at(of, k), 1) for of in (row, right))
                    self._accumulate(state, x, y, 1)
            at = self.moved(result, self.element, [i], operation.result.strides[1:2])
            self.store(self.load(state, 1), at)


class _Places(Values):
    """The value of an operation at some places side by side."""

    def __init__(
        self,
        builder: Builder,
        column: ir.Value,
        lanes: int,
        leaves: dict[Node, tuple[ir.Value, torch.dtype, int]],
    ) -> None:
        super().__init__(builder, INT(0), column, lanes, 0)
        self.leaves = leaves

    def _key(self, node: Node, value: Node, shift: int, single: bool) -> tuple[Node, int, bool]:
        return value, 0, False

    def _read(self, node: Node, shift: int, single: bool) -> ir.Value | None:
        if node not in self.leaves:
            return None
        row, dtype, step = self.leaves[node]
        lanes = self.lanes if step else 1
        at = self.b.mul(self.column, INT(step))
        if dtype == torch.bool:
            pointer = self.b.gep(row, [at], source_etype=BYTE)
            kind = BYTE if lanes == 1 else ir.VectorType(BYTE, lanes)
            byte = self.b.load(pointer, typ=kind, align=1)
            value = self.b.icmp_unsigned("!=", byte, ir.Constant(kind, None))
        else:
            value = self.e.load(self.e.at(row, at), lanes)
        return self.e.splat(value, self.lanes) if lanes != self.lanes else value


def _lanes(value: ir.Value) -> int:
    return value.type.count if isinstance(value.type, ir.VectorType) else 1
