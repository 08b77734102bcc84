"""One token after another: the most probable one, or one drawn at random."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saiki.decoding.search import Chosen, Grown, Method, Search
from saiki.decoding.state import Phrase, State
from saiki.decoding.task import Task
from saiki.errors import InputError


class Walk(Method):
    """The one hypothesis of each row goes on with one token, until that is the end."""

    def __init__(self, task: Task, search: Search, forced: Sequence[Sequence[Phrase]]) -> None:
        super().__init__(task, search, forced)
        self.end = task.end

    @abstractmethod
    def next(self, log_probs: Tensor, rows: Tensor, step: int) -> Tensor:
        """The next tokens, ``(rows,)``, by their log-probabilities, ``(rows, vocabulary)``."""

    def __call__(
        self, total: Tensor, progress: State, log_probs: Tensor, rows: Tensor, step: int, /
    ) -> Chosen:
        log_probs = log_probs.squeeze(1)
        tokens = self.next(log_probs, rows, step)[:, None]
        sums = total + log_probs.gather(1, tokens)
        ended = tokens == self.end
        grown = Grown(
            sums.masked_fill(ended, -torch.inf), tokens, torch.zeros_like(tokens), progress
        )
        return Chosen(sums.masked_fill(~ended, -torch.inf), torch.ones_like(ended), grown)


class Greedy(Walk, name="greedy"):
    """The most probable token each time."""

    @classmethod
    def obstacle(cls, search: Search) -> str:
        if search.n_best > 1:
            return (
                f"the greedy method finds one hypothesis, got n_best={search.n_best}; "
                "use beam or sample for more"
            )
        return ""

    def next(self, log_probs: Tensor, rows: Tensor, step: int) -> Tensor:
        return log_probs.argmax(1)


class Sample(Walk, name="sample"):
    """A token drawn at random, see :func:`draw`.

    Raises:
        InputError: a row of the task has a negative key.
    """

    draws = True

    def __init__(self, task: Task, search: Search, forced: Sequence[Sequence[Phrase]]) -> None:
        super().__init__(task, search, forced)
        places = uniforms(search.seed, task.keys, task.copies, task.longest + 1)
        self.places = places.to(task.device)

    def next(self, log_probs: Tensor, rows: Tensor, step: int) -> Tensor:
        return draw(log_probs, self.places[rows, step], self.search)


def draw(log_probs: Tensor, uniform: Tensor, search: Search) -> Tensor:
    """The tokens, ``(rows,)``, at these places of the cumulative distribution.

    p = softmax(log_probs / temperature) over the ``top_k`` most probable tokens; of these the
    fewest, most probable first, that reach ``top_p`` together. The token drawn is the first at
    which the sum of p passes ``uniform · Σ p``.

    Args:
        log_probs: ``(rows, vocabulary)``; where all of a row are −∞, any token comes.
        uniform: ``(rows,)`` in float64, of [0, 1).
    """
    scores, tokens = log_probs.double(), None
    if search.top_p < 1 or 0 < search.top_k < scores.shape[1]:
        scores, tokens = scores.sort(dim=1, descending=True, stable=True)
    if search.top_k > 0:
        scores = scores[:, : search.top_k]
    best = scores.amax(1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    p = ((scores - best) / search.temperature).exp()
    if search.top_p < 1:
        sums = p.cumsum(1)
        p = p.masked_fill(sums - p >= search.top_p * sums[:, -1:], 0)
    sums = p.cumsum(1)
    place = torch.searchsorted(sums, uniform[:, None] * sums[:, -1:], right=True)
    place = place.clamp(max=sums.shape[1] - 1)
    return (place if tokens is None else tokens.gather(1, place)).squeeze(1)


def uniforms(seed: int, keys: Sequence[int], copies: int, steps: int) -> Tensor:
    """Numbers of [0, 1) for ``copies`` draws of each row, ``(rows · copies, steps)``, which depend
    on the seed, the key of the row and the number of the draw alone."""
    for key in keys:
        if key < 0:
            raise InputError(f"the keys of rows must be at least 0, got {key}")
    each = ((seed, key, copy) for key in keys for copy in range(copies))
    return torch.from_numpy(np.stack([np.random.default_rng(one).random(steps) for one in each]))
