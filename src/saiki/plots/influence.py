"""Which words of a sentence moved a decision."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.patches import Rectangle

from saiki.plots import canvas
from saiki.plots.fonts import columns, shortened

WIDE = 76
"""Columns of a line; a Japanese character takes two."""
_COLUMN, _LINE = 0.085, 0.3
"""Inches."""


class Moved(NamedTuple):
    """A sentence, and what its words did."""

    heading: str
    words: Sequence[str]
    influence: Sequence[float]
    """Of each word, above 0 where it spoke for the decision."""


def draw_influence(path: Path, sentences: Sequence[Moved], title: str = "") -> Path:
    """Sentences whose words stand on blue where they spoke for the decision, and on red where they
    spoke against it, the darkest of each sentence the one with the most influence."""
    colours = colormaps["RdBu"]
    figure_lines = [(each, _broken(each.words)) for each in sentences]
    count = sum(1 + len(lines) for _, lines in figure_lines) + 0.4 * len(sentences) + 1
    figure = canvas.new_figure(_COLUMN * WIDE + 0.4, _LINE * count + 0.6, title)
    axes = figure.subplots()
    axes.set(xlim=(-1, WIDE), ylim=(count, -0.2))
    axes.set_axis_off()
    axes.text(0, 0.3, "blue: for what was said; red: against it", va="center", fontsize=8)
    top = 1.5
    for each, lines in figure_lines:
        axes.text(0, top, each.heading, va="center", fontsize=8, color="dimgrey")
        most = max(map(abs, each.influence), default=0) or 1
        for line in lines:
            top += 1
            at = 0
            for i in line:
                word = shortened(each.words[i], WIDE)
                wide = columns(word) + 1
                # not to the ends of the scale, which are too dark for black letters
                colour = colours(0.5 + 0.3 * each.influence[i] / most)
                axes.add_patch(Rectangle((at, top - 0.42), wide - 0.3, 0.84, color=colour, lw=0))
                axes.text(at + wide / 2 - 0.15, top, word, ha="center", va="center", fontsize=9)
                at += wide
        top += 1.4
    return canvas.save(figure, path)


def _broken(words: Sequence[str]) -> list[list[int]]:
    """The places of words, line by line."""
    lines, room = list[list[int]](), 0
    for i, word in enumerate(words):
        wide = min(columns(word), WIDE) + 1
        if not lines or wide > room:
            lines.append([])
            room = WIDE
        lines[-1].append(i)
        room -= wide
    return lines
