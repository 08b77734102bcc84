"""Inside the recursion: operations that are written out as plainer ones where they depend on the
state, and that PyTorch does as a whole, for all steps at once, where they do not."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from saiki.compiler.trace.graph import Trace
from saiki.compiler.trace.nodes import Node, ancestors, argument, aten, is_inline, operand
from saiki.compiler.trace.rewrites import decompositions, mean, var_mean
from saiki.torch_internals import make_fx


def _normalised(x: Tensor, dims: list[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    centre = mean(x, dims, True)
    deviation = x - centre
    scale = torch.rsqrt(mean(deviation * deviation, dims, True) + eps)
    return deviation * scale, centre, scale


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def _layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    y, centre, scale = _normalised(x, list(range(x.ndim - len(shape), x.ndim)), eps)
    return _scaled(y, weight, bias), centre, scale


def _by_channel(vector: Tensor | None, x: Tensor) -> Tensor | None:
    return None if vector is None else vector.view(1, -1, *[1] * (x.ndim - 2))


def _group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, rows: int, channels: int, places: int,
    groups: int, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    y, centre, scale = _normalised(x.reshape(rows, groups, -1), [2], eps)
    y = _scaled(y.view(x.shape), _by_channel(weight, x), _by_channel(bias, x))
    return y, centre.squeeze(2), scale.squeeze(2)


def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float,
) -> Any:  # fmt: skip
    weight, bias = _by_channel(weight, x), _by_channel(bias, x)
    if training and running_mean is None:
        y, centre, scale = _normalised(x, [d for d in range(x.ndim) if d != 1], eps)
        return _scaled(y, weight, bias), centre.flatten(), scale.flatten()
    if training or running_mean is None or running_var is None:
        return NotImplemented
    scale = torch.rsqrt(running_var + eps).view(1, -1, *[1] * (x.ndim - 2))
    y = (x - running_mean.view(scale.shape)) * scale
    return _scaled(y, weight, bias), x.new_zeros(0), x.new_zeros(0)


def _clamp(x: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    if min is not None:
        x = torch.maximum(x, min)
    return x if max is None else torch.minimum(x, max)


def _any(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    flags = x if x.dtype == torch.bool else x != 0
    dims = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return flags.sum(dims, keepdim) > 0


def _scan(combine: Callable[[Tensor, Tensor], Tensor], start: float) -> Callable[..., Any]:
    """Each entry combined with all before it, in as many rounds as their number has binary
    digits."""

    def scan(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
        if not x.is_floating_point() or dtype not in (None, x.dtype):
            return NotImplemented
        size, by = x.shape[dim], 1
        while by < size:
            begin = torch.full_like(x.narrow(dim, 0, by), start)
            x = combine(torch.cat([begin, x.narrow(dim, 0, size - by)], dim), x)
            by *= 2
        return x

    return scan


def _prod(x: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    if not x.is_floating_point() or dtype not in (None, x.dtype):
        return NotImplemented
    while (size := x.shape[dim]) > 1:
        half = size // 2
        product = x.narrow(dim, 0, half) * x.narrow(dim, half, half)
        x = torch.cat([product, x.narrow(dim, 2 * half, 1)], dim) if size % 2 else product
    return x if keepdim else x.squeeze(dim)


def _pad(x: Tensor, pad: list[int], value: float = 0) -> Tensor:
    for i in range(0, len(pad), 2):
        d = x.ndim - 1 - i // 2
        before, after = pad[i], pad[i + 1]
        x = x.narrow(d, max(0, -before), x.shape[d] + min(0, before) + min(0, after))
        for size, first in ((before, True), (after, False)):
            if size > 0:
                shape = [*x.shape[:d], size, *x.shape[d + 1 :]]
                more = torch.full(shape, value, dtype=x.dtype)
                x = torch.cat([more, x] if first else [x, more], d)
    return x


def _trilinear(
    a: Tensor, b: Tensor, c: Tensor, of_a: list[int], of_b: list[int], of_c: list[int],
    over: list[int], unroll: int = 1,
) -> Tensor:  # fmt: skip
    count = a.ndim + len(of_a)
    names = [
        "".join(chr(97 + d) for d in range(count) if d not in missing)
        for missing in (of_a, of_b, of_c, over)
    ]
    return torch.einsum(f"{names[0]},{names[1]},{names[2]}->{names[3]}", a, b, c)


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int,
) -> Any:  # fmt: skip
    if transposed:
        return NotImplemented
    kernel = weight.shape[2:]
    x = _pad(x, [n for size in padding[::-1] for n in (size, size)])
    for i, size in enumerate(kernel):  # windows, each along a new last dimension
        d, by, last = 2 + i, dilation[i], x.shape[2 + i] - dilation[i] * (size - 1)
        at = (aten.slice.Tensor(x, d, j * by, j * by + last, stride[i]) for j in range(size))
        x = torch.stack(list(at), -1)
    rows, places = x.shape[0], x.shape[2 : 2 + len(kernel)]
    x = x.reshape(rows, groups, weight.shape[1], math.prod(places), -1)
    parted = weight.reshape(groups, -1, weight.shape[1], math.prod(kernel))
    y = torch.einsum("bgcpk,gock->bgop", x, parted).reshape(rows, -1, *places)
    return _scaled(y, None, _by_channel(bias, y))


def _convolution_backward(d: Tensor, x: Tensor, weight: Tensor, bias_sizes: Any, *how: Any) -> Any:
    *settings, wanted = how
    if settings[3]:
        return NotImplemented
    vjp: Any = torch.func.vjp(lambda a, b: _convolution(a, b, None, *settings), x, weight)
    d_x, d_weight = vjp[1](d)
    over = [i for i in range(d.ndim) if i != 1]
    gradients = d_x, d_weight, d.sum(over) if wanted[2] else None
    return tuple(g if want else None for g, want in zip(gradients, wanted, strict=True))


def _norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, **how: Any) -> Any:
    if how.get("dtype") not in (None, x.dtype) or ord == 0:
        return NotImplemented
    dims, size = list(range(x.ndim)) if dim is None else dim, x.abs()
    if math.isinf(ord):
        return (size.amax if ord > 0 else size.amin)(dims, keepdim)
    return size.sum(dims, keepdim) if ord == 1 else (size**ord).sum(dims, keepdim) ** (1 / ord)


_TABLE: dict[Any, Callable[..., Any]] = {
    aten.native_layer_norm.default: _layer_norm,
    aten.native_group_norm.default: _group_norm,
    aten.native_batch_norm.default: _batch_norm,
    aten.var_mean.correction: var_mean,
    aten.linalg_vector_norm.default: _norm,
    aten.clamp.Tensor: _clamp,
    aten.any.default: _any,
    aten.any.dim: _any,
    aten.any.dims: _any,
    aten.cumsum.default: _scan(torch.add, 0.0),
    aten.cumprod.default: _scan(torch.mul, 1.0),
    aten.logcumsumexp.default: _scan(torch.logaddexp, -math.inf),
    aten.prod.dim_int: _prod,
    aten.constant_pad_nd.default: _pad,
    aten._trilinear.default: _trilinear,
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: _convolution_backward,
}
Parts = tuple[set[Node], set[Node]]
"""What depends on the state, and on the gradient by it."""
_CHOICES: dict[Any, Any] = {aten.max.dim: aten.amax.default, aten.min.dim: aten.amin.default}


def write_out(trace: Trace) -> Trace:
    """Write out what depends on states or memory, what their gradients are made of, and what is
    done inside though it depends on x alone."""
    graph = trace.graph
    recursion = ancestors(trace.recursion)
    inside, backward = {*trace.states, *trace.memory.values()}, set(trace.cotangents)
    for node in list(graph.nodes):
        if backward.intersection(node.all_input_nodes):
            backward.add(node)
        is_inside = is_inline(node, trace.inline_weights)
        of_state = is_inside or inside.intersection(node.all_input_nodes)
        if not (of_state or (node in backward and node in recursion)):
            continue
        if of_state:
            inside.add(node)
        if node.target in _CHOICES:
            _write_choice(graph, node, (inside, backward))
        elif node.target in _TABLE:
            how = _TABLE[node.target]

            def whole(*values: Tensor, node: Node = node, how: Any = how) -> Any:
                known = dict(zip(node.all_input_nodes, values, strict=True))
                args = fx.node.map_arg(node.args, known.__getitem__)
                written = how(*args, **node.kwargs)
                target: Any = node.target
                return target(*args, **node.kwargs) if written is NotImplemented else written

            _replace(graph, node, whole, node.all_input_nodes, (inside, backward))
    return trace.rewritten()


def _replace(
    graph: fx.Graph, node: Node, how: Callable[..., Any], inputs: Sequence[Node], parts_of: Parts
) -> None:
    """Let what ``how`` does with ``inputs`` take the place of a node."""
    values = [n.meta["val"] for n in inputs]
    parts = make_fx(how, decomposition_table=decompositions())(*values).graph
    copies: dict[Node, Any] = dict(
        zip((n for n in parts.nodes if n.op == "placeholder"), inputs, strict=True)
    )
    results: Any = None
    with graph.inserting_before(node):
        for part in parts.nodes:
            if part.op == "output":
                results = part.args[0]
            elif part.target is aten.clone.default:
                copies[part] = copies[operand(part)]
            elif part.op == "call_function":
                copies[part] = graph.node_copy(part, copies.__getitem__)
                copies[part].stack_trace = node.stack_trace
                _sort(copies[part], parts_of)
    if isinstance(results, Node):
        node.replace_all_uses_with(copies[results])
    else:
        for user in list(node.users):
            if user.users:
                user.replace_all_uses_with(copies[results[user.args[1]]])
            graph.erase_node(user)
    graph.erase_node(node)


def _sort(node: Node, parts_of: Parts) -> None:
    for part in parts_of:
        if part.intersection(node.all_input_nodes):
            part.add(node)


def _write_choice(graph: fx.Graph, node: Node, parts_of: Parts) -> None:
    """The largest or smallest, and where it is: a place that is only used to put something there,
    or to read what is there, is a comparison with all places."""
    x, dim = operand(node), _dim(node)
    extreme = _CHOICES[node.target]
    ends = [end for user in node.users if user.args[1] == 1 for end in _ends(user)]
    if not all(_is_at_place(end, x, dim) for end in ends):
        return
    for end in ends:
        others = [arg for arg in (end.args[0], *end.args[3:]) if isinstance(arg, Node)]

        def at_place(x: Tensor, base: Tensor, *part: Tensor, end: Node = end) -> Tensor:
            size = x.shape[dim]
            places = torch.arange(size, dtype=x.dtype).view(-1, *[1] * (x.ndim - 1 - dim))
            hit = (x == extreme(x, [dim], True)) | x.isnan()
            first = torch.where(hit, places, float(size)).amin(dim, True) == places
            if end.target is aten.gather.default:
                return torch.where(first, base, 0.0).sum(dim, True)
            number: Any = end.args[3]
            return torch.where(first, part[0] if part else number, base)

        _replace(graph, end, at_place, [x, *others], parts_of)
    keep = bool((*node.args[2:], False)[0])
    for user in list(node.users):
        if user.args[1] == 0:
            with graph.inserting_before(user):
                value = graph.call_function(extreme, (x, [dim], keep))
            value.meta, value.stack_trace = dict(user.meta), node.stack_trace
            user.replace_all_uses_with(value)
            _sort(value, parts_of)


def _dim(node: Node) -> int:
    """Along which dimension a node chooses, counted from the first."""
    count = operand(node).meta["val"].ndim
    return argument(node, 1, int) % count if len(node.args) > 1 else 0


def _is_at_place(end: Node, x: Node, dim: int) -> bool:
    """Whether a node puts something into ``x`` or its like at one place, or reads it there."""
    if end.target not in (aten.scatter.src, aten.scatter.value, aten.gather.default):
        return False
    index, shape = operand(end, 2), list(x.meta["val"].shape)
    shape[dim] = 1
    parts = [arg for arg in end.args[3:] if isinstance(arg, Node)]
    return (
        _dim(end) == dim
        and list(index.meta["val"].shape) == shape
        and operand(end).meta["val"].shape == x.meta["val"].shape
        and all(list(part.meta["val"].shape) == shape for part in parts)
        and index not in (end.args[0], *parts)
    )


def _ends(node: Node) -> list[Node]:
    """Who uses a place, seen through what changes its shape alone."""
    shapes = (aten.unsqueeze.default, aten.view.default, aten.squeeze.dims)
    ends = (_ends(user) if user.target in shapes else [user] for user in node.users)
    return [end for each in ends for end in each]
