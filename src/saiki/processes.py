"""Which of several processes this is, where ``torchrun`` started more than one.

Alone, a process is the first of one, and every function here returns what it is given.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch import distributed as dist

from saiki.errors import InputError

SETTLES = 0.2
"""Seconds in which threads that move tensors between processes are done with the last of them."""


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that ``torchrun`` started, for as long as the block lasts.

    Raises:
        InputError: the environment says that there are several, but not how to find them.
    """
    if _number("WORLD_SIZE", 1) == 1:
        yield
        return
    local = _number("LOCAL_RANK", 0)
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the environment has WORLD_SIZE={os.environ['WORLD_SIZE']}, but its processes do not "
            f"find each other ({reason}); start them with torchrun, or unset WORLD_SIZE"
        ) from None
    try:
        yield
    finally:
        # a thread of gloo that still lets go of the tensors of the last operation needs Python's
        # lock, and the group waits for it with the lock held when it is taken down: for ever
        time.sleep(SETTLES)
        dist.destroy_process_group()


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdecimal() or (name == "WORLD_SIZE" and int(value) < 1):
        raise InputError(
            f"{name} of the environment must be a whole number, as torchrun sets it, got {value!r}"
        )
    return int(value)


def count() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the process that writes files and speaks."""
    return rank() == 0


def part(rows: int) -> slice:
    """Which of the ``rows`` of a batch for all processes are this one's.

    >>> part(32)
    slice(0, 32, None)
    """
    return slice(rows * rank() // count(), rows * (rank() + 1) // count())


def total(values: Tensor) -> Tensor:
    """The sum of ``values`` over all processes."""
    if count() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def gathered(values: Tensor) -> Tensor:
    """The ``values`` of all processes, which may be more in one than in another, one after the
    other in the order of their ranks."""
    if count() == 1:
        return values
    sizes = torch.zeros(count(), dtype=torch.long, device=values.device)
    sizes[rank()] = len(values)
    rows = total(sizes).tolist()
    padded = values.new_zeros(max(rows), *values.shape[1:])
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in rows]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, rows, strict=True)])


def combined(before: Tensor, after: Tensor) -> Tensor:
    """What all processes have made together of a matrix, each of the same, on data of its own.

    With dₚ the change that process p made of a row, the row changes by

        min(1, Σₚ |dₚ|² / |Σₚ dₚ|²) Σₚ dₚ

    which is the sum of changes that are at right angles, and their mean where all are the same:
    then each process has gone the whole way already (after Maleki et al., Scaling Distributed
    Training with Adaptive Summation, 2021). All processes come to the same bits.
    """
    if count() == 1:
        return after
    change = after - before
    sums, squares = total(change), total(change.square().sum(1, keepdim=True))
    length = sums.square().sum(1, keepdim=True)
    share = torch.where(length > squares, squares / length, 1)
    return before + share * sums


def from_first(data: bytes | None) -> bytes | None:
    """What the first process has, told to all."""
    if count() == 1:
        return data
    length = torch.tensor(len(data) + 1 if data is not None and is_first() else 0)
    size = int(total(length).item()) - 1  # −1: it has nothing, which is not the same as b""
    if size < 1:
        return None if size < 0 else b""
    buffer = torch.zeros(size, dtype=torch.uint8)
    if is_first() and data is not None:
        buffer.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    return bytes(total(buffer).cpu().numpy())
