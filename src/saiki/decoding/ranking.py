"""By what hypotheses are ranked: their log-probability under the penalties of Wu et al. 2016, §7.

score(Y) = log P(Y) / lp(Y) + cp(Y)
lp(Y)    = ((5 + |Y|) / 6)^α
cp(Y)    = β Σ_i log min(Σ_j p_ij, 1)

|Y| counts the factors of P(Y): the tokens, and the end where there is one. p_ij is the weight of
the j-th of them on position i of the source. A position without any weight counts as the least
normal number of float32, so that the score stays finite.
"""

import torch
from torch import Tensor

from saiki.decoding.search import Search
from saiki.errors import InputError

LEAST = torch.finfo(torch.float32).tiny


class Scoring:
    """The scores of the hypotheses of a batch, and what is needed of the attention for them.

    Args:
        source_lengths: positions of the source of each row, ``(rows,)``; those beyond do not count.

    Raises:
        InputError: there is a penalty for coverage, and no lengths.
    """

    def __init__(self, search: Search, source_lengths: Tensor | None) -> None:
        self.alpha = search.length_penalty
        self.beta = search.coverage_penalty
        if self.beta and source_lengths is None:
            raise InputError(
                "coverage_penalty needs source_lengths, the positions of each source that count"
            )
        self.source_lengths = source_lengths

    def cover(self, coverage: Tensor | None, weights: Tensor | None) -> Tensor | None:
        """The sum of the weights so far, ``(hypotheses, source)``, and 1 on padding; None without
        the penalty.

        Args:
            coverage: the sum before this step; None before the first, of one hypothesis a row.
            weights: of this step, ``(hypotheses, source)``.

        Raises:
            InputError: the model has no weights.
        """
        if self.beta == 0:
            return None
        if weights is None:
            raise InputError(
                "coverage_penalty needs attention weights, and this model has none; set it to 0"
            )
        if coverage is None:
            assert self.source_lengths is not None
            position = torch.arange(weights.shape[1], device=weights.device)
            coverage = (position >= self.source_lengths.to(weights.device)[:, None]).double()
        return coverage + weights

    def length(self, factors: Tensor | int) -> Tensor | float:
        """lp(Y) of so many factors."""
        return ((5.0 + factors) / 6.0) ** self.alpha

    def score(self, log_probability: Tensor, factors: int, cover: Tensor | None) -> Tensor:
        """Of hypotheses of so many factors, in the shape of ``log_probability``."""
        score = log_probability / self.length(factors)
        if cover is not None:
            penalty = cover.clamp(LEAST, 1).log().sum(-1)
            score = score + self.beta * penalty.view_as(score)
        return score
