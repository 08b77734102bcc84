"""What words are made of and make, vectors to begin with, and words that are asked for."""

import itertools
from pathlib import Path

from saiki.data.text.numbered import NumberedText, Split
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.models.word_vectors import WordVectors
from saiki.saving.pretrained import of_run
from saiki.text.typed import WITHOUT_SPACES
from saiki.text.vectors import Vectors, read

SHORT = 100_000
"""Words of a text that is short."""
_SIGNS = {"+": "+", "-": "-", "−": "-"}


class SubWords(Knobs):
    """n-grams of characters that words share."""

    buckets: int = knob(
        0, "vectors that n-grams share; 0: without sub-words", minimum=0, maximum=10**8
    )
    min_n: int = knob(3, "characters of an n-gram at least", minimum=1, maximum=20)
    max_n: int = knob(6, "characters of an n-gram at most", minimum=1, maximum=20)

    def validate(self) -> None:
        if self.max_n < self.min_n:
            raise InputError(f"max_n must be at least min_n, {self.min_n}, got {self.max_n}")


class Phrases(Knobs):
    """Words that stand side by side more often than by chance, joined."""

    phrases: int = knob(
        0, "passes, each of which joins two words, as new_york; 0: none", minimum=0, maximum=10
    )
    phrase_threshold: float = knob(
        100.0, "score above which two words are joined", minimum=0.001, maximum=10**9
    )


def vectors_of(path: Path) -> Vectors:
    """Those of a file, or of a run of words in a folder.

    Raises:
        InputError: there are none.
    """
    if not path.is_dir():
        return read(path)
    model, about = of_run(path)
    if not isinstance(model, WordVectors):
        raise InputError(f"{path} is a run of {about['run'][0]}, not of words")
    return model.vectors


def signed(text: str, vectors: Vectors, split: Split) -> tuple[list[str], list[str]]:
    """The words that are added and those that are taken away in ``king -man + woman``; one that is
    unknown as it is written is read as a text would be.

    Raises:
        InputError: there is no word, or a sign has none.
    """
    words: dict[str, list[str]] = {"+": [], "-": []}
    sign = ""
    for written in text.split():
        if written[0] in _SIGNS and written not in vectors:
            if sign:
                break  # two of them have one word at most
            sign, written = _SIGNS[written[0]], written[1:]
        if written:
            forms = [] if written in vectors else split(written)
            words[sign or "+"].append(forms[0] if len(forms) == 1 else written)
            sign = ""
    if sign or not any(words.values()):
        raise InputError(f"it takes words, as in 'king -man +woman', got {text!r}")
    return words["+"], words["-"]


def advice(text: NumberedText, tokens: str) -> list[str]:
    """What could be done better with a text."""
    found, kinds = list[str](), list(itertools.islice(text.numbers, SHORT))
    unspaced = sum(1 for word in kinds if WITHOUT_SPACES.search(word))
    if tokens in ("plain", "words") and 2 * unspaced > len(kinds):
        found.append("a text without spaces between its words is cut by --tokens japanese")
    if 0 < text.words < SHORT:
        found.append("so short a text teaches little; --subsample 0 --epochs 100 may help")
    return found
