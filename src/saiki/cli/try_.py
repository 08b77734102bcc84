"""``saiki try``: a grid of settings, compared, and the claims it decides."""

import os
import shlex

from saiki.cli.common import (
    Parser,
    add_data_changed,
    count,
    experiment_parser,
    name_first,
    new_path,
)
from saiki.errors import InputError
from saiki.terminal import say

DEFAULT_JOBS = os.cpu_count() or 1


def main(words: list[str]) -> int:
    words = name_first(words)
    options = _parser(words).parse_intermixed_args(words)
    from saiki.experiments import load, outlines
    from saiki.runs.folder import RunFolder

    outline = outlines.exercise(options.name)  # what is wrong is said before PyTorch is loaded
    outline.preset(options.preset)
    changes = outline.grid(options.grid)
    for change in changes:
        outline.check_paths(change)
    if not (options.grid or options.preset or outline.claims):
        raise InputError(
            f"{outline.name} makes no claims; give knobs to vary, such as cell=lstm,gru"
        )
    if options.resume:
        out = RunFolder.resume(options.name, options.out, several=True)
    else:
        RunFolder.refuse_used(options.out)
    from saiki.runs import ray, sweep, workers
    from saiki.runs.record import Options

    experiment = load(options.name)
    if options.grid or options.preset:
        rows = sweep.settings(experiment, options.preset, changes, options.seeds)
    else:
        rows = sweep.claim_settings(experiment, options.seeds)
    if options.ray:
        machines = ray.joined(options.ray, options.jobs)
    else:
        machines = workers.processes(options.jobs or DEFAULT_JOBS)
    run_options = Options(watch=options.lens, data_changed=options.data_changed)
    with machines as runner:
        if not options.resume:
            out = RunFolder.create(options.name, options.out)
        try:
            trials = sweep.run_all(rows, out, options.preset, run_options, runner)
        except KeyboardInterrupt:
            flags = f"--out {shlex.quote(str(out.path))} --resume"
            raise KeyboardInterrupt(f"stopped; go on with the same command and {flags}") from None
    lines = sweep.table(rows, trials)
    pictures = sweep.save(out, rows, trials, lines)
    sweep.show(lines, (experiment.score, "loss", "seconds"), say)
    for claim, holds, figures in sweep.verdicts(experiment, rows, trials):
        say(f"{'held    ' if holds else 'not held'}  {claim.statement}: {figures}")
    for path in pictures:
        say(path)
    say(out.path)
    return 0


def _parser(words: list[str]) -> Parser:
    parser = experiment_parser(
        "try",
        "Run a grid of settings, each with several seeds, and compare them. Without a grid: the\n"
        "settings that decide the experiment's claims. Each claim that the runs decide is printed\n"
        "as held or not held.",
        words,
    )
    parser.add_argument("grid", nargs="*", metavar="knob=a,b,c", help="values to try; their grid")
    parser.add_argument("--preset", help="settings to start from; saiki show NAME lists them")
    parser.add_argument("--seeds", type=count, default=3, help="runs of each setting (3)")
    help = f"runs at a time ({DEFAULT_JOBS}; on a Ray cluster as many as it has CPUs)"
    parser.add_argument("--jobs", type=count, help=help)
    help = (
        "run on a Ray cluster: auto, HOST:PORT, ray://HOST:10001, or local for one on this "
        "machine; pip install 'saiki[ray]'"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help=help)
    help = "folder of the table; runs/NAME/1, 2, … without"
    parser.add_argument("--out", type=new_path, help=help)
    help = "go on with the runs in --out, or the newest of runs/NAME; what is there is kept"
    parser.add_argument("--resume", action="store_true", help=help)
    add_data_changed(parser)
    parser.add_argument("--lens", action="store_true", help="record and draw what happens inside")
    return parser
