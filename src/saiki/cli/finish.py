"""``saiki finish``: a paused run, used as it is."""

from pathlib import Path

from saiki.cli.common import Parser, add_data_changed, tell_result
from saiki.terminal import say


def main(words: list[str]) -> int:
    parser = Parser("finish", "Evaluate a run that was paused, and use its model as it is.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the run folder")
    add_data_changed(parser)
    options = parser.parse_args(words)
    from saiki.runs.folder import RunFolder

    folder = RunFolder.open(options.folder)  # before PyTorch is loaded
    from saiki.runs.record import Options
    from saiki.runs.reopen import setting_of
    from saiki.runs.run import finish

    if folder.is_finished:
        say(f"{folder.path} has ended already; here is its result\n")
        tell_result(folder.figures, folder.path, say)
        return 1 if folder.trouble else 0
    experiment = setting_of(folder)
    outcome = finish(experiment, folder, Options(data_changed=options.data_changed, say=say))
    tell_result(outcome.figures, folder.path, say, experiment)
    return 0
