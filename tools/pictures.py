"""Make the pictures of README.md and docs/ from real runs: ``make pictures``.

Trains what is not there yet, three hours on one core, and keeps it in ``runs/pictures``, so that a
second time takes a minute. ``--runs DIR`` takes finished runs from elsewhere. The data come from
where ``SAIKI_DATA`` points, or are downloaded.

Beside the pictures lies ``drawn.json``: which code drew each. ``tests/test_pictures.py`` says when
that code has changed since.
"""

import argparse
import ast
import contextlib
import hashlib
import io
import json
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "pictures"
RECORD = FOLDER / "drawn.json"
CODE = ROOT / "src" / "saiki"
LARGEST, ALL = 100_000, 1_500_000
"""Bytes of a picture, and of all."""

RUNS = {
    "augment": "run augment --preset report",
    "augment-try": "try augment --seeds 5",
    "adder": "run adder --preset report --lens",
    "date": "run date",
    "dialogue": "run dialogue",
    "forecast": "run forecast",
    "forecast-prices": "run forecast --preset prices",
    "masked-lm": "run masked-lm --preset small",
    "proofread": "run proofread --preset small",
    "sentence-vae": "run sentence-vae --preset small",
    "sentence-vae-collapse": "run sentence-vae --preset small --annealing 0 --free-bits 0 "
    "--word-dropout 0",
    "sentences": "run sentences",
    "sin-cos": "run sin-cos",
    "sin-cos-report": "run sin-cos --preset report",
    "spoken-digits": "run spoken-digits",
    "translate": "run translate --preset small --cell gru",
    "vae": "run vae",
    "vae-collapse": "run vae --preset published --examples 10000 --epochs 20 --beta 4 "
    "--annealing 0.5 --nll-images 100 --log-every 50",
    "vae-plane": "run vae --preset plane",
    "vae-plain": "run vae --preset plain",
    "vq-vae": "run vq-vae",
    "sound-codes": "run sound-codes",
    "words": "run words",
    "try": "try adder --preset report activation=sigmoid,tanh,relu --seeds 5",
}
"""What is trained, by the names of the folders."""

SENTENCES = (
    "彼女 は 彼 に 窓 を 開け る よう に 頼 ん だ 。",
    "私 たち は 勉強 する ため に 学校 へ 行 く 。",
)
"""Two of those kept apart that the run translates as a person did."""
DATES = ("5 mars 2024", "令和6年3月5日")
OPINIONS = (
    "朝食は普通でした。",
    "部屋は狭いですが、スタッフの対応は親切でした。",
    "二度と利用したくありません。",
)


TECHNIQUES = ("rotation", "crop", "contrast", "hue", "blur", "erasing", "CutMix")
"""Rows of the sheet that are shown."""
THUMB = 60
"""Pixels of a photo in a sheet."""


@dataclass(frozen=True)
class Picture:
    """One picture: the run it shows, who draws it into a file, and with which module of saiki."""

    run: str
    draw: Callable[[Path, Path], object]
    module: str


def _of_run(name: str) -> Callable[[Path, Path], object]:
    """A picture that a run draws itself."""

    def draw(run: Path, target: Path) -> None:
        from saiki.runs.folder import RunFolder
        from saiki.runs.reopen import reopen

        experiment, model = reopen(run)
        pictures = experiment.draw(model, RunFolder(run).points(), target.parent)
        next(path for path in pictures if path.name == name).rename(target)

    return draw


def _gradient(run: Path, target: Path) -> None:
    from saiki.lens.drawing import draw_inside
    from saiki.runs.folder import RunFolder
    from saiki.runs.record import looks_of
    from saiki.runs.reopen import setting_of

    folder = RunFolder(run)
    draw_inside(target, looks_of(folder), setting_of(folder).title)


def _attention(texts: tuple[str, ...]) -> Callable[[Path, Path], object]:
    def draw(run: Path, target: Path) -> None:
        from saiki.plots.attention import draw_attention
        from saiki.runs.reopen import reopen

        experiment, model = reopen(run)
        translations = model.translate(texts, experiment.decoding.build(0))
        maps = [best.alignment for best, *_ in translations]
        draw_attention(target, maps, experiment.title)

    return draw


