"""``saiki course``: a page of the docs in the terminal."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import process, refused, saiki
from saiki.cli import course, formulas, markdown

PAGE = Path(__file__).parents[2] / "docs" / "course.md"
TEXT = PAGE.read_text(encoding="utf-8")
HEAD, SECTIONS = course.read(TEXT)
PARTS = [
    "The key point", "Equations", "The picture", "Run it", "What one should see",
    "Knobs worth trying", "Check questions", "Common claims",
]  # fmt: skip


def test_the_page_that_comes_with_saiki_is_that_of_the_docs():
    assert course.PAGE.samefile(PAGE)
    project = (PAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^saiki = \[.*"course\.md"', project, re.MULTILINE)


def test_the_contents_name_all_sections_in_their_order():
    contents = re.findall(r"^(\d+)\. \[(.*)\]\(#(.*)\) \(`(.*)`\)$", HEAD, re.MULTILINE)
    assert contents == [(str(s.number), s.title, s.name, s.name) for s in SECTIONS]
    assert [s.number for s in SECTIONS] == [*range(1, len(SECTIONS) + 1)]
    assert TEXT.count("\n## ") == len(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_a_section_has_the_parts_that_all_have(section):
    assert re.findall(r"^### (.*)$", section.text, re.MULTILINE) == PARTS
    parts = re.split(r"^### .*\n", section.text, flags=re.MULTILINE)[1:]
    of = dict(zip(PARTS, parts, strict=True))
    assert len(re.findall(r"\.(?=\s|$)", of["The key point"])) == 3
    assert "```math" in of["Equations"]
    assert re.search(r"\([^()]*\b(19|20)\d\d\b", of["Equations"])  # a paper
    assert "$ saiki " in of["Run it"]
    assert "second" in of["Run it"]
    assert of["Knobs worth trying"].count("\n- ") >= 3
    questions = re.findall(r"^\*\*.*\?\*\* ", of["Check questions"], re.MULTILINE)
    assert len(questions) >= 4
    assert "```python" in of["Check questions"]


NUMBER = re.compile(r"(?<![\d.,§])\d+\.\d+(?![\d.]\d)")
SAID_ELSEWHERE = {
    "sin-cos": {"0.009"},  # saiki run sin-cos --preset quick
    "activations": {"0.01", "0.12", "0.02", "0.017", "0.003"},  # the catalogue, saiki try adder
}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_figures_stand_on_the_pages_that_a_section_names_or_are_printed_by_it(section):
    code = "".join(re.findall(r"^```python\n.*?^```", section.text, re.M | re.S))
    prose = re.sub(r"^```.*?^```|`[^`]*`|\b[A-Z](\.\d)+", "", section.text, flags=re.M | re.S)
    pages = {PAGE.parent / name for name in re.findall(r"\]\(([\w-]+\.md)\)", section.text)}
    sources = "".join(page.read_text(encoding="utf-8") for page in pages) + code
    figures = set(NUMBER.findall(prose))
    assert figures - set(NUMBER.findall(sources)) == SAID_ELSEWHERE.get(section.name, set())


def test_contents_are_printed_without_a_section():
    code, out, err = saiki("course")
    assert (code, err) == (0, [])
    for section in SECTIONS:
        assert f"{section.number}. {section.title} (`{section.name}`)" in out


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_a_section_is_printed_by_its_number_and_by_its_name(section):
    code, out, err = saiki("course", section.number)
    assert (code, err) == (0, [])
    assert saiki("course", section.name) == (code, out, err)
    assert saiki("course", section.name.upper()) == (code, out, err)
    assert out[0] == f"{section.number}. {section.title}"
    assert [line for line in out if line in PARTS] == PARTS
    for code in re.findall(r"^```(?:python|console)\n(.*?)^```", section.text, re.M | re.S):
        assert all(f"    {line}".rstrip() in out for line in code.splitlines())


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_nothing_of_markdown_and_tex_is_left(section):
    text = re.sub(r"^```(?:python|console)\n.*?^```", "", section.text, flags=re.M | re.S)
    out = markdown.plain(text, 80)
    for sign in ("\\", "$`", "`$", "**", "](", "```", "<a id", "{"):
        assert sign not in out, sign
    known = set(re.findall(r"\\([A-Za-z]+)", text))
    assert known <= formulas.MACROS


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_are_as_wide_as_the_terminal_but_for_code_and_formulas(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = saiki("course", SECTIONS[0].name)
    flowing = [line for line in out if not line.startswith("    ") and " " in line]
    assert max(map(len, flowing)) <= min(width, course.WIDEST)


def test_a_section_that_there_is_not_is_told_with_those_there_are():
    there = ", ".join(f"{section.number} {section.name}" for section in SECTIONS)
    assert refused("course", "lstn") == (
        f"saiki course: the course has no section 'lstn'; there are {there}; did you mean lstm?"
    )
    for wanted in ("0", "99", "", "-", "../course"):
        assert f"no section {wanted!r}; there are 1 rnn, 2 lstm" in refused("course", wanted)
    assert "unrecognized arguments: 2" in refused("course", "1", "2")


@pytest.mark.parametrize("page", [None, "../../docs/course.md"])
def test_a_page_that_did_not_come_along_is_told(page, tmp_path, monkeypatch):
    path = tmp_path / "course.md"
    monkeypatch.setattr(course, "PAGE", path)
    if page is not None:
        path.write_text(page)  # what a checkout leaves where there are no links
    assert "the course did not come with this saiki" in refused("course")
    assert "the course did not come with this saiki" in refused("course", "rnn")


def test_it_needs_no_torch_and_no_time():
    code = (
        "import sys, saiki.cli\nsaiki.cli.main(['course', 'rnn'])\n"
        "sys.exit(sum(name in sys.modules for name in ('torch', 'numpy', 'matplotlib')))"
    )
    assert process("-c", code).returncode == 0


def test_it_goes_through_a_pipe_and_a_reader_may_leave_early():
    done = process("-m", "saiki", "course", "rnn", env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0
    assert done.stdout.splitlines() == saiki("course", "rnn")[1]
    assert "\x1b" not in done.stdout
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "saiki", "course", "rnn"], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("formula", "line"),
    [
        (r"h_t = f(u_t)", "hₜ = f(uₜ)"),
        (r"\frac{a + b}{2}", "(a + b) / 2"),
        (r"\frac{1}{2} \sum_j \frac{1}{T}", "½ Σⱼ 1/T"),
        (r"\lVert z - \hat{z} \rVert^2 + \lvert x \rvert", "‖z − z\u0302‖² + |x|"),
        (r"\hat{x}_{t-1}^2", "x\u0302ₜ₋₁²"),
        (r"W_f^\top \odot x'", "W_fᵀ ∘ x′"),
        (r"\sum_{i=1}^{n} e^{-x_i}", "Σᵢ₌₁ⁿ e^(−xᵢ)"),
        (r"\left( a, b \right) \in \{0, 1\}", "(a, b) ∈ {0, 1}"),
        (r"\mathrm{diag}(v) \le \sqrt{a - b}", "diag(v) ≤ √(a − b)"),
        ("\\begin{aligned}\na &= 1 \\\\\nb &= 2\n\\end{aligned}", "a = 1\nb = 2"),
        (r"\text{the end} = x_{ab}", "the end = x_(ab)"),
        (r"\unheard{x}", "unheardx"),
        ("{a_", "a"),
    ],
)
def test_formulas_become_lines_of_text(formula, line):
    assert formulas.in_a_line(formula) == line


def test_tables_have_columns_and_long_cells_are_wrapped():
    table = "| cell | error |\n|---|---|\n| `lstm` | 0.074 |\n| 双方向 | " + "long " * 20 + "|\n"
    lines = markdown.plain(table, 40).splitlines()
    assert lines[:2] == ["cell    error", "`lstm`  0.074"]
    assert lines[2].startswith("双方向  long")
    assert len(lines) > 4
    assert all(markdown.letters(line) <= 40 for line in lines)


def test_lists_hang_and_pictures_are_told():
    text = "- one two three four\n- five\n\n![A curve that falls](pictures/x.png)\n"
    assert markdown.plain(text, 12) == (
        "- one two\n  three four\n- five\n\n(picture: A\ncurve that\nfalls)"
    )


@pytest.mark.long
def test_an_installed_saiki_has_the_page(tmp_path):
    pytest.importorskip("setuptools")
    shutil.copytree(PAGE.parents[1] / "src", tmp_path / "src", symlinks=True,
                    ignore=shutil.ignore_patterns("*.egg-info"))  # fmt: skip
    (tmp_path / "docs").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "docs/course.md"):
        shutil.copy(PAGE.parents[1] / name, tmp_path / name)
    pip = ("-m", "pip", "install", "--no-deps", "--no-build-isolation", "--target")
    assert process(*pip, tmp_path / "there", tmp_path).returncode == 0
    installed = tmp_path / "there" / "saiki" / "course.md"
    assert not installed.is_symlink()
    assert installed.read_bytes() == PAGE.read_bytes()
