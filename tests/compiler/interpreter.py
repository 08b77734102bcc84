"""A backend that runs programs as they read, operation by operation, in NumPy.

It is slow, and shares nothing with the kernels but the door of :mod:`saiki.compiler.backend` and
the programs behind it. All memory holds NaN until it is written.
"""

import math

import numpy as np
import torch

from saiki.compiler.backend import Backend
from saiki.compiler.trace.nodes import CONSTANTS, RESHAPES, is_row, is_slice, sliced, width

aten = torch.ops.aten


class Interpreter(Backend):
    """NumPy on the memory of PyTorch's tensors."""

    name = "numpy"
    inline_weights = 1 << 16

    def __init__(self):
        self.runs = 0
        """Jobs so far."""

    def obstacle(self, dtype):
        return "" if dtype in (torch.float32, torch.float64) else f"no kernel for {dtype}"

    def describe(self, dtype):
        return "read line by line"

    def product(self, left, right, added=None):
        result = left.detach().numpy() @ right.detach().numpy()
        return torch.from_numpy(result if added is None else result + added.detach().numpy())

    def empty(self, *shape, like):
        return torch.full(shape, math.nan, dtype=like.dtype)

    def loop(self, program, dtype, key=None):
        return Loop(program, dtype)

    def run(self, jobs):
        for job in jobs:
            job.run()
            self.runs += 1


class Loop:
    """A program, ready to be read."""

    def __init__(self, program, dtype):
        self.program = program
        self.dtype = torch.empty(0, dtype=dtype).numpy().dtype

    def compile(self):
        pass

    def forget(self):
        pass

    def bind(self, rows, parameters, walk, sizes):
        return Job(self.program, self.dtype, rows, parameters, walk, sizes)


class Job:
    """A program and the arrays that it reads and writes."""

    def __init__(self, program, dtype, rows, parameters, walk, sizes):
        self.program, self.dtype, self.walk, self.sizes = program, dtype, walk, sizes
        self.arrays = {}
        for array, (tensor, column) in rows.items():
            size = self.size(array.width) * self.size(array.inner)
            self.arrays[array] = tensor.detach().numpy()[:, column : column + size]
        for array in program.temporaries:
            size = self.size(array.width)
            self.arrays[array] = np.full((walk.rows, size), math.nan, dtype)
        assert self.arrays.keys() | program.parameters.values() == set(program.arrays)
        self.rebind(parameters)

    def rebind(self, parameters):
        for array, tensor in zip(self.program.parameters.values(), parameters, strict=True):
            shape = (array.inner, array.width) if array.kind == "weight" else (1, array.width)
            self.arrays[array] = tensor.detach().numpy().astype(self.dtype).reshape(shape)

    def size(self, features):
        """How many features there are; some are known only now."""
        return self.sizes.get(features, features)

    def run(self):
        with np.errstate(all="ignore"):
            for offset, count in zip(
                self.walk.offsets.tolist(), self.walk.counts.tolist(), strict=True
            ):
                Step(self, offset + self.walk.row_stride * np.arange(count)).run()


class Step:
    """One time step over the rows that take part in it.

    Args:
        rows: where they lie in arrays of all steps.
    """

    def __init__(self, job, rows):
        self.job, self.program, self.rows = job, job.program, rows

    def run(self):
        for number, stage in enumerate(self.program.stages):
            for product in stage.products:
                last = product.column + product.weight.inner
                left = self.read(product.source)[:, product.column : last]
                self.write(product.target, left @ self.read(product.weight))
            written = [
                result
                for work in (*stage.loops, *stage.grids)
                for result in (Loops if work in stage.loops else Grids)(
                    self, work, number
                ).results()
            ]
            for array, column, value, accumulate in written:
                self.write(array, value, column, accumulate)
        copied = [(to, 0.0 if a is None else self.read(a)) for a, to in self.program.copies]
        for array, value in copied:
            self.write(array, value, size=self.job.size(array.width))

    def read(self, array):
        """The rows of an array; a parameter as it is."""
        numbers = self.job.arrays[array]
        match array.kind:
            case "step":
                return numbers[self.rows]
            case "row":
                return numbers[: len(self.rows)].copy()
        return numbers

    def write(self, array, value, column=0, accumulate=False, size=None):
        value = np.asarray(value, self.job.dtype)
        size = value.shape[-1] if size is None else size
        place = self.rows if array.kind == "step" else slice(len(self.rows))
        columns = slice(column, column + size)
        if accumulate:
            value = self.job.arrays[array][place, columns] + value
        self.job.arrays[array][place, columns] = value


