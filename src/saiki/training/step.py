"""One training iteration up to the update: the loss of a batch and its gradient."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.graph import CodeGen

from saiki import processes
from saiki.compiler.operators import DIRECT
from saiki.compiler.replay import replayable
from saiki.experiment import Experiment, Measures
from saiki.torch_internals import make_fx, swapped

aten = torch.ops.aten
SAME = {aten.detach.default, aten.alias.default, aten.lift_fresh_copy.default}
"""Operations whose result equals their argument where no gradient is recorded."""
POWERS = {aten.pow.Tensor_Scalar}
CONSTANTS = {
    aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default, aten.ones.default,
    aten.ones_like.default, aten.full.default, aten.full_like.default, aten.scalar_tensor.default,
}  # fmt: skip
"""Operations whose result follows from shapes alone."""
Recorded = Callable[..., Sequence[Tensor | None]]


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
    the gradient and of clipping with them, and done again as a plain list: for small models most of
    the time goes into finding out what to do. The numbers are the same to the last bit.

    Where there are several processes, each has the gradient of their batches together.
    """

    def __init__(self, experiment: Experiment, model: nn.Module) -> None:
        self.experiment = experiment
        self.model = model
        self.named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        self.device = self.parameters[0].device
        self.names: tuple[str, ...] = ()
        self.recorded: dict[tuple[torch.Size, ...], Recorded] = {}
        self.objective: nn.Module = Objective(experiment, model)
        self.shared = processes.count() > 1
        if self.shared and not experiment.updates_itself:
            self.objective = nn.parallel.DistributedDataParallel(self.objective)
        self.is_recorded = (
            experiment.recordable
            and experiment.optimisation.accumulate == 1
            and experiment.precision != "bfloat16"
            and self.device.type == "cpu"
            and not self.shared
        )

    def __call__(self, batches: Sequence[Any]) -> dict[str, float]:
        if self.experiment.updates_itself:
            figures = self._measured(batches[0])
        elif self.is_recorded:
            figures = self._again(batches[0])
        else:
            for p in self.parameters:
                p.grad = None
            figures = self._once(batches, self.parameters)
            if self.shared:
                figures = processes.total(figures) / processes.count()
        return dict(zip(self.names, figures.tolist(), strict=True))

    def _measured(self, batch: Any) -> Tensor:
        """What a batch measures, where that changes the model; no parameter has a gradient."""
        with torch.no_grad():
            measured = self.experiment.measure(self.model, batch)
        self.names = tuple(measured)
        return torch.stack(list(measured.values()))

    def _once(self, batches: Sequence[Any], parameters: Sequence[Tensor]) -> Tensor:
        parts = [self._backward(b, len(batches), b is batches[-1]) for b in batches]
        optimisation = self.experiment.optimisation
        value, norm = optimisation.clip_value, optimisation.clip_norm
        before, after = clip(parameters, value, norm)
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

    def _again(self, batch: tuple[Tensor, ...]) -> Tensor:
        key = tuple(t.shape for t in batch)
        if key not in self.recorded:
            self.recorded[key] = self._record(batch)
        with torch.no_grad():
            figures, *gradients = self.recorded[key](*self.parameters, *batch)
        for p, gradient in zip(self.parameters, gradients, strict=True):
            p.grad = gradient
        assert figures is not None
        return figures

    def _record(self, batch: tuple[Tensor, ...]) -> Recorded:
        """A function of the parameters and the batch: the figures, then each gradient."""

        def record(parameters: Sequence[Tensor], batch: Any) -> list[Tensor | None]:
            parameters = [p.detach().requires_grad_() for p in parameters]
            with swapped(self.model, dict(zip(self.named, parameters, strict=True))):
                figures = self._once([batch], parameters)
            return [figures, *(p.grad for p in parameters)]

        traced = make_fx(record)(self.parameters, batch)
        _simplify(traced, *self.parameters, *batch)
        function: Recorded = traced.forward
        return function


def clip(parameters: Sequence[Tensor], value: float, norm: float) -> tuple[Tensor, Tensor]:
    """Bound the gradient by entry and by norm where these are not 0; its norm before and after."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    before = nn.utils.get_total_norm(gradients)
    if value > 0:
        nn.utils.clip_grad_value_(parameters, value)
    if norm > 0:
        nn.utils.clip_grad_norm_(parameters, norm)
    return before, nn.utils.get_total_norm(gradients) if value > 0 or norm > 0 else before


def _simplify(recorded: fx.GraphModule, *arguments: Tensor) -> None:
    """Leave out what is there for the recording of gradients alone, and what is always the same."""
    graph = recorded.graph
    graph.set_codegen(CodeGen())  # arguments one by one, as results are
    for node in list(graph.nodes):
        if node.target in DIRECT:
            names = (argument.name for argument in node.target._schema.arguments)
            given = dict(zip(names, node.args, strict=False))  # without those left as they are
            node.target = replayable(node.target, given["keys"], given["lengths"])
        source: Any = node.args[0] if node.args else None
        if node.target is aten.t.default and source.target is aten.t.default:
            source = source.args[0]
        elif node.target not in SAME and not (node.target in POWERS and node.args[1] == 1):
            continue
        node.replace_all_uses_with(source)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    called = [node for node in graph.nodes if node.op == "call_function"]
    if not any(_changes_arguments(node) for node in called):
        run = fx.Interpreter(recorded, garbage_collect_values=False)
        with torch.no_grad():
            run.run(*arguments)
        fixed: dict[fx.Node, str] = {}
        for node in called:
            if node.target in CONSTANTS or all(n in fixed for n in node.all_input_nodes):
                fixed[node] = f"constant_{len(fixed)}"
                recorded.register_buffer(fixed[node], run.env[node])
        for node, name in fixed.items():
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.get_attr(name))
        graph.eliminate_dead_code()
    recorded.recompile()


def _changes_arguments(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
