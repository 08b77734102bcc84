"""The values of nodes, evaluated where they are used."""

from collections.abc import Callable
from typing import Any

import torch
from llvmlite import ir

from saiki.compiler.cpu.builder import FLAG, INT, Builder
from saiki.compiler.plan.program import Array, Grid
from saiki.compiler.trace import nodes
from saiki.compiler.trace.nodes import Node, aten
from saiki.llvm import vmath
from saiki.llvm.vector import Vector

_Key = tuple[Node, int, bool]
"""A node, how far behind the column it is read, and whether it has one feature only."""


class Values:
    """The values of nodes in one run of columns of one row."""

    def __init__(
        self,
        builder: Builder,
        r: ir.Value,
        column: ir.Value,
        lanes: int,
        stage: int,
    ) -> None:
        self.e, self.r = builder, r
        self.column, self.lanes, self.stage = column, lanes, stage
        self.known: dict[_Key, ir.Value] = {}

    @property
    def b(self) -> ir.IRBuilder:
        return self.e.b

    def of(self, node: Node, shift: int = 0, single: bool = False) -> ir.Value:
        """``node`` from column + ``shift`` on; its only feature, if ``single``."""
        return nodes.resolve(
            (node, shift, single),
            self.known,
            lambda key: self._needs(*key),
            lambda key: self._compute(*key),
        )

    def _needs(self, node: Node, shift: int, single: bool) -> list[_Key]:
        """What :meth:`_compute` asks for; nothing of what can be read."""
        value = self._read(node, shift, single)
        if value is not None:
            self.known[node, shift, single] = value
        if value is not None or node.target in nodes.CONSTANTS:
            return []
        if nodes.is_slice(node):
            source, start = nodes.sliced(node)
            return [(source, shift + start, single)]
        return [self._key(node, arg, shift, single) for arg in node.args if isinstance(arg, Node)]

    def _key(self, node: Node, value: Node, shift: int, single: bool) -> _Key:
        """``value`` where ``node`` meets it."""
        narrow = nodes.width(value) == 1 if nodes.is_row(value) else value.meta["val"].numel() == 1
        return (value, 0, True) if narrow and nodes.width(node) != 1 else (value, shift, single)

    def operand(
        self, node: Node, value: Any, shift: int, single: bool, flag: bool = False
    ) -> ir.Value:
        """What ``node`` takes, a node or a number, in as many lanes as ``node`` is evaluated."""
        lanes = 1 if single else self.lanes
        if not isinstance(value, Node):
            if flag or isinstance(value, bool):
                return ir.Constant(FLAG if lanes == 1 else ir.VectorType(FLAG, lanes), bool(value))
            return self.e.number(float(value), lanes)
        key = self._key(node, value, shift, single)
        result = self.of(*key)
        return self.e.splat(result, lanes) if key[2] and not single else result

    def number(self, node: Node, value: Any, shift: int, single: bool) -> ir.Value:
        """An operand of arithmetic: a comparison counts as 0 or 1."""
        result = self.operand(node, value, shift, single)
        if is_flag(result):
            result = self.b.uitofp(result, self.e.vector(1 if single else self.lanes))
        return result

    def flag(self, node: Node, value: Any, shift: int, single: bool) -> ir.Value:
        """An operand of logic: a number counts as true unless it is 0."""
        result = self.operand(node, value, shift, single, flag=not isinstance(value, Node))
        if not is_flag(result):
            zero = ir.Constant(result.type, None)
            result = self.b.fcmp_unordered("!=", result, zero)
        return result

    def _read(self, node: Node, shift: int, single: bool) -> ir.Value | None:
        value = self.e.program.values.get(node)
        if value is None or value.stage > self.stage:
            source = self.e.program.takes.get(node)
            return None if source is None else self._gather(node, *source, shift, single)
        lanes = 1 if single else self.lanes
        column = INT(0) if single else self.column
        total = None
        for array in value.arrays:
            at = self.b.add(column, INT(value.column + shift))
            part = self.e.load(self.e.at(self.e.row(array, self.r), at), lanes)
            total = part if total is None else self.b.fadd(total, part)
        return total

    def _gather(self, node: Node, array: Array, first: int, shift: int, single: bool) -> ir.Value:
        """Features of what begins at a column of an array, in the order of their places."""
        lanes = 1 if single else self.lanes
        column = self.b.add(INT(0) if single else self.column, INT(shift))
        begin = self.e.at(self.e.row(array, self.r), INT(first))
        return self.e.gather(begin, node.meta["places"], column, shift, lanes)

    def _compute(self, node: Node, shift: int, single: bool) -> ir.Value:
        target: Any = node.target
        args: Any = node.args
        lanes = 1 if single else self.lanes
        if target in nodes.CONSTANTS:
            number = args[1] if target is not aten.scalar_tensor.default else args[0]
            return self.operand(node, number, shift, single)
        if nodes.is_slice(node):
            source, start = nodes.sliced(node)
            return self.of(source, shift + start, single)
        if target in nodes.RESHAPES:
            return self.operand(node, args[0], shift, single)
        if target is aten._to_copy.default:
            is_bool = node.meta["val"].dtype == torch.bool
            return (self.flag if is_bool else self.number)(node, args[0], shift, single)
        if target is aten.where.self:
            condition = self.flag(node, args[0], shift, single)
            yes, no = (self.number(node, arg, shift, single) for arg in args[1:])
            return self.b.select(condition, yes, no)
        name = target._schema.name.removeprefix("aten::")
        if name in _LOGIC:
            return _LOGIC[name](self.b, *(self.flag(node, arg, shift, single) for arg in args))
        if name == "clamp":
            x = self.number(node, args[0], shift, single)
            for bound, symbol in zip((*args[1:], None)[:2], "<>", strict=True):
                if bound is not None:
                    limit = self.e.number(float(bound), lanes)
                    beyond = self.b.fcmp_ordered(symbol, x, limit)
                    x = self.b.select(beyond, limit, x)
            return x
        if name == "pow" and not isinstance(args[1], Node) and float(args[1]) in _POWERS:
            x = Vector(self.b, self.number(node, args[0], shift, single))
            return _POWERS[float(args[1])](x).value
        operands = [self.number(node, arg, shift, single) for arg in args]
        if name in ("add", "sub") and "alpha" in node.kwargs:
            alpha: Any = node.kwargs["alpha"]
            scale = self.e.number(float(alpha), lanes)
            operands[1] = self.b.fmul(operands[1], scale)
        if name in _COMPARISONS:
            compare = self.b.fcmp_unordered if name == "ne" else self.b.fcmp_ordered
            return compare(_COMPARISONS[name], *operands)
        if name in ARITHMETIC:
            return ARITHMETIC[name](self.b, *operands)
        if name in nodes.LIBM:
            first, *others = (vmath.flushed(Vector(self.b, value)) for value in operands)
            return vmath.libm_lanewise(first, name, *others).value
        if name in vmath.__all__:
            return self.e.elementary(name, operands)
        raise nodes.unsupported(node, "there is no kernel for it")


