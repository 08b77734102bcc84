"""Runs of a sweep as tasks on a Ray cluster, whose machines need not share a disk."""

import os
import socket
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from saiki.errors import InputError, SaikiError
from saiki.files import TEMPORARY, write_bytes
from saiki.runs.folder import RunFolder
from saiki.runs.sweep import Job, Runner

Files = dict[str, bytes]
"""What a run folder holds, by the path in it."""

ANSWER_SECONDS = 5.0
CANCEL_SECONDS = 10.0


@contextmanager
def joined(address: str, at_a_time: int | None = None) -> Iterator[Runner]:
    """Runs on the cluster at ``address``, so many at a time, or as many as it has CPUs or GPUs.

    Each run takes one CPU, and one GPU if there are any and its ``device`` does not say otherwise.
    Workers need saiki, and the recordings an exercise is about, on their own disks.

    Args:
        address: ``auto``, ``HOST:PORT``, ``ray://HOST:PORT``, or ``local`` for a cluster of its own
            on this machine.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    ray = _connect(address)
    has_gpu = ray.cluster_resources().get("GPU", 0) >= 1
    running: dict[Any, Job] = {}

    def submit(job: Job) -> Any:
        gpus = int(has_gpu and job.experiment.device in ("auto", "cuda"))
        remote = ray.remote(num_cpus=1, num_gpus=gpus)(_run)
        return remote.remote(job, _files(job.folder.path), sys.argv)

    def runner(jobs: Sequence[Job]) -> Iterator[Job]:
        waiting = deque(jobs)
        while waiting or running:
            while waiting and len(running) < (at_a_time or len(jobs)):
                job = waiting.popleft()
                running[submit(job)] = job
            (ended, *_), _ = ray.wait(list(running))
            job = running.pop(ended)
            _write(job.folder.path, result(ended, job))
            yield job

    def result(ended: Any, job: Job) -> Files:
        try:
            files: Files = ray.get(ended)
        except ray.exceptions.RayError as error:
            if isinstance(cause := getattr(error, "cause", None), SaikiError):
                raise cause from None
            *_, reason = str(error).strip().splitlines()
            raise SaikiError(f"{job.folder.path.name} failed on the cluster: {reason}") from error
        return files

    try:
        yield runner
    finally:
        for reference in running:
            ray.cancel(reference)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=CANCEL_SECONDS)
        ray.shutdown()


def _connect(address: str) -> Any:
    """The module ``ray``, connected, with its own messages kept back."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError("--ray needs a package: pip install 'saiki[ray]'") from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if address == "local":
        quiet["include_dashboard"] = False
    missing = f"no Ray cluster answers at {address}: "
    try:
        _knock(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
    except OSError as error:
        raise InputError(missing + (error.strerror or str(error))) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = str(error).strip().partition("\n")[0]
        if address.startswith("ray://"):  # the client does not say that this is what it lacks
            reason += "; a cluster with tokens needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        raise InputError(missing + reason) from None
    return ray


def _knock(address: str) -> None:
    """See that something listens at ``HOST:PORT``; Ray itself would try for a quarter of an hour.

    Raises:
        OSError: nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()


def _run(job: Job, files: Mapping[str, bytes], command: Sequence[str]) -> Files:
    """Do a job in a folder of its own on the worker; takes and returns the run folder's files."""
    sys.argv = [*command]  # which the run records
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, files)
        replace(job, folder=RunFolder(folder)).run()
        return _files(folder)


def _files(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(TEMPORARY)
    }


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each file whole or not at all; ``result.json``, which says that all are there, last."""
    for name in sorted(files, key=lambda name: (name == "result.json", name)):
        write_bytes(folder / name, files[name])
