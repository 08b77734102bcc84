"""One training iteration up to the update: the loss of a batch and its gradient."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saiki import processes
from saiki.compiler.kernels import BACKENDS
from saiki.compiler.trust.trial import Outcome, difference
from saiki.errors import CompileError
from saiki.experiment import Experiment, Measures

TRIALS = 2
"""Batches of a shape whose steps are done both ways and compared."""


class Objective(nn.Module):
    """What a batch measures, in the precision of the experiment, as the forward pass of a module:
    DistributedDataParallel needs one."""

    def __init__(self, experiment: Experiment, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._experiment = experiment

    def forward(self, batch: Any) -> Measures:
        mixed = self._experiment.precision == "bfloat16"
        kind = next(self.model.parameters()).device.type
        with torch.autocast(kind, torch.bfloat16) if mixed else nullcontext():
            return self._experiment.measure(self.model, batch)


class Step:
    """``figures = step(batches)`` leaves the clipped gradient in the parameters of ``model``.

    The figures are the means of what the batches measure, ``gradient_norm`` before clipping and,
    if the gradient is clipped at all, ``clipped_norm`` after it. Where the experiment says that it
    does the same operations for every batch of the same shapes, they are recorded once, those of
    the gradient and of clipping with them, and done again as one native call: for small models most
    of the time goes into finding out what to do. The numbers are the same up to rounding, which is
    tried with the first batches. What cannot be recorded is done anew each time.

    Where there are several processes, each has the gradient of their batches together.
    """

    def __init__(self, experiment: Experiment, model: nn.Module) -> None:
        self.experiment = experiment
        self.model = model
        self.named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        self.device = self.parameters[0].device
        self.names: tuple[str, ...] = ()
        self.recorded: dict[tuple[Any, ...], Recording] = {}
        """By the shapes and types of a batch."""
        self.objective: nn.Module = Objective(experiment, model)
        self.shared = processes.count() > 1
        if self.shared and not experiment.updates_itself:
            self.objective = nn.parallel.DistributedDataParallel(self.objective)
        self.is_recorded = (
            experiment.recordable
            and experiment.optimisation.batching.accumulate == 1
            and experiment.precision != "bfloat16"
            and self.device.type in BACKENDS
            and not self.shared
        )

    def __call__(self, batches: Sequence[Any]) -> dict[str, float]:
        if self.experiment.updates_itself:
            figures = self._measured(batches[0])
        elif self.is_recorded:
            figures = self._replayed(batches[0])
        else:
            figures = self._computed(batches)
            if self.shared:
                figures = processes.total(figures) / processes.count()
        return dict(zip(self.names, figures.tolist(), strict=True))

    def _measured(self, batch: Any) -> Tensor:
        """What a batch measures, where that changes the model; no parameter has a gradient."""
        with torch.no_grad():
            measured = self.experiment.measure(self.model, batch)
        self.names = tuple(measured)
        return torch.stack(list(measured.values()))

    def _computed(self, batches: Sequence[Any]) -> Tensor:
        for p in self.parameters:
            p.grad = None
        parts = [self._backward(b, len(batches), b is batches[-1]) for b in batches]
        optimisation = self.experiment.optimisation
        value, norm = optimisation.clip_value, optimisation.clip_norm
        before, after = clip(self.parameters, value, norm)
        measured = {name: torch.stack([m[name] for m in parts]).sum(0) for name in parts[0]}
        measured |= {"gradient_norm": before}
        if value > 0 or norm > 0:
            measured |= {"clipped_norm": after}
        self.names = tuple(measured)
        return torch.stack([m.to(measured["loss"]) for m in measured.values()])

    def _backward(self, batch: Any, count: int, is_last: bool) -> Measures:
        """Add the gradient of one of ``count`` batches; its share of what they measure."""
        waits = self.shared and not is_last  # the processes meet once an update
        with self.objective.no_sync() if waits else nullcontext():  # type: ignore[operator]
            measures: Measures = self.objective(batch)
            loss = measures["loss"] if count == 1 else measures["loss"] / count
            loss.backward()
        return {n: m.detach() if count == 1 else m.detach() / count for n, m in measures.items()}

    def _replayed(self, batch: tuple[Tensor, ...]) -> Tensor:
        key = tuple((t.shape, t.dtype) for t in batch)
        recording = self.recorded.get(key)
        if recording is None or not recording.holds():
            recording = self.recorded[key] = self._record(batch)
        if recording.native is not None and recording.trials < TRIALS:
            self._try(recording, batch)
        if recording.native is None:
            return self._computed([batch])
        figures, *gradients = recording.native(batch)
        for p, gradient in zip(self.parameters, gradients, strict=True):
            p.grad = gradient
        assert figures is not None
        return figures

    def _record(self, batch: tuple[Tensor, ...]) -> "Recording":
        def work(batch: Any) -> list[Tensor | None]:
            return [self._computed([batch]), *(p.grad for p in self.parameters)]

        with torch.random.fork_rng(devices=[]):
            work(batch)  # what is compiled at the first call is compiled now
            try:
                native = BACKENDS[self.device.type].recorded(work, batch)
                return Recording(native, Reads(self.model, native.reads))
            except CompileError:
                return Recording(None, None)

    def _try(self, recording: "Recording", batch: tuple[Tensor, ...]) -> None:
        """Do the step both ways and compare; the recorded one is not done again if they differ."""
        assert recording.native is not None
        recording.trials += 1
        replayed = self._outcome(recording.native(batch))
        problem = difference(
            replayed, self._outcome([self._computed([batch]), *(p.grad for p in self.parameters)])
        )
        if problem:
            recording.native = None
            warnings.warn(
                f"the recorded step of {self.experiment.name} does not compute what the step does "
                f"({problem}), and each is done anew; this is a fault of saiki: please report it",
                stacklevel=2,
            )

    def _outcome(self, results: Sequence[Tensor | None]) -> Outcome:
        return dict(zip(("figures", *(f"∂{name}" for name in self.named)), results, strict=True))


@dataclass
class Recording:
    """A step for batches of some shapes."""

    native: Callable[[Sequence[Tensor]], Sequence[Tensor | None]] | None
    """Of the batch: the figures, then each gradient. None where a step cannot be recorded."""
    reads: "Reads | None"
    trials: int = 0

    def holds(self) -> bool:
        """Whether it can be said of the model as it now is."""
        return self.reads is None or self.reads.hold()


class Reads:
    """What a recording reads of a model.

    Raises:
        CompileError: it reads what is no parameter and no buffer of the model; nobody would see
            that another took its place.
    """

    def __init__(self, model: nn.Module, tensors: Sequence[Tensor]) -> None:
        read = {*map(id, tensors)}
        entries = [
            (table, name, value)
            for module in model.modules()
            for table in (module._modules, module._parameters, module._buffers)
            for name, value in table.items()
        ]
        if not read <= {id(value) for _, _, value in entries}:
            raise CompileError("it reads a tensor that is no parameter and no buffer of the model")
        self._entries = [
            entry for entry in entries if isinstance(entry[2], nn.Module) or id(entry[2]) in read
        ]
        self._places = [(t, t.detach(), t.requires_grad) for t in tensors]

    def hold(self) -> bool:
        """Whether all is in the model still, and lies where it lay."""
        for table, name, value in self._entries:  # a generator would take twice as long
            if table.get(name) is not value:
                return False
        for tensor, place, needs_gradient in self._places:
            if tensor.dtype != place.dtype or tensor.requires_grad != needs_gradient:
                return False
            if not tensor.is_set_to(place):
                return False
        return True


def clip(parameters: Sequence[Tensor], value: float, norm: float) -> tuple[Tensor, Tensor]:
    """Bound the gradient by entry and by norm where these are not 0; its norm before and after."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    before = nn.utils.get_total_norm(gradients)
    if value > 0:
        nn.utils.clip_grad_value_(parameters, value)
    if norm > 0:
        nn.utils.clip_grad_norm_(parameters, norm)
    return before, nn.utils.get_total_norm(gradients) if value > 0 or norm > 0 else before
