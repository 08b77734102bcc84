"""The page on how to add: what it says is done to a copy of the package, and works there."""

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


def run(words, folder):
    """A command in the copy; what it prints."""
    paths = {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def add(blocks, folder):
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
                run(
                    ["-c", f"from saiki.cli import main\nfor w in {words}: assert not main(w), w"],
                    folder,
                )
            case "python" if target == "run":
                run(["-c", body], folder)
            case "python":
                path.write_text(body, encoding="utf-8")
                new.append(target)
            case _:
                pytest.fail(f"what is a block of {kind}?")
    return new


def test_what_is_added_works(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    where = run(["-c", "import saiki; print(saiki.__file__)"], tmp_path)
    assert where.startswith(str(tmp_path))
    for title, blocks in SECTIONS.items():
        assert len(add(blocks, tmp_path)) <= 1, f"{title} takes more than one new file"
