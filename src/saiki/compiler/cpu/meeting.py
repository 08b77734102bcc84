"""Where threads that work on the same rows wait for each other."""

import os
from functools import cache

from llvmlite import binding, ir

from saiki.compiler.cpu.builder import INT, POINTER
from saiki.compiler.cpu.jit import Compiled, compile_text
from saiki.compiler.cpu.machine import Machine

NAME = "saiki_meet"
"""The symbol by which programs call it."""
SIGNATURE = ir.FunctionType(ir.VoidType(), [INT, POINTER])
"""The number of threads, and what they meet by: how many are there, and in the next cache line how
often they have met."""
PATIENCE = 64
"""Looks after which a thread that waits lets others have its core."""


@cache
def meeting(machine: Machine) -> Compiled:
    """The function compiled, and known to programs that are compiled from now on."""
    found = compile_text(_text(machine), machine, NAME)
    binding.add_symbol(NAME, found.address)
    return found


def _text(machine: Machine) -> str:
    pause, hint = "void @llvm.x86.sse2.pause()", "()"
    if machine.control == "fpcr":
        pause, hint = "void @llvm.aarch64.hint(i32 1)", "(i32)"
    name = pause[pause.index("@") : pause.index("(")]
    gives_way = "call i32 @sched_yield()" if os.name == "posix" else f"call {pause}"
    return f"""
declare void {name}{hint}
declare i32 @sched_yield()

define void @{NAME}(i64 %team, ptr %count) {{
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
