"""Processes of their own that need not import anything first, and commands of saiki in them.

A child is forked from a process that has done nothing but import: it has no thread and holds no
lock. It finds its function by its name, so a closure is not possible.
"""

import gc
import multiprocessing
import os
import socket
import sys
import tempfile
from pathlib import Path

import torch

from saiki import cli

IS_FORKED = "forkserver" in multiprocessing.get_all_start_methods()
CHILDREN = multiprocessing.get_context("forkserver" if IS_FORKED else "spawn")
CHILDREN.set_forkserver_preload(
    ["saiki", "torch._dynamo", "saiki.runs.run", "saiki.experiments.adder", "saiki.plots.curves"]
)


def command(words):
    """What ``python -m saiki`` does."""
    sys.argv = ["saiki", *words]
    sys.exit(cli.main(words))


class Child:
    """A function in a process of its own, to be spoken to like ``subprocess.Popen``.

    Args:
        threads: of PyTorch; as many as it likes if None.
        folder: where it works.
        environment: variables beside those that are set here.
    """

    def __init__(self, function, *arguments, threads=None, folder=None, environment=()):
        self._streams = [Path(tempfile.mkstemp()[1]) for _ in range(2)]
        job = function, arguments, threads, folder, dict(environment), self._streams
        self._process = CHILDREN.Process(target=_work, args=job)
        self._process.start()

    def poll(self):
        return self._process.exitcode

    @property
    def returncode(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def communicate(self, timeout=120):
        """What it has said on stdout and stderr when it has ended."""
        self._process.join(timeout)
        if self._process.is_alive():
            self._process.kill()
            raise TimeoutError(f"not done in {timeout} s")
        texts = [path.read_text(encoding="utf-8") for path in self._streams]
        for path in self._streams:
            path.unlink()
        return texts


def _work(function, arguments, threads, folder, environment, streams):
    for number, path in enumerate(streams, 1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    if threads is not None:
        torch.set_num_threads(threads)
    gc.freeze()  # what was there before
    function(*arguments)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started_together(count, function, *arguments, **options):
    """So many processes of one thread each, which find each other as those of torchrun do."""
    port, running = free_port(), []
    for rank in range(count):
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "CUDA_VISIBLE_DEVICES": ""}
        environment = {name: str(value) for name, value in environment.items()}
        running.append(Child(function, *arguments, threads=1, environment=environment, **options))
    return running


def together(count, function, *arguments, code=0, **options):
    """What each of so many processes says on stdout, when all have ended with that code."""
    running = started_together(count, function, *arguments, **options)
    outputs = [child.communicate(300) for child in running]
    assert [child.returncode for child in running] == [code] * count, outputs
    return [out for out, _ in outputs]
