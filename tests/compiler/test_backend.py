"""The door to a device, and who may go through it."""

import ast
from pathlib import Path

import pytest

import saiki.compiler.backend

COMPILER = Path(saiki.compiler.backend.__file__).parent
DEVICES = {folder.name for folder in COMPILER.iterdir() if any(folder.glob("*.py"))}


def imported(path):
    """The full names of all that a module imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_devices(path):
    """The devices of which a module imports something."""
    parts = (name.split(".") for name in imported(path))
    return {p[2] for p in parts if p[:2] == ["saiki", "compiler"] and p[2:3] and p[2] in DEVICES}


@pytest.mark.parametrize("path", sorted(COMPILER.glob("*.py")), ids=lambda path: path.name)
def test_only_the_choice_of_a_kernel_knows_a_device(path):
    assert "cpu" in DEVICES
    assert of_devices(path) == (DEVICES if path.name == "kernels.py" else set())


@pytest.mark.parametrize("device", sorted(DEVICES))
def test_devices_do_not_know_each_other(device):
    for path in (COMPILER / device).rglob("*.py"):
        assert of_devices(path) <= {device}, path.name


def test_the_rest_of_saiki_knows_no_device():
    for path in COMPILER.parent.rglob("*.py"):
        if COMPILER not in path.parents:
            assert not of_devices(path), path
