"""The loops of compiled cells, held to what the eager loop computes.

A kernel is proved on the first batch it is given (:mod:`saiki.compiler.trust.trial`), forward and,
when it is first needed, backward; one step of it is compared again from time to time. A kernel that
fails, or whose cell has changed since a graph was made that calls it, is not run: the eager loop
takes its place inside the operators, so that whoever called them gets what is right.
"""

import warnings
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

import saiki
from saiki.compiler.run.call import BackwardCall, BackwardPart, Call, Part, backward_results
from saiki.compiler.run.compiled import CompiledCell
from saiki.compiler.run.loops import Path, backward, forward
from saiki.compiler.run.outside import Needs
from saiki.compiler.run.step import LoopKind
from saiki.compiler.trace.clean_room import in_clean_room
from saiki.compiler.trace.draws import draw, drawing_again
from saiki.compiler.trust import trial
from saiki.errors import CompileError
from saiki.twin import like


def guarded_forward(call: Call, training: bool) -> list[Tensor]:
    """:func:`saiki.compiler.run.loops.forward`, or the eager loop where a kernel is not trusted."""
    cells = [part.cell for part in call.parts]
    kind: LoopKind = "training" if training else "inference"
    generator = torch.get_rng_state() if call.draws else None
    drawn_from = [generator] if training and generator is not None else []
    changed = [_has_changed(cell, training) for cell in cells]
    is_stale = any(changed)
    if not is_stale:
        _prove(call, cells, kind)
    if not is_stale and not any(cell.is_refused for cell in cells):
        results = forward(call, training)
        if _is_right(call, cells, results[0], generator):
            return results + drawn_from
        if generator is not None:
            torch.set_rng_state(generator)

    def work() -> list[Tensor]:
        with torch.no_grad():
            return call.eagerly()

    total = len(Path(call).rows(call.x))
    widths = [n for p in call.parts for n in p.step.residual_widths(p.memory)] if training else []
    before = torch.get_rng_state()
    results = in_clean_room(work)
    if training and not drawn_from and not torch.equal(before, torch.get_rng_state()):
        raise CompileError(
            "a step draws random numbers, and drew none when a graph was made that calls its "
            "compiled loop; make the graph again"
        )
    return results + [call.x.new_full((total, n), torch.nan) for n in widths] + drawn_from


def guarded_backward(call: BackwardCall) -> list[Tensor]:
    """:func:`~saiki.compiler.run.loops.backward`, or autograd through the eager loop where a kernel
    is not trusted, or was not for the forward pass, which then left NaN."""
    cells = [part.cell for part in call.forward.parts]
    _prove(call.forward, cells, "backward")
    residuals = [tensor for part in call.parts for tensor in part.residuals]
    by_eager_loop = bool(residuals) and bool(residuals[0][0, 0].isnan())
    if not by_eager_loop and not any(cell.is_refused for cell in cells):
        return backward(call)
    with drawing_again(call.generator):
        return in_clean_room(lambda: _eager_gradients(call))


def _eager_gradients(call: BackwardCall) -> list[Tensor]:
    forward = call.forward
    tensors = forward.flat().tensors()
    states = [state for part in forward.parts for state in part.states]
    real = [tensor for part in forward.parts for tensor in part.cell.real_tensors()]
    first = [None] * (1 + len(states))
    originals = [*first, *real, *[None] * (len(tensors) - len(first) - len(real))]
    leaves = [_leaf(t, r) for t, r in zip(tensors, originals, strict=True)]
    outputs = forward.with_tensors(leaves).eagerly()
    found = trial.gradients_of(outputs, call.gradients(), leaves, originals)
    d_x, *rest = [
        gradient.contiguous() if gradient is not None and need else None
        for gradient, need in zip(found, call.needs(), strict=True)
    ]
    count = len(states)
    pairs = zip(states, rest[:count], strict=True)
    d_states = [torch.zeros_like(state) if d is None else d for state, d in pairs]
    return backward_results(forward.x, d_x, d_states, rest[count:])


def _leaf(tensor: Tensor, real: Tensor | None) -> Tensor:
    """A tensor to differentiate by: the cell's own where it is that, for a step may ask what it is
    given."""
    if tensor is real and tensor.is_leaf and tensor.requires_grad:
        return tensor
    leaf = tensor.detach().requires_grad_(tensor.is_floating_point())
    return leaf if real is None else like(leaf, real)


def _has_changed(cell: CompiledCell, training: bool) -> bool:
    """Whether the cell has changed since a graph was made that calls its kernel. A layer that is
    called itself has just asked."""
    if cell.is_fresh:
        cell.is_fresh = False
        return False
    if any(cell.watch.hooks):
        return True  # the eager loop calls them
    if cell.watch.unchanged():
        return False
    watch = cell.watch.again(cell.cell)
    if watch.fingerprint == cell.watch.fingerprint:
        cell.watch = watch
        return False
    message = (
        f"{type(cell.cell).__name__} has changed since a graph was made that calls its compiled "
        "loop; make the graph again, after torch.compile by torch.compiler.reset()"
    )
    if list(watch.places) != list(cell.watch.places) or (
        training and cell.step.residuals.count == 0
    ):
        raise CompileError(message)
    warnings.warn(f"running step by step: {message}", stacklevel=2)
    return True


