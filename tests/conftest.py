"""What every test begins with."""

import collections
import gc
import itertools
import os
import random
from pathlib import Path

import pytest
import torch
import torch._inductor.config as inductor

KERNELS = Path(__file__).parent.parent / ".pytest_cache" / "kernels"
"""What tests compile, for each other and for the next time, as long as no source changes."""
os.environ["SAIKI_KERNELS"] = str(KERNELS)
LONG = (
    "test_docs.py", "test_contract.py", "test_against_eager.py", "dialogue/test_exercise.py",
    "test_how_to_add.py", "test_corpus.py", "test_export.py", "test_resume.py",
)  # fmt: skip
"""Files that take a minute; each is one process's, so that what its tests share is made once."""
FINISHED = itertools.count(1)
"""Tests, with which this process is done."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One in so many cases of a test, the others left to ``make test-long``; and long files first,
    so that no process waits for another at the end."""
    cases = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("one_in") and not item.get_closest_marker("long"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for name, alike in cases.items():
        share = alike[0].get_closest_marker("one_in").args[0]
        chosen = random.Random(name).sample(alike, -(-len(alike) // share))
        for item in {*alike} - {*chosen}:
            item.add_marker("long")
    items.sort(key=lambda item: [not item.path.match(name) for name in LONG])


def only_what_is_new_is_collected():
    """What is there stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish():
    only_what_is_new_is_collected()
    gc.set_threshold(5000, 10, 10)


def pytest_runtest_logfinish():
    """Tests import much of PyTorch when they first need it."""
    if next(FINISHED) % 400 == 0:
        only_what_is_new_is_collected()


@pytest.fixture(autouse=True, scope="session")
def inductor_compiles_by_itself():
    """And starts no processes of its own beside ours, which it would wait for without an end."""
    inductor.compile_threads = 1


@pytest.fixture(autouse=True)
def one_thread_and_one_seed():
    """Tests run side by side, so each keeps to one thread; and its numbers are always the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.default_generator.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def what_is_tested_is_compiled(request, monkeypatch):
    """Where that is what is tested, and not read from the disk."""
    if {"compiler", "corpus"} & set(request.path.parts):
        monkeypatch.setenv("SAIKI_KERNELS", "")


@pytest.fixture(autouse=True)
def memory_not_yet_written_is_nan(request):
    """Where loops are tested, so that nobody reads it without being seen."""
    if not {"compiler", "corpus", "nn"} & set(request.path.parts):
        yield
        return
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def no_line_of_progress(monkeypatch):
    """What a slow machine would show of a test that takes a minute; nothing else is printed."""
    monkeypatch.setattr("saiki.progress.FILE_SECONDS", 3600.0)