def _variants(run: Path, target: Path) -> None:
    from saiki.experiments.augment.sheets import ACROSS, reduced, variants
    from saiki.plots.augmentation import draw_variants
    from saiki.runs.folder import RunFolder
    from saiki.runs.reopen import setting_of

    experiment = setting_of(RunFolder(run))
    sheet = variants(reduced(experiment.photo, THUMB), experiment.augmentation, experiment.seed)
    draw_variants(target, sheet, ACROSS, experiment.title, inches=0.54)


def _techniques(run: Path, target: Path) -> None:
    from saiki.experiments.augment.sheets import by_technique, reduced
    from saiki.plots.augmentation import draw_techniques
    from saiki.runs.folder import RunFolder
    from saiki.runs.reopen import setting_of

    experiment = setting_of(RunFolder(run))
    rows = by_technique(reduced(experiment.photo, THUMB), experiment.seed)
    draw_techniques(target, {name: rows[name] for name in TECHNIQUES}, inches=0.54)


def _opinions(run: Path, target: Path) -> None:
    from saiki.runs.reopen import reopen

    experiment, model = reopen(run)
    experiment.draw_answers(model, OPINIONS, target)


def _sounds(run: Path, target: Path) -> None:
    from saiki.plots.sounds import draw_sounds
    from saiki.runs.reopen import reopen

    experiment, model = reopen(run)
    waves, seen = {}, set[str]()
    for i, answer in zip(experiment.data.parts.test, experiment.tested(model), strict=True):
        if {answer.speaker, answer.label} & seen:  # another speaker and another digit each
            continue
        seen |= {answer.speaker, answer.label}
        name = f"was {answer.label}, heard {answer.predicted} ({answer.probability:.0%})"
        waves[name] = experiment.hearing.cut(experiment.data.recordings.waves[i])
    draw_sounds(target, dict([*waves.items()][:3]), experiment.hearing.rate, experiment.title)


