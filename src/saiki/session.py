"""One run: from knobs to a run folder with its figures, its model and its pictures."""

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from saiki import lens, plots
from saiki.errors import InputError
from saiki.experiment import Experiment, Figures
from saiki.experiments import load
from saiki.runs import RunFolder, write
from saiki.training import Point, Stopped, train

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
    torch.manual_seed(experiment.seed)
    model = experiment.model()
    points: list[Point] = []
    shown = {round(experiment.iterations * i / 10) for i in range(1, 11)}
    started = time.perf_counter()
    with tqdm(total=experiment.iterations, disable=None if say else True, leave=False) as bar:

        def on_point(point: Point) -> None:
            bar.update(point.step - (points[-1].step if points else 0))
            points.append(point)
            record = {"step": point.step, "loss": point.loss, "gradient_norm": point.gradient_norm}
            folder.append("metrics.jsonl", record | experiment.monitor(model))
            if point.view is not None:
                layers = {name: layer.to_dict() for name, layer in point.view.items()}
                folder.append("lens.jsonl", {"step": point.step, "layers": layers})
            if say and any(point.step - experiment.log_every < step <= point.step for step in shown):
                bar.clear()
                say(f"{point.step:>7}  loss {point.loss:.4f}   {experiment.sample(model)}")

        trouble, last = None, experiment.iterations
        try:
            train(experiment, model, on_point, watch)
        except Stopped as stopped:
            trouble, last = str(stopped), stopped.step
    figures: Figures = {
        **experiment.evaluate(model),
        "train_loss": points[-1].loss if points else None,
        "gradient_norm_max": max((p.gradient_norm for p in points), default=None),
        "iterations": last,
        "seconds": time.perf_counter() - started,
    }
    write(folder.path / "model.safetensors", lambda path: save_file(model.state_dict(), path))
    folder.write_result({**figures, "stopped": trouble})
    pictures = [loss_plot(folder, points)]
    history = [(p.step, p.view) for p in points if p.view is not None]
    if history:
        pictures.append(plots.inside(folder.path / "lens.png", history, experiment.name))
    if say:
        for line in (trouble, lens.describe(history) if history else None, *map(str, pictures)):
            if line:
                say(line)
    return Outcome(folder, figures, trouble)


def loss_plot(folder: RunFolder, points: list[Point]) -> Path:
    curve = [p.step for p in points], [p.loss for p in points]
    return plots.curves(folder.path / "loss.png", {"": [curve]}, ylabel="training loss")


def reopen(path: Path) -> tuple[Experiment, nn.Module]:
    """The experiment and the trained model of a run folder.

    Raises:
        InputError: there is no run, or its files are damaged or do not fit each other.
    """
    config = RunFolder.open(path).config
    try:
        experiment = load(config["experiment"]).from_dict(config["knobs"])
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path / 'config.json'} is not the record of a run") from None
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
