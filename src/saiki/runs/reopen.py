"""A run folder read back: its experiment, its model, and whether a run may go on in it."""

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import nn

from saiki.errors import InputError
from saiki.experiment import Experiment
from saiki.experiments import load
from saiki.knobs import Value
from saiki.runs.folder import RunFolder
from saiki.saving.kinds import fits, in_words, kinds_of
from saiki.saving.pretrained import WEIGHTS, of_run

AS_TRAINED: Mapping[str, Value] = {}
"""No knobs that are to differ from those of the run."""


def reopen(path: Path) -> tuple[Experiment, nn.Module]:
    """The experiment and the trained model of a run folder.

    Raises:
        InputError: there is no run, or its files are damaged or do not fit each other.
    """
    run = RunFolder.open(path)
    experiment, recorded = setting_of(run), run.settings
    model, about = of_run(path)
    kind = kinds_of(type(experiment).model)["return"]
    if not fits(model, kind):
        raise InputError(
            f"{path / WEIGHTS} must hold a model that is {in_words(kind)}, got "
            f"{type(model).__name__}"
        )
    if about.get("run") != [recorded.pop("experiment"), recorded]:
        raise InputError(f"{path / WEIGHTS} does not hold the weights of this run, but of another")
    return experiment, model


def in_use(path: Path, knobs: Mapping[str, Value] = AS_TRAINED) -> tuple[Experiment, nn.Module]:
    """The same, with some knobs changed for the use of the trained model.

    Raises:
        InputError: see :func:`reopen`; or a knob is not among :attr:`Experiment.predict_knobs`.
    """
    experiment, model = reopen(path)
    if fixed := knobs.keys() - {*experiment.predict_knobs}:
        names = ", ".join(experiment.predict_knobs) or "none"
        raise InputError(
            f"{min(fixed)} cannot be changed when the model of {experiment.name} is used; these "
            f"can: {names}"
        )
    return experiment.changed(knobs), model


def setting_of(run: RunFolder) -> Experiment:
    """The experiment of a run, with its knobs."""
    settings = run.settings
    return load(settings.pop("experiment")).from_dict(settings)


def check_resumed(
    run: RunFolder, name: str, knobs: Mapping[str, Value], may_grow: Collection[str] = ()
) -> Experiment:
    """The experiment of a run that is to go on, perhaps for longer.

    Args:
        name: of the experiment that the run should be of.
        given: knobs that it should have.
        may_grow: those of them that may be more than what it was begun with.

    Raises:
        InputError: it is a run of another experiment, or of other knobs.
    """
    experiment = was = setting_of(run)
    if experiment.name != name:
        raise InputError(f"{run.path} holds a run of {experiment.name}, not of {name}")
    for knob, new in knobs.items():
        old = experiment.to_dict()[knob]
        if knob in may_grow and new > old:  # type: ignore[operator]
            experiment = experiment.changed({knob: new})
        elif old != new:
            raise InputError(
                f"{run.path} was begun with {knob} {old!r}, got {new!r}; leave it out to go on, "
                "or choose another --out"
            )
    if experiment is not was and experiment.iterations < was.iterations:
        raise InputError(
            f"{run.path} was begun for {was.iterations:,} iterations, more than "
            f"{experiment.iterations:,}; ask for more of them, or choose another --out"
        )
    return experiment


def go_on(run: RunFolder, experiment: Experiment) -> None:
    """Have a run train on, finished or not, where the experiment is longer by now than it trained.

    Raises:
        InputError: it ended in trouble, from which no further training leads.
    """
    if experiment.to_dict() == setting_of(run).to_dict() and (
        not run.is_finished or experiment.iterations <= (run.figures.get("iterations") or 0)
    ):
        return
    if run.is_finished and run.trouble:
        raise InputError(f"{run.path} cannot go on: {run.trouble}")
    run.extend(experiment.to_dict())
