"""Sharing loops among PyTorch's own threads.

Kernels run on the OpenMP threads of PyTorch, which would otherwise compete with ours for the cores:
they stay awake for a while after each operation.
"""

import ctypes
import operator
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any, cast

import torch
from llvmlite import binding
from torch import Tensor

from saiki.compiler.cpu.jit import Compiled, compile_text
from saiki.compiler.cpu.machine import Machine, machine

FIELDS = 9
"""8-byte fields of a piece: the function ``run`` of a program and the first eight arguments."""
WORTH_THREAD = 1 << 20
"""Multiplications that are worth another thread: some 50 microseconds."""
WORTH_MEETING = 1 << 16
"""Multiplications of a step by each thread that are worth two meetings of all."""
FEW_ROWS = 32
"""Rows for each thread, up to which all threads read a part of large weights each, rather than all
of them for a part of the rows."""
TEAM_FUNCTIONS = ("omp_get_num_threads", "omp_get_thread_num")
MEETING_FIELDS = 16
"""8-byte fields of what threads meet by: two, each in a cache line of its own."""
_POINTERS = 5
"""Fields of a piece that are addresses."""


def _call(of_thread: str) -> str:
    """Calls the function of a piece with its fields, and with what each thread adds."""
    kinds = ["ptr" if k < _POINTERS else "i64" for k in range(FIELDS)]
    lines = ["  %run = load ptr, ptr %piece"]
    for k in range(1, FIELDS):
        lines.append(f"  %at.{k} = getelementptr i64, ptr %piece, i64 {k}")
        lines.append(f"  %a.{k} = load {kinds[k]}, ptr %at.{k}")
    arguments = ", ".join(f"{kinds[k]} %a.{k}" for k in range(1, FIELDS))
    return "\n".join([*lines, f"  call void %run({arguments}, {of_thread})"])


TEAM = f"""\
  %team.32 = call i32 @{TEAM_FUNCTIONS[0]}()
  %team = zext i32 %team.32 to i64
  %number.32 = call i32 @{TEAM_FUNCTIONS[1]}()
  %number = zext i32 %number.32 to i64"""
"""How many threads there are, and which this one is."""
PIECES = f"""
; pieces one after the other, each by one thread
define void @pieces(ptr %pieces, i64 %first, i64 %last) {{
entry:
  br label %each.piece

each.piece:
  %i = phi i64 [ %first, %entry ], [ %next.i, %call ]
  %more = icmp slt i64 %i, %last
  br i1 %more, label %call, label %end

call:
  %index = mul i64 %i, {FIELDS}
  %piece = getelementptr i64, ptr %pieces, i64 %index
{_call("i64 0, i64 1, ptr null")}
  %next.i = add i64 %i, 1
  br label %each.piece

end:
  ret void
}}
"""
SHARE = f"""{PIECES}
declare i32 @{TEAM_FUNCTIONS[0]}()
declare i32 @{TEAM_FUNCTIONS[1]}()

; data: the pieces, where those of each share begin, the number of shares
define void @share(ptr %data) {{
entry:
  %pieces = load ptr, ptr %data
  %at.starts = getelementptr i64, ptr %data, i64 1
  %starts = load ptr, ptr %at.starts
  %at.shares = getelementptr i64, ptr %data, i64 2
  %shares = load i64, ptr %at.shares
{TEAM}
  br label %each.share

each.share: ; of a team smaller than was asked for, some threads take several
  %share = phi i64 [ %number, %entry ], [ %next.share, %begin ]
  %more.shares = icmp slt i64 %share, %shares
  br i1 %more.shares, label %begin, label %end

begin:
  %at.first = getelementptr i64, ptr %starts, i64 %share
  %first = load i64, ptr %at.first
  %at.last = getelementptr i64, ptr %at.first, i64 1
  %last = load i64, ptr %at.last
  call void @pieces(ptr %pieces, i64 %first, i64 %last)
  %next.share = add i64 %share, %team
  br label %each.share

end:
  ret void
}}
"""
TOGETHER = f"""
declare i32 @{TEAM_FUNCTIONS[0]}()
declare i32 @{TEAM_FUNCTIONS[1]}()

; data: one piece, then what its threads meet by
define void @together(ptr %data) {{
  %piece = load ptr, ptr %data
  %at.meeting = getelementptr i64, ptr %data, i64 1
  %meeting = load ptr, ptr %at.meeting
{TEAM}
{_call("i64 %number, i64 %team, ptr %meeting")}
  ret void
}}
"""


