"""The house stays one that can be walked through: no file is too long, what serves one exercise is
that exercise's, and there is one way in for what a person names."""

import ast
from pathlib import Path

import pytest
from tools import test_versions

HOUSE = Path(__file__).parent.parent / "src" / "saiki"
FILES = sorted(HOUSE.rglob("*.py"))


OWN = {
    "inputs.py": "the way in itself",
    "files.py": "a file that was just written",
    "sources.py": "the source of saiki itself",
    "cli/course.py": "a page that comes with saiki",
    "cli/streams.py": "the device that takes everything",
    "bench/harness.py": "/proc",
    "data/tables/limits.py": "/proc",
    "data/text/docstrings.py": "Python's own library",
    "runs/folder.py": "what saiki wrote into a run folder",
    "runs/ray.py": "what saiki wrote into a run folder",
}
"""Files that read what no person names."""
BY_HAND = {"read_text", "read_bytes", "rglob", "walk", "scandir"}


EXERCISES = HOUSE / "experiments"
REGISTRY = {"__init__", "outlines"}
"""Modules that are of no exercise, nor of what exercises share."""


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_file_holds_more_than_one_idea(path):
    assert lines(path) <= 450


def test_folders_say_what_they_hold():
    for folder in {path.parent for path in FILES}:
        assert (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""'), folder


def parts_of(path):
    """The names of a module, from the exercise or the folder ``groups`` on."""
    return path.relative_to(EXERCISES).with_suffix("").parts


def imports():
    """Of each module of an exercise, or of what they share: those that it imports."""
    modules = {parts_of(path): path for path in EXERCISES.rglob("*.py")}
    for module, path in modules.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("saiki.experiments"):
                package = tuple(node.module.split(".")[2:])
                names |= {
                    m if (m := (*package, n.name)) in modules else package for n in node.names
                }
        if module[0] not in REGISTRY:
            yield module, names


def test_exercises_know_nothing_of_each_other():
    wrong = [
        f"{'.'.join(module)} imports {'.'.join(other)}"
        for module, others in imports()
        for other in others
        if {*other[:1]} - {module[0], "groups"}
    ]
    assert wrong == []


def test_what_serves_one_exercise_is_with_it():
    """And not among the groups, each of which serves several, itself or through others."""
    users = {module: set() for module, _ in imports() if module[0] == "groups"}
    for module, others in imports():
        for other in others & {*users}:
            users[other].add(module)

    def served(group):
        inner = (served(m) if m[0] == "groups" else {m[0]} for m in users[group])
        return set().union(*inner)

    alone = [group for group in users if group[1] != "__init__" and len(served(group)) < 2]
    assert alone == []


def test_what_other_versions_of_pytorch_are_tested_with_is_there():
    for path in test_versions.TESTS:
        assert (HOUSE.parents[1] / path).exists(), path


def reads_by_hand(path):
    """The lines in which a file reads others without the way in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name("open")):
                yield node.lineno
            case ast.Call(func=ast.Attribute(ast.Name("inputs" | "ast"))):
                pass
            case ast.Call(func=ast.Attribute(attr=name)) if name in BY_HAND:
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="open"), args=[ast.Constant("r" | "rb"), *_]):
                yield node.lineno


def test_one_function_prints():
    """So that nothing that others wrote reaches a terminal as it is: saiki.terminal."""
    places = [
        f"{path.relative_to(HOUSE)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert [place.partition(":")[0] for place in places] == ["terminal.py"], places


def test_what_a_person_names_is_read_in_one_way():
    """Ordinary files alone, and bounded: saiki.inputs."""
    places = [
        f"{name}:{line}"
        for path in FILES
        if (name := path.relative_to(HOUSE).as_posix()) not in OWN
        and not name.startswith("compiler/")  # which reads its own cache
        for line in reads_by_hand(path)
    ]
    assert places == []


RIDDLES = {
    "again", "anew", "asked", "begun", "beside", "drawn", "found", "given", "heard", "its",
    "judged", "kept", "left", "often", "said", "take", "told",
}  # fmt: skip
"""What says nothing of a value or a function to who has not written it."""
SAVED = {
    "data/sound/layouts.py": {"take"},
    "data/text/masking.py": {"kept"},
    "models/encoder.py": {"given"},
    "models/hred.py": {"given"},
    "models/segment_forecaster.py": {"beside"},
}
"""Names that are written in the files of runs, and known there."""


def names_bound(tree):
    """The names of functions, classes, arguments, variables and attributes that a file binds."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def riddles(source):
    """``left`` is a name where there is a ``right``, and tests are named in sentences."""
    names = {name for name in names_bound(ast.parse(source)) if not name.startswith("test_")}
    ends = {name: name.strip("_").lower() for name in names}
    pairs = {"left"} if "right" in names else set()
    return {
        name
        for name, end in ends.items()
        if end in RIDDLES - pairs or end.endswith(("_again", "_anew"))
    }


def test_a_riddle_is_seen():
    assert riddles("def drawn(its, left, right): self.kept = KEPT = render_anew = 1") == {
        "drawn", "its", "kept", "KEPT", "render_anew",
    }  # fmt: skip


@pytest.mark.parametrize("room", ["src", "tests", "tools", "benchmarks", "examples"])
def test_names_say_what_they_name(room):
    paths = (HOUSE.parents[1] / room).rglob("*.py")
    wrong = {path: riddles(path.read_text(encoding="utf-8")) for path in paths}
    for path, names in SAVED.items():
        if room == "src":
            wrong[HOUSE / path] -= names
    assert {path: names for path, names in wrong.items() if names} == {}
