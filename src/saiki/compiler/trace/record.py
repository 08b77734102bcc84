"""Record: a cell's step and its vector-Jacobian product as one graph of ATen operations.

``step`` is run once on tensors that hold no numbers. PyTorch's own autograd is run through as well,
so that no derivative is written by hand anywhere, and everything is decomposed to a small core set.
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.func import functionalize
from torch.fx import traceback as fx_traceback

from saiki.cell import Cell, as_states
from saiki.compiler.trace import nodes
from saiki.compiler.trace.draws import Draw, lift_draws
from saiki.compiler.trace.graph import Trace
from saiki.compiler.trace.lines import Deaf, Lines, line_of_step
from saiki.compiler.trace.rewrites import decompositions, lift, without_detach
from saiki.compiler.watch.audit import Audit, MoreRanError
from saiki.compiler.watch.watch import Watch
from saiki.errors import CompileError, SaikiError, TraceError
from saiki.torch_internals import (
    FakeTensor,
    FakeTensorMode,
    forget,
    graphs_alone,
    make_fx,
    tree_leaves,
)
from saiki.twin import Twin, like


class Source(NamedTuple):
    """A step to be compiled."""

    cell: Cell
    watch: Watch
    """What the step depends on."""
    dtype: torch.dtype
    inline_weights: int
    """Of :class:`saiki.compiler.backend.Backend`."""


def record(source: Source) -> Trace:
    """Run ``step`` and its vector-Jacobian product on tensors without numbers, and note both as
    one graph.

    They are run twice, with other sizes of batch and memory; what comes out must differ in sizes
    alone.

    Raises:
        CompileError: ``step`` does what no graph can say, such as deciding by a tensor's values.
        MoreRanError: it runs more than ``watch`` follows.
    """
    cell, watch, dtype, inline_weights = source
    if watch.modes_read:
        raise CompileError(
            f"step of {type(cell).__name__} may read {watch.modes_read[0]}, which a kernel cannot "
            "answer"
        )
    capture = _captured(cell, watch, dtype)
    graph = capture.module.graph
    for node, label in capture.labels():
        node.meta["label"] = label
    output = graph.output_node()
    results = tree_leaves(output.args[0])
    live = nodes.ancestors(node for node in results if node is not None)
    # a tensor may be read as itself and as what takes its place in the cell
    own = list(watch.places)[: watch.parameters]
    parameters = {n: p for n, p in capture.tensors.items() if n in own or p in live}
    count = len(results) - len(capture.learnt)
    gradients = dict(zip(capture.learnt, results[count:], strict=True))
    output.args = ((*results[:count], *map(gradients.get, parameters)),)
    trace = Trace(
        graph=graph,
        dtype=dtype,
        inline_weights=inline_weights,
        x=capture.x,
        states=tuple(capture.states),
        parameters=parameters,
        constants=capture.constants,
        draws=capture.draw_nodes,
        memory=capture.memory,
        extents=capture.extents,
        cotangents=tuple(capture.cotangents),
    )
    return trace.rewritten()


def _captured(cell: Cell, watch: Watch, dtype: torch.dtype) -> "_Capture":
    """A step and its vector-Jacobian product, made functional, and the same but for its sizes when
    run for others."""
    try:
        with graphs_alone():
            capture, other = (
                _Capture(cell, watch, dtype, sizes) for sizes in (nodes.FIRST, nodes.SECOND)
            )
            if not cell.memory_shapes:
                _same_but_for_sizes(capture, other, "recorded")
            capture.make_functional()
            if cell.memory_shapes:  # over which means may be taken, and so divided by their sizes
                other.make_functional()
                _same_but_for_sizes(capture, other, "module")
                forget(other.module)
    except (SaikiError, MoreRanError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        at = line_of_step(cell, traceback.extract_tb(error.__traceback__))
        raise TraceError(
            f"step of {type(cell).__name__} cannot be traced{at}: {lines[0]}"
        ) from error
    forget(capture.recorded, capture.module, other.recorded)
    return capture


class _Capture:
    """A step and its vector-Jacobian product, run once for a size of the batch and of memory.

    It is run on a twin of the cell, in place of whose tensors are ones that hold no numbers. First
    PyTorch records what it does, its own autograd behind it; that record is then made functional
    and decomposed.
    """

    def __init__(self, cell: Cell, watch: Watch, dtype: torch.dtype, sizes: nodes.Sizes) -> None:
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
        without_detach(self.recorded.graph)
        self.lifted = lift(self.recorded)
        """Tensors that the step found elsewhere, inputs of the record after its arguments."""
        self.draws = lift_draws(type(cell).__name__, self.recorded, sizes)
        """What the step draws, the last inputs."""

    def _arguments(self, dtype: torch.dtype) -> tuple[Any, ...]:
        rows, sizes = self.sizes.rows, self.cell.state_sizes
        shapes = [nodes.core(shape) for shape in self.shapes.values()]
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
        outer: list[Tensor] = [self.mode.from_tensor(tensor) for tensor in self.lifted]
        with self.mode:
            outer += [torch.empty(self.sizes.rows, d.width, dtype=d.dtype) for d in self.draws]
        flat = [tensor.detach() for tensor in (*tree_leaves(self.arguments), *outer)]

        functional = functionalize(fx.Interpreter(self.recorded).run, remove="mutations")
        with fx_traceback.preserve_node_meta():
            self.module = make_fx(functional, decomposition_table=decompositions(), **_FAKE)(*flat)
        self._name_inputs()
        _refuse_mutation(self.cell, self.module.graph)

    def _joint(
        self,
        x: Tensor,
        states: list[Tensor],
        memory: list[Tensor],
        tensors: list[Tensor],
        cotangents: list[Tensor],
    ) -> tuple[Any, ...]:
        values = dict(zip(self.real, tensors, strict=True))
        twin = Twin((real, like(values[name], real)) for name, real in self.real.items())
        cell = twin.of(self.cell)
        shapes = self.shapes
        read = {n: m.view(self.sizes.rows, *shapes[n]) for n, m in zip(shapes, memory, strict=True)}
        audit = Audit()
        misplaced = [name for name, value in self.watch.walk.outside if twin.has_copied(value)]
        if misplaced:
            raise CompileError(
                f"step of {type(self.cell).__name__} finds {misplaced[0]}, which its cell holds, "
                "elsewhere; read it as an attribute of the cell"
            )
        with twin.putting_back():
            with self._heard_by(audit, Lines(self.cell, audit)):
                new = as_states(cell(x, *states, **read))
            changed = twin.changed()
            self._must_change_nothing()
        if changed:
            raise CompileError(
                f"step of {type(self.cell).__name__} changes {changed} of its cell, which a loop "
                "of steps must see"
            )
        leaves = [x, *states, *memory, *(values[name] for name in self.learnt)]
        originals = [None] * (len(leaves) - len(self.learnt)) + [self.real[n] for n in self.learnt]
        with self._heard_by(audit):
            gradients = gradients_of(new, cotangents, leaves, originals)
        self._must_change_nothing()
        audit.must_be_followed(self.watch.walk, type(self.cell).__name__)
        return tuple(new), tuple(gradients)

    def _must_change_nothing(self) -> None:
        """Raise if what the step depends on is no longer what it was before it ran."""
        if self.watch.unchanged():
            return
        changed = self.watch.renewed(self.cell).changes_since(self.watch)
        if changed:
            raise CompileError(
                f"step of {type(self.cell).__name__} changes {changed[0]}, which a loop of steps "
                "must see"
            )

    @contextmanager
    def _heard_by(self, audit: Audit, *modes: AbstractContextManager[Any]) -> Iterator[None]:
        """Once, what is run is noted."""
        with ExitStack() as stack:
            if self.sizes is nodes.FIRST:
                for mode in (*modes, Deaf(audit), audit.listening()):
                    stack.enter_context(mode)
            yield

    def labels(self) -> Iterator[tuple[fx.Node, str]]:
        """What a person calls each input."""
        yield self.x, "x"
        names = self.cell.state_names
        yield from zip(self.states, names, strict=True)
        yield from ((node, name) for name, node in (*self.memory.items(), *self.tensors.items()))
        yield from zip(self.cotangents, (f"d_{name}" for name in names), strict=True)
        yield from ((node, f"draw {i}") for i, node in enumerate(self.draw_nodes))

    def _name_inputs(self) -> None:
        """Sort the placeholders; those of tensors that the step found elsewhere become one with
        those of the same tensors in the cell, or constants."""
        graph = self.module.graph
        placeholders = (node for node in graph.nodes if node.op == "placeholder")
        some = lambda names: {name: next(placeholders) for name in names}  # noqa: E731
        self.x, states = next(placeholders), self.cell.state_names
        self.states, self.memory = [*some(states).values()], some(self.shapes)
        self.tensors, self.cotangents = some(self.real), [*some(states).values()]
        constants = [next(placeholders) for _ in self.lifted]
        self.draw_nodes: dict[fx.Node, Draw] = dict(zip(placeholders, self.draws, strict=True))
        names = {id(tensor): name for name, tensor in self.real.items()}
        self.constants: dict[fx.Node, Tensor] = {}
        for node, tensor in zip(constants, self.lifted, strict=True):
            name = names.get(id(tensor))
            if name is not None:
                node.replace_all_uses_with(self.tensors[name])
                graph.erase_node(node)
            elif tensor.requires_grad:
                raise CompileError(
                    f"step of {type(self.cell).__name__} reads a tensor of shape "
                    f"{tuple(tensor.shape)} that requires a gradient and is held neither by its "
                    "cell nor by a global or closure; register it as a parameter"
                )
            else:
                self.constants[node] = tensor


def gradients_of(
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    leaves: Sequence[Tensor],
    originals: Sequence[Tensor | None],
    as_graph: bool = False,
) -> list[Tensor | None]:
    """∂L/∂leaf for each leaf; ``as_graph``, they can be differentiated themselves. A step may read
    the original of a leaf, a global for example, in whose place the leaf could not be put: what
    arrives there counts."""
    pairs = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
    originals = [None if t is leaf else t for t, leaf in zip(originals, leaves, strict=True)]
    wanted = [t for t in leaves if t.requires_grad]
    real = [t for t in originals if t is not None and t.requires_grad]
    if not pairs:
        return [None] * len(leaves)
    ends, weights = zip(*pairs, strict=True)
    gradients = torch.autograd.grad(
        ends, [*wanted, *real], weights, create_graph=as_graph, allow_unused=True
    )
    of_leaves, of_real = iter(gradients[: len(wanted)]), iter(gradients[len(wanted) :])
    totals: list[Tensor | None] = []
    for leaf, original in zip(leaves, originals, strict=True):
        total = next(of_leaves) if leaf.requires_grad else None
        if original is not None and original.requires_grad:
            other = next(of_real)
            total = other if total is None else total if other is None else total + other
        totals.append(total)
    return totals


_FAKE: Any = {"tracing_mode": "fake", "_allow_non_fake_inputs": True}


def _refuse_mutation(cell: Cell, graph: fx.Graph) -> None:
    """What functionalisation leaves are changes of what the step was given or sees elsewhere."""
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable:
            raise CompileError(
                f"step of {type(cell).__name__} changes a tensor in place that it was given or "
                f"sees elsewhere{nodes.where(node)}; write it without"
            )


def _same_but_for_sizes(
    ours: _Capture, other: _Capture, graph: Literal["recorded", "module"]
) -> None:
    """Raise unless two captures differ in the sizes of batch and memory alone."""
    a, b = (list(getattr(capture, graph).graph.nodes) for capture in (ours, other))
    for one, two in zip(a, b, strict=False):
        same = one.target == two.target or one.op == "placeholder" == two.op
        if not same or _numbers(one, ours.sizes) != _numbers(two, other.sizes):
            raise nodes.unsupported(
                one, "it depends on the number of rows, or on the size of a memory"
            )
    same = len(a) == len(b) and len(ours.lifted) == len(other.lifted) and ours.draws == other.draws
    same = same and all(
        s is t or torch.equal(s, t) for s, t in zip(ours.lifted, other.lifted, strict=True)
    )
    if not same:
        raise CompileError(
            f"step of {type(ours.cell).__name__} depends on the number of rows, or on the size of "
            "a memory"
        )


def _numbers(node: fx.Node, sizes: nodes.Sizes) -> str:
    """What a node takes; sizes of batch and memory by their names, where sizes are meant."""

    def seen(value: Any, is_size: bool) -> Any:
        if isinstance(value, fx.Node):
            return value.name
        if isinstance(value, list | tuple):
            return [seen(v, True) for v in value]
        if is_size and isinstance(value, int) and not isinstance(value, bool):
            return sizes.name(value)
        return repr(value)

    is_size = node.target in nodes.SIZED
    return repr([seen(arg, is_size) for arg in (*node.args, *node.kwargs.items())])


def _extents(cell: Cell, sizes: nodes.Sizes) -> dict[str, int]:
    """The size that stands for each named one while tracing."""
    shapes = cell.memory_shapes.values()
    names = dict.fromkeys(size for shape in shapes for size in shape if isinstance(size, str))
    if len(names) > len(sizes.extents):
        raise CompileError(
            f"the memory of {type(cell).__name__} has more than {len(sizes.extents)} named sizes"
        )
    return dict(zip(names, sizes.extents, strict=False))
