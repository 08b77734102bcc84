"""What the tests of pictures share."""

import pytest

from saiki.lens import LayerView, Statistics
from saiki.plots import canvas


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved."""
    figures = []

    def keep(figure, path):
        figures.append(figure)
        return path

    monkeypatch.setattr(canvas, "save", keep)
    return figures


@pytest.fixture
def history():
    """Makes what the lens saw of one layer at the iterations 1, 10, 20, …: these norms of the
    gradient of h, and shares of it that are saturated."""

    def of(gradients, saturated):
        frames = []
        for i, (norms, share) in enumerate(zip(gradients, saturated, strict=True)):
            values = {"h": Statistics(0, 1, -1, 1, share), "u": Statistics(0, 1, -1, 1, None)}
            frames.append((10 * i or 1, {"layer": LayerView({"h": norms}, values)}))
        return frames

    return of
