"""The command line. What a command needs is imported when it runs, so that help is instant."""

import argparse
import itertools
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from saiki.errors import InputError, SaikiError

if TYPE_CHECKING:
    from saiki.experiment import Experiment
    from saiki.runs import RunFolder


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and ends with exit code 2."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"saiki {prog}".strip(),
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser("", "Recurrent and sequence models, written once as equations.", _overview())
    parser.add_argument("--version", action="store_true", help="print the version and end")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below")
    parsed = parser.parse_args(words[:1])
    if parsed.version:
        from importlib.metadata import version

        print(f"saiki {version('saiki')}")
        return 0
    if parsed.command is None:
        parser.print_help()
        return 0
    if parsed.command not in COMMANDS:
        parser.error(f"there is no command {parsed.command!r}; there are {', '.join(COMMANDS)}")
    _, command = COMMANDS[parsed.command]
    try:
        return command(words[1:])
    except SaikiError as error:
        print(f"saiki {parsed.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"saiki {parsed.command}: {str(stop) or 'stopped'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `saiki ls | head -1` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def ls(words: list[str]) -> int:
    Parser("ls", "The experiments, one line each.").parse_args(words)
    from saiki.experiments import HOMES, load

    for name in HOMES:
        print(f"{name:<16} {load(name).summary}")
    return 0


def show(words: list[str]) -> int:
    parser = Parser("show", "What an experiment computes, its knobs, its presets and its claims.")
    parser.add_argument("name", metavar="NAME", help="an experiment; saiki ls lists them")
    parser.add_argument("--preset", help="the settings whose equations are shown")
    options = parser.parse_args(words)
    from saiki.experiments import load

    experiment = load(options.name)
    values = experiment.preset(options.preset)
    setting = experiment.from_dict(values)
    doc = " ".join((experiment.__doc__ or "").split())
    print(f"{experiment.name}: {experiment.summary}\n\n{doc}\n\n{setting.equations()}\n\nknobs")
    for knob in experiment.knobs().values():
        value = getattr(setting, knob.name)
        print(f"  {knob.name:<18} {value!s:<14} {knob.help}; {knob.allowed}")
    print("\npresets")
    for preset, changes in experiment.presets.items():
        told = ", ".join(f"{k}={v}" for k, v in changes.items()) or "as the knobs are"
        print(f"  {preset:<18} {told}")
    if experiment.claims:
        print("\nclaims, measured by saiki try", experiment.name)
    for claim in experiment.claims:
        print(f"  {claim.statement} (preset {claim.preset})")
    return 0


def run(words: list[str]) -> int:
    parser = _experiment_parser("run", "Train one setting of an experiment.", words)
    _add_knobs(parser, words)
    parser.add_argument("--out", type=Path, help="folder of the run; runs/NAME/1, 2, … without it")
    help = "go on with the run in --out, or the newest of runs/NAME, where it was stopped"
    parser.add_argument("--resume", action="store_true", help=help)
    parser.add_argument("--lens", action="store_true", help="record and draw what happens inside")
    parser.add_argument(
        "--cross-validate", metavar="WHAT", help="a run for each fold, such as speakers"
    )
    help = "from one checkpoint to the next (30)"
    parser.add_argument("--checkpoint-seconds", type=_seconds, default=30.0, metavar="S", help=help)
    help = "write the curves for TensorBoard too; pip install 'saiki[tensorboard]'"
    parser.add_argument("--tensorboard", action="store_true", help=help)
    options = parser.parse_args(words)
    from saiki import processes, session
    from saiki.record import Options
    from saiki.runs import RunFolder

    with processes.joined():
        say = _say if processes.is_first() else lambda line: None
        how = Options(options.lens, options.tensorboard, options.checkpoint_seconds, say=say)
        if options.resume:
            several = options.cross_validate is not None
            folder = RunFolder.resume(options.name, options.out, several)
            experiment = _setting(options, folder)
        else:
            experiment = _setting(options)
            session.refuse(experiment, how, options.cross_validate)
            if processes.is_first():
                folder = RunFolder.create(options.name, options.out)
            else:
                folder = RunFolder(options.out or Path())
        if folder.is_finished and options.resume:
            say(f"{folder.path} has ended already; here is its result\n")
            figures, trouble = folder.figures, folder.result["stopped"]
        else:
            say(f"{experiment.equations()}\n")
            how = Options(options.lens, options.tensorboard, options.checkpoint_seconds, say=say)
            if options.cross_validate:
                outcome = session.cross_validate(experiment, options.cross_validate, folder, how)
            else:
                outcome = session.run(experiment, folder, options.preset, how)
            figures, trouble = outcome.figures, outcome.trouble
        for name, value in figures.items():
            say(f"{name:<22} {'–' if value is None else f'{value:.6g}'}")
        say(str(folder.path))
    return 1 if trouble else 0


def try_(words: list[str]) -> int:
    parser = _experiment_parser(
        "try",
        "Run a grid of settings, each with several seeds, and compare them. Without a grid: the\n"
        "settings that decide the experiment's claims. Each claim that the runs decide is printed\n"
        "as held or not held.",
        words,
    )
    parser.add_argument("grid", nargs="*", metavar="knob=a,b,c", help="values to try; their grid")
    parser.add_argument("--preset", help="settings to start from; saiki show NAME lists them")
    parser.add_argument("--seeds", type=_count, default=3, help="runs of each setting (3)")
    jobs = os.cpu_count() or 1
    help = f"runs at a time ({jobs}; on a Ray cluster as many as it has CPUs)"
    parser.add_argument("--jobs", type=_count, help=help)
    help = (
        "run on a Ray cluster: auto, HOST:PORT, ray://HOST:10001, or local for one on this "
        "machine; pip install 'saiki[ray]'"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help=help)
    parser.add_argument("--out", type=Path, help="folder of the table; runs/NAME/1, 2, … without")
    help = "go on with the runs in --out, or the newest of runs/NAME; what is there is kept"
    parser.add_argument("--resume", action="store_true", help=help)
    parser.add_argument("--lens", action="store_true", help="record and draw what happens inside")
    options = parser.parse_intermixed_args(words)
    from saiki import cluster, sweep
    from saiki.experiments import load
    from saiki.runs import RunFolder

    experiment = load(options.name)
    if options.grid or options.preset:
        rows = sweep.settings(
            experiment, options.preset, sweep.grid(experiment, options.grid), options.seeds
        )
    else:
        rows = sweep.claim_settings(experiment, options.seeds)
    if not rows:
        raise InputError(
            f"{experiment.name} makes no claims; give knobs to vary, such as cell=lstm,gru"
        )
    ray, at_a_time = options.ray, options.jobs
    with cluster.joined(ray, at_a_time) if ray else sweep.processes(at_a_time or jobs) as run:
        if options.resume:
            out = RunFolder.resume(options.name, options.out, several=True)
        else:
            out = RunFolder.create(options.name, options.out)
        try:
            trials = sweep.run_all(rows, out, options.preset, options.lens, run)
        except KeyboardInterrupt:
            again = f"--out {shlex.quote(str(out.path))} --resume"
            raise KeyboardInterrupt(f"stopped; go on with the same command and {again}") from None
    lines = sweep.table(rows, trials)
    pictures = sweep.save(out, rows, lines)
    sweep.show(lines, (experiment.score, "loss", "seconds"), _say)
    for claim, held, figures in sweep.verdicts(experiment, rows, trials):
        print(f"{'held    ' if held else 'not held'}  {claim.statement}: {figures}")
    for path in pictures:
        print(path)
    print(out.path)
    return 0


def compare(words: list[str]) -> int:
    parser = Parser("compare", "What differs between runs, and their curves over each other.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders")
    parser.add_argument("--out", type=Path, default=Path("compare.png"), help="the picture")
    options = parser.parse_args(words)
    from saiki import session

    for line in session.compare(options.folders, options.out):
        print(line)
    return 0


def predict(words: list[str]) -> int:
    parser = Parser("predict", "What a trained model makes of your input.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the run folder")
    help = (
        "such as '37 + 58', the path of a sound file, a file of sentences, or - for the lines of "
        "standard input"
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=help)
    help = "listen to the microphone for S seconds (2); pip install 'saiki[microphone]'"
    parser.add_argument("--mic", type=_seconds, nargs="?", const=2.0, metavar="S", help=help)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    asked = [word for word in words if word not in ("-h", "--help")]
    if asked:  # which knobs there are depends on the run
        from saiki import session
        from saiki.runs import RunFolder

        trained = session.setting_of(RunFolder.open(parser.parse_known_args(asked)[0].folder))
        _add_flags(parser, type(trained), trained.at_use)
    options = parser.parse_intermixed_args(words)
    if not options.inputs and options.mic is None:
        parser.error("give an INPUT at least, or --mic")
    from saiki import session
    from saiki.inputs import answers, inputs

    experiment, model = session.reopen(options.folder)
    used = {name: value for name, value in vars(options).items() if name in experiment.at_use}
    experiment = experiment.from_dict({**experiment.to_dict(), **used})
    trouble = False
    with inputs(experiment, options.inputs, options.mic) as given:
        typed = "-" in options.inputs and sys.stdin.isatty()
        for answer in answers(experiment, model, given, typed):
            if isinstance(answer, InputError):  # the others are answered all the same
                print(f"saiki predict: {answer}", file=sys.stderr)
                trouble = True
                continue
            told = answer.pop("text")
            print(json.dumps(answer, ensure_ascii=False) if options.json else told, flush=True)
    return 2 if trouble else 0


def data(words: list[str]) -> int:
    parser = Parser("data", "The datasets of the exercises: what there is, and getting one.")
    parser.add_argument("action", choices=("ls", "get"), metavar="ls | get NAME")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a dataset; saiki data ls lists them"
    )
    options = parser.parse_args(words)
    from saiki.data import store

    if options.action == "ls":
        print(store.listing())
        return 0
    if options.name is None:
        parser.error(f"name the dataset to get; there are {', '.join(store.DATASETS)}")
    store.locate(options.name)
    print(store.describe(options.name))
    return 0


def check(words: list[str]) -> int:
    parser = Parser(
        "check",
        "Prove gradients right against finite differences, padding and reversal, in float64.",
        "examples:\n"
        "  saiki check lstm                     the built-in cell in every variant\n"
        "  saiki check my_cell.py:MyCell        a cell of yours\n"
        "  saiki check adder --preset report    an experiment's model and its loss",
    )
    parser.add_argument("target", metavar="TARGET", help="rnn, lstm, gru, FILE.py:Cell or NAME")
    parser.add_argument("--preset", help="settings of the experiment")
    parser.add_argument("--input-size", type=_count, default=3, help="of a cell of yours (3)")
    parser.add_argument("--hidden-size", type=_count, default=5, help="of a cell of yours (5)")
    options = parser.parse_args(words)
    from saiki import checks

    if options.preset and ":" in options.target:
        parser.error("--preset goes with the name of an experiment")
    reports = checks.check(options.target, options.preset, options.input_size, options.hidden_size)
    passed = True
    for report in reports:
        print(report)
        passed &= report.passed
    return 0 if passed else 1


def plot(words: list[str]) -> int:
    from saiki.activations import CATALOGUE

    parser = Parser("plot", "Draw activation functions and their derivatives.")
    names = ", ".join(("activations", *CATALOGUE))
    parser.add_argument("name", metavar="NAME", help=f"one of {names}")
    parser.add_argument("--out", type=Path, help="the picture; NAME.png without it")
    for parameter in dict.fromkeys(p for a in CATALOGUE.values() for p in a.parameters):
        owners = ", ".join(a.name for a in CATALOGUE.values() if parameter in a.parameters)
        parser.add_argument(f"--{parameter}", type=float, help=f"parameter of {owners}")
    options = parser.parse_args(words)
    from saiki.plots.activations import draw_activations

    if options.name not in (*CATALOGUE, "activations"):
        raise InputError(f"there is no activation {options.name!r}; there are {names}")
    given = {p: getattr(options, p) for p in ("alpha", "beta") if getattr(options, p) is not None}
    if options.name == "activations":
        if given:
            raise InputError(f"name the activation whose {', '.join(given)} is meant")
        chosen = list(CATALOGUE.values())
    else:
        chosen = [CATALOGUE[options.name].with_parameters(**given)]
    print(draw_activations(options.out or Path(f"{options.name}.png"), chosen))
    return 0


def export(words: list[str]) -> int:
    parser = Parser("export", "A trained model as a file for other programs, verified.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the run folder")
    help = "for onnxruntime and others; needs pip install 'saiki[onnx]'"
    parser.add_argument("--onnx", type=Path, required=True, metavar="FILE", help=help)
    options = parser.parse_args(words)
    from saiki import session
    from saiki.export import onnx

    experiment, model = session.reopen(options.folder)
    print(onnx(model, experiment.example(), options.onnx, experiment.metadata(model)))
    return 0


def bench(words: list[str]) -> int:
    parser = Parser("bench", "One training step against the peers that are installed, in turn.")
    parser.add_argument(
        "name",
        nargs="?",
        default="cells",
        choices=("cells", "layers", "spoken-digits", "translate", "decoding"),
        metavar="NAME",
        help="cells, against other libraries; layers: saiki.nn and ragged batches; spoken-digits: "
        "an epoch of it; translate: training steps of it; decoding: sentences of --run together "
        "and one by one",
    )
    parser.add_argument("--run", type=Path, metavar="DIR", help="a run of translate, for decoding")
    parser.add_argument("--repeats", type=_count, default=15, help="timings of each (15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(words)
    if (options.name == "decoding") != (options.run is not None):
        parser.error("decoding, and nothing else, needs --run DIR")
    from saiki.bench import cells, digits, layers, translation
    from saiki.bench.harness import machine
    from saiki.files import write_json

    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    rows = []
    homes: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
        "cells": cells.rows,
        "layers": layers.rows,
        "spoken-digits": digits.rows,
        "translate": lambda repeats: itertools.chain(
            translation.training(repeats), translation.input_feeding(repeats)
        ),
        "decoding": partial(translation.decoding, options.run),
    }
    for row in homes[options.name](options.repeats):
        rows.append(row)
        ours = next(iter(row["milliseconds"]))
        print(f"{row['workload']} {row['size']}: {ours} {row['milliseconds'][ours]:.2f} ms")
        for peer, ratio in row["ratio"].items():
            print(f"  {peer:<28} {row['milliseconds'][peer]:10.2f} ms  {ratio:8.2f}×", flush=True)
        for name, speed in row.get("sentences a second", {}).items():
            print(f"  {name:<28} {speed:10.1f} sentences a second", flush=True)
    if options.json:
        print(write_json(options.json, {"machine": about, "rows": rows}))
    return 0


COMMANDS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "ls": ("experiments, one line each", ls),
    "show": ("NAME: its equations, knobs, presets and claims", show),
    "run": ("NAME [--knob value]: train one setting", run),
    "try": ("NAME [knob=a,b,c]: a grid of settings, compared, and the claims it decides", try_),
    "compare": ("DIR DIR …: what differs between runs, and their curves", compare),
    "predict": ("DIR INPUT …: the trained model on your input", predict),
    "data": ("ls | get NAME: the datasets of the exercises", data),
    "export": ("DIR --onnx FILE: the trained model for onnxruntime and others", export),
    "check": ("FILE.py:Cell | NAME: gradients, padding and reversal proved", check),
    "bench": (
        "[cells | layers | spoken-digits | translate | decoding]: speed against the peers here",
        bench,
    ),
    "plot": ("activations | NAME: functions and their derivatives", plot),
}


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {help}" for name, (help, _) in COMMANDS.items()]
    return "commands\n" + "\n".join(lines) + "\n\nsaiki COMMAND --help tells more."


