"""What the tests of pictures share."""

import pytest

from saiki.lens import LayerView, Statistics
from saiki.plots import canvas


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been saved."""
    saved = []

    def keep(figure, path):
        saved.append(figure)
        return path

    monkeypatch.setattr(canvas, "save", keep)
    return saved


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
