"""The house stays one that can be walked through: no file, and no exercise, is too long."""

from pathlib import Path

import pytest
from tools import test_versions

HOUSE = Path(__file__).parent.parent / "src" / "saiki"
FILES = sorted(HOUSE.rglob("*.py"))


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_file_holds_more_than_one_idea(path):
    is_exercise = path.parent == HOUSE / "experiments"
    assert lines(path) <= (250 if is_exercise else 450)


def test_folders_say_what_they_hold():
    for folder in {path.parent for path in FILES}:
        assert (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""'), folder


def test_what_other_versions_of_pytorch_are_tested_with_is_there():
    for path in test_versions.TESTS:
        assert (HOUSE.parents[1] / path).exists(), path