@dataclass(slots=True)
class Job:
    """One program on its way through all its rows, as the threads see it."""

    compiled: Compiled
    arguments: tuple[int, int, int, int, int]
    """Addresses of pointers, strides, offsets and counts; the number of steps."""
    rows: int
    row_stride: int
    tiles: Sequence[int]
    """What the rows cost, so many of them at a time: a share begins with a tile."""
    tile: int
    """Rows of a tile."""
    cost: int
    """Of one row at one step, in multiplications or so."""
    block: int
    """Tiles that go through all steps before others begin, so that what they write at one step is
    in a near cache when it is read."""
    is_near: bool
    """Whether the weights stay in a near cache."""
    columns: int
    """Blocks of columns of its widest product."""
    alive: Any
    """What the addresses point to."""
    parameters: Sequence[tuple[Tensor, Tensor]] = ()
    """As they were given, and as the kernel reads them."""

    def packed(self) -> list[tuple[Tensor, Tensor]]:
        """The weights that were packed for the kernel, and what they were packed into."""
        return [(weight, ready) for weight, ready in self.parameters if weight.ndim != ready.ndim]

    def pieces(self, first: int, last: int, block: int = 0) -> Iterator[tuple[int, ...]]:
        """The arguments of ``run`` for each block of the tiles from ``first`` to ``last``."""
        block = block or self.block
        for begin in range(first, last, block):
            end = min(begin + block, last)
            rows = begin * self.tile, min(end * self.tile, self.rows)
            yield *self.arguments, *rows, self.row_stride


