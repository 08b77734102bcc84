"""BLEU of whole texts, and by the length of their sources."""

import bisect
import itertools
from collections.abc import Iterable, Mapping

from sacrebleu.metrics.bleu import BLEU

BLEUS = ("auto", "none", "13a", "intl", "char")
"""Ways of sacrebleu to cut texts; auto: none for words, char for Japanese, otherwise 13a."""
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


def bleu(how: str, tokens: str) -> BLEU:
    """The measure of Papineni et al. (2002), of whole texts.

    Args:
        how: one of :data:`BLEUS`.
        tokens: how the exercise cuts the target.
    """
    if how == "auto":
        how = {"words": "none", "japanese": "char"}.get(tokens, "13a")
    return BLEU(tokenize=how, force=True)


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
