"""Beam search: the most probable hypotheses of each row side by side.

All hypotheses of a row grow by one token a step. Their continuations, the end among them, have
equally many factors and compete by log-probability for the places of the beam; those that end there
are finished, and the best others, as many as the beam has places, live on.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from saiki.decoding.constraints import Forced, Progress, share
from saiki.decoding.search import Chosen, Grown, Method, Search
from saiki.decoding.state import Phrase
from saiki.decoding.task import Task


class Beam(Method, name="beam"):
    """The best continuations of each row; the beam is shared out among forced words."""

    takes_forced = True

    def __init__(self, task: Task, search: Search, forced: Sequence[Sequence[Phrase]]) -> None:
        super().__init__(task, search, forced)
        self.size, self.end = search.beam, task.end
        self.forced = Forced(task, forced)
        self.start = self.forced.start()

    @classmethod
    def obstacle(cls, search: Search) -> str:
        if search.n_best > search.beam:
            return (
                f"n_best must be at most the beam, {search.beam}, got {search.n_best}; "
                "a wider beam finds more"
            )
        return ""

    def __call__(
        self, total: Tensor, progress: Progress, log_probs: Tensor, rows: Tensor, step: int, /
    ) -> Chosen:
        whole = progress.met.all(2)
        ends = (total + log_probs[..., self.end]).masked_fill(~whole, -torch.inf)
        log_probs[..., self.end] = -torch.inf
        wanted = self.forced.wanted(progress)
        needed = log_probs.gather(2, wanted)
        log_probs.scatter_(2, wanted, -torch.inf)
        best, tokens = log_probs.topk(min(self.size, log_probs.shape[2]), 2)
        tokens = torch.cat([tokens, wanted], 2)
        sums = (total[..., None] + torch.cat([best, needed], 2)).flatten(1)
        hypotheses = torch.arange(total.shape[1], device=total.device)
        parents = hypotheses[:, None].expand_as(tokens).flatten(1)
        tokens = tokens.flatten(1)
        then = self.forced.follow(progress.select(parents), tokens)

        banks = torch.cat([self.forced.tokens_met(then), self.forced.tokens_met(progress)], 1)
        order = share(torch.cat([sums, ends], 1), banks)
        grows = order < sums.shape[1]
        lives = order[grows].view_as(sums)[:, : self.size]
        in_beam = torch.zeros_like(grows).scatter(1, order[:, : self.size], True)
        ends = ends.masked_fill(~in_beam[:, sums.shape[1] :], -torch.inf)
        total, tokens, parents = (part.gather(1, lives) for part in (sums, tokens, parents))
        return Chosen(ends, whole, Grown(total, tokens, parents, then.select(lives)))
