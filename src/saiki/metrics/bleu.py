"""BLEU of whole texts, and by the length of their sources."""

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence

from sacrebleu.metrics.bleu import BLEU

from saiki.text.typed import WITHOUT_SPACES

BLEUS = ("auto", "none", "13a", "intl", "char")
"""Ways of sacrebleu to cut texts, or the one that fits them; see :func:`fitting`."""
UNITS = {"none": "words as they are", "char": "characters"}
"""What is compared, where a way of sacrebleu does not say it."""
LONGEST_WORD, LONGEST_WORD_EAST = 12, 5
"""Characters for each word, on average, of texts with spaces between words; and of Japanese,
Chinese and Thai ones."""
BOUNDS = (6, 9, 12, 15)
"""The longest source of each class of lengths but the last, in tokens."""
CLASSES = {
    **{
        f"{low + 1}_to_{high}": (low + 1 + high) / 2
        for low, high in itertools.pairwise((0, *BOUNDS))
    },
    f"over_{BOUNDS[-1]}": BOUNDS[-1] + 2.0,
}
"""The classes of lengths, and where each stands in a picture."""
BY_LENGTH = "dev_bleu_length_"


def fitting(tokens: str, texts: Sequence[str]) -> str:
    """The way to cut texts of a language: into characters where they have no spaces between words,
    as Japanese, numbers or formulas; not at all where they have been cut into words.

    >>> fitting("characters", ["二十三", "四"]), fitting("words", ["a b", "c d e"])
    ('char', 'none')

    Args:
        tokens: how the exercise cuts them.
        texts: of the language.
    """
    if tokens == "japanese" or 2 * sum(map(_has_spaces, texts)) < len(texts):
        return "char"
    return "none" if tokens == "words" else "13a"


def _has_spaces(text: str) -> bool:
    """Whether there are spaces between its words, and not only between some parts."""
    longest = LONGEST_WORD_EAST if WITHOUT_SPACES.search(text) else LONGEST_WORD
    words = len(text.split())
    return words > 1 and len(text) <= longest * words


def bleu(tokenizer: str) -> BLEU:
    """The measure of Papineni et al. (2002), of whole texts cut in a way of sacrebleu; where no
    text has four tokens, of the n-grams that there are."""
    return BLEU(tokenize=tokenizer, force=True, effective_order=True)


def of_lengths(lengths: Iterable[int]) -> dict[str, list[int]]:
    """The places of the lengths in each class of :data:`CLASSES`."""
    places: dict[str, list[int]] = {name: [] for name in CLASSES}
    names = list(CLASSES)
    for i, length in enumerate(lengths):
        places[names[bisect.bisect_left(BOUNDS, length)]].append(i)
    return places


def by_length(figures: Mapping[str, float | None]) -> tuple[list[float], list[float]] | None:
    """Where the classes of lengths stand in a picture, and the BLEU of each; None without any."""
    points = [(n, figures.get(f"{BY_LENGTH}{name}")) for name, n in CLASSES.items()]
    known = [(n, bleu) for n, bleu in points if bleu is not None]
    return ([n for n, _ in known], [bleu for _, bleu in known]) if known else None
