"""``saiki run``: train one setting."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from saiki.cli.common import (
    Parser,
    add_data_changed,
    add_knobs,
    experiment_parser,
    name_first,
    new_path,
    seconds,
    tell_result,
)
from saiki.terminal import say

if TYPE_CHECKING:
    from saiki.experiment import Experiment
    from saiki.knobs import Value
    from saiki.runs.folder import RunFolder


def main(words: list[str]) -> int:
    words = name_first(words)
    options = _parser(words).parse_intermixed_args(words)
    from saiki.runs.folder import RunFolder

    knobs, flags = _knobs(options)
    if options.resume:  # what is wrong is said before PyTorch is loaded
        several = options.cross_validate is not None
        folder = RunFolder.resume(options.name, options.out, several)
    else:
        RunFolder.refuse_used(options.out)
    from saiki import processes
    from saiki.progress import duration
    from saiki.runs.folds import cross_validate
    from saiki.runs.record import Options
    from saiki.runs.run import refuse, run

    with processes.joined():
        tell = say if processes.is_first() else lambda line: None
        run_options = Options(
            options.lens,
            options.tensorboard,
            options.checkpoint_seconds,
            options.data_changed,
            options.on_interrupt == "finish",
            tell,
        )
        if options.resume:
            experiment = _experiment(options, knobs, flags, folder)
        else:
            experiment = _experiment(options, knobs, flags)
            refuse(experiment, run_options, options.cross_validate)
            if processes.is_first():
                folder = RunFolder.create(options.name, options.out)
            else:
                folder = RunFolder(options.out or Path())
        ended = processes.from_first(b"ended" if folder.is_finished else b"")
        if options.resume and ended and not options.cross_validate:
            tell(f"{folder.path} has ended already; here is its result\n")
            tell_result(folder.figures, folder.path, tell)
            return 1 if folder.trouble else 0
        if experiment.minutes > 1:
            usual = duration(60 * experiment.minutes)
            tell(f"with its defaults {experiment.name} takes about {usual} on two cores\n")
        tell(f"{experiment.equations()}\n")
        if options.cross_validate:
            outcome = cross_validate(experiment, options.cross_validate, folder, run_options)
        else:
            outcome = run(experiment, folder, options.preset, run_options)
        if processes.is_first():
            is_used = not (outcome.trouble or options.cross_validate)
            tell_result(outcome.figures, folder.path, tell, experiment if is_used else None)
    return 1 if outcome.trouble else 0


def _parser(words: list[str]) -> Parser:
    parser = experiment_parser("run", "Train one setting of an experiment.", words)
    help = "the same as --knob value"
    parser.add_argument("settings", nargs="*", metavar="knob=value", help=help)
    add_knobs(parser, words)
    help = "folder of the run; runs/NAME/1, 2, … without it"
    parser.add_argument("--out", type=new_path, help=help)
    help = "go on with the run in --out, or the newest of runs/NAME, where it was stopped"
    parser.add_argument("--resume", action="store_true", help=help)
    parser.add_argument("--lens", action="store_true", help="record and draw what happens inside")
    parser.add_argument(
        "--cross-validate", metavar="WHAT", help="a run for each fold, such as speakers"
    )
    help = "from one checkpoint to the next (30)"
    parser.add_argument("--checkpoint-seconds", type=seconds, default=30.0, metavar="S", help=help)
    add_data_changed(parser)
    help = "what Ctrl-C does: pause, or finish with the model as it is (pause)"
    parser.add_argument("--on-interrupt", choices=("pause", "finish"), default="pause", help=help)
    help = "write the curves for TensorBoard too; pip install 'saiki[tensorboard]'"
    parser.add_argument("--tensorboard", action="store_true", help=help)
    return parser


def _knobs(options: argparse.Namespace) -> tuple[dict[str, "Value"], dict[str, "Value"]]:
    """The knobs of the preset with those given as flags or words, and the latter alone."""
    from saiki.experiments import outlines

    outline = outlines.exercise(options.name)
    flags = {name: value for name, value in vars(options).items() if name in outline.knobs}
    flags = outline.parse(options.settings, flags)
    outline.check_paths(flags)
    return {**outline.preset(options.preset), **flags}, flags


def _experiment(
    options: argparse.Namespace,
    knobs: "dict[str, Value]",
    flags: "dict[str, Value]",
    folder: "RunFolder | None" = None,
) -> "Experiment":
    """The experiment with these knobs; where a run was begun in ``folder``, that of the run, with
    which they must agree."""
    from saiki import processes
    from saiki.duration import LENGTHS
    from saiki.experiments import load
    from saiki.runs.reopen import check_resumed, go_on

    experiment = load(options.name)
    wanted = experiment.from_dict(knobs)
    if folder is None or not folder.has_begun:
        return wanted
    values = {name: wanted.to_dict()[name] for name in knobs}
    resumed = check_resumed(folder, experiment.name, values, may_grow=flags.keys() & LENGTHS)
    if flags.keys() & LENGTHS and not options.cross_validate and processes.is_first():
        go_on(folder, resumed)
    return resumed
