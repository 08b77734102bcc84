"""Trace and derive: a cell's step and its vector-Jacobian product as one graph of ATen operations.

``step`` is run once on tensors that hold no numbers. PyTorch's own autograd is run through as well,
so that no derivative is written by hand anywhere, and everything is decomposed to a small core set.
"""

import linecache
import math
import operator
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from types import FrameType
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn
from torch.func import functionalize
from torch.fx import traceback as fx_traceback
from torch.overrides import TorchFunctionMode

from saiki.cell import Cell, as_states
from saiki.compiler.watch import Watch
from saiki.errors import CompileError, SaikiError, TraceError
from saiki.torch_internals import (
    FakeTensor,
    FakeTensorMode,
    core_aten_decompositions,
    forget,
    get_decompositions,
    make_fx,
    tree_leaves,
)
from saiki.twin import Twin, like

aten = torch.ops.aten


@dataclass(frozen=True)
class Sizes:
    """What stands for sizes that differ from call to call: primes that no other size equals."""

    rows: int
    """Of the batch."""
    extents: tuple[int, ...]
    """Of memory."""

    def name(self, size: int) -> tuple[int, ...]:
        """The size as a product of a number and powers of these."""
        powers = []
        for prime in (self.rows, *self.extents):
            power = 0
            while size and size % prime == 0:
                size, power = size // prime, power + 1
            powers.append(power)
        return size, *powers


FIRST = Sizes(1_000_003, (1_000_033, 1_000_037, 1_000_039, 1_000_081))
SECOND = Sizes(720_720, (1_000_099, 1_000_117, 1_000_121, 1_000_133))
"""Others, which tell whether anything but sizes depends on them; where the first number of rows
cannot be divided, this one can be by all numbers up to 16."""
ROWS = FIRST.rows

_DECOMPOSED = (
    aten._softmax,
    aten._log_softmax,
    aten.gelu,
    aten.elu,
    aten.leaky_relu,
    aten.hardtanh,
)
"""Operations of the core set that PyTorch can decompose further."""


