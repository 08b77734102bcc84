"""Words that must occur: how far hypotheses are with them, and the beam shared out accordingly.

Grid beam search (Hokamp & Liu 2017, §3) keeps a beam for each number of tokens of the forced words
that a hypothesis has met; dynamic beam allocation (Post & Vilar 2018, §3) divides one beam among
these banks. Here the best of each bank is taken in turn, most tokens met first, until the beam is
full: the banks have equal parts, and what one cannot fill goes to the others. Since the next tokens
of the forced words are always among the continuations, the fullest bank rises each step, so that
the words occur wherever the limit has room for them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from saiki.decoding.state import Phrase
from saiki.decoding.task import Task
from saiki.errors import InputError

TOKENS = 2**32  # more than any vocabulary has


class Progress(NamedTuple):
    """How far hypotheses are."""

    place: Tensor
    """In the automaton of their row, ``(rows, hypotheses)``."""
    met: Tensor
    """Which phrases they have had, ``(rows, hypotheses, phrases)``."""

    def select(self, hypotheses: Tensor) -> "Progress":
        """Of each row these hypotheses, ``(rows, any number)``."""
        rows = torch.arange(len(hypotheses), device=hypotheses.device)
        return Progress(self.place.gather(1, hypotheses), self.met[rows[:, None], hypotheses])


class Forced:
    """The phrases of every row as one table of places.

    A place is the longest end of a hypothesis that is a beginning of a phrase, as in the automaton
    of Aho & Corasick (1975); so phrases may overlap. A row without phrases has the one place where
    nothing is begun.

    Args:
        task: whose rows they are of.
        forced: the phrases of the rows; a phrase that is there twice, or within another one, needs
            to occur once.

    Raises:
        InputError: a phrase is empty, holds the end or a banned token, or the limit of a row is
            shorter than its prefix and its phrases together.
    """

    def __init__(self, task: Task, forced: Sequence[Sequence[Phrase]]) -> None:
        for row, phrases in enumerate(forced):
            _check(task, row, phrases)
        self._end = task.end
        most = max(1, max(map(len, forced), default=0))
        root: list[int] = []
        home: list[int] = []
        reached, length, ahead = list[list[int]](), list[list[int]](), list[list[int]]()
        moves = {-1: 0}  # so that there is one
        for phrases in forced:
            root.append(len(home))
            padded = [*map(tuple, phrases), *[()] * (most - len(phrases))]
            places = _places(padded)
            for place, number in places.items():
                parts = [_reached(place, phrase) for phrase in padded]
                home.append(root[-1])
                reached.append(parts)
                length.append([len(phrase) for phrase in padded])
                ahead.append([(*q, task.end)[n] for q, n in zip(padded, parts, strict=True)])
                for token in {token for phrase in padded for token in phrase}:
                    then = next(s for s in _ends((*place, token)) if s in places)
                    moves[(root[-1] + number) * TOKENS + token] = root[-1] + places[then]
        keys = sorted(moves)
        self._root, self._home, self._reached, self._length, self._ahead, self._keys, self._to = (
            torch.tensor(values, dtype=torch.int64, device=task.device)
            for values in (root, home, reached, length, ahead, keys, [moves[key] for key in keys])
        )

    def start(self) -> Progress:
        """Of the hypotheses without tokens, one for each row."""
        place = self._root[:, None]
        return Progress(place, self._length[place] == 0)

    def follow(self, progress: Progress, tokens: Tensor) -> Progress:
        """After one more token of each hypothesis."""
        key = progress.place * TOKENS + tokens
        index = torch.searchsorted(self._keys, key).clamp(max=len(self._keys) - 1)
        place = self._to[index].where(self._keys[index] == key, self._home[progress.place])
        return Progress(place, progress.met | (self._reached[place] == self._length[place]))

    def wanted(self, progress: Progress) -> Tensor:
        """The tokens by which each hypothesis gets on with its phrases, each once, ``(rows,
        hypotheses, phrases)``; the end where there is none."""
        tokens = self._ahead[progress.place].masked_fill(progress.met, self._end)
        earlier = (tokens[..., :, None] == tokens[..., None, :]).tril(-1).any(-1)
        return tokens.masked_fill(earlier, self._end)

    def tokens_met(self, progress: Progress) -> Tensor:
        """How many tokens of their phrases hypotheses have met: those of whole phrases, and the
        most of one that is begun."""
        whole = (self._length[progress.place] * progress.met).sum(-1)
        partial = (self._reached[progress.place] * ~progress.met).amax(-1)
        return whole + partial


def _check(task: Task, row: int, phrases: Sequence[Phrase]) -> None:
    for phrase in phrases:
        if not phrase:
            raise InputError(f"a forced phrase of row {row} has no tokens; leave it out")
        for token in phrase:
            if token == task.end or token in task.banned:
                raise InputError(f"token {token} is forced in row {row}, but is the end or banned")
        task.named_tokens.extend(phrase)
    limit, prefix = int(task.limits[row]), int((task.prefixes[row] >= 0).sum())
    needed = sum(map(len, phrases))
    if prefix + needed > limit:
        raise InputError(
            f"row {row} may have {limit} tokens, but its prefix has {prefix} and its forced words "
            f"{needed}; raise the limit"
        )


def _places(phrases: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """The beginnings of the phrases, numbered; the empty one first."""
    prefixes = {phrase[:size] for phrase in phrases for size in range(len(phrase) + 1)}
    return {place: number for number, place in enumerate(sorted(prefixes))}


def _ends(tokens: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The ends of a sequence, the longest first, the empty one last."""
    return (tokens[start:] for start in range(len(tokens) + 1))


def _reached(place: tuple[int, ...], phrase: tuple[int, ...]) -> int:
    """How many tokens of the phrase a hypothesis that ends with ``place`` has just had."""
    return next(len(end) for end in _ends(place) if end == phrase[: len(end)])


def share(scores: Tensor, banks: Tensor) -> Tensor:
    """All candidates, ``(rows, candidates)``, in the order in which they get places in the beam:
    the best of each bank in turn, the highest bank first.

    Args:
        scores: ``(rows, candidates)``; those of −∞ come last.
        banks: ``(rows, candidates)``, whole numbers from 0.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    top = int(banks.max()) + 1
    if top == 1:
        return order
    bank = banks.gather(1, order)
    turn = torch.nn.functional.one_hot(bank, top).cumsum(1).gather(2, bank[..., None]).squeeze(2)
    last = torch.iinfo(turn.dtype).max
    place = (turn * top - bank).masked_fill(scores.gather(1, order) == -torch.inf, last)
    return order.gather(1, place.argsort(dim=1, stable=True))
