"""One run: from knobs to a run folder with its figures, its model and its pictures."""

import importlib.util
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from saiki import lens, plots, proof
from saiki.bench.cells import beside_eager
from saiki.cell import Cell
from saiki.cells import VARIANTS
from saiki.errors import InputError, SaikiError
from saiki.experiment import Experiment, Figures
from saiki.experiments import HOMES, load
from saiki.recurrent import Recurrent
from saiki.runs import RunFolder, write
from saiki.training import Point, StoppedError, train

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """A finished run."""

    folder: RunFolder
    figures: Figures
    trouble: str | None
    """Why the training stopped early, in one sentence."""


def run(
    experiment: Experiment,
    folder: RunFolder,
    preset: str | None = None,
    watch: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Train, evaluate and leave everything in ``folder``.

    Args:
        preset: the name the knobs came from, for the record.
        watch: look inside with :mod:`saiki.lens` at each point of the curves.
        say: called with each line a person should see; silent without it.
    """
    command = shlex.join(["saiki", *sys.argv[1:]])
    folder.write_config(experiment.name, preset, experiment.to_dict(), command)
    if experiment.threads is not None:
        torch.set_num_threads(experiment.threads)
    torch.manual_seed(experiment.seed)
    model = experiment.model()
    curve: list[dict[str, float]] = []
    history: list[tuple[int, lens.View]] = []
    shown = {round(experiment.iterations * i / 10) for i in range(1, 11)}
    trouble, last, started = None, experiment.iterations, time.perf_counter()
    with tqdm(total=experiment.iterations, disable=None if say else True, leave=False) as bar:

        def on_point(point: Point) -> None:
            bar.update(point.step - bar.n)
            curve.append({**point.figures(), **experiment.monitor(model)})
            folder.append("metrics.jsonl", curve[-1])
            if point.view is not None:
                history.append((point.step, point.view))
                layers = {name: layer.to_dict() for name, layer in point.view.items()}
                folder.append("lens.jsonl", {"step": point.step, "layers": layers})
            if say and shown.intersection(
                range(point.step - experiment.log_every + 1, point.step + 1)
            ):
                bar.clear()
                say(f"{point.step:>7}  loss {point.loss:.4f}   {experiment.sample(model)}")

        try:
            train(experiment, model, on_point, watch)
        except StoppedError as stopped:
            trouble, last = str(stopped), stopped.step
    figures: Figures = {
        **experiment.evaluate(model),
        **experiment.summarise(curve),
        "train_loss": curve[-1]["loss"] if curve else None,
        "gradient_norm_max": max((point["gradient_norm"] for point in curve), default=None),
        "iterations": last,
        "seconds": time.perf_counter() - started,
    }
    write(folder.path / "model.safetensors", lambda path: save_file(model.state_dict(), path))
    folder.write_result({**figures, "stopped": trouble})
    pictures = [loss_plot(folder)]
    if history:
        pictures.append(plots.inside(folder.path / "lens.png", history, experiment.name))
    if say:
        for line in (trouble, lens.describe(history) if history else None, *map(str, pictures)):
            if line:
                say(line)
    return Outcome(folder, figures, trouble)


def loss_curve(folder: RunFolder) -> plots.Curve:
    """Iterations and training loss of a run, without the points where it was not a number."""
    points = list(folder.lines("metrics.jsonl"))
    if not all("step" in point and "loss" in point for point in points):
        raise InputError(f"{folder.path / 'metrics.jsonl'} has a line without step or loss")
    known = [point for point in points if point["loss"] is not None]
    return [point["step"] for point in known], [point["loss"] for point in known]


def loss_plot(folder: RunFolder) -> Path:
    """Draw the training loss of a run."""
    curve = loss_curve(folder)
    return plots.curves(folder.path / "loss.png", {"": [curve]}, ylabel="training loss")


def compare(folders: Sequence[Path], picture: Path) -> Iterator[str]:
    """What differs between runs, line by line; draws their loss curves over each other."""
    runs = [RunFolder.open(path) for path in folders]
    width = max(len(str(path)) for path in folders)
    yield " " * 24 + "  ".join(f"{path!s:>{width}}" for path in folders)
    for title, tables in (
        ("settings", [settings_of(run) for run in runs]),
        ("figures", [run.result for run in runs]),
    ):
        yield title
        for name in dict.fromkeys(name for table in tables for name in table):
            values = [_shown(table.get(name)) for table in tables]
            if len(set(values)) > 1:
                yield f"  {name:<22}" + "  ".join(f"{value:>{width}}" for value in values)
    lines = {str(run.path): [loss_curve(run)] for run in runs}
    yield str(plots.curves(picture, lines, ylabel="training loss"))


def settings_of(run: RunFolder) -> dict[str, Any]:
    """The experiment and its knobs, as the run recorded them."""
    config = run.config
    knobs = config.get("knobs")
    if "experiment" not in config or not isinstance(knobs, dict):
        raise InputError(f"{run.path / 'config.json'} is not the record of a run")
    return {"experiment": config["experiment"], **knobs}


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)


def check(
    target: str, preset: str | None, input_size: int, hidden_size: int
) -> Iterator[proof.Report]:
    """The proofs of a built-in family, of the cells of a file, or of an experiment's model."""
    if target in VARIANTS:
        for name, variant in VARIANTS[target].items():
            yield replace(proof.check(variant(input_size, hidden_size)), title=name)
    elif ".py" in target:
        for cell in cells_in(target):
            try:
                made = cell(input_size, hidden_size)
                report = proof.check(made)
                notes = (beside_eager(made),) if report.passed else ()
            except SaikiError:
                raise
            except Exception as error:  # whatever a user's own code may raise
                raise InputError(f"{cell.__name__} does not run: {_told(error)}") from error
            yield replace(report, notes=(*report.notes, *notes))
    elif target in HOMES:
        experiment = load(target).from_dict(load(target).preset(preset))
        torch.manual_seed(experiment.seed)
        model = experiment.model()
        for layer in model.modules():
            if isinstance(layer, Recurrent):
                yield proof.check(layer)
        batch = next(experiment.batches())
        yield proof.check_loss(model, lambda twin: experiment.loss(twin, doubled(batch)))
    else:
        raise InputError(
            f"there is nothing called {target!r} to check; there are "
            f"{', '.join((*VARIANTS, *HOMES))}, and FILE.py:Cell for a cell of yours"
        )


def doubled(batch: Any) -> Any:
    """A batch with its floating-point tensors in float64."""
    if isinstance(batch, torch.Tensor):
        return batch.double() if batch.is_floating_point() else batch
    return tuple(doubled(part) for part in batch)


def cells_in(target: str) -> list[type[Cell]]:
    """The cell ``FILE.py:Cell``, or every cell that ``FILE.py`` defines.

    Raises:
        InputError: there is no such file or cell, or the file does not run.
    """
    file, _, name = target.partition(":")
    path = Path(file)
    if not path.is_file():
        raise InputError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses and pickles look for it
    sys.path.insert(0, str(path.parent.resolve()))  # the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's own code may raise
        raise InputError(f"{file} does not run: {_told(error)}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    found = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Cell) and value.__module__ == path.stem
    }
    if not found:
        raise InputError(f"{file} defines no subclass of saiki.Cell")
    if name and name not in found:
        raise InputError(f"{file} defines no cell {name!r}; it defines {', '.join(found)}")
    return [found[name]] if name else list(found.values())


def _told(error: Exception) -> str:
    """An error of a user's own code: what it says and at which line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and "/saiki/" not in f.filename]
    line = error.lineno if isinstance(error, SyntaxError) else (own or frames)[-1].lineno
    said = str(error).strip().splitlines()
    return f"{said[0] if said else type(error).__name__} (line {line})"


def reopen(path: Path) -> tuple[Experiment, nn.Module]:
    """The experiment and the trained model of a run folder.

    Raises:
        InputError: there is no run, or its files are damaged or do not fit each other.
    """
    settings = settings_of(RunFolder.open(path))
    experiment = load(settings.pop("experiment")).from_dict(settings)
    model = experiment.model()
    weights = path / "model.safetensors"
    try:
        model.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise InputError(f"{path} holds no model.safetensors: its training did not end") from None
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{weights} does not hold the weights of this run: {reason}") from None
    return experiment, model.eval()