class Values:
    """The values of nodes in one stage of one step, each computed once."""

    def __init__(self, step, work, stage):
        self.step, self.work, self.stage = step, work, stage
        self.known = {}

    def of(self, node):
        """A node, or a number."""
        if not isinstance(node, torch.fx.Node):
            return node
        if node not in self.known:
            value = self.read(node)
            self.known[node] = self.compute(node) if value is None else value
        return self.known[node]

    def compute(self, node):
        target, args = node.target, node.args
        if target in CONSTANTS:
            return args[0 if target is aten.scalar_tensor.default else 1]
        name = target._schema.name.removeprefix("aten::")
        if name == "_to_copy":
            is_flag = node.meta["val"].dtype == torch.bool
            return (flag if is_flag else self.number)(self.of(args[0]))
        if name == "where":
            condition, *others = map(self.of, args)
            return np.where(flag(condition), *map(self.number, others))
        if name in LOGIC:
            return LOGIC[name](*(flag(self.of(arg)) for arg in args))
        operands = [None if arg is None else self.number(self.of(arg)) for arg in args]
        if "alpha" in node.kwargs:
            operands[1] = operands[1] * node.kwargs["alpha"]
        return NUMBERS[name](*operands)

    def number(self, value):
        """Flags as 0 and 1, in the type of the loop."""
        return np.asarray(value, self.step.job.dtype)

    def reduced(self, node, axis):
        """A sum, or the largest or smallest, over one axis."""
        name = getattr(node.target, "__name__", "").removeprefix("fold_").split(".")[0]
        return {"sum": np.sum, "amax": np.max, "amin": np.min}[name](
            self.whole(node.args[0]), axis=axis
        )


class Loops(Values):
    """Pointwise work over features, ``(rows, width)`` each, or ``(rows, 1)`` or one number."""

    def results(self):
        for store in self.work.stores:
            yield store.array, store.column, self.whole(store.node), store.accumulate
        for node, array in self.work.sums:
            yield array, 0, self.reduced(node, 1)[:, None], False

    def whole(self, node):
        shape = len(self.step.rows), self.step.job.size(self.work.width)
        return np.broadcast_to(self.number(self.of(node)), shape)

    def read(self, node):
        value = self.step.program.values.get(node)
        if value is None or value.stage > self.stage:
            if node not in self.step.program.takes:
                return None
            array, column = self.step.program.takes[node]
            return self.step.read(array)[:, [column + place for place in node.meta["places"]]]
        size = width(node) if is_row(node) else node.meta["val"].numel()
        columns = slice(value.column, value.column + self.step.job.size(size))
        return sum(self.step.read(array)[:, columns] for array in value.arrays)

    def compute(self, node):
        if is_slice(node):
            source, start = sliced(node)
            return self.of(source)[:, start : start + width(node)]
        if node.target in RESHAPES:
            return self.of(node.args[0])
        return super().compute(node)


class Grids(Values):
    """Pointwise work over ``(rows, outer, inner)``, with sums over either of the last two."""

    def results(self):
        for node, array in self.work.over_inner:
            yield array, 0, self.reduced(node, 2), False
        for node, array in self.work.over_outer:
            yield array, 0, self.reduced(node, 1), False
        for store in self.work.stores:
            value = self.whole(store.node)
            yield store.array, store.column, value.reshape(len(value), -1), store.accumulate

    def whole(self, node):
        size = self.step.job.size
        shape = len(self.step.rows), size(self.work.outer), size(self.work.inner)
        return np.broadcast_to(self.number(self.of(node)), shape)

    def read(self, node):
        memory = self.step.program.memory.get(node)
        if memory is not None:
            numbers = self.step.read(memory)
            return numbers.reshape(len(numbers), -1, self.step.job.size(memory.width))
        if node not in self.work.leaves:
            return None
        array, column = self.work.leaves[node]
        vector = node.args[0] if node.target is aten.unsqueeze.default else node
        size = width(vector) if is_row(vector) else vector.meta["val"].numel()
        numbers = self.step.read(array)[:, column : column + self.step.job.size(size)]
        if vector is node and is_row(node):
            return numbers.reshape(len(numbers), self.work.outer, self.work.inner)
        beside_inner = vector is not node and node.meta["val"].shape[-1] == 1
        return numbers[:, :, None] if beside_inner else numbers[:, None]


def flag(value):
    """Anything but 0 is true."""
    return np.asarray(value) != 0


LOGIC = {
    f"{kind}_{name}": function
    for kind in ("logical", "bitwise")
    for name, function in {
        "and": np.logical_and,
        "or": np.logical_or,
        "xor": np.logical_xor,
        "not": np.logical_not,
    }.items()
}
NUMBERS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.abs,
    "relu": lambda x: np.maximum(x, 0),
    "clamp": lambda x, low=None, high=None: np.clip(x, low, high),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "sign": np.sign,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "isnan": np.isnan,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(0.5 * x),
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": np.reciprocal,
    "pow": np.power,
    "copysign": np.copysign,
    "fmod": np.fmod,
    "remainder": np.mod,
    **{
        "acos": np.arccos,
        "acosh": np.arccosh,
        "asin": np.arcsin,
        "asinh": np.arcsinh,
        "atan": np.arctan,
        "atan2": np.arctan2,
        "atanh": np.arctanh,
        "cosh": np.cosh,
        "erfc": np.vectorize(math.erfc, otypes=[np.float64]),
        "exp2": np.exp2,
        "hypot": np.hypot,
        "log10": np.log10,
        "log2": np.log2,
        "sinh": np.sinh,
        "tan": np.tan,
    },
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
}
