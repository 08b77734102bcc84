"""``saiki run``: train one setting."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from saiki.cli.common import Parser, add_knobs, experiment_parser, new_path, say, seconds

if TYPE_CHECKING:
    from saiki.experiment import Experiment
    from saiki.runs.folder import RunFolder


def main(words: list[str]) -> int:
    options = _parser(words).parse_args(words)
    from saiki import processes
    from saiki.progress import duration
    from saiki.runs.folder import RunFolder
    from saiki.runs.folds import cross_validate
    from saiki.runs.record import Options
    from saiki.runs.run import refuse, run

    with processes.joined():
        tell = say if processes.is_first() else lambda line: None
        how = Options(options.lens, options.tensorboard, options.checkpoint_seconds, say=tell)
        if options.resume:
            several = options.cross_validate is not None
            folder = RunFolder.resume(options.name, options.out, several)
            experiment = _experiment(options, folder)
        else:
            experiment = _experiment(options)
            refuse(experiment, how, options.cross_validate)
            if processes.is_first():
                folder = RunFolder.create(options.name, options.out)
            else:
                folder = RunFolder(options.out or Path())
        hints = list[str]()
        if folder.is_finished and options.resume:
            tell(f"{folder.path} has ended already; here is its result\n")
            figures, trouble = folder.figures, folder.result["stopped"]
        else:
            if experiment.minutes > 1:
                usual = duration(60 * experiment.minutes)
                tell(f"with its defaults {experiment.name} takes about {usual} on two cores\n")
            tell(f"{experiment.equations()}\n")
            if options.cross_validate:
                outcome = cross_validate(experiment, options.cross_validate, folder, how)
            else:
                outcome = run(experiment, folder, options.preset, how)
            figures, trouble = outcome.figures, outcome.trouble
            if processes.is_first() and not (trouble or options.cross_validate):
                hints = _next_commands(experiment, folder.path)
        width = max(map(len, figures), default=0)
        for name, value in figures.items():
            tell(f"{name:<{width}}  {'–' if value is None else f'{value:.6g}'}")
        for line in hints:
            tell(line)
        tell(str(folder.path))
    return 1 if trouble else 0


def _next_commands(experiment: "Experiment", folder: Path) -> list[str]:
    """What is done with a run that has ended, each as it can be given."""
    run = shlex.quote(str(folder))
    return [
        "\nnext:",
        f"  saiki predict {run} {shlex.quote(experiment.input_example())}",
        f"  saiki compare {run} ANOTHER-RUN",
        f"  saiki export {run} --onnx {experiment.name}.onnx",
    ]


def _parser(words: list[str]) -> Parser:
    parser = experiment_parser("run", "Train one setting of an experiment.", words)
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
    help = "write the curves for TensorBoard too; pip install 'saiki[tensorboard]'"
    parser.add_argument("--tensorboard", action="store_true", help=help)
    return parser


def _experiment(options: argparse.Namespace, folder: "RunFolder | None" = None) -> "Experiment":
    """The experiment with the knobs of its preset and then those given as flags; where a run was
    begun in ``folder``, that of the run, with which they must agree."""
    from saiki.experiments import load
    from saiki.runs.reopen import begun

    experiment = load(options.name)
    given = {name: value for name, value in vars(options).items() if name in experiment.knobs()}
    given = {**experiment.preset(options.preset), **given}
    wanted = experiment.from_dict(given)
    if folder is None or not folder.has_begun:
        return wanted
    return begun(folder, experiment.name, {name: wanted.to_dict()[name] for name in given})
