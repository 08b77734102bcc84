"""Runs beside each other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from saiki.experiments import load
from saiki.plots.canvas import picture_format
from saiki.plots.curves import draw_curves, loss_curve
from saiki.runs.folder import RunFolder
from saiki.runs.reopen import settings_of


def compare(folders: Sequence[Path], picture: Path) -> Iterator[str]:
    """What differs between runs, line by line; draws their loss curves over each other."""
    picture_format(picture)  # refused before anything is said
    runs = [RunFolder.open(path) for path in folders]
    width = max(len(str(path)) for path in folders)
    yield " " * 24 + "  ".join(f"{path!s:>{width}}" for path in folders)
    settings = [settings_of(run) for run in runs]
    for kind, tables in (("settings", settings), ("figures", [run.result for run in runs])):
        yield kind
        for name in dict.fromkeys(name for table in tables for name in table):
            values = [_shown(table.get(name)) for table in tables]
            if len(set(values)) > 1:
                yield f"  {name:<22}" + "  ".join(f"{value:>{width}}" for value in values)
    lines = {str(run.path): [loss_curve(run.points())] for run in runs}
    experiment = load(settings[0]["experiment"])
    alike = all(each["experiment"] == experiment.name for each in settings)
    title = experiment.title_of(*settings) if alike else ""
    drawn = draw_curves(picture, lines, ylabel="training loss", kind="magnitude", title=title)
    yield str(drawn)
    for each in experiment.compare_plots({str(r.path): r.figures for r in runs}, picture.parent):
        yield str(each)


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)
