"""Where dialogues come from, by their knobs."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.skipped import Unusable, in_words
from saiki.data.tables.encoding import Encoding
from saiki.data.text.dialogue_rows import DialogueRows, batch
from saiki.data.text.dialogues import Dialogue, Dialogues, dialogues
from saiki.data.text.tokens import Tokens
from saiki.knobs import Knobs, knob
from saiki.text import SPECIAL, TOKENISERS, Text

Batch = tuple[Tensor, ...]
"""The parts of :class:`saiki.data.text.dialogue_rows.Turns`, and the weight of the divergence."""
MUCH = 0.1
"""Unknown share of the tokens above which a person is told how to cut them otherwise."""


class DialogueSource(Knobs):
    """Dialogues, how their turns are cut into tokens, and how much is learned from at once."""

    data: str = knob(
        "", "dialogues: JSON lines, JSON, a table or a folder; chitchat without", is_path=True
    )
    encoded: Encoding = Encoding()
    tokens: str = knob(
        "plain",
        "how a turn is cut; plain: words in small letters, and punctuation; words: at spaces",
        choices=("plain", *TOKENISERS),
    )
    known: Tokens = Tokens(vocabulary=10_000)
    replies: int = knob(
        32, "replies of a piece of a dialogue that is learned from at once", minimum=1
    )
    before: int = knob(12, "turns before them that are their context", minimum=1)
    unusable: Unusable = Unusable()

    def whole(self, part: Sequence[Dialogue], text: Text, context: int) -> DialogueRows:
        """Dialogues that are judged, in one piece each; or each reply after so many turns of
        ``context``, if that is not 0."""
        cut = (1, context) if context else ()
        return DialogueRows.of(part, text, self.known.longest, *cut)


class DialogueDataset(IndexedDataset[Batch]):
    """Dialogues, whose pieces are learned from.

    Args:
        weight: of the divergence, at each update.
    """

    source: DialogueSource
    weight: Callable[[int], float]
    dtype: torch.dtype

    prefetch = 2

    @cached_property
    def parts(self) -> Dialogues:
        path = Path(self.source.data) if self.source.data else None
        return dialogues(path, self.source.unusable.left_out, self.source.encoded.encoding)

    @cached_property
    def text(self) -> Text:
        turns = [turn for turns in self.parts.train for turn in turns]
        return self.source.known.build(self.source.tokens, turns)

    @cached_property
    def rows(self) -> DialogueRows:
        """Pieces of the dialogues to learn from."""
        cut = self.source.known.longest, self.source.replies, self.source.before
        return DialogueRows.of(self.parts.train, self.text, *cut)

    def examples(self) -> tuple[int, int]:
        """The replies."""
        train, _, test = (sum(len(turns) - 1 for turns in part) for part in self.parts)
        return train, test

    @property
    def count(self) -> int:
        return len(self.rows.pieces)

    def batch(self, draw: Draw) -> Batch:
        weight = torch.tensor(self.weight(draw.update), dtype=self.dtype)
        return *batch([self.rows.pieces[i] for i in draw.own]), weight

    def items(self) -> dict[str, Iterator[str]]:
        kinds = ("dialogues to learn from", "dialogues to develop", "dialogues to test")
        return {kind: map("\n".join, part) for kind, part in zip(kinds, self.parts, strict=True)}

    def describe(self) -> str:
        unknown, cut, longest = self.rows.unknown, self.rows.cut, self.source.known.longest
        how = " (another way to cut them, --tokens, may know more)" * (unknown > MUCH)
        notes = f"; {self.parts.notes}" if self.parts.notes else ""
        summary = (
            f"{self.parts.in_words()}; {len(self.text.vocabulary):,} tokens, and {unknown:.1%} of "
            f"what is said is none of them{how}; {cut:.1%} of the turns have more than "
            f"{longest}, and what is beyond is left out{notes}"
        )
        return "\n".join((summary, *in_words(self.source.unusable.left_out.files)))

    def example(self) -> Batch:
        random = torch.Generator().manual_seed(0)
        tokens = torch.randint(len(SPECIAL), (5, 7), generator=random)
        place = torch.tensor([0, 1, 2, 0, 1])
        dialogue = torch.tensor([0, 0, 0, 1, 1])
        return tokens, torch.tensor([7, 3, 5, 2, 7]), dialogue, place, place > 0

    def input_example(self) -> str:
        return self.parts.test[0][0]
