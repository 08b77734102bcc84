"""The loops of compiled cells, held to what the eager loop computes.

A kernel is proved on the first batch it is given (:mod:`saiki.compiler.trial`), forward and, when
it is first needed, backward; one step of it is compared again from time to time. A kernel that
fails, or whose cell has changed since a graph was made that calls it, is not run: the eager loop
takes its place inside the operators, so that whoever called them gets what is right.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

import saiki
from saiki import eager
from saiki.compiler import trial
from saiki.compiler.clean_room import in_clean_room
from saiki.compiler.compiled import CompiledCell, LoopKind, compiled_cell
from saiki.compiler.loops import Path, backward, forward
from saiki.compiler.watch import Watch
from saiki.errors import CompileError
from saiki.twin import Twin, like


@dataclass(slots=True)
class _Part:
    """One of the cells of a call, and what of the tensors is its own."""

    cell: CompiledCell
    reverse: bool
    states: list[Tensor]
    parameters: list[Tensor]
    memory: list[Tensor]

    def eagerly(
        self, x: Tensor, lengths: Tensor | None, time_first: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """y and the last states by the eager loop."""
        real = self.cell.real_tensors()
        twin = Twin(zip(real, self.parameters, strict=True)).of(self.cell.cell)
        return eager.run(
            twin, x, tuple(self.states), lengths, self.reverse, time_first, self.memory
        )


def _parts(
    keys: Sequence[int],
    reverse: Sequence[bool],
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    memory: Sequence[Tensor],
) -> list[_Part]:
    of_states, of_parameters, of_memory = iter(states), iter(parameters), iter(memory)
    found = []
    for key, back in zip(keys, reverse, strict=True):
        cell = compiled_cell(key)
        its_states = list(islice(of_states, cell.step.states))
        its_parameters = list(islice(of_parameters, len(cell.step.names)))
        its_memory = list(islice(of_memory, len(cell.step.memory)))
        found.append(_Part(cell, back, its_states, its_parameters, its_memory))
    return found


def guarded_forward(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    training: bool,
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """:func:`~saiki.compiler.loops.forward`, or the eager loop where a kernel is not trusted."""
    parts = _parts(keys, reverse, states, parameters, memory or ())
    changed = [_has_changed(part, training) for part in parts]
    is_stale = any(changed)
    for part in () if is_stale else parts:
        _prove(part, x, lengths, time_first, training)
    if not is_stale and not any(part.cell.is_refused for part in parts):
        results = forward(
            x, states, parameters, lengths, keys, reverse, time_first, training, memory
        )
        right, column = True, 0
        for part in parts:
            if (
                saiki.verify
                and part.cell.checks.due(len(part.states[0]))
                and trial.can_judge(x, *states, *parameters)
            ):
                right = _is_right(part, x, lengths, time_first, results[0], column) and right
            column += part.cell.step.output_size
        if right:
            return results

    def work() -> tuple[list[Tensor], list[Tensor]]:
        with torch.no_grad():
            found = [part.eagerly(x, lengths, time_first) for part in parts]
        return [y for y, _ in found], [s for _, end in found for s in end]

    outputs, ends = in_clean_room(work)
    total = len(Path(x, lengths, time_first).rows(x))
    widths = [n for p in parts for n in p.cell.step.residual_widths(p.memory)] if training else []
    saved = [x.new_full((total, n), torch.nan) for n in widths]
    return [torch.cat(outputs, -1), *ends, *saved]


def guarded_backward(
    d_y: Tensor,
    d_states: Sequence[Tensor],
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    saved: Sequence[Tensor],
    keys: Sequence[int],
    reverse: Sequence[bool],
    time_first: bool,
    needs: Sequence[bool],
    memory: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """:func:`~saiki.compiler.loops.backward`, or autograd through the eager loop where a kernel is
    not trusted, or was not for the forward pass, which then left NaN."""
    parts = _parts(keys, reverse, states, parameters, memory or ())
    for part in parts:
        _prove(part, x, lengths, time_first, True, backwards=True)
    by_eager_loop = bool(saved) and bool(saved[0][0, 0].isnan())
    if not by_eager_loop and not any(part.cell.is_refused for part in parts):
        return backward(
            d_y, d_states, x, states, parameters, lengths, saved, keys, reverse, time_first,
            needs, memory,
        )  # fmt: skip

    def work() -> list[Tensor]:
        real = [t for part in parts for t in part.cell.real_tensors()]
        originals = [None] * (1 + len(states)) + [*real] + [None] * len(memory or ())
        tensors = [x, *states, *parameters, *(memory or ())]
        inputs = [_leaf(t, r) for t, r in zip(tensors, originals, strict=True)]
        given, count = inputs[1:], len(states)
        learnt = given[count : count + len(parameters)]
        own = _parts(keys, reverse, given[:count], learnt, given[count + len(parameters) :])
        found = [part.eagerly(inputs[0], lengths, time_first) for part in own]
        outputs = [torch.cat([y for y, _ in found], -1), *(s for _, end in found for s in end)]
        gradients = trial.gradients_of(outputs, [d_y, *d_states], inputs, originals)
        empty = x.new_empty(0)
        needed = [needs[0], *[True] * count, *needs[1:]]
        results = []
        for i, (gradient, need) in enumerate(zip(gradients, needed, strict=True)):
            if 0 < i <= count and gradient is None:
                gradient = torch.zeros_like(states[i - 1])
            results.append(empty if gradient is None or not need else gradient.contiguous())
        return results

    return in_clean_room(work)


def _leaf(tensor: Tensor, real: Tensor | None) -> Tensor:
    """A tensor to differentiate by: the cell's own where it is that, for a step may ask what it is
    given."""
    if tensor is real and tensor.is_leaf and tensor.requires_grad:
        return tensor
    leaf = tensor.detach().requires_grad_(tensor.is_floating_point())
    return leaf if real is None else like(leaf, real)


def _has_changed(part: _Part, training: bool) -> bool:
    """Whether the cell has changed since a graph was made that calls its kernel. A layer that is
    called itself has just asked."""
    cell = part.cell
    if cell.is_fresh:
        cell.is_fresh = False
        return False
    if any(cell.watch.hooks):
        return True  # the eager loop calls them
    if cell.watch.unchanged():
        return False
    watch = Watch(cell.cell)
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


def _prove(
    part: _Part,
    x: Tensor,
    lengths: Tensor | None,
    time_first: bool,
    training: bool,
    backwards: bool = False,
) -> None:
    """Compare a kernel with the eager loop, the first time it is to run."""
    cell = part.cell
    kind: LoopKind = "backward" if backwards else "training" if training else "inference"
    if kind in cell.proved or cell.is_refused:
        return
    try:
        cell.step.loops[kind].compile()
    except Exception as error:
        cell.refuse(f"{type(cell.cell).__name__} cannot be compiled: {error}")
        return
    if any(cell.watch.hooks):
        return  # since the forward pass; they see steps, which a kernel does not make
    if not saiki.verify or (backwards and not cell.watch.unchanged()):
        return  # a cell that changed since the forward pass is not what is differentiated
    if not trial.can_judge(x, *part.states, *part.parameters):
        return
    cell.proved.add(kind)
    try:
        problem = _compare(part, x, lengths, time_first, training, backwards)
    except CompileError as error:
        cell.refuse(f"step of {type(cell.cell).__name__} cannot be compiled: {error}")
        return
    except Exception as error:
        problem = f"it raised {type(error).__name__}: {error}"
    if not problem:
        return
    message = (
        f"the compiled loop of {type(cell.cell).__name__} does not compute what its step does "
        f"({problem}); this is a fault of saiki: please report what layer.explain() prints"
    )
    cell.refuse(message)


def _compare(
    part: _Part,
    x: Tensor,
    lengths: Tensor | None,
    time_first: bool,
    training: bool,
    backwards: bool,
) -> str:
    cell = part.cell
    sample = trial.Sample(x, lengths, time_first, part.states, part.memory)
    real = cell.real_tensors()
    own = cell.watch.parameters  # in place of others, another value cannot be put everywhere
    parameters = [
        sample.parameter(p) if i < own and isinstance(t, torch.nn.Parameter) else p
        for i, (p, t) in enumerate(zip(part.parameters, real, strict=True))
    ]
    keys, reverse = [cell.key], [part.reverse]
    results = forward(
        sample.x, sample.states, parameters, None, keys, reverse, False, training, sample.memory
    )
    y, ends = results[0], results[1 : 1 + cell.step.states]
    found: trial.Outcome = {"y": y, **{f"the last state {i}": e for i, e in enumerate(ends)}}
    cotangents = None
    if backwards:
        cotangents = [sample.noise(t) for t in (y, *ends)]
        floats = [t.is_floating_point() for t in parameters]
        gradients = backward(
            cotangents[0], cotangents[1:], sample.x, sample.states, parameters, None,
            results[1 + cell.step.states :], keys, reverse, False,
            [True, *floats, *[True] * len(sample.memory)], sample.memory,
        )  # fmt: skip
        names = trial.gradient_names(sample.states, cell.step.names, sample.memory)
        present = (g if g.numel() else None for g in gradients)
        found |= dict(zip(names, present, strict=True))

    def eagerly(
        x: Tensor, states: Sequence[Tensor], given: Sequence[Tensor], rows: int | None = None
    ) -> trial.Outcome:
        memory = [m[:rows] for m in sample.memory]
        vectors = cotangents if rows is None else None
        return trial.eager_outcome(
            cell.cell, cell.step.names, real, x[:rows], [s[:rows] for s in states], given, memory,
            vectors, part.reverse,
        )  # fmt: skip

    def problem(found: trial.Outcome, rows: int | None) -> str:
        expected = eagerly(sample.x, sample.states, parameters, rows)
        if not trial.difference(found, expected, cell.step.eps):
            return ""
        (x, *states), given = sample.nearby([sample.x, *sample.states]), sample.nearby(parameters)
        return trial.difference(found, expected, cell.step.eps, eagerly(x, states, given, rows))

    if backwards:
        return problem(found, None)
    whole = problem(found, None)
    if whole:
        return whole
    # a step may do something else for a batch of one
    first = {name: None if t is None else t[:1] for name, t in found.items()}
    alone = problem(first, 1)
    if alone:
        raise CompileError(f"it computes something else for a batch of one ({alone})")
    return ""


def _is_right(
    part: _Part, x: Tensor, lengths: Tensor | None, time_first: bool, y: Tensor, column: int
) -> bool:
    """Whether one step of what a kernel has computed is what the cell makes of it now."""
    cell = part.cell
    path = Path(x, lengths, time_first)
    walk = path.walk.backwards if part.reverse else path.walk
    outputs = path.rows(y)[:, column : column + cell.step.output_size]
    step = cell.checks.random.randrange(len(walk.counts)) if cell.step.states == 1 else 0
    rows = int(walk.counts[step])
    if step:
        rows = min(rows, int(walk.counts[step - 1]))
    at = walk.offsets[step] + torch.arange(rows) * walk.row_stride
    if step:
        before = [outputs[walk.offsets[step - 1] + torch.arange(rows) * walk.row_stride]]
    else:
        before = [path.sorted(state)[:rows] for state in part.states]
    if not trial.can_judge(*before):
        return True
    memory = [path.sorted(m)[:rows] for m in part.memory]
    steps = path.rows(x)[at]

    def eagerly(steps: Tensor, before: list[Tensor]) -> trial.Outcome:
        alone = _Part(cell, False, before, part.parameters, memory)

        def work() -> Tensor:
            with torch.no_grad():
                return alone.eagerly(steps.unsqueeze(1), None, False)[0].squeeze(1)

        return {"y": in_clean_room(work)}

    found: trial.Outcome = {"y": outputs[at]}
    expected = eagerly(steps, before)
    problem = trial.difference(found, expected, cell.step.eps)
    if problem:
        near, *states = (t * (1 + 4 * torch.finfo(t.dtype).eps) for t in (steps, *before))
        problem = trial.difference(found, expected, cell.step.eps, eagerly(near, states))
    if problem:
        cell.refuse(
            f"step of {type(cell.cell).__name__} no longer computes what it did when it was "
            f"compiled ({problem}): it reads something that saiki does not see change, such as a "
            "file, a clock or a variable of an installed package"
        )
    return not problem
