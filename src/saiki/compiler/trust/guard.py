"""The loops of compiled cells, held to what the eager loop computes.

A kernel is proved on the first batch it is given (:mod:`saiki.compiler.trust.trial`), forward and,
when it is first needed, backward; one step of it is compared again from time to time. A kernel that
fails, or whose cell has changed since a graph was made that calls it, is not run: the eager loop
takes its place inside the operators, so that whoever called them gets what is right.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from saiki import settings
from saiki.call import Call, Part
from saiki.compiler.plan.plan import LoopKind
from saiki.compiler.run import loops
from saiki.compiler.run.compiled import (
    CompiledCell,
    compiled_cells,
    eagerly,
    has_gradient,
    originals,
)
from saiki.compiler.trace.clean_room import in_clean_room
from saiki.compiler.trace.draws import draw, drawing
from saiki.compiler.trace.record import gradients_of
from saiki.compiler.trust import trial
from saiki.errors import CompileError
from saiki.torch_internals import is_batched
from saiki.twin import like


def forward(call: Call, training: bool) -> list[Tensor]:
    """What the operator scan returns, by kernels, or by the eager loop where one is not trusted."""
    cells = compiled_cells(call.parts)
    generator = torch.get_rng_state() if any(cell.step.draws for cell in cells) else None
    drawn_from = [generator] if training and generator is not None else []
    changed = [_has_changed(cell) for cell in cells]
    if not any(changed) and _are_proved(call, cells, "training" if training else "inference"):
        results = loops.forward(call, training)
        if _is_right(call, cells, results[0], generator):
            return [*results, *drawn_from, torch.tensor(False)] if training else results
        if generator is not None:
            torch.set_rng_state(generator)

    def work() -> list[Tensor]:
        with torch.no_grad():
            return eagerly(call)

    total = len(loops.Path(call).rows(call.x))
    pairs = zip(cells, call.parts, strict=True) if training else ()
    widths = [n for cell, part in pairs for n in cell.step.residual_widths(part.memory)]
    before = torch.get_rng_state()
    results = in_clean_room(work)
    if training and not drawn_from and not torch.equal(before, torch.get_rng_state()):
        raise CompileError(
            "a step draws random numbers, and drew none when a graph was made that calls its "
            "compiled loop; make the graph again"
        )
    residuals = [call.x.new_empty(total, n) for n in widths]
    return [*results, *residuals, *drawn_from, torch.tensor(True)] if training else results


def backward(
    call: Call, gradients: Sequence[Tensor], residuals: Sequence[Tensor], needs: Sequence[bool]
) -> list[Tensor]:
    """What the operator scan_backward returns, by kernels, or by autograd through the eager loop
    where one is not trusted, or was not for the forward pass."""
    cells = compiled_cells(call.parts)
    if _are_proved(call, cells, "backward") and not residuals[-1]:
        return loops.backward(call, gradients, residuals, needs)
    derivatives = eager_gradients(call, gradients, residuals, False)
    tensors = zip(call.tensors(), derivatives, needs, has_gradient(cells), strict=True)
    return [
        tensor.new_zeros(tensor.shape if need and has else 0)
        if gradient is None or not need
        else gradient.contiguous()
        for tensor, gradient, need, has in tensors
    ]


def eager_gradients(
    call: Call, gradients: Sequence[Tensor], residuals: Sequence[Tensor], as_graph: bool
) -> list[Tensor | None]:
    """The gradients by the tensors of a call by the eager loop, which draws what the forward pass
    drew; ``as_graph``, they can be differentiated themselves."""
    tensors, real = call.tensors(), originals(call)
    leaves = tensors if as_graph else [*map(_leaf, tensors, real)]

    def outputs() -> list[Tensor]:
        with torch.enable_grad():
            return eagerly(call.with_tensors(leaves, call.lengths))

    def derived(outputs: Sequence[Tensor]) -> list[Tensor | None]:
        return gradients_of(outputs, gradients, leaves, real, as_graph)

    is_drawn = any(cell.step.draws for cell in compiled_cells(call.parts))
    with drawing(residuals[-2] if is_drawn else None):
        if any(map(is_batched, gradients)):  # which must not keep a step from drawing numbers
            return derived(in_clean_room(outputs))
        return derived(outputs()) if as_graph else in_clean_room(lambda: derived(outputs()))


def _leaf(tensor: Tensor, real: Tensor | None) -> Tensor:
    """A tensor to differentiate by: the cell's own where it is that, for a step may ask what it is
    given."""
    if tensor is real and tensor.is_leaf and tensor.requires_grad:
        return tensor
    leaf = tensor.detach().requires_grad_(tensor.is_floating_point())
    return leaf if real is None else like(leaf, real)


def _has_changed(cell: CompiledCell) -> bool:
    """Whether the cell has changed since a graph was made that calls its kernel. A layer that is
    called itself has just asked."""
    if cell.is_fresh:
        cell.is_fresh = False
        return False
    if any(cell.watch.hooks):
        return True  # the eager loop calls them
    if cell.watch.unchanged():
        return False
    watch = cell.watch.renewed(cell.cell)
    if watch.fingerprint == cell.watch.fingerprint:
        cell.watch = watch
        return False
    message = (
        f"{type(cell.cell).__name__} has changed since a graph was made that calls its compiled "
        "loop; make the graph again, after torch.compile by torch.compiler.reset()"
    )
    if list(watch.places) != list(cell.watch.places):
        raise CompileError(message)
    warnings.warn(f"running step by step: {message}", stacklevel=2)
    return True


def _are_proved(call: Call, cells: Sequence[CompiledCell], kind: LoopKind) -> bool:
    """Whether all kernels may run; each is compared with the eager loop before it first does."""
    for part, cell in zip(call.parts, cells, strict=True):
        if kind not in cell.proved and not cell.why_refused:
            _prove(call, part, cell, kind)
    return not any(cell.why_refused for cell in cells)


def _prove(call: Call, part: Part, cell: CompiledCell, kind: LoopKind) -> None:
    try:
        cell.step.loops[kind].compile()
    except Exception as error:
        cell.refuse(f"{type(cell.cell).__name__} cannot be compiled: {error}")
        return
    if any(cell.watch.hooks):
        return  # since the forward pass; they see steps, which a kernel does not make
    if not settings.verify or (kind == "backward" and not cell.watch.unchanged()):
        return  # a cell that changed since the forward pass is not what is differentiated
    if not trial.can_judge(call.x, *part.states, *part.parameters):
        return
    cell.proved.add(kind)
    try:
        problem = _compare(call, part, kind)
    except CompileError as error:
        cell.refuse(f"step of {type(cell.cell).__name__} cannot be compiled: {error}")
        return
    except Exception as error:
        problem = f"it raised {type(error).__name__}: {error}"
    if problem:
        cell.refuse(
            f"the compiled loop of {type(cell.cell).__name__} does not compute what its step does "
            f"({problem}); this is a fault of saiki: please report what layer.explain() prints"
        )


def _compare(call: Call, part: Part, kind: LoopKind) -> str:
    """How a kernel differs from the eager loop on a sample of the call; empty if it does not."""
    sample = trial.Sample(call, part)
    count = 1 + len(part.states)
    with drawing():
        results = loops.forward(sample.call, kind != "inference")
    outputs, residuals = results[:count], results[count:]
    if kind == "backward":
        cotangents = [sample.noise(tensor) for tensor in outputs]
        needs = [tensor.is_floating_point() for tensor in sample.call.tensors()]
        derivatives = loops.backward(sample.call, cotangents, residuals, needs)
        gradients = [gradient if gradient.numel() else None for gradient in derivatives]
        return sample.difference(trial.outcome(sample.call, outputs, gradients), cotangents)
    if problem := sample.difference(trial.outcome(sample.call, outputs)):
        return problem
    # a step may do something else for a batch of one
    try:
        first = trial.first_rows(sample.call, 1)
        with drawing():
            outputs = loops.forward(first, kind != "inference")[:count]
        problem = sample.difference(trial.outcome(first, outputs), rows=1)
    except Exception as error:
        raise CompileError(
            f"for a batch of one it raises {type(error).__name__}: {error}"
        ) from error
    if problem:
        raise CompileError(f"it computes something else for a batch of one ({problem})")
    return ""


def _is_right(
    call: Call, cells: Sequence[CompiledCell], y: Tensor, generator: Tensor | None
) -> bool:
    """Whether a step of what the kernels have computed, where one is due to be compared, is what
    the cells make of it now, drawing as from that state of the generator on."""
    right, column = True, 0
    for i, cell in enumerate(cells):
        first, column = column, column + cell.step.output_size
        is_due = settings.verify and cell.checks.due(len(call.parts[i].states[0]))
        numbers = (t for part in call.parts for t in (*part.states, *part.parameters))
        if is_due and trial.can_judge(call.x, *numbers):
            right = _is_step_right(call, i, y[..., first:column], generator) and right
    return right


def _is_step_right(call: Call, index: int, y: Tensor, generator: Tensor | None) -> bool:
    part, cells = call.parts[index], compiled_cells(call.parts)
    cell = cells[index]
    path = loops.Path(call)
    outputs, counts = path.rows(y), path.walk.counts.tolist()
    places = path.walk.places(part.reverse).split(counts)
    step = cell.checks.random.randrange(len(counts)) if cell.step.states == 1 else 0
    at, rows = places[step], counts[step]
    before = [outputs[places[step - 1][:rows]]] if step else [*map(path.sorted, part.states)]
    if not trial.can_judge(*before):
        return True
    memory = [path.sorted(m)[:rows] for m in part.memory]
    x = path.rows(call.x)[at]

    def by_eager_loop(x: Tensor, states: Sequence[Tensor]) -> trial.Outcome:
        alone = part._replace(reverse=False, states=states, memory=memory)
        once = Call(x.unsqueeze(1), None, False, [alone])

        def work() -> Tensor:
            with torch.no_grad():
                return eagerly(once)[0].squeeze(1)

        with drawing(generator):
            for other in cells[:index]:
                draw(other.step.draws, counts, call.x)
            draw(cell.step.draws, counts[:step], call.x)
            return {"y": in_clean_room(work)}

    actual: trial.Outcome = {"y": outputs[at]}
    expected = by_eager_loop(x, before)
    problem = trial.difference(actual, expected, cell.step.eps)
    if problem:
        near, *states = (t * (1 + 4 * torch.finfo(t.dtype).eps) for t in (x, *before))
        problem = trial.difference(actual, expected, cell.step.eps, by_eager_loop(near, states))
    if problem:
        cell.refuse(
            f"step of {type(cell.cell).__name__} no longer computes what it did when it was "
            f"compiled ({problem}): it reads something that saiki does not see change, such as a "
            "file, a clock or a variable of an installed package"
        )
    return not problem
