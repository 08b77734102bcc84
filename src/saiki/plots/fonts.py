"""Fonts that have the characters of a text, such as Japanese ones."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font


@cache
def _characters(path: str) -> frozenset[int]:
    """The code points that a font has."""
    return frozenset(FT2Font(path).get_charmap())


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


def font(text: str) -> tuple[FontProperties, str]:
    """A font for ``text``, and the text as this font can show it.

    The characters that Matplotlib's own font lacks come from the Japanese one, then from any font
    of the machine that has one of them. A character that none has is written as its number, such
    as ``\\u1200``.
    """
    families, missing = [*FontProperties().get_family()], {ord(c) for c in text if c.isprintable()}
    missing -= _characters(findfont(FontProperties()))
    if missing:
        families.append(_japanese())
        missing -= _characters(findfont(FontProperties(family=[families[-1]])))
    for entry in fontManager.ttflist if missing else ():
        found = missing & _characters(entry.fname)
        if found:
            families.append(entry.name)
            missing -= found
    shown = "".join(
        f"\\u{ord(c):04x}" if ord(c) in missing or not c.isprintable() else c for c in text
    )
    return FontProperties(family=families), shown