def _mean(x: Tensor, dim: list[int], keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    count = math.prod(x.shape[d] for d in dim) if dim else x.numel()
    return x.sum(dim, keepdim) / count


def _variance(x: Tensor, dim: list[int], correction: Any = None, keepdim: bool = False) -> Tensor:
    count = math.prod(x.shape[d] for d in dim)
    deviation = x - x.sum(dim, True) / count
    return (deviation * deviation).sum(dim, keepdim) / (
        count - (1 if correction is None else correction)
    )


def _layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    dims = list(range(x.ndim - len(shape), x.ndim))
    mean = _mean(x, dims, True)
    deviation = x - mean
    scale = torch.rsqrt(_mean(deviation * deviation, dims, True) + eps)
    y = deviation * scale
    if weight is not None:
        y = y * weight
    return (y if bias is None else y + bias), mean, scale


def _slice_scatter(
    x: Tensor,
    part: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    size = x.shape[dim]
    first, last, _ = slice(start, None if end is None or end >= size else end).indices(size)
    if step != 1:
        return NotImplemented
    before, after = x.narrow(dim, 0, first), x.narrow(dim, last, size - last)
    return torch.cat([t for t in (before, part, after) if t.shape[dim]], dim)


def _vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    if ord != 2 or dtype is not None:
        return NotImplemented
    dims = list(range(x.ndim)) if dim is None else dim
    return torch.sqrt((x * x).sum(dims, keepdim))


_DECOMPOSITIONS = {
    aten.linalg_vector_norm.default: _vector_norm,
    aten.slice_scatter.default: _slice_scatter,
    aten.mean.dim: _mean,
    aten.var.correction: _variance,
    aten.native_layer_norm.default: _layer_norm,
    aten.mish.default: lambda x: x * torch.tanh(torch.nn.functional.softplus(x)),
    aten.select.int: lambda x, dim, i: x.narrow(dim, i % x.shape[dim], 1).squeeze(dim),
    aten.silu.default: lambda x: x * torch.sigmoid(x),
}
"""Those that PyTorch keeps whole, or decomposes into something less plain."""


@dataclass(frozen=True)
class Trace:
    """One graph: from x, state, parameters and ∂L/∂(new state) to the new state and all gradients.

    A row tensor has ``ROWS`` as its first size. The gradients are None where there are none.
    """

    graph: fx.Graph
    dtype: torch.dtype
    x: fx.Node
    states: tuple[fx.Node, ...]
    parameters: dict[str, fx.Node]
    """Parameters and buffers by their name in the cell; then what else ``step`` reads."""
    constants: dict[fx.Node, Tensor]
    """Tensors that ``step`` makes of numbers."""
    memory: dict[str, fx.Node]
    """Without its sizes of 1."""
    extents: dict[str, int]
    """The size that stands for each named one."""
    cotangents: tuple[fx.Node, ...]
    new_states: tuple[fx.Node, ...]
    d_x: fx.Node | None
    d_states: tuple[fx.Node | None, ...]
    d_parameters: dict[str, fx.Node | None]
    d_memory: dict[str, fx.Node | None]
    outer: dict[str, tuple[tuple[fx.Node, fx.Node], ...]] = field(default_factory=dict)
    """What ``d_memory`` lacks of the gradient of each memory: products of two vectors."""

    @property
    def eps(self) -> float:
        """Of the coarsest type among all values: what a step may round to, to its last bit in one
        way here and in another there."""
        values = (node.meta.get("val") for node in self.graph.nodes)
        dtypes = {v.dtype for v in values if isinstance(v, Tensor)}
        return max(torch.finfo(d).eps for d in dtypes if d.is_floating_point or d.is_complex)

    def __str__(self) -> str:
        return str(self.graph)


def trace(cell: Cell, watch: Watch, dtype: torch.dtype) -> Trace:
    """The graph of ``cell`` for inputs of that type.

    It is traced twice, with other sizes of batch and memory; what comes out must differ in sizes
    alone.

    Raises:
        CompileError: ``step`` does what no graph can say, such as deciding by a tensor's values.
    """
    if watch.asked:
        raise CompileError(
            f"step of {type(cell).__name__} may read {watch.asked[0]}, which a kernel cannot answer"
        )
    try:
        found, other = (_Capture(cell, watch, dtype, sizes) for sizes in (FIRST, SECOND))
        if not cell.memory_shapes:
            _same_but_for_sizes(found, other, "recorded")
        found.make_functional()
        if cell.memory_shapes:  # over which means may be taken, and so divided by their sizes
            other.make_functional()
            _same_but_for_sizes(found, other, "module")
            forget(other.module)
    except SaikiError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        at = _line_of_step(cell, traceback.extract_tb(error.__traceback__))
        raise TraceError(
            f"step of {type(cell).__name__} cannot be traced{at}: {lines[0]}"
        ) from error
    forget(found.recorded, found.module, other.recorded)
    graph, nodes = found.module.graph, found.inputs
    _simplify(graph)
    states, memory = nodes.states, list(nodes.memory.values())
    _split_norms(graph, [*states, *memory])
    _split_addmm(graph, [*states, *memory])
    output = next(node for node in graph.nodes if node.op == "output").args[0]
    new_states, gradients = _unflatten(output, len(states))
    k, m = 1 + len(states), 1 + len(states) + len(memory)
    d_parameters = dict(zip(found.learnt, gradients[m:], strict=True))
    # a tensor may be read as itself and as what takes its place in the cell
    own = list(watch.places)[: watch.parameters]
    parameters = {n: p for n, p in nodes.tensors.items() if n in own or p.users}
    for node, label in nodes.labels():
        node.meta["label"] = label
    return Trace(
        graph=graph,
        dtype=dtype,
        x=nodes.x,
        states=tuple(states),
        memory=nodes.memory,
        extents=found.extents,
        parameters=parameters,
        constants=found.constants,
        cotangents=tuple(nodes.cotangents),
        new_states=new_states,
        d_x=gradients[0],
        d_states=gradients[1:k],
        d_parameters={name: d_parameters.get(name) for name in parameters},
        d_memory=dict(zip(nodes.memory, gradients[k:m], strict=True)),
    )


@dataclass(frozen=True)
class _Inputs:
    """The placeholders of a graph."""

    x: fx.Node
    states: list[fx.Node]
    state_names: tuple[str, ...]
    memory: dict[str, fx.Node]
    tensors: dict[str, fx.Node]
    cotangents: list[fx.Node]

    def labels(self) -> Iterator[tuple[fx.Node, str]]:
        """What a person calls each."""
        yield self.x, "x"
        yield from zip(self.states, self.state_names, strict=True)
        yield from ((node, name) for name, node in (*self.memory.items(), *self.tensors.items()))
        names = (f"d_{name}" for name in self.state_names)
        yield from zip(self.cotangents, names, strict=True)


class _Capture:
    """A step and its vector-Jacobian product, run once for a size of the batch and of memory.

    It is run on a twin of the cell, in place of whose tensors are ones that hold no numbers. First
    PyTorch records what it does, its own autograd behind it; that record is then made functional
    and decomposed.
    """

    def __init__(self, cell: Cell, watch: Watch, dtype: torch.dtype, sizes: "Sizes") -> None:
        self.cell, self.watch, self.sizes = cell, watch, sizes
        self.extents = _extents(cell, sizes)
        self.shapes = {
            name: tuple(self.extents[n] if isinstance(n, str) else n for n in shape)
            for name, shape in cell.memory_shapes.items()
        }
        real = dict(zip(watch.places, watch.tensors(), strict=True))
        for name, tensor in real.items():
            if tensor.layout != torch.strided or isinstance(tensor, FakeTensor):
                raise CompileError(f"the tensor {name} is of a kind that no kernel reads")
            if tensor.is_complex() and (tensor.requires_grad or isinstance(tensor, nn.Parameter)):
                raise CompileError(f"the parameter {name} is complex, and so would its gradient be")
        self.real = real
        self.learnt = [
            name for name, t in real.items()
            if t.is_floating_point() and (t.requires_grad or isinstance(t, nn.Parameter))
        ]  # fmt: skip
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        with self.mode:
            self.arguments = self._arguments(dtype)
        with fx_traceback.preserve_node_meta():
            self.recorded = make_fx(lambda *a: self._joint(*a), **_FAKE)(*self.arguments)
        _refuse_chance(cell, self.recorded.graph)
        _without_detach(self.recorded.graph)
        self.found = _lift(self.recorded)
        """Tensors that the step found elsewhere, the last inputs of the record."""

    def _arguments(self, dtype: torch.dtype) -> tuple[Any, ...]:
        rows, sizes = self.sizes.rows, self.cell.state_sizes
        shapes = [core(shape) for shape in self.shapes.values()]
        return (
            torch.empty(rows, self.cell.input_size, dtype=dtype).requires_grad_(),
            [torch.empty(rows, n, dtype=dtype).requires_grad_() for n in sizes],
            [torch.empty(rows, *shape, dtype=dtype).requires_grad_() for shape in shapes],
            [
                torch.empty(t.shape, dtype=t.dtype).requires_grad_(name in self.learnt)
                for name, t in self.real.items()
            ],
            [torch.empty(rows, n, dtype=dtype) for n in sizes],
        )

    def make_functional(self) -> None:
        """Decompose the record into operations that change nothing in place."""
        found = (self.mode.from_tensor(tensor) for tensor in self.found)
        flat = [tensor.detach() for tensor in (*tree_leaves(self.arguments), *found)]

        def replay(*values: Tensor) -> Any:
            return fx.Interpreter(self.recorded).run(*values)

        functional = functionalize(replay, remove="mutations")
        with fx_traceback.preserve_node_meta():
            self.module = make_fx(functional, decomposition_table=_table(), **_FAKE)(*flat)
        self._name_inputs()
        _refuse_mutation(self.cell, self.module.graph)

    def _joint(
        self,
        x: Tensor,
        states: list[Tensor],
        memory: list[Tensor],
        given: list[Tensor],
        cotangents: list[Tensor],
    ) -> tuple[Any, ...]:
        values = dict(zip(self.real, given, strict=True))
        twin = Twin((real, like(values[name], real)) for name, real in self.real.items())
        cell = twin.of(self.cell)
        shapes = self.shapes
        read = {n: m.view(self.sizes.rows, *shapes[n]) for n, m in zip(shapes, memory, strict=True)}
        with _Lines(self.cell) if self.sizes is FIRST else nullcontext():
            new = as_states(cell(x, *states, **read))
        changed = twin.changed()
        if changed:
            raise CompileError(
                f"step of {type(self.cell).__name__} changes {changed} of its cell, which a loop "
                "of steps must see"
            )
        outside = [self.real[n] for n in self.learnt if self.real[n].requires_grad]
        wanted = [x, *states, *memory, *(values[name] for name in self.learnt), *outside]
        differentiable = [(n, g) for n, g in zip(new, cotangents, strict=True) if n.requires_grad]
        if not differentiable:
            return tuple(new), (None,) * (len(wanted) - len(outside))
        gradients = list(
            torch.autograd.grad(
                [n for n, _ in differentiable],
                wanted,
                [g for _, g in differentiable],
                allow_unused=True,
            )
        )
        first = len(wanted) - len(outside) - len(self.learnt)
        rest = iter(gradients[len(wanted) - len(outside) :])
        for i, name in enumerate(self.learnt, first):
            other = next(rest) if self.real[name].requires_grad else None
            if other is not None:
                gradients[i] = other if gradients[i] is None else gradients[i] + other
        return tuple(new), tuple(gradients[: len(wanted) - len(outside)])

    def _name_inputs(self) -> None:
        """Sort the placeholders; those of tensors that the step found elsewhere become one with
        those of the same tensors in the cell, or constants."""
        graph = self.module.graph
        first, *rest = (node for node in graph.nodes if node.op == "placeholder")
        found = iter(rest)
        take = lambda names: [next(found) for _ in names]  # noqa: E731
        states, memory = take(self.cell.state_sizes), take(self.shapes)
        tensors, cotangents = take(self.real), take(self.cell.state_sizes)
        self.inputs = _Inputs(
            first,
            states,
            self.cell.state_names,
            dict(zip(self.shapes, memory, strict=True)),
            dict(zip(self.real, tensors, strict=True)),
            cotangents,
        )
        names = {id(tensor): name for name, tensor in self.real.items()}
        self.constants: dict[fx.Node, Tensor] = {}
        for node, tensor in zip(found, self.found, strict=True):
            name = names.get(id(tensor))
            if name is not None:
                node.replace_all_uses_with(self.inputs.tensors[name])
                graph.erase_node(node)
            elif tensor.requires_grad:
                raise CompileError(
                    f"step of {type(self.cell).__name__} reads a tensor of shape "
                    f"{tuple(tensor.shape)} that requires a gradient and is held neither by its "
                    "cell nor by a global or closure; register it as a parameter"
                )
            else:
                self.constants[node] = tensor


_FAKE: Any = {"tracing_mode": "fake", "_allow_non_fake_inputs": True}


@cache
def _table(norms: bool = False) -> dict[Any, Any]:
    """How operations are decomposed; layer normalisations, too, if ``norms``."""
    table = {**core_aten_decompositions(), **get_decompositions(_DECOMPOSED), **_DECOMPOSITIONS}
    return {op: how for op, how in table.items() if norms or op not in _WHOLE}


def _lift(module: fx.GraphModule) -> list[Tensor]:
    """Make placeholders of the tensors that a graph holds; which those are."""
    found: dict[int, tuple[fx.Node, Tensor]] = {}
    graph = module.graph
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        tensor = getattr(module, str(node.target))
        if id(tensor) not in found:
            with graph.inserting_after(last):
                last = graph.placeholder(f"constant_{len(found)}")
            found[id(tensor)] = last, tensor
        node.replace_all_uses_with(found[id(tensor)][0])
        graph.erase_node(node)
    return [tensor for _, tensor in found.values()]


def _without_detach(graph: fx.Graph) -> None:
    """In the record autograd has done its work, and what it was kept from seeing is the same."""
    for node in list(graph.nodes):
        if node.target is aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _refuse_chance(cell: Cell, graph: fx.Graph) -> None:
    for node in graph.nodes:
        tags = getattr(node.target, "tags", ())
        if torch.Tag.nondeterministic_seeded in tags:
            raise CompileError(
                f"{_name(node)} draws random numbers in step of {type(cell).__name__}{where(node)}"
            )


def _refuse_mutation(cell: Cell, graph: fx.Graph) -> None:
    """What functionalisation leaves are changes of what the step was given or sees elsewhere."""
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable:
            raise CompileError(
                f"step of {type(cell).__name__} changes a tensor in place that it was given or "
                f"sees elsewhere{where(node)}; write it without"
            )


def _same_but_for_sizes(
    ours: _Capture, other: _Capture, graph: Literal["recorded", "module"]
) -> None:
    """Raise unless two captures differ in the sizes of batch and memory alone."""
    a, b = (list(getattr(capture, graph).graph.nodes) for capture in (ours, other))
    for one, two in zip(a, b, strict=False):
        same = one.target == two.target or one.op == "placeholder" == two.op
        if not same or _numbers(one, ours.sizes) != _numbers(two, other.sizes):
            raise unsupported(one, "it depends on the number of rows, or on the size of a memory")
    same = len(a) == len(b) and len(ours.found) == len(other.found)
    same = same and all(
        s is t or torch.equal(s, t) for s, t in zip(ours.found, other.found, strict=True)
    )
    if not same:
        raise CompileError(
            f"step of {type(ours.cell).__name__} depends on the number of rows, or on the size of "
            "a memory"
        )


def _numbers(node: fx.Node, sizes: "Sizes") -> str:
    """What a node takes; sizes of batch and memory by their names, where sizes are meant."""

    def seen(value: Any, is_size: bool) -> Any:
        if isinstance(value, fx.Node):
            return value.name
        if isinstance(value, list | tuple):
            return [seen(v, True) for v in value]
        if is_size and isinstance(value, int) and not isinstance(value, bool):
            return sizes.name(value)
        return repr(value)

    is_size = node.target is aten.slice.Tensor
    return repr([seen(arg, is_size) for arg in (*node.args, *node.kwargs.items())])


def _extents(cell: Cell, sizes: "Sizes") -> dict[str, int]:
    """The size that stands for each named one while tracing."""
    shapes = cell.memory_shapes.values()
    names = dict.fromkeys(size for shape in shapes for size in shape if isinstance(size, str))
    if len(names) > len(sizes.extents):
        raise CompileError(
            f"the memory of {type(cell).__name__} has more than {len(sizes.extents)} named sizes"
        )
    return dict(zip(names, sizes.extents, strict=False))


def core(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without its sizes of 1, unless there are no others."""
    return tuple(size for size in shape if size != 1) or (1,)


def is_extent(size: Any) -> bool:
    """Whether the number stands for a size of memory that may be another in each call."""
    return size in FIRST.extents


_WHOLE = (aten.native_layer_norm.default,)
"""Kept whole outside the recursion, where PyTorch has a kernel that treats each row by itself."""


def _split_norms(graph: fx.Graph, states: list[fx.Node]) -> None:
    """Inside the loop a layer normalisation is made of plain operations."""
    of_state = set(states)
    for node in list(graph.nodes):
        inside = is_narrow(node) or any(source in of_state for source in node.all_input_nodes)
        if not inside:
            continue
        of_state.add(node)
        if node.target not in _WHOLE:
            continue
        inputs, norm = node.all_input_nodes, cast(Any, node.target)

        def whole(
            *values: Tensor, node: fx.Node = node, inputs: Any = inputs, norm: Any = norm
        ) -> Any:
            known = dict(zip(inputs, values, strict=True))
            return norm(*fx.node.map_arg(node.args, known.__getitem__))

        values = (n.meta["val"] for n in inputs)
        parts = make_fx(whole, decomposition_table=_table(norms=True))(*values).graph
        copies: dict[fx.Node, Any] = {}
        given = iter(inputs)
        with graph.inserting_before(node):
            for part in parts.nodes:
                if part.op == "placeholder":
                    copies[part] = next(given)
                elif part.op == "call_function":
                    copies[part] = graph.node_copy(part, copies.__getitem__)
                    copies[part].stack_trace = node.stack_trace
                    if any(source in of_state for source in copies[part].all_input_nodes):
                        of_state.add(copies[part])
                else:
                    results = part.args[0]
        for user in list(node.users):
            user.replace_all_uses_with(copies[results[user.args[1]]])
            graph.erase_node(user)
        graph.erase_node(node)


def _split_addmm(graph: fx.Graph, states: list[fx.Node]) -> None:
    """Inside the recursion a product and the bias added to it are two things."""
    of_state = set(states)
    for node in list(graph.nodes):
        if any(source in of_state for source in node.all_input_nodes):
            of_state.add(node)
        elif not is_narrow(node):
            continue
        if node.target is aten.addmm.default:
            bias, left, right = node.args
            with graph.inserting_before(node):
                product = total = graph.call_function(aten.mm.default, (left, right))
                if "alpha" in node.kwargs:
                    total = graph.call_function(aten.mul.Tensor, (product, node.kwargs["alpha"]))
                if "beta" in node.kwargs:
                    scale, meta = node.kwargs["beta"], bias.meta
                    bias = graph.call_function(aten.mul.Tensor, (bias, scale))
                    bias.meta = {"val": meta["val"]}
                scaled, total = total, graph.call_function(aten.add.Tensor, (total, bias))
            for new in (product, scaled, total):
                new.meta = dict(node.meta)
                new.stack_trace = node.stack_trace
                if node in of_state:
                    of_state.add(new)
            node.replace_all_uses_with(total)
            graph.erase_node(node)


NARROW = 8
"""Features of x up to which a loop multiplies by weights rather than read what is made of them."""


def is_narrow(node: fx.Node) -> bool:
    """Whether it takes longer to write a product with x for all steps, and to read it in the loop,
    than to do it there."""
    if node.target not in (aten.mm.default, aten.addmm.default):
        return False
    left, right = node.args[-2:]
    return left.op == "placeholder" and not is_row(right) and 0 < width(left) <= NARROW


def _unflatten(output: Any, states: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    flat = tuple(
        tree_leaves(output, is_leaf=lambda leaf: leaf is None or isinstance(leaf, fx.Node))
    )
    return flat[:states], flat[states:]


def width(node: fx.Node) -> int:
    """Features of a row tensor ``(rows, width)``, ``(rows, 1)`` or ``(rows,)``."""
    shape = node.meta["val"].shape
    return int(shape[1]) if len(shape) == 2 else 1


def label(node: fx.Node) -> str:
    """What a person calls the value: the name of a state or parameter, or how it comes from it."""
    known = node.meta.get("label")
    if known is not None:
        return str(known)
    if node.target is aten.permute.default:
        return f"{label(node.args[0])}ᵀ"
    return node.name


def is_row(node: fx.Node) -> bool:
    """Whether the value has one entry, or one vector, for each row of the batch."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.ndim >= 1 and value.shape[0] == ROWS


def is_value(node: fx.Node, dtype: torch.dtype) -> bool:
    """Whether a loop of that type can read and write it: numbers of the type, or flags or their
    count, in one vector for each row."""
    value = node.meta.get("val")
    if not is_row(node) or value.ndim > 2:
        return False
    return value.dtype in (dtype, torch.bool) or is_count(node)


def is_count(node: fx.Node) -> bool:
    """Whether it says how many flags of a row are set."""
    return (
        node.target is aten.sum.dim_IntList
        and node.args[0].meta["val"].dtype == torch.bool
        and node.meta["val"].dtype == torch.int64
    )


def is_grid(node: Any) -> bool:
    """Whether the value has features over features for each row; see :mod:`saiki.compiler.grid`."""
    return is_row(node) and node.meta["val"].ndim == 3


def where(node: fx.Node) -> str:
    """`` at file.py, line 12: the line`` of the step that made the node, where it is known."""
    return node.stack_trace or ""


_READS = {
    Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__float__, Tensor.__int__,
    Tensor.__bool__, Tensor.__index__, Tensor.__complex__, torch.equal,
}  # fmt: skip
"""What makes numbers of Python of those of a tensor."""


class _Lines(TorchFunctionMode):
    """Notes for each operation which line of ``step`` it comes from."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.code = type(cell).step.__code__

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        real = args and isinstance(args[0], Tensor) and not isinstance(args[0], FakeTensor)
        if real and func in _READS:
            raise CompileError(
                f"step reads the numbers of a tensor of shape {tuple(args[0].shape)}, which may be "
                "others at the next call"
            )
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self.code:
            frame = frame.f_back
        if frame is not None:
            place = self.code.co_filename, frame.f_lineno
            line = linecache.getline(*place).strip()
            fx_traceback.set_stack_trace([f" at {place[0]}, line {place[1]}: {line}"])
        return func(*args, **(kwargs or {}))

    def __exit__(self, *error: Any) -> None:
        fx_traceback.set_stack_trace([])  # the gradients have no line
        super().__exit__(*error)


def _line_of_step(cell: Cell, frames: traceback.StackSummary) -> str:
    for frame in reversed(frames):
        if frame.name == "step":
            return f" at {frame.filename}, line {frame.lineno}: {frame.line}"
    return ""


def unsupported(node: fx.Node, why: str) -> CompileError:
    """What to raise at an operation that cannot be compiled."""
    maker = node.args[0] if node.target is operator.getitem else node
    if maker.op == "placeholder":
        return CompileError(f"{label(maker)} cannot be compiled in step: {why}")
    name = str(maker.target).removeprefix("aten.").split(".")[0]
    return CompileError(f"{name} cannot be compiled in step{where(node)}: {why}")


def _name(node: fx.Node) -> str:
    packet = getattr(node.target, "overloadpacket", node.target)
    return str(getattr(packet, "__name__", packet))


_SAME = {
    aten.alias.default,
    aten.detach.default,
    aten.clone.default,
    aten.lift_fresh_copy.default,
    aten.contiguous.default,
}


def _simplify(graph: fx.Graph) -> None:
    """Drop copies and views that change nothing, compute equal things once, drop the unused."""
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        value = node.meta.get("val")
        first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        same = node.target in _SAME or (
            node.target
            in (aten.view.default, aten.expand.default, aten._to_copy.default, aten.squeeze.dims)
            and first is not None
            and isinstance(value, Tensor)
            and first.meta["val"].shape == value.shape
            and first.meta["val"].dtype == value.dtype
        )
        if node.target is aten.permute.default and first is not None:
            inner = first
            if inner.target is aten.permute.default and list(node.args[1]) == list(inner.args[1]):
                node.replace_all_uses_with(inner.args[0])  # two transpositions of a matrix
                graph.erase_node(node)
                continue
        if same and first is not None:
            node.replace_all_uses_with(first)
            graph.erase_node(node)
            continue
        key = (node.target, repr(node.args), repr(sorted(node.kwargs.items())))
        if key in seen:
            node.replace_all_uses_with(seen[key])
            graph.erase_node(node)
        else:
            seen[key] = node
    graph.eliminate_dead_code()