class GridValues(Values):
    """The values of nodes at one place of the outer feature, in one run of the inner one."""

    def __init__(
        self, builder: Builder, grid: Grid, r: ir.Value, place: ir.Value, column: ir.Value,
        lanes: int,
    ) -> None:  # fmt: skip
        super().__init__(builder, r, column, lanes, 0)
        self.grid, self.place = grid, place

    def _key(self, node: Node, value: Node, shift: int, single: bool) -> _Key:
        return value, 0, False

    def _read(self, node: Node, shift: int, single: bool) -> ir.Value | None:
        e, b = self.e, self.b
        array = e.program.memory.get(node)
        if array is not None:
            at = b.add(b.mul(self.place, e.extent(array.width)), self.column)
            return e.load(e.at(e.row(array, self.r), at), self.lanes)
        if node not in self.grid.leaves:
            return None
        array, first = self.grid.leaves[node]
        vector = nodes.vector_of(node)
        at, lanes = INT(first), 1
        if vector is node and nodes.is_row(node):
            at = b.add(at, b.add(b.mul(self.place, INT(self.grid.inner)), self.column))
            return e.load(e.at(e.row(array, self.r), at), self.lanes)
        features = nodes.width(vector) if nodes.is_row(vector) else vector.meta["val"].numel()
        if features > 1:
            shape = node.meta["val"].shape
            beside_inner = vector is not node and shape[-1] == 1
            at = b.add(at, self.place if beside_inner else self.column)
            lanes = 1 if beside_inner else self.lanes
        value = e.load(e.at(e.row(array, self.r), at), lanes)
        return e.splat(value, self.lanes) if lanes == 1 else value


