"""Processes of this machine that do the runs of a sweep.

They end with the process that started them, however that ends. One that the system kills, for want
of memory say, loses its own run alone.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from types import FrameType

import torch

from saiki.errors import OutOfMemoryError, SaikiError, memory_in_words
from saiki.runs.sweep import Job, Runner

CONTEXT = multiprocessing.get_context("spawn")
"""How a process of its own begins: it inherits nothing."""


class Worker:
    """A process that does one run after the other."""

    def __init__(self, threads: int) -> None:
        self.connection, end = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_work, args=(end, threads, sys.argv), daemon=True)
        self.process.start()
        end.close()
        self.job: Job | None = None

    def begin(self, job: Job) -> None:
        self.job = job
        self.connection.send(job)

    def end(self) -> Job:
        """The run that has ended, once there is something to receive.

        Raises:
            LostError: the run is lost, and others can go on.
        """
        job, self.job = self.job, None
        assert job is not None
        try:
            error = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            reason = (
                f"by signal {-code}, perhaps for want of memory" if code < 0 else f"with {code}"
            )
            raise LostError(f"{job.folder.path.name} was ended {reason}") from None
        if isinstance(error, OutOfMemoryError):
            raise LostError(f"{job.folder.path.name}: {error}")
        if error is not None:
            raise error
        return job

    def close(self) -> None:
        """Let the run that it does be saved, and end."""
        self.connection.close()
        self.process.join()


class LostError(SaikiError):
    """A run is lost, and says why."""


@contextmanager
def processes(at_a_time: int) -> Iterator[Runner]:
    """Runs in processes of their own on this machine, so many at a time."""
    threads = max(1, (os.cpu_count() or 1) // at_a_time)
    workers: list[Worker] = []

    def runner(jobs: Sequence[Job]) -> Iterator[Job]:
        waiting, lost = deque(jobs), list[str]()
        while waiting or any(worker.job for worker in workers):
            idle = [w for w in workers if w.job is None and w.process.is_alive()]
            while waiting and (idle or len(workers) < at_a_time):
                if not idle:
                    workers.append(Worker(threads))
                    idle = workers[-1:]
                idle.pop().begin(waiting.popleft())
            busy = {worker.connection: worker for worker in workers if worker.job}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                try:
                    ended = worker.end()
                except LostError as error:
                    lost.append(str(error))
                    if not worker.process.is_alive():
                        workers.remove(worker)
                    continue
                yield ended
        if lost:
            raise SaikiError(
                f"{len(lost)} of {len(jobs)} runs are lost, the others are done: "
                f"{'; '.join(lost)}; do them again with the same command and --resume, perhaps "
                "with fewer --jobs"
            )

    with _stopped_by_sigterm(workers):
        try:
            yield runner
        except Exception:
            for worker in workers:
                worker.process.terminate()  # which saves what is done
            raise
        finally:
            for worker in workers:
                worker.close()


@contextmanager
def _stopped_by_sigterm(workers: Sequence[Worker]) -> Iterator[None]:
    """SIGTERM stops the runs, as Ctrl-C does, which the terminal sends to all of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            worker.process.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _work(connection: Connection, threads: int, command: list[str]) -> None:
    """What a worker does until nobody has work for it: it is stopped by Ctrl-C while it runs, and
    not while it waits."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    sys.argv = command  # which runs record
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        ended: BaseException | None = None
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with memory_in_words():
                job.run()
        except (SaikiError, KeyboardInterrupt) as error:
            ended = error
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(BrokenPipeError):  # nobody waits for it any more
            connection.send(ended)


def _end_with_parent() -> None:
    """A run that nobody waits for ends; its last checkpoint is whole."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