def run(jobs: Sequence[Job]) -> None:
    """Run all jobs, their tiles shared among as many threads as PyTorch may use."""
    threads = torch.get_num_threads()
    if threads > 1:
        work = sum(job.cost * job.tile * sum(job.tiles) for job in jobs)
        threads = min(threads, 1 + work // WORTH_THREAD)
    parallel = _parallel() if threads > 1 else None
    meeting = min(threads, _cores())  # who waits for a thread that has no core waits long
    if parallel is not None and meeting > 1 and _is_for_all(jobs, meeting):
        _run_together(jobs[0], meeting)
        return
    threads = min(threads, sum(len(job.tiles) for job in jobs))
    if threads < 2:
        _run_share([(job, 0, len(job.tiles)) for job in jobs])
        return
    shares = _shares(jobs, threads)
    if parallel is None:
        for done in [_pool().submit(_run_share, share) for share in shares]:
            done.result()
        return
    each = [
        [(job.compiled.address, *piece) for job, *tiles in share for piece in job.pieces(*tiles)]
        for share in shares
    ]
    flat = [*chain.from_iterable(chain.from_iterable(each))]
    pieces = (ctypes.c_int64 * len(flat))(*flat)
    edges = [0, *accumulate(map(len, each))]
    starts = (ctypes.c_int64 * len(edges))(*edges)
    data = (ctypes.c_int64 * 3)(ctypes.addressof(pieces), ctypes.addressof(starts), len(shares))
    share_all, _, gomp = parallel
    gomp(share_all.address, ctypes.addressof(data), threads, 0)


def sequence(pieces: Sequence[tuple[int, ...]]) -> tuple[Callable[[], None], object]:
    """What runs the pieces one after the other on the thread that calls it, and what must be held
    as long as it is."""
    data = (ctypes.c_int64 * (FIELDS * len(pieces)))(*chain.from_iterable(pieces))
    compiled = compile_text(PIECES, machine(), "pieces")
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return partial(kind(compiled.address), ctypes.addressof(data), 0, len(pieces)), (data, compiled)


def _is_for_all(jobs: Sequence[Job], threads: int) -> bool:
    """Whether all threads shall do all rows, and each a part of the columns of products: where
    there are fewer rows than threads, or weights so large that to read them takes the time."""
    job, *others = jobs
    pairs, rows = len(job.tiles), len(job.tiles) * job.tile
    if others or job.cost * rows < WORTH_MEETING * threads or job.arguments[4] == 1:
        return False
    has_fewer = 2 * pairs <= min(threads, job.columns)
    return has_fewer or (not job.is_near and rows <= FEW_ROWS * threads)


@cache
def _cores() -> int:
    """Those that this process may use, by its affinity and by what its container is granted."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        count = min(count or 1, max(1, int(quota) // int(period)))  # "max" is no number
    return count or 1


def _run_together(job: Job, threads: int) -> None:
    (arguments,) = job.pieces(0, len(job.tiles), len(job.tiles))
    piece = (ctypes.c_int64 * FIELDS)(job.compiled.address, *arguments)
    meeting = (ctypes.c_int64 * MEETING_FIELDS)()
    data = (ctypes.c_int64 * 2)(ctypes.addressof(piece), ctypes.addressof(meeting))
    parallel = _parallel()
    assert parallel is not None
    _, together, gomp = parallel
    gomp(together.address, ctypes.addressof(data), threads, 0)


Share = list[tuple[Job, int, int]]


def _shares(jobs: Sequence[Job], threads: int) -> list[Share]:
    """Runs of tiles of about the same cost, in the order of the jobs."""
    ends = [*accumulate(chain.from_iterable(job.tiles for job in jobs))]
    middles = [*map(operator.add, ends, [0, *ends])]  # of each tile twice the cost up to its middle
    edges = [bisect_left(middles, -(-2 * ends[-1] * i // threads)) for i in range(threads + 1)]
    starts = [*accumulate((len(job.tiles) for job in jobs), initial=0)]
    return [
        [
            (job, max(first, start) - start, min(last, start + len(job.tiles)) - start)
            for job, start in zip(jobs, starts, strict=False)
            if max(first, start) < min(last, start + len(job.tiles))
        ]
        for first, last in pairwise(edges)
    ]


def _run_share(share: Share) -> None:
    for job, *tiles in share:
        for piece in job.pieces(*tiles):
            job.compiled.run(*piece, 0, 1, None)


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads where PyTorch's cannot be had; the calls release the interpreter's lock."""
    return ThreadPoolExecutor(thread_name_prefix="saiki")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # its threads stay with the parent


@cache
def _parallel() -> tuple[Compiled, Compiled, Callable[[int, int, int, int], None]] | None:
    """``share`` and ``together`` compiled, and ``GOMP_parallel(function, data, threads, 0)`` of the
    OpenMP that PyTorch runs on; None where it has another OpenMP or lies elsewhere."""
    files = Path(torch.__file__).parent.glob("lib/*torch_cpu.*")
    path = next((path for path in files if path.suffix != ".lib"), None)
    if path is None:
        return None
    library = ctypes.CDLL(str(path))
    try:
        addresses = {name: getattr(library, name) for name in (*TEAM_FUNCTIONS, "GOMP_parallel")}
    except AttributeError:
        return None
    for name in TEAM_FUNCTIONS:
        binding.add_symbol(name, ctypes.cast(addresses[name], ctypes.c_void_p).value)
    gomp = addresses["GOMP_parallel"]
    gomp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    gomp.restype = None
    return (
        compile_text(SHARE, machine(), "share"),
        compile_text(TOGETHER, machine(), "together"),
        cast(Callable[[int, int, int, int], None], gomp),
    )


MEET = "saiki_meet"
"""The symbol by which programs call what has threads wait for each other. It takes the number of
threads, and what they meet by: how many are there, and in the next cache line how often they have
met."""
PATIENCE = 64
"""Looks after which a thread that waits lets others have its core."""


@cache
def meeting(machine: Machine) -> Compiled:
    """The function compiled, and known to programs that are compiled from now on."""
    compiled = compile_text(_meeting_text(machine), machine, MEET)
    binding.add_symbol(MEET, compiled.address)
    return compiled


def _meeting_text(machine: Machine) -> str:
    pause, hint = "void @llvm.x86.sse2.pause()", "()"
    if machine.control == "fpcr":
        pause, hint = "void @llvm.aarch64.hint(i32 1)", "(i32)"
    name = pause[pause.index("@") : pause.index("(")]
    gives_way = "call i32 @sched_yield()" if os.name == "posix" else f"call {pause}"
    return f"""
declare void {name}{hint}
declare i32 @sched_yield()

define void @{MEET}(i64 %team, ptr %count) {{
entry:
  %times = getelementptr i64, ptr %count, i64 8
  %before = load atomic i64, ptr %times acquire, align 8
  %others = atomicrmw add ptr %count, i64 1 acq_rel
  %here = add i64 %others, 1
  %is.last = icmp eq i64 %here, %team
  br i1 %is.last, label %open, label %wait

open:
  store atomic i64 0, ptr %count monotonic, align 8
  %next = add i64 %before, 1
  store atomic i64 %next, ptr %times release, align 8
  ret void

wait:
  %looks = phi i64 [ 1, %entry ], [ %more, %again ]
  %now = load atomic i64, ptr %times acquire, align 8
  %is.open = icmp ne i64 %now, %before
  br i1 %is.open, label %done, label %rest

rest:
  call {pause}
  %part = urem i64 %looks, {PATIENCE}
  %is.long = icmp eq i64 %part, 0
  br i1 %is.long, label %yield, label %again

yield:
  {gives_way}
  br label %again

again:
  %more = add i64 %looks, 1
  br label %wait

done:
  ret void
}}
"""
