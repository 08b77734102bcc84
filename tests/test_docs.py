"""Every command of the README and every snippet of the docs runs as it is written."""

import gzip
import io
import json
import os
import re
import shlex
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from tools import house_map

from saiki.bench import BENCHMARKS
from saiki.cli import COMMANDS as COMMAND_LINE
from saiki.cli import main
from saiki.data.sound import files
from saiki.data.sound.voices import digit, say_all, voices
from saiki.experiments import HOMES, outlines
from tiny import loads

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(page, m[1]) for page in PAGES for m in pattern.finditer(page.read_text())]


SNIPPETS = blocks("python")
COMMANDS = [
    line.removeprefix("$ ").partition("  #")[0].strip()
    for _, block in blocks("console")
    for line in block.splitlines()
    if line.startswith("$ ")
]


def test_all_of_them_are_found():
    assert len(SNIPPETS) == 56
    assert len(COMMANDS) == 133


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(page, snippet, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, page.name, "exec"), {"__name__": "__main__"})
    if page.name == "course.md":
        expected = re.findall(r"^ *print\(.*\)  # (.*)$", snippet, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == expected


TEXTS = "--epochs 1 --updates 0 --hidden-size 8 --embedding-size 8 --batch-size 4"
SMALL = {
    "adder": "--iterations 60",
    "spoken-digits": "--epochs 0.1 --updates 0 --voices 40 --hidden-size 8 --layers 1 "
    "--batch-size 16",
    "translate": f"{TEXTS} --minimum 1",
    "date": f"{TEXTS} --pairs 200",
    "sentence-vae": "--epochs 1 --hidden-size 8 --embedding-size 8 --minimum 1 --nll-samples 2",
    "sentences": "--epochs 1 --updates 0 --hidden-size 8 --embedding-size 8 --batch-size 4",
    "sin-cos": "--epochs 2",
    "augment": "--width 4 --epochs 1 --updates 2",
    "proofread": "--iterations 4 --hidden-size 8 --layers 1",
    "masked-lm": "--iterations 4 --hidden-size 8 --embedding-size 8 --minimum 1",
    "words": "--epochs 1 --size 8",
    "forecast": "--epochs 1 --hidden-size 8 --paths 5",
    "dialogue": "--epochs 1 --hidden-size 8 --embedding-size 8 --minimum 1",
    "vq-vae": "--epochs 1 --examples 40 --batch-size 8 --width 4 --code-size 4 --codes 8 "
    "--hidden-size 4 --judge 2",
    "sound-codes": "--epochs 0.1 --updates 0 --batch-size 8 --hidden-size 4 --code-size 4 "
    "--codes 8 --prior-size 4 --judge 2",
    "vae": "--epochs 1 --examples 40 --batch-size 8 --width 4 --nll-images 2 --nll-samples 2",
}


def shortened(words):
    """The same command with fewer iterations: that it learns is tested elsewhere."""
    match words:
        case ["run", *_] if "--resume" in words:
            return words
        case ["run", name, *_]:
            return [*words, *SMALL[name].split()]
        case ["try", "augment", *_]:
            return [*words, "width=4", "epochs=1", "updates=2", "examples=20", "--seeds", "1"]
        case ["try", *_]:
            return [*words, "iterations=60", "--seeds", "2"]
    return words


def recordings_of_two_speakers(folder):
    """A small dataset in the layout of the real one, folders of a user's own, and two files."""
    folder.mkdir(parents=True)
    lines = [(digit(d, v), v) for v in voices(24, 0, accents=0.0) for d in range(10)]
    for i, wave in enumerate(say_all(lines, 8000)):
        number, repetition = i % 10, i // 20
        files.save(folder / f"{number}_{'ab'[i // 10 % 2]}_{repetition}.wav", wave, 8000)
        kind = "even" if number % 2 == 0 else "odd"
        files.save(Path("my-recordings", kind, f"{i}.wav"), wave, 8000)
    files.save("recording.wav", wave, 8000)
    soundfile.write("another.flac", wave, 22050)


def two_languages(folder):
    """A small corpus in the layout of the real one, and a table and a text of a user's own."""
    folder.mkdir(parents=True)
    english = [f"i have {n} {thing} ." for n in ("a", "one", "no") for thing in ("pen", "cat")]
    japanese = [f"私 は {n} {thing} 。" for n in ("一", "二", "無") for thing in ("ペン", "猫")]
    for part in ("train", "dev"):
        for ending, lines in (("en", english), ("ja", japanese)):
            more = [f"{line} {i} ." for i in range(50) for line in lines] * (part == "train")
            text = "".join(f"{line}\n" for line in [*lines, *more])
            (folder / f"{part}.{ending}").write_text(text, encoding="utf-8")
    rows = (f"{x}\t{y}\n" for x, y in zip(japanese, english, strict=True))
    Path("pairs.tsv").write_text("".join(rows), encoding="utf-8")
    Path("sentences.txt").write_text("私 は 猫 。\n", encoding="utf-8")


def opinions(folder):
    """Reviews in the layout of the real ones, and a table of a user's own."""
    folder.mkdir(parents=True)
    rows = [
        f'pn{i}{word}\t{label}\t{thing}が{word}です。\t{{"{label}": 3}}\t{part}\n'
        for label, word in ((-1, "狭い"), (0, "普通"), (1, "綺麗"))
        for i, (thing, part) in enumerate((("部屋", "train"), ("風呂", "train"), ("食事", "dev")))
    ]
    (folder / "pn.tsv").write_text("".join(rows), encoding="utf-8")
    mine = [
        f"the {thing} was {word},{word}\n" for word in ("good", "bad") for thing in ("tea", "sea")
    ]
    Path("opinions.csv").write_text("text,label\n" + "".join(mine), encoding="utf-8")


def pictures(folder):
    """Clothes in the layout of the real ones, and a photo and images of a user's own."""
    random = np.random.default_rng(0)
    for part, count in (("train", 48), ("t10k", 10)):
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            array = random.integers(0, 256, shape) if len(shape) == 3 else np.arange(count) % 10
            sizes = struct.pack(f">{len(shape)}I", *shape)
            body = bytes((0, 0, 8, len(shape))) + sizes + array.astype(np.uint8).tobytes()
            path = folder / "fashion-mnist" / f"{part}-{kind}-ubyte.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(body))
    photo = Image.fromarray(random.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    (folder / "images").mkdir()
    photo.save(folder / "images" / "fruits.jpg")
    for name in ("photo.jpg", "boot.png", "shirt.png"):
        photo.save(name)
    for i in range(8):
        mine = Path("my-images", "odd" if i % 2 else "even", f"{i}.png")
        mine.parent.mkdir(parents=True, exist_ok=True)
        photo.rotate(40 * i).save(mine)


def talks(file):
    """Dialogues of three turns."""
    turns = (["hello", f"are you number {i} ?", f"yes , {i} ."] for i in range(90))
    file.write_text("".join(json.dumps(each) + "\n" for each in turns), encoding="utf-8")


def novels(file):
    """Sentences, none of which is said twice."""
    who = ("the cat", "a dog", "the old man", "she", "a king", "the woman")
    what, whom = ("saw", "met", "left"), range(200)
    sentences = (
        f"{a.capitalize()} {b} number {c}, and sat on the mat."
        for a in who
        for b in what
        for c in whom
    )
    file.write_text("\n\n".join(sentences), encoding="utf-8")


@pytest.mark.long
def test_the_commands_run_in_the_order_they_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    recordings_of_two_speakers(tmp_path / "data" / "fsdd" / "recordings")
    two_languages(tmp_path / "data" / "small_parallel_enja")
    opinions(tmp_path / "data" / "jrte")
    pictures(tmp_path / "data")
    novels(tmp_path / "data" / "english_novels.txt")
    talks(tmp_path / "my-talks.jsonl")
    table = loads(tmp_path).read_text()
    (tmp_path / "newer.csv").write_text("time,load\n2024-01-21T00,3.1\n2024-01-21T01,3.3\n")
    assert table.splitlines()[-1].startswith("2024-01-20T23,")
    (tmp_path / "my-texts").mkdir()
    novels(tmp_path / "my-texts" / "mine.txt")
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    targets = set()
    for command in COMMANDS:
        program, *words = shlex.split(command)
        if program == "make":
            targets.update(words)
            continue
        if program == "torchrun":
            command_of_saiki = words.index("run")
            words = [*words[:command_of_saiki], *shortened(words[command_of_saiki:])]
            words = [sys.executable, "-m", "torch.distributed.run", *words]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            assert subprocess.run(words, timeout=200, env=environment).returncode == 0, command
            continue
        assert program == "saiki"
        if "<" in words:
            *words, _, name = words
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(name).read_bytes())))
        if {"runs/reviews", "runs/hotels"} & {*words} and not find_spec("ja_ginza"):
            continue
        assert main(shortened(words)) == 0, f"{command}: {capsys.readouterr().err}"
    assert targets <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


