"""From one series to another: an encoder reads, and a decoder writes what it is told to go on."""

import textwrap
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from saiki.cell import Cell, as_states
from saiki.errors import InputError
from saiki.initialise import initialise_
from saiki.layers import equations
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import as_layer
from saiki.models.encoder import Bridge, end_sizes, leaves
from saiki.saving.description import Described
from saiki.saving.pretrained import DescribedModule

Numbers = TypeVar("Numbers", Tensor, np.ndarray)


class Feedback(Cell, name="feedback.v1"):
    """A cell with a linear output that it reads again at the next step (Jordan 1986).

    pᵗ = εᵗ dᵗ + (1 − εᵗ) yᵗ⁻¹
    sᵗ = cell(pᵗ, sᵗ⁻¹)
    yᵗ = V hᵗ + c            h is the first of the states s

    The input of a step is (dᵗ, εᵗ): what came before in truth, and whether that is told. With ε = 1
    everywhere it is teacher forcing (Williams & Zipser 1989, §2.3), with ε = 0 it runs free, and
    with ε drawn at each step it is scheduled sampling (Bengio et al. 2015, §2.4). All three are one
    recursion, compiled once. Unlike a sampled word, y lets gradients through to the steps before.

    Args:
        cell: reads as many features as are written.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell.input_size + 1, cell.hidden_size)
        self.cell = cell
        self.readout = nn.Linear(cell.state_sizes[0], cell.input_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """V Xavier, c zero; the cell has its own rule."""
        initialise_(self.readout.weight, "xavier")
        nn.init.zeros_(self.readout.bias)

    @property
    def state_names(self) -> tuple[str, ...]:
        return "y", *self.cell.state_names

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return self.cell.input_size, *self.cell.state_sizes

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """y is 0 before the first step; the cell begins as it does."""
        y = self.readout.weight.new_zeros(batch, self.cell.input_size)
        return y, *as_states(self.cell.initial_state(batch))

    def equations(self) -> str:
        names = ", ".join(self.cell.state_names)
        return "\n".join(
            (
                "p = ε d + (1 − ε) y    the target before where ε is 1, otherwise its own output",
                f"{names} ← {type(self.cell).__name__}(p, {names})",
                textwrap.indent(self.cell.equations(), "  "),
                f"y ← V {self.cell.state_names[0]} + c",
            )
        )

    def step(self, x: Tensor, y: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        d, epsilon = x[:, :-1], x[:, -1:]
        p = epsilon * d + (1 - epsilon) * y
        state = as_states(self.cell.step(p, *state))
        y = self.readout(state[0])
        return y, *state


class Units(Described, name="units.v1"):
    """z = (x − mean) / scale: the numbers of a user, and those of a network."""

    def __init__(self, mean: float = 0.0, scale: float = 1.0) -> None:
        if not scale > 0:
            raise InputError(f"scale must be above 0, got {scale}")
        self.mean = mean
        self.scale = scale

    def normalised(self, x: Numbers) -> Numbers:
        return (x - self.mean) / self.scale

    def restored(self, z: Numbers) -> Numbers:
        return z * self.scale + self.mean


class SeriesSeq2Seq(DescribedModule, name="series_seq2seq.v1"):
    """An encoder reads a series, and a decoder writes another of as many steps (Sutskever, Vinyals
    & Le 2014, §2, with numbers in the place of words).

    s⁰ = bridge(last states of the encoder),  y = decoder(s⁰)

    >>> import torch
    >>> from saiki.cells import GRU, LSTM
    >>> from saiki.layers.bidirectional import Bidirectional
    >>> model = SeriesSeq2Seq(Bidirectional(GRU(1, 4)), LSTM(1, 6))
    >>> model(torch.randn(2, 9, 1)).shape
    torch.Size([2, 9, 1])

    Args:
        encoder: a cell or layer that reads.
        decoder: a cell that reads as many features as are written; it becomes :class:`Feedback`.
        reads: the units of what is read; those of the network if None.
        writes: the units of what is written.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: Cell,
        reads: Units | None = None,
        writes: Units | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(decoder, Cell):
            raise InputError(f"the decoder must be a Cell, got {type(decoder).__name__}")
        self.encoder = as_layer(encoder)
        self.bridge = Bridge(end_sizes(self.encoder), decoder.state_sizes)
        self.decoder = Recurrent(Feedback(decoder))
        self.reads = reads or Units()
        self.writes = writes or Units()

    def forward(self, x: Tensor) -> Tensor:
        """What it writes by itself after ``x: (batch, time, features)``, each in its units."""
        return self.writes.restored(self.write(self.reads.normalised(x)))

    def equations(self) -> str:
        start = "s = the last states of y"
        if self.bridge.linear is not None:
            start = "s = tanh(A [the last states of y] + a)"
        reads = equations.of_layer(self.encoder)
        return "\n".join((reads, start, f"then from s on:\n{equations.of_cell(self.decoder.cell)}"))

    def write(self, z: Tensor, seen: Tensor | None = None) -> Tensor:
        """The same in the units of the network.

        Args:
            seen: what the decoder is told at each step, ``(batch, time, features + 1)``, the input
                of :class:`Feedback`; without it the decoder runs free.
        """
        if seen is None:
            seen = z.new_zeros(z.shape[0], z.shape[1], self.decoder.input_size)
        return self.decode(self.encode(z), seen)[0]

    def encode(self, z: Tensor) -> tuple[Tensor, ...]:
        """What the decoder begins with after ``z: (batch, time, features)``: y = 0, and its
        states, ``(batch, size)`` each."""
        _, end = self.encoder(z)
        nothing = z.new_zeros(z.shape[0], self.decoder.output_size)
        return nothing, *self.bridge(list(leaves(end)))

    def decode(self, state: tuple[Tensor, ...], seen: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is written from ``state`` on, ``(batch, time, features)``, and the states then, from
        which the decoder goes on: as many steps as ``seen`` has, one at a time or all at once."""
        y: Tensor
        y, state = self.decoder(seen, state)
        return y, state


@torch.no_grad()
def written(model: SeriesSeq2Seq, x: np.ndarray, steps: int) -> np.ndarray:
    """What a trained model writes after ``x: (points,)``, both in a user's units: window by window
    of so many steps, but that a shorter series is read as it is. The last window may begin within
    the one before."""
    size = min(steps, len(x))
    starts = [*range(0, len(x) - size, size), len(x) - size]
    z = np.stack([model.reads.normalised(x[start : start + size]) for start in starts])
    like = next(model.parameters(), torch.empty(0))
    read = torch.from_numpy(z[..., None]).to(like.device, like.dtype)
    pieces = model.writes.restored(model.write(read)[..., 0].double().cpu().numpy())
    y = np.empty(len(x))
    for start, piece in zip(reversed(starts), reversed(pieces), strict=True):
        y[start : start + size] = piece
    return y