def is_flag(value: ir.Value) -> bool:
    kind = value.type
    return bool((kind.element if isinstance(kind, ir.VectorType) else kind) == FLAG)


def maximum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The larger; NaN if either is."""
    return _extreme(b, ">", x, y)


def minimum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return _extreme(b, "<", x, y)


def _extreme(b: ir.IRBuilder, symbol: str, x: ir.Value, y: ir.Value) -> ir.Value:
    chosen = b.select(b.fcmp_ordered(symbol, x, y), x, y)
    return b.select(b.fcmp_unordered("uno", x, y), b.fadd(x, y), chosen)


def _relu(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    zero = ir.Constant(x.type, None)
    return b.select(b.fcmp_ordered("<=", x, zero), zero, x)  # NaN stays NaN


def _sign(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    zero = ir.Constant(x.type, None)
    above = b.uitofp(b.fcmp_ordered(">", x, zero), x.type)
    return b.fsub(above, b.uitofp(b.fcmp_ordered("<", x, zero), x.type))


def _remainder(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """What is left of a division, with the sign of ``y``."""
    rest, zero = b.frem(x, y), ir.Constant(x.type, None)
    other = b.xor(b.fcmp_ordered("<", y, zero), b.fcmp_ordered("<", rest, zero))
    moved = b.and_(other, b.fcmp_unordered("!=", rest, zero))
    return b.select(moved, b.fadd(rest, y), rest)


def _rounded(name: str) -> Callable[[ir.IRBuilder, ir.Value], ir.Value]:
    def emit(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        return Vector(b, x).intrinsic(name).value

    return emit


ARITHMETIC: dict[str, Callable[..., ir.Value]] = {
    "add": ir.IRBuilder.fadd,
    "sub": ir.IRBuilder.fsub,
    "mul": ir.IRBuilder.fmul,
    "div": ir.IRBuilder.fdiv,
    "neg": ir.IRBuilder.fneg,
    "abs": _rounded("fabs"),
    "relu": _relu,
    "sign": _sign,
    "maximum": maximum,
    "minimum": minimum,
    "reciprocal": lambda b, x: (1 / Vector(b, x)).value,
    "floor": _rounded("floor"),
    "ceil": _rounded("ceil"),
    "trunc": _rounded("trunc"),
    "round": _rounded("roundeven"),
    "copysign": lambda b, x, y: Vector(b, x).intrinsic("copysign", Vector(b, y)).value,
    "fmod": ir.IRBuilder.frem,
    "remainder": _remainder,
    "isnan": lambda b, x: b.fcmp_unordered("uno", x, x),
}
_LOGIC: dict[str, Callable[..., ir.Value]] = {
    f"{kind}_{name.strip('_')}": getattr(ir.IRBuilder, name)
    for kind in ("logical", "bitwise")
    for name in ("and_", "or_", "xor", "not_")
}
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_POWERS: dict[float, Callable[[Vector], Vector]] = {
    0.5: lambda x: x.intrinsic("sqrt"),
    1.0: lambda x: x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    -1.0: lambda x: 1 / x,
    -2.0: lambda x: 1 / (x * x),
}
