"""``saiki predict``: the trained model on your input."""

import json
import sys
from pathlib import Path

from saiki.cli.common import Parser, add_flags, seconds
from saiki.errors import InputError


def main(words: list[str]) -> int:
    parser = Parser("predict", "What a trained model makes of your input.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the run folder")
    help = (
        "such as '37 + 58', the path of a sound, of an image or of a file of sentences, a folder "
        "of any of them, or - for the lines of standard input"
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=help)
    help = "listen to the microphone for S seconds (2); pip install 'saiki[microphone]'"
    parser.add_argument("--mic", type=seconds, nargs="?", const=2.0, metavar="S", help=help)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    help = "draw how it comes to its answers; where a model pays attention to a text or draws"
    parser.add_argument("--picture", type=Path, metavar="FILE", help=help)
    help = "folder for answers that are images; predictions in DIR without"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=help)
    asked = [word for word in words if word not in ("-h", "--help")]
    if asked:  # which knobs there are depends on the run
        from saiki.runs.folder import RunFolder
        from saiki.runs.reopen import setting_of

        trained = setting_of(RunFolder.open(parser.parse_known_args(asked)[0].folder))
        add_flags(parser, type(trained), trained.predict_knobs)
    options = parser.parse_intermixed_args(words)
    if not options.inputs and options.mic is None:
        parser.error("give an INPUT at least, or --mic")
    from saiki.runs.predict import answers, inputs
    from saiki.runs.reopen import reopen

    experiment, model = reopen(options.folder)
    used = {
        name: value for name, value in vars(options).items() if name in experiment.predict_knobs
    }
    experiment = experiment.changed(used)
    trouble, said = False, set[str]()
    with inputs(experiment, options.inputs, options.mic) as given:
        folder = options.out or options.folder / "predictions"
        typed = "-" in options.inputs and sys.stdin.isatty()
        if options.picture:
            drawn = list(given)
            experiment.draw_answers(model, drawn, options.picture)
            given = iter(drawn)
        for answer in answers(experiment, model, given, typed, folder):
            if isinstance(answer, InputError):  # the others are answered all the same
                print(f"saiki predict: {answer}", file=sys.stderr)
                trouble = True
                continue
            text, remark = answer.pop("text"), answer.pop("remark", "")
            if remark and remark not in said:
                said.add(remark)
                print(f"saiki predict: {remark}", file=sys.stderr)
            if unknown := answer.get("unknown"):
                unread = f"{' '.join(unknown)} (in {answer['input'][:60]!r})"
                print(f"saiki predict: unknown to the model: {unread}", file=sys.stderr)
            print(json.dumps(answer, ensure_ascii=False) if options.json else text, flush=True)
    return 2 if trouble else 0
