"""Runs beside each other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from saiki.capabilities import DrawsComparisons
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.plots.canvas import picture_format
from saiki.plots.curves import draw_curves, loss_curve
from saiki.runs.folder import RunFolder
from saiki.runs.reopen import setting_of
from saiki.runs.summary import aligned


def compare(folders: Sequence[Path], picture: Path) -> Iterator[str]:
    """What differs between runs, line by line; draws their loss curves over each other.

    Raises:
        InputError: they are runs of several experiments, whose losses are not to be compared.
    """
    picture_format(picture)  # refused before anything is said
    runs = [RunFolder.open(path) for path in folders]
    experiments = [setting_of(run) for run in runs]
    for run, other in zip(runs, experiments, strict=True):
        if other.name != experiments[0].name:
            raise InputError(
                f"{runs[0].path} is a run of {experiments[0].name}, {run.path} one of "
                f"{other.name}; their losses measure different things, so compare runs of one "
                "experiment"
            )
    settings = [each.to_dict() for each in experiments]
    cells = [["", *(str(path) for path in folders)]]
    for title, tables in (("settings", settings), ("figures", [run.result for run in runs])):
        cells.append([title, *("" for _ in folders)])
        for name in dict.fromkeys(name for table in tables for name in table):
            values = [_shown(table.get(name)) for table in tables]
            if len(set(values)) > 1:
                cells.append([f"  {name}", *values])
    yield from aligned(cells)
    lines = {str(run.path): [loss_curve(run.points())] for run in runs}
    experiment = type(experiments[0])
    title = experiment.title_of(*settings)
    curves = draw_curves(picture, lines, ylabel="training loss", kind="magnitude", title=title)
    yield str(curves)
    trials = {
        str(run.path): Trial(knobs, (run.figures,), (run.path,))
        for run, knobs in zip(runs, settings, strict=True)
    }
    if issubclass(experiment, DrawsComparisons):
        yield from map(str, experiment.compare_plots(trials, picture.parent))


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)
