"""What a search has done so far: pointers back through its steps, and the best ends of each row."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Trellis:
    """The hypotheses of all steps, each with a pointer to the one of the step before that it goes
    on from; so a hypothesis is a number of a step and a slot in it, and nothing is copied."""

    def __init__(self) -> None:
        self.steps: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def add(self, parents: Tensor, tokens: Tensor, weights: Tensor | None) -> None:
        """Another step: of each slot its parent, the token that was put in and the weights that
        came out."""
        self.steps.append((parents, tokens, weights))

    def trace(self, steps: Tensor, slots: Tensor) -> tuple[Tensor, Tensor | None]:
        """The tokens, ``(hypotheses, longest)``, that lead to these places, and the weights of all
        steps, ``(hypotheses, longest + 1, source)``; zeros after the end."""
        longest = int(steps.max())
        tokens = slots.new_zeros(len(slots), longest + 1)
        first = self.steps[0][2]
        read = None if first is None else first.new_zeros(*tokens.shape, first.shape[1])
        slots = slots.clone()
        for step in range(longest, -1, -1):
            there = (steps >= step).nonzero().squeeze(1)
            slot = slots[there]
            parents, token, weights = self.steps[step]
            tokens[there, step] = token[slot]
            if read is not None and weights is not None:
                read[there, step] = weights[slot]
            slots[there] = parents[slot]
        return tokens[:, 1:], read


class Ends(NamedTuple):
    """Where hypotheses end, a field each of the same shape ``(rows, any number)``."""

    score: Tensor
    """By which they are ranked; −∞ is no hypothesis."""
    log_probability: Tensor
    step: Tensor
    """Of the trellis; as many as there are tokens."""
    slot: Tensor
    """In that step."""
    finished: Tensor
    """False where it was cut at the limit."""

    @classmethod
    def none(cls, rows: int, count: int, device: torch.device) -> "Ends":
        """No hypotheses yet."""
        score = torch.full((rows, count), -torch.inf, dtype=torch.float64, device=device)
        step = torch.zeros_like(score, dtype=torch.int64)
        return cls(score, score.clone(), step, step.clone(), step.bool())

    def map(self, change: Callable[[Tensor], Tensor]) -> "Ends":
        """The same change of every field."""
        return Ends._make(map(change, self))

    def best(self, count: int) -> "Ends":
        """Of each row at most so many: the finished ones, best first, then those cut, best first;
        of equal ones the earlier."""
        by_score = self.score.argsort(dim=1, descending=True, stable=True)
        cut = ~self.finished.gather(1, by_score)
        order = by_score.gather(1, cut.byte().argsort(dim=1, stable=True))[:, :count]
        return self.map(lambda field: field.gather(1, order))

    def offer(self, rows: Tensor, others: "Ends") -> None:
        """Keep the best of what these rows have and of ``others``, ``(rows, any number)``."""
        pairs = zip(self, others, strict=True)
        both = Ends._make(torch.cat([mine[rows], theirs], 1) for mine, theirs in pairs)
        for mine, best in zip(self, both.best(self.score.shape[1]), strict=True):
            mine[rows] = best
