"""Forecasts of all steps at once, from segments of what has been."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.cell import Cell, as_states
from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer, as_layer
from saiki.models.encoder import Bridge, end_sizes, leaves
from saiki.nn.column_embedding import ColumnEmbedding
from saiki.nn.series_scaling import WindowScaling
from saiki.saving.pretrained import DescribedModule

OUTER_WEIGHT = 0.01
"""Weight of the errors of quantiles beside the one in the middle, so that what the network looks
for, and which weights are kept, is decided by the forecast and not by how sure it is."""


class SegmentForecaster(DescribedModule, name="segment_forecaster.v1"):
    """Reads a series in segments, and writes all segments that are to come from the last state,
    each by itself (SegRNN; Lin et al. 2023, §3). One network for all series and all their columns,
    each of which is a row of its own and has an embedding.

    ::

        z = (x − m) / s                              see saiki.nn.WindowScaling
        eᵏ = ReLU(W [zᵏ; known; observed] + b)       of segment k, ``segment`` steps
        h = the last states of encoder(e¹, e², …)
        oʲ = dropout(decoder([position j; column] + K known, h)),   one step for each segment j
        yʲ = V oʲ + c                                of each step the forecast
        y_qʲ = yʲ + (V_q ReLU(W_q oʲ + b_q) + c_q)   and beside it one number for each quantile
        ŷʲ = m + s y                                 with log-returns m exp(s y)

    Trained by the quantile loss (Koenker & Bassett 1978): Σ_q w_q max(q (y − ŷ_q), (q − 1)(y −
    ŷ_q)), w 1 in the middle, where SegRNN has the absolute error alone, and 0.01 beside it, where
    the gradient ends at yʲ: how sure a forecast is does not make it another.

    Args:
        encoder: a cell or layer, of any direction; its inputs are the embeddings of segments.
        decoder: a cell that reads as many features; the encoder's own, with the same weights, where
            it is None.
        segment: steps of a segment.
        horizon: steps that are forecast.
        columns: series times columns, each with an embedding; see
            :class:`saiki.nn.column_embedding.ColumnEmbedding`.
        known: features of a step that are known beforehand.
        observed: features of a step that are known afterwards.
        levels: of the quantiles, rising; the one in the middle is the point forecast.
        scaling: of a window; see :class:`saiki.nn.series_scaling.WindowScaling`.
        dropout: share of the features of o set to zero while training.

    Raises:
        InputError: sizes do not fit each other, or the levels are not in order.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: Cell | None = None,
        segment: int = 48,
        horizon: int = 96,
        columns: int = 1,
        known: int = 0,
        observed: int = 0,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
        scaling: str = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if segment < 1 or horizon < 1:
            raise InputError(f"segment and horizon must be at least 1, got {segment} and {horizon}")
        check_levels(levels)
        self.encoder: Layer = as_layer(encoder)
        size = self.encoder.input_size
        if decoder is None:
            if not isinstance(self.encoder, Recurrent):
                raise InputError(
                    "a decoder that is the encoder's own cell needs an encoder of one cell in one "
                    "direction; give another decoder"
                )
            decoder = self.encoder.cell
        if decoder.input_size != size or size < 2:
            raise InputError(
                f"encoder and decoder read the same features, two at least, got {size} and "
                f"{decoder.input_size}"
            )
        self.decoder = decoder
        self.segment, self.horizon, self.levels = segment, horizon, tuple(levels)
        self.known, self.observed = known, observed
        self.scaling = WindowScaling(columns, scaling)
        self.embed = nn.Linear(segment * (1 + known + observed), size)
        self.bridge = Bridge(end_sizes(self.encoder), list(decoder.state_sizes))
        self.position = nn.Parameter(torch.randn(self.segments, size // 2))
        self.column = ColumnEmbedding(columns, size - size // 2)
        self.ahead = nn.Linear(segment * known, size, bias=False) if known else None
        read = decoder.state_sizes[0]
        self.readout = nn.Linear(read, segment)
        self.beside = nn.Sequential(
            nn.Linear(read, read), nn.ReLU(), nn.Linear(read, segment * (len(self.levels) - 1))
        )
        self.dropout = nn.Dropout(dropout)

    @property
    def segments(self) -> int:
        """That are forecast."""
        return -(-self.horizon // self.segment)

    def equations(self) -> str:
        reads = "; ".join(
            ["zᵏ", *["known"] * bool(self.known), *["observed"] * bool(self.observed)]
        )
        ahead = " + K known" if self.ahead is not None else ""
        levels = ", ".join(f"{q:g}" for q in self.levels)
        return "\n".join(
            (
                self.scaling.equation(),
                f"eᵏ = ReLU(W [{reads}] + b), k a segment of {self.segment} steps",
                equations.of_layer(self.encoder, "e", "r"),
                f"oʲ = {equations.name_of(self.decoder)} over [position j; column]{ahead}, one "
                "step from the end of r, for each segment j",
                "yʲ = V oʲ + c, the forecast; y_qʲ = yʲ + V_q ReLU(W_q oʲ + b_q) + c_q beside it",
                f"ŷʲ = {self.scaling.inverse('y')}, quantiles {levels}",
            )
        )

    def forward(
        self,
        past: Tensor,
        column: Tensor,
        known: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Quantiles of what is to come, ``(rows, horizon, levels)``, in the units of ``past``.

        Args:
            past: ``(rows, time)``; the newest whole segments are read, NaN is a gap.
            column: the number of the column of each row, from 1 on, ``(rows,)``; 0: none of those
                that were learned from.
            known: ``(rows, time + horizon, known)``.
            observed: ``(rows, time, observed)``.

        Raises:
            InputError: there is less than a segment, or other features.
        """
        rows, time = past.shape
        count = time // self.segment
        if not count:
            raise InputError(
                f"the forecaster reads segments of {self.segment} steps, and there are {time}"
            )
        z, scales = self.scaling(past, column)
        begin = time - count * self.segment
        parts = [z[:, begin:, None]]
        for features, wanted, length in (
            (known, self.known, time + self.horizon),
            (observed, self.observed, time),
        ):
            shape = None if features is None else tuple(features.shape)
            if wanted and shape != (rows, length, wanted):
                raise InputError(
                    f"the features of a step must be {(rows, length, wanted)}, got {shape}"
                )
            if wanted and features is not None:
                parts.append(features[:, begin:time])
        e = torch.cat(parts, -1).unflatten(1, (count, self.segment)).flatten(2)
        _, end = self.encoder(F.relu(self.embed(e)))
        states = self.bridge(list(leaves(end)))
        queries = torch.cat(
            (
                self.position.expand(rows, -1, -1),
                self.column(column)[:, None].expand(-1, self.segments, -1),
            ),
            -1,
        )
        if self.ahead is not None and known is not None:
            more = self.segments * self.segment - self.horizon
            coming = F.pad(known[:, time:], (0, 0, 0, more))
            segments = coming.unflatten(1, (self.segments, self.segment)).flatten(2)
            queries = queries + self.ahead(segments)
        several = [state.repeat_interleave(self.segments, 0) for state in states]
        o = self.dropout(as_states(self.decoder(queries.flatten(0, 1), *several))[0])
        middle = self.readout(o).view(rows, -1, 1)
        quantile_offsets = middle.detach() + self.beside(o).view(*middle.shape[:2], -1)
        low, high = quantile_offsets.chunk(2, -1)
        return self.scaling.undo(torch.cat((low, middle, high), -1)[:, : self.horizon], scales)

    def loss(self, forecast: Tensor, truth: Tensor, unit: Tensor) -> Tensor:
        """The quantile loss, the weighted mean over quantiles and all steps that are known.

        Args:
            forecast: as :meth:`forward` gives it.
            truth: ``(rows, horizon)``; NaN is not known.
            unit: of the errors of each row, ``(rows,)``; see
                :meth:`saiki.nn.series_scaling.WindowScaling.unit`.
        """
        levels = forecast.new_tensor(self.levels)
        error = (truth[..., None] - forecast) / unit[:, None, None]
        each = torch.maximum(levels * error, (levels - 1) * error)
        weights = torch.full_like(levels, OUTER_WEIGHT)
        weights[len(levels) // 2] = 1.0
        return (each[~truth.isnan()] @ (weights / weights.sum())).mean()


def check_levels(levels: Sequence[float]) -> None:
    """Raise unless these are levels of quantiles.

    Raises:
        InputError: they are not between 0 and 1, in order, odd in number and three at least.
    """
    ordered = sorted(set(levels)) == list(levels)
    is_odd = len(levels) >= 3 and len(levels) % 2
    if not (ordered and is_odd and levels[0] > 0 and levels[-1] < 1):
        raise InputError(
            "levels of quantiles lie between 0 and 1, rise, and are three or more and odd in "
            f"number, so that one is in the middle, got {list(levels)}"
        )
