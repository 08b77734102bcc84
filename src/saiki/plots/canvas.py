"""What every picture begins and ends with: a figure, and a file that is whole or absent."""

import textwrap
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter

from saiki.errors import InputError
from saiki.files import write
from saiki.numbers import number
from saiki.plots.fonts import fit

FORMATS = {"": "png", ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".svg": "svg", ".pdf": "pdf"}
"""Of a picture, by how the name of its file ends."""
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def new_figure(width: float = 7.0, height: float = 4.2, title: str = "") -> Figure:
    """A figure of this size in inches, and higher by the lines of its title."""
    lines = textwrap.wrap(title, max(20, int(13 * width)))
    figure = Figure(figsize=(width, height + 0.16 * len(lines)), layout="constrained")
    if lines:
        figure.suptitle("\n".join(lines), fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the picture whole or not at all, in the format that the name of the file asks for.

    Raises:
        InputError: there is no such format.
    """
    kind = picture_format(path)
    fit(figure)

    def draw(temporary: Path) -> None:
        with rc_context({"svg.hashsalt": "saiki"}):  # the same picture has the same bytes
            figure.savefig(temporary, dpi=120, format=kind, metadata=_UNDATED.get(kind))

    return write(path, draw)


def picture_format(path: Path) -> str:
    """The format that the name of a picture asks for; PNG where it has no ending."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise InputError(
            f"a picture is written as .png, .jpg, .svg or .pdf, got {path.suffix!r} in {path}"
        ) from None


class Decades(LogFormatter):
    """Numbers along a logarithmic axis, as plain text: ``0.1``, ``2``, ``1·10⁻⁵``."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return number(x) if super().__call__(x, pos) else ""


def make_logarithmic(axes: Axes) -> None:
    """Let the vertical axis be a logarithmic one."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(Decades())
    axes.yaxis.set_minor_formatter(NullFormatter())
