"""Where sentences come from, by their knobs."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from saiki.data import store
from saiki.data.skipped import Unusable, in_words
from saiki.data.text import plain_text
from saiki.data.text.sentence_rows import SentenceRows, Sentences
from saiki.data.text.tokens import Tokens
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.metrics.bleu import fitting
from saiki.text import TOKENISERS, Text

PAIRS = "small_parallel_enja"


class SentenceSource(Knobs):
    """Sentences, and how they are cut into tokens."""

    data: str = knob("", f"a text file, or a folder of them; {PAIRS} without", is_path=True)
    language: str = knob("en", f"of {PAIRS} that is learned", choices=("en", "ja"))
    lines: bool = knob(True, "whether each line is a sentence; otherwise they are found by rules")
    tokens: str = knob(
        "auto",
        "how a sentence is cut; plain: words in small letters, and punctuation; words: at spaces; "
        "auto: characters where there are no spaces, plain where there are, and words without data",
        choices=("auto", "plain", *TOKENISERS),
    )
    known: Tokens = Tokens(longest=30)
    sentences: int = knob(0, "learned from at most, evenly spread over the text; 0: all", minimum=0)
    unusable: Unusable = Unusable()

    def validate(self) -> None:
        if self.data and self.language != "en":
            raise InputError(f"language is of {PAIRS}; with data of your own leave it out")

    @cached_property
    def parts(self) -> Sentences:
        path = store.locate(PAIRS, Path(self.data) if self.data else None)
        if not self.data:
            path /= f"train.{self.language}"
        if self.lines:
            found = plain_text.lines(path, left_out=self.unusable.left_out)
        else:
            found = iter(plain_text.sentences(path, self.unusable.left_out))
        return Sentences.parted(found, self.sentences)

    @cached_property
    def cut(self) -> str:
        """How sentences are cut."""
        if self.tokens != "auto":
            return self.tokens
        if not self.data:
            return "words"
        return "characters" if fitting("plain", self.parts.train) == "char" else "plain"

    @cached_property
    def text(self) -> Text:
        return self.known.build(self.cut, self.parts.train)

    @cached_property
    def rows(self) -> SentenceRows:
        return SentenceRows.of(self.parts, self.text, self.known.longest)

    def items(self) -> Mapping[str, Iterator[str]]:
        """All sentences, by parts."""
        kinds = ("sentences to learn from", "sentences to develop", "sentences to test")
        return {kind: iter(part) for kind, part in zip(kinds, self.parts, strict=True)}

    def in_words(self) -> str:
        """What a person should know of it."""
        rows = self.rows
        notes = [
            f"{len(rows.train):,} sentences to learn from, {len(rows.development):,} to develop, "
            f"{len(rows.test):,} to test, none of them in two parts",
            f"{len(self.text.vocabulary):,} tokens ({self.cut}), {rows.unknown:.1%} of the text "
            "unknown",
            *self.parts.notes,
        ]
        if rows.left_out:
            longest = self.known.longest
            notes.append(
                f"{rows.left_out:,} of more than {longest} tokens or no known one left out"
            )
        return "\n".join(("; ".join(notes), *in_words(self.unusable.left_out.files)))
