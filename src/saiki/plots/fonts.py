"""Fonts that have the characters of a picture, such as Japanese ones; texts that fit into it."""

import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

LONGEST = 28
"""Columns of a label beside an axis; a Japanese character takes two."""


@cache
def _characters(family: str) -> frozenset[int]:
    """The code points of the font that Matplotlib takes for a family; none if it cannot be read."""
    try:
        return frozenset(FT2Font(findfont(FontProperties(family=[family]))).get_charmap())
    except (OSError, RuntimeError):  # a font that was removed, or is damaged
        return frozenset()


@cache
def _japanese() -> str:
    """The family of the IPAex Gothic of the package matplotlib-fontja."""
    # importing the package would change the fonts of the whole process
    spec = find_spec("matplotlib_fontja")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "fonts" / "ipaexg.ttf"
    fontManager.addfont(path)
    return str(FontProperties(fname=path).get_name())


def _of_machine() -> list[str]:
    """The upright families of the machine, without those that come with Matplotlib."""
    own = matplotlib.get_data_path()
    upright = {"style": "normal", "stretch": "normal", "weight": 400}
    return sorted(
        {
            entry.name
            for entry in fontManager.ttflist
            if not entry.fname.startswith(own)
            and all(getattr(entry, name) == value for name, value in upright.items())
        }
    )


def fonts(texts: Iterable[str]) -> tuple[list[str], frozenset[str]]:
    """Families that have the characters of ``texts`` together, and the characters that none has.

    What Matplotlib's own font lacks comes from the Japanese one, then from any font of the machine.
    """
    missing = {ord(c) for text in texts for c in text if c.isprintable()}
    families = ["DejaVu Sans"]
    missing -= _characters(families[0])
    candidates = [_japanese(), *_of_machine()] if missing else []
    for family in candidates:
        if covered := missing & _characters(family):
            families.append(family)
            missing -= covered
    return families, frozenset(map(chr, missing))


def fit(figure: Figure) -> None:
    """Put every text of a picture into fonts that have its characters, as it was written: a ``$``
    begins no formula. A character that no font has is written as its number, such as ``\\u1200``,
    and labels beside the axes are shortened where they would take the room of what is drawn."""
    everything = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    labels = [[label.get_text() for label in axis.get_ticklabels()] for axis in everything]
    texts = figure.findobj(Text)
    families, missing = fonts([text.get_text() for text in texts])
    for axis, written in zip(everything, labels, strict=True):
        shown = [shortened(_visible(label, missing)) for label in written]
        if shown != written:
            axis.set_ticks(axis.get_ticklocs(), shown)
    for text in texts:
        own = [*text.get_fontfamily(), *families]
        text.set(text=_visible(text.get_text(), missing), fontfamily=own, parse_math=False)


def _visible(text: str, missing: frozenset[str]) -> str:
    return "".join(
        c if c == "\n" or (c.isprintable() and c not in missing) else f"\\u{ord(c):04x}"
        for c in text
    )


def columns(text: str) -> int:
    """The width of a text; wide characters, such as those of Japanese, count as two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """A text without its middle if it has more columns than this: names of runs and files often
    differ at their ends."""
    if columns(text) <= longest:
        return text
    first, last = [""], [""]
    for parts, characters in ((first, text), (last, reversed(text))):
        room = (longest - 1) // 2
        for c in characters:
            room -= columns(c)
            if room < 0:
                break
            parts.append(c)
    return "".join([*first, "…", *reversed(last)])
