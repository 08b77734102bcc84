"""Where dialogues come from, by their knobs."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from saiki.data.order import batches_of
from saiki.data.skipped import Unusable, in_words
from saiki.data.tables.encoding import Encoding
from saiki.data.text.dialogue_rows import DialogueRows
from saiki.data.text.dialogues import Dialogue, Dialogues, dialogues
from saiki.data.text.tokens import Tokens
from saiki.knobs import Knobs, knob
from saiki.text import TOKENISERS, Text

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

    @cached_property
    def parts(self) -> Dialogues:
        path = Path(self.data) if self.data else None
        return dialogues(path, self.unusable.left_out, self.encoded.encoding)

    @cached_property
    def text(self) -> Text:
        return self.known.build(self.tokens, [turn for turns in self.parts.train for turn in turns])

    @cached_property
    def rows(self) -> DialogueRows:
        """Pieces of the dialogues to learn from."""
        cut = self.known.longest, self.replies, self.before
        return DialogueRows.of(self.parts.train, self.text, *cut)

    def whole(self, part: Sequence[Dialogue], text: Text, context: int) -> DialogueRows:
        """Dialogues that are judged, in one piece each; or each reply after so many turns of
        ``context``, if that is not 0."""
        cut = (1, context) if context else ()
        return DialogueRows.of(part, text, self.known.longest, *cut)

    def batches(self, size: int) -> int:
        """Of an epoch, each of ``size`` pieces."""
        return batches_of(len(self.rows.pieces), size)

    def items(self) -> dict[str, Iterator[str]]:
        """All that is said, by parts."""
        kinds = ("dialogues to learn from", "dialogues to develop", "dialogues to test")
        return {kind: map("\n".join, part) for kind, part in zip(kinds, self.parts, strict=True)}

    def in_words(self) -> str:
        """What a person should know of it."""
        unknown, cut = self.rows.unknown, self.rows.cut
        how = " (another way to cut them, --tokens, may know more)" * (unknown > MUCH)
        notes = f"; {self.parts.notes}" if self.parts.notes else ""
        said = (
            f"{self.parts.in_words()}; {len(self.text.vocabulary):,} tokens, and {unknown:.1%} of "
            f"what is said is none of them{how}; {cut:.1%} of the turns have more than "
            f"{self.known.longest}, and what is beyond is left out{notes}"
        )
        return "\n".join((said, *in_words(self.unusable.left_out.files)))
