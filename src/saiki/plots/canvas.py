"""What every picture begins and ends with: a figure, and a PNG file that is whole or absent."""

from pathlib import Path

from matplotlib.figure import Figure

from saiki.files import write


def save(figure: Figure, path: Path) -> Path:
    """Write the picture whole or not at all."""
    return write(path, lambda temporary: figure.savefig(temporary, dpi=120, format="png"))


def new_figure(width: float = 7.0, height: float = 4.2) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")
