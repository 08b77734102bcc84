"""Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from saiki import processes
from saiki.errors import InputError
from saiki.nn.quantise.quantised import Quantised, count, straight_through
from saiki.saving.pretrained import DescribedModule

SLACK = 1e-3
"""By which the bounds reach over the outermost levels, so that these are reached at all."""
MOST_LEVELS, MOST_CODES = 256, 2**20


class ScalarQuantizer(DescribedModule, name="scalar_quantizer.v1"):
    """Each feature is rounded to one of a few levels; together they are the code. There is no
    codebook to learn, and none to collapse (Mentzer et al. 2023, §3.1).

    y = round(l tanh(z + s) − o) / ⌊L/2⌋,  l = (L − 1)(1 + 0.001)/2

    with o = ½ where the number of levels L is even and 0 otherwise, and s = artanh(o/l), so that 0
    stays 0. The gradient goes straight through the rounding.

    Args:
        levels: of each feature, 2 or more.

    Raises:
        InputError: a number of levels is not allowed.

    >>> quantizer = ScalarQuantizer((3, 5))
    >>> quantizer(torch.tensor([[0.0, -9.0]])).vectors
    tensor([[ 0., -1.]])
    """

    half_levels: Tensor
    books = 1
    cost = ""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        levels = tuple(levels)
        if not levels or not all(2 <= each <= MOST_LEVELS for each in levels):
            raise InputError(f"levels must be from 2 to {MOST_LEVELS} each, got {levels}")
        self.codes = math.prod(levels)
        if self.codes > MOST_CODES:
            raise InputError(
                f"levels must give {MOST_CODES:,} codes at most, got {self.codes:,} of {levels}"
            )
        self.levels = levels
        self.size = self.input_size = len(levels)
        half = torch.tensor([float(each // 2) for each in levels])
        self.register_buffer("half_levels", half, persistent=False)  # in the type of the model

    def forward(self, z: Tensor) -> Quantised:
        """``z: (…, size)``."""
        steps = self._rounded(z)
        codes = self._numbers(steps)
        counts = count(codes.view(1, -1), self.codes)
        if self.training:
            counts = processes.total(counts)
        half = self._per_level(z, [each // 2 for each in self.levels])
        return Quantised(steps / half, codes, z.new_zeros(()), counts)

    def encode(self, z: Tensor) -> Tensor:
        """The codes alone, ``(…, 1)``, of ``z: (…, size)``."""
        return self._numbers(self._rounded(z))

    def decode(self, codes: Tensor) -> Tensor:
        """The vectors, ``(…, size)``, of ``codes: (…, 1)``."""
        levels, places = (torch.tensor(v, device=codes.device) for v in (self.levels, self._places))
        return (codes // places % levels - self.half_levels) / self.half_levels

    @property
    def _places(self) -> list[int]:
        """What one level of a feature adds to the number of the code."""
        return [math.prod(self.levels[:i]) for i in range(self.size)]

    def _rounded(self, z: Tensor) -> Tensor:
        """From −⌊L/2⌋ on, whole numbers."""
        half = [(each - 1) * (1 + SLACK) / 2 for each in self.levels]
        offset = [0.0 if each % 2 else 0.5 for each in self.levels]
        shift = [math.atanh(o / h) for o, h in zip(offset, half, strict=True)]
        bounds, offsets, shifts = (self._per_level(z, v) for v in (half, offset, shift))
        bounded = torch.tanh(z + shifts) * bounds - offsets
        return straight_through(bounded, bounded.round())

    def _numbers(self, steps: Tensor) -> Tensor:
        digits = steps.detach().long()
        digits = digits + torch.tensor([e // 2 for e in self.levels], device=steps.device)
        places = torch.tensor(self._places, device=steps.device)
        return (digits * places).sum(-1, keepdim=True)

    @staticmethod
    def _per_level(like: Tensor, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"

    def equations(self) -> str:
        return f"q ← round(l tanh(z + s) − o) / ⌊L/2⌋, L = {', '.join(map(str, self.levels))}"
