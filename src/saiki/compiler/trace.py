"""Trace and derive: a cell's step and its vector-Jacobian product as one graph of ATen operations.

``step`` is run once on tensors that hold no numbers. PyTorch's own autograd is run through as well,
so that no derivative is written by hand anywhere, and everything is decomposed to a small core set.
"""

import linecache
import math
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions, get_decompositions
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.fx import traceback as fx_traceback
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from saiki.cell import Cell, as_states
from saiki.errors import CompileError, SaikiError

aten = torch.ops.aten

ROWS = 1_000_003
"""Rows of the batch while tracing: a prime no other size equals, so that it marks the batch."""

EXTENTS = (1_000_033, 1_000_037, 1_000_039, 1_000_081)
"""Sizes of memory while tracing, where they may be others in each call: the primes of the names."""
_OTHERS = (1_000_099, 1_000_117, 1_000_121, 1_000_133)
"""Other primes, which tell whether a step depends on them."""

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
    x: fx.Node
    states: tuple[fx.Node, ...]
    parameters: dict[str, fx.Node]
    """Parameters and buffers by their name in the cell."""
    constants: dict[fx.Node, Tensor]
    """Tensors that ``step`` takes from elsewhere."""
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

    def __str__(self) -> str:
        return str(self.graph)


def trace(cell: Cell, dtype: torch.dtype, again: bool = False) -> Trace:
    """The graph of ``cell`` for inputs of that type; ``again`` with other sizes of memory.

    Raises:
        CompileError: ``step`` does what no graph can say, such as deciding by a tensor's values.
    """
    tensors = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    names = list(tensors)
    learnt = [name for name, p in cell.named_parameters() if p.is_floating_point()]

    extents = _extents(cell, again)
    shapes = {
        name: tuple(extents[n] if isinstance(n, str) else n for n in shape)
        for name, shape in cell.memory_shapes.items()
    }

    def joint(
        x: Tensor,
        states: list[Tensor],
        memory: list[Tensor],
        parameters: list[Tensor],
        cotangents: list[Tensor],
    ) -> tuple[Any, ...]:
        values = dict(zip(names, parameters, strict=True))
        read = {n: m.view(ROWS, *shapes[n]) for n, m in zip(shapes, memory, strict=True)}
        with _Lines(cell):
            new = as_states(functional_call(cell, values, (x, *states), read))
        wanted = [x, *states, *memory, *(values[name] for name in learnt)]
        differentiable = [(n, g) for n, g in zip(new, cotangents, strict=True) if n.requires_grad]
        if not differentiable:
            return tuple(new), (None,) * len(wanted)
        gradients = torch.autograd.grad(
            [n for n, _ in differentiable],
            wanted,
            [g for _, g in differentiable],
            allow_unused=True,
        )
        return tuple(new), gradients

    table = {
        **core_aten_decompositions(),
        **get_decompositions(_DECOMPOSED),
        **_DECOMPOSITIONS,
    }
    norms = {norm: table.pop(norm) for norm in _WHOLE}
    with torch.inference_mode(False), FakeTensorMode(allow_non_fake_inputs=True):
        states = [torch.empty(ROWS, n, dtype=dtype).requires_grad_() for n in cell.state_sizes]
        arguments = (
            torch.empty(ROWS, cell.input_size, dtype=dtype).requires_grad_(),
            states,
            [torch.empty(ROWS, *core(s), dtype=dtype).requires_grad_() for s in shapes.values()],
            [
                torch.empty(t.shape, dtype=t.dtype).requires_grad_(name in learnt)
                for name, t in tensors.items()
            ],
            [torch.empty(ROWS, n, dtype=dtype) for n in cell.state_sizes],
        )
    tracer = make_fx(
        joint,
        decomposition_table=table,
        tracing_mode="fake",
        _allow_non_fake_inputs=True,
    )
    try:
        # whatever the caller is in: no gradients, a checkpoint that packs what autograd saves
        same = saved_tensors_hooks(lambda saved: saved, lambda saved: saved)
        modes = torch.inference_mode(False), torch.enable_grad(), fx_traceback.preserve_node_meta()
        with modes[0], modes[1], modes[2], same:
            module = tracer(*arguments)
    except SaikiError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = _line_of_step(cell, traceback.extract_tb(error.__traceback__))
        raise CompileError(
            f"step of {type(cell).__name__} cannot be traced{where}: {reason}"
        ) from error
    graph = module.graph
    _without_mutation(cell, graph)
    constants = {
        node: getattr(module, str(node.target)) for node in graph.nodes if node.op == "get_attr"
    }
    _simplify(graph)
    x, *rest = (node for node in graph.nodes if node.op == "placeholder")
    k, m = len(states), len(states) + len(shapes)
    _split_norms(graph, rest[:m], {**table, **norms})
    _split_addmm(graph, rest[:m])
    output = next(node for node in graph.nodes if node.op == "output").args[0]
    new_states, gradients = _unflatten(output, k)
    labels = ["x", *cell.state_names, *shapes, *names, *(f"d_{name}" for name in cell.state_names)]
    for node, label in zip((x, *rest), labels, strict=True):
        node.meta["label"] = label
    d_parameters = dict(zip(learnt, gradients[1 + m :], strict=True))
    return Trace(
        graph=graph,
        x=x,
        states=tuple(rest[:k]),
        memory=dict(zip(shapes, rest[k:m], strict=True)),
        extents=extents,
        parameters=dict(zip(names, rest[m : m + len(names)], strict=True)),
        constants=constants,
        cotangents=tuple(rest[m + len(names) :]),
        new_states=new_states,
        d_x=gradients[0],
        d_states=gradients[1 : 1 + k],
        d_parameters=d_parameters,
        d_memory=dict(zip(shapes, gradients[1 + k : 1 + m], strict=True)),
    )


