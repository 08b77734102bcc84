"""Forecasts step by step: what comes next by all that has been, again and again."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.stack import Layer, as_layer
from saiki.nn.column_embedding import ColumnEmbedding
from saiki.nn.series_likelihoods import LIKELIHOODS, SeriesLikelihood
from saiki.nn.series_scaling import WindowScaling
from saiki.saving.pretrained import DescribedModule

STEPWISE = ("none", "difference")
"""Kinds of scaling that need nothing of a window but what has been read."""


@dataclass(eq=False)
class Read:
    """What a forecaster remembers of series up to now, a row for each."""

    last: Tensor
    """z of the newest value, ``(rows,)``; 0 where it is a gap."""
    state: Any
    """Of the layers, as they give it."""
    shift: Tensor
    """m of the next value, ``(rows, 1)``."""
    scale: Tensor
    """s, ``(rows, 1)``."""
    vector: Tensor
    """The embedding of the column, ``(rows, embedding_size)``."""
    step: "tuple[Tensor | None, Tensor, Any] | None" = None
    """Known features of the next step, what the layers make of it, and their state then: what is
    forecast now is read next, and need not be computed again."""


class StepwiseForecaster(DescribedModule, name="stepwise_forecaster.v1"):
    """The law of the next value, given all values before it (DeepAR; Salinas et al. 2020, §3). One
    network for all series and all their columns, each of which is a row of its own and has an
    embedding.

    ::

        zᵗ = (xᵗ − m) / s,                   m and s of the column, see saiki.nn.series_scaling
        hᵗ = layer([zᵗ⁻¹; knownᵗ; column])
        xᵗ ∼ m + s law(V hᵗ + c)

    Where changes are forecast, m is the last known value before xᵗ, and s the deviation of all such
    changes: a series that has never been so high or low is read as those before it.

    Trained by −ln p of every value. Further ahead than one step the values between are drawn from
    their own laws, path by path. The state of the layers is all that it keeps of the past, so a
    series can be followed without an end.

    Args:
        layer: a cell or layers of one direction; they read 1 + ``known`` + ``embedding_size``
            features.
        likelihood: the law: ``"gaussian"``, ``"student"`` or ``"negative_binomial"`` of counts.
        columns: series times columns, each with an embedding; see
            :class:`saiki.nn.column_embedding.ColumnEmbedding`.
        known: features of a step that are known beforehand.
        embedding_size: features of a column.
        scaling: ``"none"``, or ``"difference"``, by which changes are read and forecast, though not
            of counts.

    Raises:
        InputError: sizes do not fit each other, the layers read both ways, or there is no such
            scaling.
    """

    def __init__(
        self,
        layer: nn.Module,
        likelihood: str = "gaussian",
        columns: int = 1,
        known: int = 0,
        embedding_size: int = 8,
        scaling: str = "none",
    ) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise InputError(
                f"likelihood must be one of {', '.join(LIKELIHOODS)}, got {likelihood!r}"
            )
        self.layer: Layer = as_layer(layer)
        if any(isinstance(module, Bidirectional) for module in self.layer.modules()):
            raise InputError(
                "what comes next is not there to be read backwards: take one direction"
            )
        size = 1 + known + embedding_size
        if self.layer.input_size != size:
            raise InputError(
                f"the layer must read a value, {known} known features and {embedding_size} of the "
                f"column, together {size}, got {self.layer.input_size}"
            )
        self.law = LIKELIHOODS[likelihood]
        if scaling not in STEPWISE or (self.law.counts and scaling != "none"):
            of = f" of counts ({likelihood})" if self.law.counts else ""
            raise InputError(
                f"the scaling of steps{of} that are forecast one by one must be "
                f"{'none' if self.law.counts else ' or '.join(STEPWISE)}, got {scaling!r}"
            )
        self.known = known
        self.scaling = WindowScaling(columns, "size" if self.law.counts else scaling)
        self.column = ColumnEmbedding(columns, embedding_size)
        self.readout = nn.Linear(self.layer.output_size, self.law.parameters)

    def equations(self) -> str:
        known = "; known" if self.known else ""
        return "\n".join(
            (
                self.scaling.equation(),
                equations.of_layer(self.layer, f"[z of the step before{known}; column]", "h"),
                f"{self.law.equation}, from V h + c, of z",
            )
        )

    def forward(self, past: Tensor, column: Tensor, known: Tensor | None = None) -> Tensor:
        """What the network says of the law of each step, given those before it,
        ``(rows, time, parameters)``; see :meth:`laws`.

        Args:
            past: ``(rows, time)``; NaN is a gap.
            column: the number of the column of each row, from 1 on, ``(rows,)``; 0: none of those
                that were learned from.
            known: ``(rows, time or more, known)``.
        """
        z, _, _ = self._scaled(past, column)
        before = torch.cat((torch.zeros_like(z[:, :1]), z[:, :-1]), 1)
        h, _ = self.layer(self._inputs(before, self.column(column), known))
        output: Tensor = self.readout(h)
        return output

    def laws(self, output: Tensor, past: Tensor, column: Tensor) -> SeriesLikelihood:
        """The law of each value in the units of ``past``; its mean is ``(rows, time, 1)``. Of the
        first value, which nothing foretells, the m of changes is that value."""
        _, shift, scale = self._scaled(past, column)
        return self.law.of(output).restored(shift[:, : output.shape[1], None], scale[..., None])

    def _scaled(
        self, past: Tensor, column: Tensor, before: Read | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """z of values, ``(rows, time)``; the m of each and of the next one, ``(rows, time + 1)``;
        and s, ``(rows, 1)``; or what they are after what was read before."""
        if before is None:
            z, (shift, scale) = self.scaling(past, column)
        else:
            shift, scale = before.shift, before.scale
            z = torch.where(past.isnan(), 0.0, (past - shift) / scale)
        if not self.scaling.is_of_changes:
            return z, shift.expand(-1, past.shape[1] + 1), scale
        if before is None:
            levels = _newest(torch.cat((_newest(past.flip(1))[:, -1:], past), 1))
        elif past.shape[1] == 1:  # as a series is followed
            levels = torch.cat((shift, torch.where(past.isnan(), shift, past)), 1)
        else:
            levels = _newest(torch.cat((shift, past), 1))
        return ((past - levels[:, :-1]) / scale).nan_to_num(nan=0.0), levels, scale

    def loss(self, past: Tensor, column: Tensor, known: Tensor | None = None) -> Tensor:
        """−ln p of the values, the mean over all that are known but the first of each row, which
        nothing foretells."""
        laws = self.laws(self(past, column, known), past, column)
        is_first = (~past.isnan()).cumsum(1) == 1
        return laws.loss(torch.where(is_first, torch.nan, past)[..., None])

    def read(
        self,
        past: Tensor,
        column: Tensor,
        known: Tensor | None = None,
        before: Read | None = None,
    ) -> Read:
        """What is remembered of ``past``, all but its newest value having been read.

        Args:
            before: what is remembered of all that came before ``past``, whose scales stay.
        """
        z, shifts, scale = self._scaled(past, column, before)
        last, state, vector = torch.zeros_like(z[:, 0]), None, self.column(column)
        if before is not None:
            z, last, state, vector = z.to(before.last), before.last, before.state, before.vector
        if before is not None and past.shape[1] == 1:
            _, state = self._next(before, None if known is None else known[:, 0])
        else:
            inputs = torch.cat((last[:, None], z[:, :-1]), 1)
            _, state = self.layer(self._inputs(inputs, vector, known), state)
        return Read(z[:, -1], state, shifts[:, -1:], scale, vector)

    def follow(self, read: Read, known: Tensor | None = None) -> tuple[SeriesLikelihood, Any]:
        """The law of the next value, whose mean is ``(rows, 1)``, and the state then.

        Args:
            known: of that step, ``(rows, known)``.
        """
        h, state = self._next(read, known)
        shift = 0.0 if self.law.counts else read.shift
        return self.law.of(self.readout(h)).restored(shift, read.scale), state

    @torch.no_grad()
    def paths(
        self,
        read: Read,
        horizon: int,
        count: int,
        known: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[SeriesLikelihood, Tensor]:
        """The law of the next value, and drawn continuations of what is remembered,
        ``(count, rows, horizon)``. Fewer steps are the first of more.

        Args:
            known: of these steps, ``(rows, horizon, known)``.
        """
        coming = [None if known is None else known[:, step] for step in range(horizon)]
        law, state = self.follow(read, coming[0])
        samples = [law.sample(count, generator).reshape(-1, 1)]
        shift, scale, vector, state = (
            _repeated(part, count) for part in (read.shift, read.scale, read.vector, state)
        )
        for features in coming[1:]:
            last = ((samples[-1] - shift) / scale)[:, 0].to(read.last)
            shift = samples[-1] if self.scaling.is_of_changes else shift
            features = None if features is None else features.repeat(count, 1)
            next_law, state = self.follow(Read(last, state, shift, scale, vector), features)
            samples.append(next_law.sample(1, generator)[0])
        return law, torch.cat(samples, 1).view(count, -1, horizon)

    def _next(self, read: Read, known: Tensor | None) -> tuple[Tensor, Any]:
        """What the layers make of the next step, ``(rows, output_size)``, and the state then."""
        if read.step is not None and _same(read.step[0], known):
            return read.step[1:]
        features = None if known is None else known[:, None]
        inputs = self._inputs(read.last[:, None], read.vector, features)
        read.step = (known, *self.layer.step(inputs[:, 0], read.state))
        return read.step[1:]

    def _inputs(self, before: Tensor, vector: Tensor, known: Tensor | None) -> Tensor:
        rows, time = before.shape
        parts = [before[..., None]]
        if self.known:
            shape = None if known is None else (*known.shape[:1], *known.shape[2:])
            if known is None or shape != (rows, self.known) or known.shape[1] < time:
                raise InputError(
                    f"the known features of a step must be {(rows, time, self.known)}, got "
                    f"{None if known is None else tuple(known.shape)}"
                )
            parts.append(known[:, :time])
        parts.append(vector[:, None].expand(-1, time, -1))
        return torch.cat(parts, -1)


def _newest(values: Tensor) -> Tensor:
    """At each step the newest known value of each row, ``(rows, time)``; 0 before the first."""
    is_known = ~values.isnan()
    steps = torch.arange(values.shape[1], device=values.device)
    place = torch.where(is_known, steps, -1).cummax(1).values
    newest = values.nan_to_num(nan=0.0).gather(1, place.clamp(min=0))
    return torch.where(place < 0, 0.0, newest)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def _repeated(value: Any, count: int) -> Any:
    """The same with all rows so many times, one after the other."""
    if isinstance(value, Tensor):
        return value.repeat(count, *[1] * (value.ndim - 1))
    return tuple(_repeated(part, count) for part in value)