IN_TEXT = re.compile(r"`(saiki [^`]+)`|^    (?:.*\| )?(saiki .*)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
READ = """
import json, sys
from pathlib import Path
from saiki.cli import COMMANDS as COMMAND_LINE
from saiki.cli import main
from saiki.experiments import outlines
from saiki.outline import Outline
from saiki.runs.folder import RunFolder

class Read(BaseException):
    pass

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "pooch", "llvmlite", "matplotlib"):
            raise Read

sys.meta_path.insert(0, Wall())
outlines._file = lambda: Path("names.json")
Outline.check_paths = lambda self, values: None
for words in map(json.loads, sys.stdin):
    try:
        code = main(words)
    except Read:
        code = 0
    except SystemExit as end:
        code = end.code
    if code:
        print(words)
    if words[0] == "run" and "--help" not in words:
        out = Path(words[words.index("--out") + 1]) if "--out" in words else None
        if out is None or not out.exists():
            folder = RunFolder.create(words[1], out).path
            config = {"experiment": words[1], "knobs": {}}
            (folder / "config.json").write_text(json.dumps(config))
            (folder / "policy.json").write_text(json.dumps({"augmentation": {"rotation": 15.0}}))
"""
"""Reads each command as far as PyTorch would be loaded, where all of its words have been held to
what there is; prints those that are refused, and puts the folders there that runs would leave."""


def commands_in_text():
    """Those of the text around the blocks, and the exercise that a page is about."""
    for page in PAGES:
        exercise = page.stem if page.stem in HOMES else "adder"
        for match in IN_TEXT.finditer(CODE.sub("", page.read_text())):
            _, *words = shlex.split(match[1] or match[2])
            yield exercise, words


def test_every_command_of_the_docs_names_what_there_is(tmp_path, monkeypatch):
    """Commands, flags, knobs and presets, and their values; in order, but nothing is trained."""
    monkeypatch.setattr(outlines, "_file", lambda: tmp_path / "names.json")
    outlines._cache(outlines.names())
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "my-images").mkdir()
    commands = [words for words in map(shlex.split, COMMANDS) if words[0] != "make"]
    commands = [words[words.index("saiki") + 1 :] for words in commands]
    commands = [words[: words.index("<")] if "<" in words else words for words in commands]
    in_text = [
        (exercise, words)
        for exercise, words in commands_in_text()
        if words[1:] not in ([], ["augment"])
    ]
    assert len(in_text) > 60
    for exercise in {exercise for exercise, _ in in_text}:
        commands.append(["run", exercise, "--out", f"run-of-{exercise}"])
    for exercise, words in in_text:
        name = "ett" if words[0] == "data" else "adder"
        stands_for = {"NAME": name, "FILE.py:Cell": "lstm"}
        stands_for |= dict.fromkeys(("RUN", "DIR"), f"run-of-{exercise}")
        commands.append([stands_for.get(word, word) for word in words])
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        input="".join(json.dumps(words) + "\n" for words in commands),
    )  # fmt: skip
    refused = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert (refused, done.stderr) == ([], "")
    assert {words[0] for _, words in commands_in_text()} <= COMMAND_LINE.keys()


def test_every_benchmark_that_is_made_is_there():
    names = [
        name for page in PAGES for name in re.findall(r"make bench NAME=([\w-]+)", page.read_text())
    ]
    assert names
    assert {*names} <= BENCHMARKS.keys()


def test_every_link_of_the_docs_leads_somewhere():
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if "://" not in target
    ]
    assert links
    for page, target in links:
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_map_of_the_house_is_what_the_modules_say():
    page = house_map.PAGE.read_text()
    assert page == house_map.with_map(page), "run python tools/house_map.py"
