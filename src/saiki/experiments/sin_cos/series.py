"""Two series over the same points: where they come from, and windows of them to learn from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.series.waves import NAMES, Wave
from saiki.data.series.windows import Array, Pair, Windows, learnt
from saiki.data.tables.encoding import Encoding
from saiki.experiments.groups.targets import decoder_input
from saiki.knobs import Knobs, knob
from saiki.models.series import Units

SHORTEST = 2
"""Points of a wave that tell its cosine; with one alone the sign would be open."""
SHOWN = 24
"""Points of an input that is shown."""
Batch = tuple[Tensor, Tensor, Tensor]
"""The normalised input ``(batch, steps, 1)``, what the decoder is told ``(batch, steps, 2)``, and
the normalised target ``(batch, steps, 1)``."""


class PairSource(Knobs):
    """A wave, or the two series of a file, and the windows of them."""

    data: str = knob("", "table of input and target; sine and cosine without", is_path=True)
    encoded: Encoding = Encoding()
    wave: Wave = Wave()
    steps: int = knob(24, "points of a window", minimum=2, maximum=10_000)
    noise: float = knob(
        0.0, "standard deviation of noise on the input, whose amplitude is about 1", minimum=0
    )
    validation: float = knob(
        0.2, "share of the windows, the last ones, kept from training", minimum=0.001, maximum=0.999
    )
    cut_short: float = knob(
        0.0, "share of the training batches whose windows are cut at random", minimum=0, maximum=1
    )

    def validate(self) -> None:
        if not self.data:
            learnt(self.wave.points, self.steps, self.validation)

    def read(self) -> Windows:
        if self.data:
            encoding = self.encoded.encoding
            return Windows.of_file(Path(self.data), self.steps, self.validation, encoding)
        return Windows(self.wave.values(), NAMES, "the wave", self.steps, self.validation)


@dataclass(frozen=True, eq=False)
class SeriesPairs(IndexedDataset[Batch]):
    """Windows of both series.

    Args:
        share: of the true values that the decoder is told, at each update.
    """

    source: PairSource
    share: Callable[[int], float]
    dtype: torch.dtype

    @cached_property
    def series(self) -> Windows:
        return self.source.read()

    @cached_property
    def unseen(self) -> Pair:
        """Windows that share no point with training: of the wave such as begin between its points.
        Of a user's series there may be none."""
        if self.source.data:
            return self.series.pairs[self.series.learnt + self.source.steps - 1 :]
        return self.source.wave.between(self.source.steps)

    @cached_property
    def units(self) -> tuple[Units, Units]:
        """Of input and target: mean 0 and variance 1 over the points of training; the wave stays
        as it is."""
        read, wanted = self.series.scales() if self.source.data else ((), ())
        return Units(*read), Units(*wanted)

    def examples(self) -> tuple[int, int] | None:
        train = self.series.learnt
        return (train, len(self.series.pairs) - train) if self.source.data else None

    @property
    def count(self) -> int:
        return self.series.learnt

    def batch(self, draw: Draw) -> Batch:
        random = np.random.default_rng(draw.key)
        pair = self._windows(draw.rows, random)
        x, before, target = self.normalised(pair, self.share(draw.update), random)
        return x[draw.part], before[draw.part], target[draw.part]

    def _windows(self, rows: Array, random: np.random.Generator) -> Pair:
        """Those of these numbers as training sees them."""
        wave, steps, cut_short = self.source.wave, self.source.steps, self.source.cut_short
        as_it_is = bool(self.source.data) or wave.stretch == 1
        pair = self.series.pairs[rows] if as_it_is else wave.stretched(rows, steps, random)
        if cut_short and random.random() < cut_short:
            pair = pair.first(int(random.integers(SHORTEST, steps + 1)))
        return pair

    def normalised(self, pair: Pair, share: float, random: np.random.Generator) -> Batch:
        """Windows as the network reads them, each true value told with probability ``share``."""
        reads, writes = self.units
        x, target = reads.normalised(pair.x), writes.normalised(pair.target)
        if self.source.noise:
            x = x + self.source.noise * random.standard_normal(x.shape)
        arrays = x[..., None], decoder_input(target, share, random), target[..., None]
        read, before, wanted = (torch.from_numpy(array).to(self.dtype) for array in arrays)
        return read, before, wanted

    def describe(self) -> str:
        self.units  # noqa: B018  which may be refused
        return self.series.in_words()

    def items(self) -> dict[str, Iterator[bytes]]:
        own = bool(self.source.data)
        return {"points": (row.tobytes() for row in self.series.values)} if own else {}

    def example(self) -> Tensor:
        random = torch.Generator().manual_seed(0)
        return torch.randn(2, self.source.steps, 1, generator=random, dtype=self.dtype)

    def input_example(self) -> str:
        values = self.series.pairs.x[-1][:SHOWN]
        return self.source.data or " ".join(f"{value:.3g}" for value in values)
