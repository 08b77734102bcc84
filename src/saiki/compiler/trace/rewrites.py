"""Rewrites: what PyTorch recorded as a graph of few and plain operations."""

import math
from functools import cache, reduce
from typing import Any

import torch
from torch import Tensor, fx

from saiki.compiler.trace.graph import Trace
from saiki.compiler.trace.nodes import POINTWISE, aten, is_inline, is_row, whole_numbers
from saiki.torch_internals import core_aten_decompositions, get_decompositions

_DECOMPOSED = (
    aten._softmax,
    aten._log_softmax,
    aten.gelu,
    aten.elu,
    aten.leaky_relu,
    aten.hardtanh,
)
"""Operations of the core set that PyTorch can decompose further."""


def mean(x: Tensor, dim: list[int], keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    count = math.prod(x.shape[d] for d in dim) if dim else x.numel()
    return x.sum(dim, keepdim) / count


def var_mean(x: Tensor, dim: Any = None, correction: Any = None, keepdim: bool = False) -> Any:
    dims = list(dim) if dim else list(range(x.ndim))
    centre = mean(x, dims, True)
    deviation = x - centre
    count = math.prod(x.shape[d] for d in dims) - (1 if correction is None else correction)
    variance = (deviation * deviation).sum(dims, keepdim) / count
    return variance, centre if keepdim else centre.squeeze(dims)


def _slice_scatter(
    x: Tensor,
    part: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Any:
    size = x.shape[dim]
    first, last, _ = slice(start, None if end is None or end >= size else end).indices(size)
    if step != 1:
        return NotImplemented
    before, after = x.narrow(dim, 0, first), x.narrow(dim, last, size - last)
    return torch.cat([t for t in (before, part, after) if t.shape[dim]], dim)


def _vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Any:
    if ord != 2 or dtype is not None:
        return NotImplemented
    dims = list(range(x.ndim)) if dim is None else dim
    return torch.sqrt((x * x).sum(dims, keepdim))


def _empty(size: list[int], dtype: torch.dtype | None) -> Tensor:
    """What nothing has been written to."""
    is_float = dtype is None or dtype.is_floating_point
    return torch.full(size, math.nan if is_float else 0, dtype=dtype)


def _product_of_flags(x: Any, y: Any) -> Any:
    """Both of two flags."""
    are_flags = all(isinstance(v, Tensor) and v.dtype == torch.bool for v in (x, y))
    return torch.logical_and(x, y) if are_flags else NotImplemented


_DECOMPOSITIONS = {
    aten.linalg_vector_norm.default: _vector_norm,
    aten.slice_scatter.default: _slice_scatter,
    aten.mean.dim: mean,
    aten.var.correction: lambda *args, **kwargs: var_mean(*args, **kwargs)[0],
    aten.mish.default: lambda x: x * torch.tanh(torch.nn.functional.softplus(x)),
    aten.select.int: lambda x, dim, i: x.narrow(dim, i % x.shape[dim], 1).squeeze(dim),
    aten.silu.default: lambda x: x * torch.sigmoid(x),
    aten.mul.Tensor: _product_of_flags,
    aten.copy.default: lambda to, of, non_blocking=False: of.to(to.dtype).expand(to.shape),
    aten.empty.memory_format: lambda size, dtype=None, **_: _empty(size, dtype),
    aten.new_empty_strided.default: lambda x, size, stride, dtype=None, **_: _empty(
        size, dtype or x.dtype
    ),
}
"""Those that PyTorch keeps whole, or decomposes into something less plain."""


@cache
def decompositions() -> dict[Any, Any]:
    """How operations are decomposed, wherever they are."""
    table = {**core_aten_decompositions(), **get_decompositions(_DECOMPOSED), **_DECOMPOSITIONS}
    return {op: how for op, how in table.items() if op not in _WHOLE}


_WHOLE = (aten.native_layer_norm.default,)
"""Kept whole outside the recursion, where PyTorch has a kernel that treats each row by itself."""


def split_addmm(trace: Trace) -> Trace:
    """Inside the recursion, let a product and the bias added to it be two things."""
    graph = trace.graph
    of_state = {*trace.states, *trace.memory.values()}
    for node in list(graph.nodes):
        if any(source in of_state for source in node.all_input_nodes):
            of_state.add(node)
        elif not is_inline(node, trace.inline_weights):
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
    return trace.rewritten()


def promote(trace: Trace) -> Trace:
    """Convert what meets the recursion, or a product that may be made in it, in another type before
    it does, as PyTorch does within the operation; flags stay what they are."""
    graph = trace.graph
    inside = {*trace.states, *trace.memory.values(), *trace.cotangents}
    inside |= {node for node in graph.nodes if is_inline(node, trace.inline_weights)}
    for node in list(graph.nodes):
        if not inside.intersection(node.all_input_nodes):
            continue
        inside.add(node)
        if node.target not in POINTWISE | {aten.cat.default}:
            continue
        rows = {n: n.meta["val"].dtype for n in node.all_input_nodes if is_row(n)}
        dtype = reduce(torch.promote_types, rows.values(), torch.bool)
        for source, own in rows.items():
            if source in inside or own in (dtype, torch.bool):
                continue
            with graph.inserting_before(node):
                copy = graph.call_function(aten._to_copy.default, (source,), {"dtype": dtype})
            copy.meta = {"val": source.meta["val"].to(dtype)}
            copy.stack_trace = node.stack_trace
            node.replace_input_with(source, copy)
    return trace.rewritten()


_SAME = {
    aten.alias.default,
    aten.detach.default,
    aten.clone.default,
    aten.lift_fresh_copy.default,
    aten.contiguous.default,
}


def simplify(trace: Trace) -> Trace:
    """Drop copies and views that change nothing, compute equal things once, drop the unused."""
    graph = trace.graph
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
            if inner.target is aten.permute.default:
                before = whole_numbers(inner, 1)
                order = [before[d] % len(before) for d in whole_numbers(node, 1)]
                if order == list(range(len(order))):
                    node.replace_all_uses_with(inner.args[0])  # back to where it was
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
    return trace.rewritten()


def without_detach(graph: fx.Graph) -> None:
    """In the record autograd has done its work, and what it was kept from seeing is the same."""
    for node in list(graph.nodes):
        if node.target is aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def lift(module: fx.GraphModule) -> list[Tensor]:
    """Make placeholders of the tensors that a graph holds; which those are."""
    lifted: dict[int, tuple[fx.Node, Tensor]] = {}
    graph = module.graph
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        tensor = getattr(module, str(node.target))
        if id(tensor) not in lifted:
            with graph.inserting_after(last):
                last = graph.placeholder(f"constant_{len(lifted)}")
            lifted[id(tensor)] = last, tensor
        node.replace_all_uses_with(lifted[id(tensor)][0])
        graph.erase_node(node)
    return [tensor for _, tensor in lifted.values()]
