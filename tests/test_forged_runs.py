"""Forged run folders, a few of the many that ``tools/attack.py runs`` makes."""

import os
from pathlib import Path

import pytest

from commands import process

TOOL = Path(__file__).parents[1] / "tools" / "attack.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="commands are forked")
@pytest.mark.long
def test_forged_folders_are_answered_or_refused_in_one_sentence():
    words = ["runs", "--count", "16", "--seed", "7", "--only", "adder", "sin-cos"]
    done = process(TOOL, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split() for part in done.stdout.strip().split(", "))
    assert counts.keys() == {"done", "refused"}
    assert int(counts["refused"]) >= 8
