"""A finished run, and a copy of it to be damaged."""

import shutil

import pytest

from small_runs import run


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run"), watch=True, preset="mine")


@pytest.fixture
def folder(outcome, tmp_path):
    """A copy of the run's folder, to be damaged."""
    shutil.copytree(outcome.folder.path, tmp_path, dirs_exist_ok=True)
    return tmp_path