def _prove(call: Call, cells: Sequence[CompiledCell], kind: LoopKind) -> None:
    """Compare each kernel with the eager loop, the first time it is to run."""
    for part, cell in zip(call.parts, cells, strict=True):
        if kind not in cell.proved and not cell.is_refused:
            _prove_part(call, part, kind)


def _prove_part(call: Call, part: Part, kind: LoopKind) -> None:
    cell = part.cell
    try:
        cell.step.loops[kind].compile()
    except Exception as error:
        cell.refuse(f"{type(cell.cell).__name__} cannot be compiled: {error}")
        return
    if any(cell.watch.hooks):
        return  # since the forward pass; they see steps, which a kernel does not make
    if not saiki.verify or (kind == "backward" and not cell.watch.unchanged()):
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
    count = 1 + part.step.states
    with drawing_again():
        results = forward(sample.call, kind != "inference")
    outputs, residuals = results[:count], results[count:]
    if kind == "backward":
        cotangents = [sample.noise(tensor) for tensor in outputs]
        (own,) = sample.call.parts
        floats = tuple(tensor.is_floating_point() for tensor in own.parameters)
        needs = Needs(True, floats, (True,) * len(own.memory))
        back = BackwardPart(cotangents[1:], residuals, needs)
        found = backward(BackwardCall(sample.call, cotangents[0], [back]))
        gradients = [gradient if gradient.numel() else None for gradient in found]
        return sample.difference(trial.outcome(sample.call, outputs, gradients), cotangents)
    whole = sample.difference(trial.outcome(sample.call, outputs))
    if whole:
        return whole
    # a step may do something else for a batch of one
    try:
        first = trial.first_rows(sample.call, 1)
        with drawing_again():
            found = forward(first, kind != "inference")[:count]
        alone = sample.difference(trial.outcome(first, found), rows=1)
    except Exception as error:
        raise CompileError(
            f"for a batch of one it raises {type(error).__name__}: {error}"
        ) from error
    if alone:
        raise CompileError(f"it computes something else for a batch of one ({alone})")
    return ""


def _is_right(
    call: Call, cells: Sequence[CompiledCell], y: Tensor, generator: Tensor | None
) -> bool:
    """Whether a step of what the kernels have computed, where one is due to be compared, is what
    the cells make of it now, drawing as from that state of the generator on."""
    right, column = True, 0
    for i, cell in enumerate(cells):
        first, column = column, column + cell.step.output_size
        is_due = saiki.verify and cell.checks.due(len(call.parts[i].states[0]))
        if is_due and _can_judge(call):
            right = _is_step_right(call, i, y[..., first:column], generator) and right
    return right


def _can_judge(call: Call) -> bool:
    numbers = ((*part.states, *part.parameters) for part in call.parts)
    return trial.can_judge(call.x, *chain.from_iterable(numbers))


def _is_step_right(call: Call, index: int, y: Tensor, generator: Tensor | None) -> bool:
    part = call.parts[index]
    cell = part.cell
    path = Path(call)
    outputs, counts = path.rows(y), path.walk.counts.tolist()
    places = path.walk.places(part.reverse).split(counts)
    step = cell.checks.random.randrange(len(counts)) if cell.step.states == 1 else 0
    at, rows = places[step], counts[step]
    before = [outputs[places[step - 1][:rows]]] if step else [*map(path.sorted, part.states)]
    if not trial.can_judge(*before):
        return True
    memory = [path.sorted(m)[:rows] for m in part.memory]
    x = path.rows(call.x)[at]

    def eagerly(x: Tensor, states: Sequence[Tensor]) -> trial.Outcome:
        alone = Part(part.key, False, states, part.parameters, memory)
        once = Call(x.unsqueeze(1), None, False, [alone])

        def work() -> Tensor:
            with torch.no_grad():
                return once.eagerly()[0].squeeze(1)

        with drawing_again(generator):
            for other in call.parts[:index]:
                draw(other.step.draws, counts, call.x)
            draw(part.step.draws, counts[:step], call.x)
            return {"y": in_clean_room(work)}

    found: trial.Outcome = {"y": outputs[at]}
    expected = eagerly(x, before)
    problem = trial.difference(found, expected, cell.step.eps)
    if problem:
        near, *states = (t * (1 + 4 * torch.finfo(t.dtype).eps) for t in (x, *before))
        problem = trial.difference(found, expected, cell.step.eps, eagerly(near, states))
    if problem:
        cell.refuse(
            f"step of {type(cell.cell).__name__} no longer computes what it did when it was "
            f"compiled ({problem}): it reads something that saiki does not see change, such as a "
            "file, a clock or a variable of an installed package"
        )
    return not problem
