"""Every command of the README and every snippet of the docs runs as it is written."""

import re
import shlex
from pathlib import Path

import pytest

from saiki.cli import main

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
    assert len(SNIPPETS) == 6
    assert len(COMMANDS) == 14


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(page, snippet):
    exec(compile(snippet, page.name, "exec"), {"__name__": "__main__"})


def shortened(words):
    """The same command with fewer iterations: that it learns is tested elsewhere."""
    match words:
        case ["run", *_]:
            return [*words, "--iterations", "60"]
        case ["try", *_]:
            return [*words, "iterations=60"]
    return words


def test_the_commands_run_in_the_order_they_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    targets = set()
    for command in COMMANDS:
        program, *words = shlex.split(command)
        if program == "make":
            targets.update(words)
            continue
        assert program == "saiki"
        assert main(shortened(words)) == 0, f"{command}: {capsys.readouterr().err}"
    assert targets <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


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


def test_the_map_of_the_house_names_every_module():
    drawn = (ROOT / "docs" / "architecture.md").read_text()
    for path in (ROOT / "src" / "saiki").iterdir():
        if path.name.startswith("__") or path.suffix not in ("", ".py"):
            continue
        name = path.name if path.suffix else f"{path.name}/"
        assert re.search(rf"^  {re.escape(name)} ", drawn, re.MULTILINE), name
