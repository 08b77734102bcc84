"""Dialogues as rows of numbers, a row a turn, and batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Tensor

from saiki.data.text.dialogues import Dialogue
from saiki.text import END, UNKNOWN, Text
from saiki.text.rows import padded, together


class Turns(NamedTuple):
    """Dialogues, one below the other, a row for each turn in its order."""

    tokens: Tensor
    """``(turns, time)``; the last one of each is END, unless the turn was cut."""
    lengths: Tensor
    """Of their tokens, ``(turns,)``."""
    dialogue: Tensor
    """The number of the dialogue of each, ``(turns,)``, from 0 on and without a gap."""
    place: Tensor
    """How many turns of its dialogue are before it here, ``(turns,)``."""
    is_reply: Tensor
    """Whether it is learned or judged as a reply, ``(turns,)``; a first turn is none."""


class Piece(NamedTuple):
    """Part of a dialogue."""

    turns: list[list[int]]
    first: int
    """The first reply; the turns before it are its context."""
    number: int
    """Of the first turn in the whole dialogue."""


@dataclass(frozen=True)
class DialogueRows:
    """Pieces of dialogues."""

    pieces: list[Piece]

    @classmethod
    def of(
        cls,
        dialogues: Sequence[Dialogue],
        text: Text,
        longest: int,
        replies: int = 0,
        before: int = 0,
    ) -> Self:
        """Dialogues, cut and numbered; each turn is a reply in one piece, but the first.

        Args:
            longest: tokens of a turn, the rest of which is left out; nor is it known then how the
                turn ends.
            replies: of a piece at most; 0: all of a dialogue are one piece.
            before: turns that are context to the first of them at most.
        """
        pieces = list[Piece]()
        for dialogue in dialogues:
            turns = [_cut(text.encode(turn), longest) for turn in dialogue]
            step = replies or len(turns)
            for at in range(1, len(turns), step):
                start = max(0, at - before) if at > 1 else 0
                pieces.append(Piece(turns[start : at + step], at - start, start))
        return cls(pieces)

    @classmethod
    def read(cls, dialogues: Sequence[Sequence[str]], text: Text, longest: int) -> Self:
        """Whole dialogues as people type them, to be answered."""
        ids = ([text.vocabulary.ids(text.read(turn)) for turn in turns] for turns in dialogues)
        return cls([Piece([_cut(turn, longest) for turn in turns], 1, 0) for turns in ids])

    @cached_property
    def mean_tokens(self) -> float:
        """Tokens of the replies of a piece, with their ends, on average."""
        return sum(len(t) for p in self.pieces for t in p.turns[p.first :]) / len(self.pieces)

    @cached_property
    def unknown(self) -> float:
        """The share of tokens that the language does not know."""
        tokens = [token for piece in self.pieces for turn in piece.turns for token in turn]
        return tokens.count(UNKNOWN) / len(tokens)

    @cached_property
    def cut(self) -> float:
        """The share of turns that were cut."""
        turns = [turn for piece in self.pieces for turn in piece.turns]
        return sum(turn[-1] != END for turn in turns) / len(turns)

    def by_length(self, turns: int) -> Iterator[tuple[Turns, list[int]]]:
        """All pieces, the shortest first, as many at a time as have ``turns`` together, or one that
        has more; and the number that each reply has in its dialogue, from 1 on."""
        sizes = [len(piece.turns) for piece in self.pieces]
        for places in together(sizes, len(sizes), turns):
            pieces = [self.pieces[i] for i in places]
            numbers = [p.number + i for p in pieces for i in range(p.first, len(p.turns))]
            yield batch(pieces), numbers


def _cut(tokens: list[int], longest: int) -> list[int]:
    return [*tokens, END] if len(tokens) <= longest else tokens[:longest]


def batch(pieces: Sequence[Piece]) -> Turns:
    """Pieces below each other."""
    tokens, lengths = padded([turn for piece in pieces for turn in piece.turns])
    counts = torch.tensor([len(piece.turns) for piece in pieces])
    dialogue = torch.arange(len(pieces)).repeat_interleave(counts)
    place = torch.cat([torch.arange(count) for count in counts.tolist()])
    first = torch.tensor([piece.first for piece in pieces]).repeat_interleave(counts)
    return Turns(tokens, lengths, dialogue, place, place >= first)
