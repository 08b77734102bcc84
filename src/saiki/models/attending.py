"""What writes with input feeding, as one cell: so that a whole target is one call of a layer."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from saiki.cell import Cell, as_states
from saiki.errors import InputError

Score = Callable[[Tensor, Tensor], Tensor]
"""How well queries ``(batch, 1, size)`` fit keys ``(batch, source, key_size)``: ``(batch, 1, 1,
source)``, without any sum over positions or sizes of its own."""


class Attending(Cell, name="attending.v1"):
    """Cells on top of each other that see what was read in the step before, and read a memory
    (Luong, Pham & Manning 2015, §3.3).

    With the embedding eᵗ and the top state hᵗ::

        hᵗ = cells([eᵗ; rᵗ⁻¹])
        p = softmaxₛ(score(hᵗ, keysₛ) + maskₛ)
        cᵗ = Σₛ pₛ valuesₛ
        rᵗ = tanh(W [cᵗ; hᵗ])

    The states are those of the top cell, then those of the others from the lowest, then r; so the
    layer returns hᵗ. Where the last features of eᵗ are a g that is given at every step, r reads it,
    too: tanh(W [cᵗ; hᵗ; g]). Nothing is drawn inside: with ``dropout`` x brings what r and the
    outputs of the lower cells are multiplied by, behind eᵗ, in this order.

    Args:
        cells: the lowest first; the first reads [e; r], each other the one below it.
        score: compares queries with keys.
        combine: W, from [c; h] to r.
        key_size: features of a key.
        dropout: whether x brings factors.
        given_size: features of g; 0 is without.

    Raises:
        InputError: sizes do not fit each other.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        score: Score,
        combine: nn.Linear,
        key_size: int,
        dropout: bool = False,
        given_size: int = 0,
    ) -> None:
        top, readout_size = cells[-1].state_sizes[0], combine.out_features
        embedding_size = cells[0].input_size - readout_size
        value_size = combine.in_features - top - given_size
        for name, size in (("an embedding", embedding_size), ("a value", value_size)):
            if size < 1:
                raise InputError(f"there are {size} features left for {name}, beside those of r")
        size = cells[0].input_size
        for cell in cells:
            if cell.input_size != size:
                raise InputError(f"a cell takes {cell.input_size} features and is given {size}")
            size = cell.state_sizes[0]
        factors = [readout_size, *(cell.state_sizes[0] for cell in cells[:-1])] if dropout else []
        super().__init__(embedding_size + sum(factors), top)
        self.cells = nn.ModuleList(cells)
        self.score = score
        self.combine = combine
        self.dropout = dropout
        self.given_size = given_size
        self.splits = [embedding_size, *factors]
        self.sizes = {"key": key_size, "value": value_size, "readout": readout_size}

    @property
    def state_names(self) -> tuple[str, ...]:
        names = [
            f"{name}{i or ''}"
            for i, cell in enumerate(self._ordered())
            for name in cell.state_names
        ]
        return (*names, "r")

    @property
    def state_sizes(self) -> tuple[int, ...]:
        sizes = [size for cell in self._ordered() for size in cell.state_sizes]
        return (*sizes, self.sizes["readout"])

    @property
    def memory_shapes(self) -> Mapping[str, tuple[int | str, ...]]:
        return {
            "keys": ("source", self.sizes["key"]),
            "values": ("source", self.sizes["value"]),
            "mask": ("source",),
        }

    def _ordered(self) -> list[Cell]:
        """The top cell, then the others from the lowest."""
        *lower, top = self.cells
        return [top, *lower]  # type: ignore[list-item]

    def step(
        self, x: Tensor, *state: Tensor, keys: Tensor, values: Tensor, mask: Tensor
    ) -> tuple[Tensor, ...]:
        e, *factors = x.split(self.splits, -1)
        *old, r = state
        counts = [len(cell.state_sizes) for cell in self._ordered()]
        top, *lower = _parted(old, counts)
        below, news = torch.cat((e, r), -1), []
        for i, (cell, states) in enumerate(zip(self.cells, (*lower, top), strict=True)):
            news.append(as_states(cell.step(below, *states)))  # type: ignore[operator]
            below = news[-1][0]
            if self.dropout and i < len(lower):
                below = below * factors[1 + i]
        h = news[-1][0]
        p = torch.softmax(self.score(h[:, None], keys)[:, 0, 0] + mask, -1)
        c = (p[:, None] @ values)[:, 0]
        g = [e[:, -self.given_size :]] if self.given_size else []
        r = torch.tanh(self.combine(torch.cat((c, h, *g), -1)))
        if self.dropout:
            r = r * factors[0]
        return *news[-1], *(s for new in news[:-1] for s in new), r


def _parted(states: Sequence[Tensor], counts: Sequence[int]) -> list[tuple[Tensor, ...]]:
    rest = iter(states)
    return [tuple(next(rest) for _ in range(count)) for count in counts]