def _experiment_parser(command: str, description: str, words: list[str]) -> Parser:
    """The parser of a command whose first word names an experiment."""
    from saiki.experiments import HOMES

    named = bool(words) and not words[0].startswith("-")
    parser = Parser(f"{command} {words[0]}" if named else command, description)
    help = f"one of {', '.join(HOMES)}; saiki {command} NAME --help tells more"
    parser.add_argument("name", metavar="NAME", help=help)
    return parser


def _add_knobs(parser: Parser, words: list[str]) -> None:
    """A flag for every knob of the experiment that ``words`` name, if they name one."""
    parser.add_argument("--preset", help="settings to start from; saiki show NAME lists them")
    if not words or words[0].startswith("-"):
        return
    from saiki.experiments import load

    experiment = load(words[0])
    _add_flags(parser, experiment, experiment.knobs())


def _add_flags(parser: Parser, experiment: "type[Experiment]", names: Iterable[str]) -> None:
    """A flag for each of these knobs."""
    from saiki.knobs import Knob, Value

    def parse(knob: Knob) -> Callable[[str], Value]:
        def parse_one(text: str) -> Value:
            try:
                return knob.parse(text)
            except InputError as error:
                raise argparse.ArgumentTypeError(str(error)) from None

        return parse_one

    group = parser.add_argument_group("knobs")
    for knob in map(experiment.knob, names):
        group.add_argument(
            knob.flag,
            dest=knob.name,
            type=parse(knob),
            default=argparse.SUPPRESS,
            metavar=knob.type.__name__.upper(),
            help=f"{knob.help}; {knob.allowed} ({knob.default})".replace("%", "%%"),
        )


def _setting(options: argparse.Namespace, begun: "RunFolder | None" = None) -> "Experiment":
    """The experiment with the knobs of its preset and then those given as flags.

    Of a run that was ``begun`` the knobs are those of its folder, and the flags must agree.
    """
    from saiki.experiments import load

    experiment = load(options.name)
    given = {name: value for name, value in vars(options).items() if name in experiment.knobs()}
    given = {**experiment.preset(options.preset), **given}
    knobs = experiment.from_dict(given)
    if begun is None or not begun.has_begun:
        return knobs
    from saiki.session import setting_of

    there = setting_of(begun)
    if there.name != experiment.name:
        raise InputError(f"{begun.path} holds a run of {there.name}, not of {experiment.name}")
    for name in given:
        old, new = getattr(there, name), getattr(knobs, name)
        if old != new:
            raise InputError(
                f"{begun.path} was begun with {name} {old!r}, got {new!r}; leave it out to go on, "
                "or choose another --out"
            )
    return there


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds of at least 0, got {text!r}")
    return number


def _say(line: str) -> None:
    print(line, flush=True)