def _table(run: Path, target: Path) -> None:
    """What ``saiki try`` prints, as it is printed."""
    from saiki.cli import main
    from saiki.plots import canvas

    command = RUNS["try"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        main([*shlex.split(command), "--out", str(run), "--resume"])
    lines = [line for line in printed.getvalue().splitlines() if not line.startswith(str(run))]
    lines = [
        part for line in lines for part in textwrap.wrap(line, 100, subsequent_indent=" " * 10)
    ]
    text = "\n".join([f"$ saiki {command}", *lines])
    figure = canvas.new_figure(8.4, 0.2 + 0.145 * (len(lines) + 1))
    figure.text(0.01, 0.5, text, va="center", family="DejaVu Sans Mono", fontsize=8)
    canvas.save(figure, target)


def _gains(run: Path, target: Path) -> None:
    from saiki.cli import main

    words = [*shlex.split(RUNS["augment-try"]), "--out", str(run), "--resume"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(words)
    target.write_bytes((run / "accuracy.png").read_bytes())


PICTURES: Mapping[str, Picture] = {
    "gradient.png": Picture("adder", _gradient, "lens.drawing"),
    "attention.png": Picture("translate", _attention(SENTENCES), "plots.attention"),
    "sounds.png": Picture("spoken-digits", _sounds, "plots.sounds"),
    "try.png": Picture("try", _table, "plots.canvas"),
    "dates.png": Picture("date", _attention(DATES), "plots.attention"),
    "confusion.png": Picture("spoken-digits", _of_run("confusion.png"), "plots.confusion"),
    "sin-cos.png": Picture("sin-cos", _of_run("predictions.png"), "plots.series"),
    "forcing.png": Picture("sin-cos-report", _of_run("error_by_step.png"), "plots.errors"),
    "influence.png": Picture("sentences", _opinions, "plots.influence"),
    "mistakes.png": Picture("proofread", _of_run("kinds.png"), "plots.corrections"),
    "perplexity.png": Picture("masked-lm", _of_run("perplexity.png"), "plots.curves"),
    "augment.png": Picture("augment", _variants, "plots.augmentation"),
    "techniques.png": Picture("augment", _techniques, "plots.augmentation"),
    "augment-gains.png": Picture("augment-try", _gains, "plots.spread"),
    "sentence-course.png": Picture("sentence-vae", _of_run("course.png"), "plots.latent"),
    "sentence-collapse.png": Picture(
        "sentence-vae-collapse", _of_run("course.png"), "plots.latent"
    ),
    "vae-images.png": Picture("vae", _of_run("reconstructions.png"), "plots.images"),
    "vae-samples.png": Picture("vae", _of_run("samples.png"), "plots.images"),
    "vae-course.png": Picture("vae-collapse", _of_run("course.png"), "plots.latent"),
    "vae-plane.png": Picture("vae-plane", _of_run("plane.png"), "plots.latent"),
    "vae-plain.png": Picture("vae-plain", _of_run("plane.png"), "plots.latent"),
    "vq-codes.png": Picture("vq-vae", _of_run("codes.png"), "plots.codes"),
    "vq-samples.png": Picture("vq-vae", _of_run("samples.png"), "plots.images"),
    "dialogue-turns.png": Picture("dialogue", _of_run("turns.png"), "plots.spread"),
    "forecasts.png": Picture("forecast", _of_run("forecasts.png"), "plots.forecasts"),
    "prices.png": Picture("forecast-prices", _of_run("first_step.png"), "plots.first_step"),
    "sound-codes.png": Picture("sound-codes", _of_run("codes.png"), "plots.sound_codes"),
    "sound-usage.png": Picture("sound-codes", _of_run("usage.png"), "plots.curves"),
    "words.png": Picture("words", _of_run("map.png"), "plots.words"),
}


def code_of(picture: Picture) -> dict[str, str]:
    """The modules that draw a picture, and what they do: their code without comments, docstrings,
    layout and the names of variables."""
    return {name: fingerprint(_path(name)) for name in sorted(needed(picture.module))}


def needed(module: str) -> set[str]:
    """A module of saiki, and those of ``saiki.plots`` that it imports, or that these import."""
    modules, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in modules:
            modules.add(name)
            waiting += _imported(_path(name))
    return modules


def _path(module: str) -> Path:
    return CODE.joinpath(*module.split(".")).with_suffix(".py")


def _imported(path: Path) -> list[str]:
    """Modules of ``saiki.plots`` that one imports, at its top or elsewhere in it."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "saiki.plots":
            modules += [f"plots.{each.name}" for each in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("saiki.plots."):
            modules.append(str(node.module).removeprefix("saiki."))
    return modules


def fingerprint(path: Path) -> str:
    tree, numbered = ast.parse(path.read_text(encoding="utf-8")), set[ast.AST]()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a text that is a statement of its own is a docstring
            node.body = [each for each in body if not _is_text(each)]
        if isinstance(node, ast.FunctionDef) and node not in numbered:
            numbered |= _number_variables(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _number_variables(function: ast.FunctionDef) -> set[ast.AST]:
    """Call the arguments and variables of a function, and of those in it, by their order, whatever
    they are called; all that is in it."""
    nodes = [*ast.walk(function)]
    bound = [n.arg for n in nodes if isinstance(n, ast.arg)]
    bound += [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    numbers = {name: f"variable {i}" for i, name in enumerate(dict.fromkeys(bound))}
    for node in nodes:
        if isinstance(node, ast.arg):
            node.arg = numbers[node.arg]
        elif isinstance(node, ast.Name):
            node.id = numbers.get(node.id, node.id)
    return {*nodes}


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def train(runs: Path) -> None:
    """Have every run that is not there."""
    for name, command in RUNS.items():
        folder = runs / name
        if (folder / "result.json").exists() or (folder / "table.json").exists():
            continue
        more = ["--resume"] if folder.exists() else []
        words = [*shlex.split(command), "--out", str(folder), *more]
        print(f"saiki {shlex.join(words)}", flush=True)
        subprocess.run([sys.executable, "-m", "saiki", *words], check=True)


def make(runs: Path) -> None:
    """Draw every picture, and write down by which code."""
    FOLDER.mkdir(exist_ok=True)
    record = {}
    for name, picture in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            drawing = Path(folder) / name
            picture.draw(runs / picture.run, drawing)
            whole = Image.open(drawing).convert("RGB")
            # a palette makes it a third as large, and smaller yet where it blurs shades of grey
            for method in (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE):
                whole.quantize(256, method).save(FOLDER / name, optimize=True)
                if (FOLDER / name).stat().st_size <= LARGEST:
                    break
        record[name] = {"code": code_of(picture), "picture": digest(FOLDER / name)}
        print(f"{FOLDER / name}  {(FOLDER / name).stat().st_size:,} bytes", flush=True)
    RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the pictures of README.md and docs/.")
    parser.add_argument("--runs", type=Path, default=Path("runs/pictures"), help="their runs")
    options = parser.parse_args()
    train(options.runs)
    make(options.runs)
