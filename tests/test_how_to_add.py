"""The page on how to add: what it says is done to a copy of the package, and works there."""

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = {
    title: BLOCK.findall(text)
    for title, text in re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)",
        (ROOT / "docs" / "how-to-add.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
}


def changed(text, diff):
    """The text after a diff whose lines of context and those it takes out are found in turn."""
    lines, at = text.splitlines(), 0
    for line in diff.splitlines():
        kind, content = line[:1], line[1:]
        if kind == "+":
            lines.insert(at, content)
            at += 1
        elif kind == "-":
            at = lines.index(content, max(at - 1, 0))
            del lines[at]
        else:
            at = lines.index(content, at) + 1
    return "\n".join(lines) + "\n"


FORKS = """
import json, os, sys
import matplotlib.figure, torch, torch._dynamo
for line in sys.stdin:
    if not os.fork():
        exec(json.loads(line), {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    print(f"\\n{os.wait()[1]}", flush=True)
    print("END", flush=True)
"""
"""Runs each line, a program in JSON, in a fork of itself: PyTorch is there, saiki is not."""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, and what runs programs in it and says what they print."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src"), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def run(program):
        process.stdin.write(json.dumps(program) + "\n")
        process.stdin.flush()
        *lines, code = itertools.takewhile(lambda line: line != "END\n", process.stdout)
        assert int(code) == 0, f"{program}\n{''.join(lines)}"
        return "".join(lines)

    yield tmp_path, run
    process.communicate()


def add(blocks, folder, run):
    """What a section says, done to the copy in a folder; the files that are new."""
    new = []
    for kind, more, body in blocks:
        *sources, target = [word.removeprefix("file=") for word in more.split()] or [""]
        path = folder / target
        match kind:
            case "diff":
                path.write_text(changed(path.read_text(encoding="utf-8"), body), encoding="utf-8")
            case "copy":
                path.parent.mkdir()
                shutil.copy(ROOT / sources[0], path)
                new.append(target)
            case "sh":
                words = [shlex.split(line)[1:] for line in body.splitlines()]
                run(f"from saiki.cli import main\nfor w in {words}: assert not main(w), w")
            case "python" if target == "run":
                run(body)
            case "python":
                path.write_text(body, encoding="utf-8")
                new.append(target)
            case _:
                pytest.fail(f"what is a block of {kind}?")
    return new


def test_what_is_added_works(copy):
    folder, run = copy
    where = run("import saiki; print(saiki.__file__)")
    assert where.startswith(str(folder))
    for title, blocks in SECTIONS.items():
        assert len(add(blocks, folder, run)) <= 1, f"{title} takes more than one new file"