def _extents(cell: Cell, again: bool) -> dict[str, int]:
    """The size that stands for each named one while tracing."""
    shapes = cell.memory_shapes.values()
    names = dict.fromkeys(size for shape in shapes for size in shape if isinstance(size, str))
    primes = _OTHERS if again else EXTENTS
    if len(names) > len(primes):
        raise CompileError(
            f"the memory of {type(cell).__name__} has more than {len(primes)} named sizes"
        )
    return dict(zip(names, primes, strict=False))


def core(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without its sizes of 1, unless there are no others."""
    return tuple(size for size in shape if size != 1) or (1,)


def is_extent(size: Any) -> bool:
    """Whether the number stands for a size of memory that may be another in each call."""
    return size in EXTENTS or size in _OTHERS


_WHOLE = (aten.native_layer_norm.default,)
"""Kept whole outside the recursion, where PyTorch has a kernel that treats each row by itself."""


def _split_norms(graph: fx.Graph, states: list[fx.Node], table: Any) -> None:
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

        parts = make_fx(whole, decomposition_table=table)(*(n.meta["val"] for n in inputs)).graph
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


def is_grid(node: Any) -> bool:
    """Whether the value has features over features for each row; see :mod:`saiki.compiler.grid`."""
    return is_row(node) and node.meta["val"].ndim == 3


def where(node: fx.Node) -> str:
    """`` at file.py, line 12: the line`` of the step that made the node, where it is known."""
    return node.stack_trace or ""


class _Lines(TorchFunctionMode):
    """Notes for each operation which line of ``step`` it comes from."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.code = type(cell).step.__code__

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
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


_VIEWS = {"view", "permute", "slice", "squeeze", "unsqueeze", "expand", "select", "split", "alias"}


def _without_mutation(cell: Cell, graph: fx.Graph) -> None:
    """Replace each operation in place by the one that returns its result.

    Raises:
        CompileError: what is changed is an input of the step, or has views.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags:
            raise CompileError(
                f"{_name(node)} draws random numbers in step of {type(cell).__name__}{where(node)}"
            )
        if not node.target._schema.is_mutable:
            continue
        changed = node.args[0]
        views = any(_name(user).split("_")[0] in _VIEWS for user in changed.users)
        if changed.op != "call_function" or views or _name(changed).split("_")[0] in _VIEWS:
            raise CompileError(
                f"{_name(node)} changes a tensor in place that step of {type(cell).__name__} was "
                f"given or sees elsewhere{where(node)}; write it without"
            )
        if _name(node) == "copy_":
            result = node.args[1]
        else:
            packet = getattr(aten, _name(node).removesuffix("_"))
            node.target = getattr(packet, node.target._overloadname)
            result = node
        for user in list(changed.users):
            if user is not node and order.get(user, 0) > order[node]:
                user.replace_input_with(changed, result)
        if result is not node:
            node.replace_all_uses_with(result)
            graph.erase_node(node)


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
