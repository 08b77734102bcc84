"""The training loop: one for all experiments."""

import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saiki import lens, processes
from saiki.capabilities import Monitors
from saiki.errors import InputError
from saiki.experiment import Experiment, placed
from saiki.saving.tensors import Contents
from saiki.training.diagnosis import explain
from saiki.training.prefetch import prefetch
from saiki.training.step import Objective, Step


@dataclass(frozen=True)
class Point:
    """One point of the curves: the iterations since the last one."""

    step: int
    figures: dict[str, float]
    """The mean of what each batch measured, the largest norms of the gradient, and what the
    experiment monitors."""
    view: lens.View | None
    """The inside at the last of them, if it was watched."""

    def record(self) -> dict[str, float]:
        """A line of ``metrics.jsonl``."""
        return {"step": self.step, **self.figures}


class StoppedError(Exception):
    """The loss or the gradient is no longer a number. Says where it grew, and what to try."""

    def __init__(self, step: int, sentence: str) -> None:
        super().__init__(sentence)
        self.step = step


class Training:
    """The training of one model: what has been done so far, and how it goes on.

    Everything that is random in an iteration follows from the seed, the number of the iteration
    and that of the process. So :meth:`state`, with the number of the next iteration in it, is all
    that it takes to go on in another process as if nothing had happened, to the last bit.
    """

    def __init__(self, experiment: Experiment, model: nn.Module) -> None:
        self.experiment = experiment
        self.device = device(experiment.device)
        self.optimisation = experiment.optimisation
        self.model = model.to(self.device, experiment.dtype)
        self.backward = Step(experiment, model)
        self.optimiser = self.optimisation.build(self.backward.parameters)
        self.step = 0
        """Iterations done."""
        self.since: list[dict[str, float]] = []
        """The figures of each iteration since the last point."""
        self.average: dict[str, Tensor] = {}
        """A running mean of the weights, if there is one: m ← d m + (1 − d) w, where the decay d
        rises with the iteration i as i / (i + 9) up to ``average``."""
        if self.optimisation.average > 0:
            self.average = {n: t.clone() for n, t in self.model.state_dict().items()}
        self.loss = math.nan
        """Of the last iteration."""
        self.best: float | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.points_since_best = 0
        self.last_weights: dict[str, Tensor] = {}
        """Those of the last iteration, once the model has been given others in the end."""
        self.interrupted = False
        """Set it, from a signal handler say, and the training pauses after the iteration."""

    @property
    def has_ended(self) -> bool:
        patience = self.optimisation.patience
        out_of_patience = bool(patience) and self.points_since_best >= patience
        return self.step >= self.experiment.iterations or out_of_patience

    def run(
        self,
        on_point: Callable[[Point], None],
        after_step: Callable[[], None] = lambda: None,
        watch: bool = False,
    ) -> None:
        """Train until the end, or until :attr:`interrupted`.

        Args:
            on_point: called every ``point_every`` iterations and after the last one.
            after_step: called after each iteration and what belongs to it: here all can be saved.
            watch: look inside the recurrent layers at the first iteration and at each point.

        Raises:
            StoppedError: the loss or the gradient became NaN or infinite; the model has the
                weights from before: the last, the best or their mean, as the knobs say.
        """
        experiment, model, data = self.experiment, self.model, self.experiment.data
        count = data.batching.accumulate
        last, point_every = experiment.iterations, experiment.point_every
        moves = self.device.type != "cpu" or experiment.precision == "float64"
        model.train()
        with prefetch(data.batches(experiment.seed, self.step * count), data.prefetch) as stream:
            while not (self.has_ended or self._pauses()):
                step = self.step + 1
                at_point = step % point_every == 0 or step == last
                batches = list(itertools.islice(stream, count))
                if moves:
                    batches = [placed(batch, model) for batch in batches]
                view = None
                if watch and (at_point or step == 1):
                    view = self._look(batches[0])
                if self.optimisation.rate_varies:
                    self.optimiser.param_groups[0]["lr"] = self.optimisation.rate(step, last)
                self._seed(step)
                figures = self.backward(batches)
                if not all(map(math.isfinite, figures.values())):
                    self._seed(step)  # what it looks at draws the same numbers once more
                    reason = explain(experiment, model, batches, step, figures)
                    self.finish()
                    raise StoppedError(step, reason)
                self.optimiser.step()
                if self.average:
                    self._average(step)
                self.step, self.loss = step, figures["loss"]
                self.since.append(figures)
                if at_point or view is not None:
                    on_point(self._point(view, at_point))
                    model.train()
                after_step()
        if self.has_ended:
            self.finish()
        model.eval()

    def finish(self) -> None:
        """Give the model the weights that the knobs ask for; training can still go on from
        :meth:`state`, which remembers the last ones."""
        weights = self.best_weights if self.optimisation.keep == "best" else self.average
        if weights:
            self.last_weights = {n: t.clone() for n, t in self.model.state_dict().items()}
            self.model.load_state_dict(weights)
        self.model.eval()

    def state(self) -> Contents:
        """All that it takes to go on: tensors by name, and numbers."""
        tensors, numbers = optimiser_state(self.optimiser, list(self.backward.named))
        parts = {
            "model": self.last_weights or self.model.state_dict(),
            "average": self.average,
            "best": self.best_weights,
            "optimiser": tensors,
        }
        return {f"{part}/{n}": t for part, named in parts.items() for n, t in named.items()}, {
            "step": self.step,
            "since": self.since,
            "best": self.best,
            "points_since_best": self.points_since_best,
            "optimiser": numbers,
        }

    def restore(self, contents: Contents) -> None:
        """Go on from what :meth:`state` gave.

        Raises:
            InputError: it is the state of another model.
        """
        tensors, about = contents
        parts: dict[str, dict[str, Tensor]] = {
            part: {} for part in ("model", "average", "best", "optimiser")
        }
        try:
            for path, tensor in tensors.items():
                part, _, name = path.partition("/")
                parts[part][name] = tensor
            self.model.load_state_dict(parts["model"])
            restore_optimiser(
                self.optimiser, list(self.backward.named), parts["optimiser"], about["optimiser"]
            )
            if parts["average"].keys() != self.average.keys():
                raise ValueError("it keeps another mean of the weights")
            for name, tensor in self.average.items():
                tensor.copy_(parts["average"][name])
            shapes = {n: t.shape for n, t in self.model.state_dict().items()}
            self.best_weights = parts["best"]
            if self.best_weights and shapes != {n: t.shape for n, t in self.best_weights.items()}:
                raise ValueError("its best weights have other shapes")
            for name, tensor in parts["optimiser"].items():
                wanted = self.backward.named[name.rpartition("/")[0]].shape
                if tensor.shape not in (wanted, torch.Size()):
                    raise ValueError("its optimiser remembers other shapes")
            self.step, self.since = about["step"], about["since"]
            self.best, self.points_since_best = about["best"], about["points_since_best"]
        except (LookupError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"the checkpoint is not of this model: {reason}") from None

    def _seed(self, step: int) -> None:
        key = f"{self.experiment.seed} {step} {processes.rank()}"
        seed = zlib.crc32(key.encode())
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.manual_seed(seed)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        decay = min(self.optimisation.average, step / (step + 9))
        for mean, weight in zip(
            self.average.values(), self.model.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(weight, 1 - decay)
            else:
                mean.copy_(weight)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model with the mean of its weights in their place, if there is one."""
        if not self.average:
            yield
            return
        own = {n: t.clone() for n, t in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def _look(self, batch: Any) -> lens.View:
        """Inside, for this batch; a pass of its own, so that looking changes nothing."""
        own = [*self.model.parameters(), *self.model.buffers()]
        values = [tensor.detach().clone() for tensor in own]
        with lens.watch(self.model) as view:
            self.model.zero_grad()
            self._seed(self.step + 1)
            Objective(self.experiment, self.model)(batch)["loss"].backward()
        with torch.no_grad():  # what the model changes by itself, such as moving averages
            for tensor, value in zip(own, values, strict=True):
                tensor.copy_(value)
        return view

    def _pauses(self) -> bool:
        """Whether any process has been interrupted: all pause after the same iteration."""
        if processes.count() == 1:
            return self.interrupted
        return bool(processes.total(torch.tensor(float(self.interrupted))) > 0)

    def _point(self, view: lens.View | None, counts: bool) -> Point:
        figures = {name: self._since(name) for name in self.since[-1]}
        if counts:
            self.since = []
        self.model.eval()
        with torch.no_grad(), self._averaged():
            if isinstance(self.experiment, Monitors):
                figures |= self.experiment.monitor(self.model)
        selected_by = self.experiment.selected_by
        if selected_by not in figures:
            raise InputError(f"{self.experiment.name} has no figure {selected_by} to be judged by")
        if not counts:  # only the lens asked for it, and looking changes nothing
            return Point(self.step, figures, view)
        value = figures[selected_by]
        if not math.isnan(value) and (self.best is None or value < self.best):
            self.best, self.points_since_best = value, 0
            if self.optimisation.keep == "best":
                weights = self.average or self.model.state_dict()
                self.best_weights = {n: t.clone() for n, t in weights.items()}
        else:
            self.points_since_best += 1
        return Point(self.step, figures, view)

    def _since(self, name: str) -> float:
        values = [figures[name] for figures in self.since]
        return max(values) if name.endswith("_norm") else sum(values) / len(values)


def device(name: str) -> torch.device:
    """The device that the knob names; for auto a GPU if there is one.

    Raises:
        InputError: this machine does not have it.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind in has if has[kind])
    if not has[name]:
        present = " and ".join(kind for kind in has if has[kind])
        raise InputError(f"device must be one that is here, got {name!r}; here there is {present}")
    return torch.device(name)


def optimiser_state(
    optimiser: torch.optim.Optimizer, names: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What an optimiser remembers: tensors by parameter and name, and the numbers beside them."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for i, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            kind = tensors if isinstance(value, Tensor) else numbers
            kind[f"{names[i]}/{key}"] = value
    return tensors, numbers


def restore_optimiser(
    optimiser: torch.optim.Optimizer,
    names: Sequence[str],
    tensors: dict[str, Tensor],
    numbers: dict[str, Any],
) -> None:
    """Give an optimiser back what :func:`optimiser_state` took from it."""
    numbered = {name: i for i, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for path, value in {**tensors, **numbers}.items():
        name, _, key = path.rpartition("/")
        state.setdefault(numbered[name], {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
