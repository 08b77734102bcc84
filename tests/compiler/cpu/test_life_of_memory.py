"""Buffers and code are there as long as somebody uses them, and no longer."""

import gc
import os
import threading
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch import fx
from torch.fx import graph_module
from torch.utils import deterministic

import saiki
from compiler.twins import in_a_child
from saiki.compiler import kernels
from saiki.compiler.cpu import buffers, jit, threads
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.cpu.buffers import LINE, SMALLEST, SPARE, Pool, rounded
from saiki.compiler.cpu.machine import machine
from saiki.compiler.run.compiled import _CELLS
from saiki.compiler.run.outside import function
from saiki.compiler.watch.kinds import Itself

MIB = 1 << 20


@pytest.fixture
def nan_in_new_memory():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_a_size_of_a_class_is_at_most_an_eighth_larger():
    for size in (SMALLEST, SMALLEST + 1, 3 * MIB + 5, 100 * MIB - 1):
        assert size <= rounded(size) <= size * 9 / 8
        assert rounded(rounded(size)) == rounded(size)


def test_steps_of_one_shape_use_their_buffers_again():
    pool = Pool()
    places = []
    for _ in range(50):
        lent = [pool.lend(size) for size in (6 * MIB, 4 * MIB, 9 * MIB)]
        assert all(buffer.ctypes.data % LINE == 0 for buffer in lent)
        places.append({buffer.ctypes.data for buffer in lent})
        del lent
    assert all(place == places[0] for place in places)
    assert pool.held == rounded(6 * MIB) + rounded(4 * MIB) + rounded(9 * MIB)


def test_a_buffer_in_use_is_lent_to_nobody_else():
    pool = Pool()
    first = pool.lend(MIB)
    view = torch.from_numpy(first).view(torch.float32).view(-1, 4)[3:]
    at = first.ctypes.data
    del first
    other = pool.lend(MIB)
    assert other.ctypes.data != at
    del view
    assert pool.lend(MIB).ctypes.data == at


def test_slightly_other_sizes_share_a_buffer():
    pool = Pool()
    for size in (8 * MIB, 7 * MIB + 3, 5 * MIB, 6 * MIB):
        assert pool.lend(size).nbytes == size
    assert pool.held == 8 * MIB


def test_sizes_no_longer_used_are_given_back():
    pool = Pool()
    generator = np.random.default_rng(0)
    for size in generator.integers(MIB, 400 * MIB, 300):
        lent = pool.lend(int(size))
        del lent
    lately = 2 * MIB
    for _ in range(20_000 // 16):
        lent = pool.lend(lately)
        del lent
    assert pool.held <= SPARE * rounded(lately)


def test_what_is_free_goes_with_the_last_compiled_cell():
    in_a_child(_goes_with_the_last_cell)


def _goes_with_the_last_cell():
    layers = [trained(5), trained(6)]
    pool = weakref.ref(buffers.pool())
    used = buffers.empty(2 * MIB, dtype=torch.float32)
    freed = buffers.empty(3 * MIB, dtype=torch.float32)
    memory = weakref.ref(pool().leases[1][1])
    del freed
    layers.pop()
    assert memory() is not None
    assert pool().held > pool().lent
    layers.pop()
    assert pool() is memory() is None
    used.fill_(1.0)


def test_what_is_free_is_given_back_when_asked_for():
    in_a_child(_gives_back)


def _gives_back():
    pool = buffers.pool()
    used = buffers.empty(2 * MIB, dtype=torch.float32)
    freed = buffers.empty(3 * MIB, dtype=torch.float32)
    del freed
    assert pool.held > pool.lent == used.nbytes
    CPU().give_back()
    assert pool.held == pool.lent == used.nbytes


def test_a_buffer_can_come_back_while_its_thread_is_inside_the_pool():
    """As where the interpreter collects a cycle there; a lock would wait for itself."""
    pool = Pool()
    lent = [pool.lend(MIB)]

    def inside() -> None:
        with pool.lock:
            lent.clear()
            assert pool.lend(MIB).nbytes == MIB
            pool.clear()

    thread = threading.Thread(target=inside, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert pool.lent == 0


@pytest.mark.parametrize("count", [3, SMALLEST])
def test_new_memory_holds_nan_where_pytorchs_own_does(count, nan_in_new_memory):
    assert buffers.empty(count, dtype=torch.float32).isnan().all()
    second = buffers.empty(count, dtype=torch.float64)
    second.fill_(0.0)
    del second
    assert buffers.empty(count, dtype=torch.float64).isnan().all()
    deterministic.fill_uninitialized_memory = False
    try:
        buffer = buffers.empty(count, dtype=torch.float32).fill_(2.0)
        assert not buffer.isnan().any()
    finally:
        deterministic.fill_uninitialized_memory = True


class Forgetful(saiki.Cell):
    """Nothing depends on its second state."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)

    def step(self, x, h, before):
        return torch.tanh(self.W(x) + h), h


@pytest.mark.parametrize("cell", [saiki.cells.LSTM, saiki.cells.GRU, Forgetful])
def test_no_kernel_reads_what_nothing_wrote(cell, nan_in_new_memory):
    layer = saiki.Recurrent(cell(3, 21))
    x = torch.randn(5, 6, 3, requires_grad=True)
    for lengths in (None, torch.tensor([6, 1, 4, 2, 6])):
        y, ends = layer(x, lengths=lengths)
        (y.sum() + ends[-1].sum()).backward()
        assert y.isfinite().all()
        assert all(p.grad.isfinite().all() for p in (x, *layer.parameters()))


def trained(size: int) -> saiki.Recurrent:
    """A layer after a step of training."""
    layer = saiki.Recurrent(saiki.cells.GRU(3, size))
    step(layer)
    return layer


def step(layer: saiki.Recurrent) -> None:
    layer(torch.randn(2, 3, 3, requires_grad=True))[0].sum().backward()


def alive() -> tuple[int, int]:
    """Compiled cells and functions of machine code that somebody holds."""
    kernels._recent.clear()
    jit._recent.clear()
    gc.collect()
    return len(_CELLS), len(jit._COMPILED)


def test_code_dies_with_the_last_layer_that_uses_it():
    step(trained(5))
    before = alive()
    first = trained(23)
    one = alive()
    assert one[1] == before[1] + 2  # forward and backward
    second = trained(23)
    assert alive() == (one[0] + 1, one[1])  # the same text is compiled once
    del first
    assert alive() == one
    step(second)
    del second
    assert alive() == before


def test_layers_over_the_same_equations_share_what_is_compiled():
    def compiled_step(layer):
        step(layer)
        return layer.kernels.find(torch.float32).compiled.step

    first, second, other = trained(26), trained(26), trained(27)
    assert compiled_step(first) is compiled_step(second) is not compiled_step(other)
    changed = saiki.Recurrent(saiki.cells.GRU(3, 26, activation="sigmoid"))
    assert compiled_step(changed) is not compiled_step(first)
    second.cell.extra = 0.5
    assert compiled_step(second) is not compiled_step(first)


class Opaque:
    """An object that says nothing of itself."""


def test_an_object_that_took_the_place_of_another_in_memory_is_another():
    """Addresses are given anew; a kernel is not taken for that of an object that is no more."""
    first = Opaque()
    it = Itself(first)
    assert it == Itself(first)
    assert it != Itself(Opaque())
    address = id(first)
    del first
    others = [Opaque() for _ in range(1000)]
    same = [other for other in others if id(other) == address]
    if not same:
        pytest.skip("this interpreter gave the address to none of them")
    assert Itself(same[0]) != it


def test_a_layer_that_is_part_of_a_cycle_is_given_back():
    before = alive()
    layer = trained(24)
    layer.itself = [layer]
    del layer
    assert alive() == before


def test_the_function_of_a_graph_leaves_no_source_behind():
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(torch.add, (x, 1)))
    cached, made = len(graph_module._loader.eval_cache), function(graph)
    assert made(torch.ones(2)).tolist() == [2.0, 2.0]
    assert len(graph_module._loader.eval_cache) == cached


def test_no_table_for_unwinding_is_registered(monkeypatch):
    """The unwinder of C++ would read it at the next exception of PyTorch, long after the code."""
    written = []

    def translate(text, machine):
        written.append(translated(text, machine))
        return written[-1]

    translated = jit.translate
    monkeypatch.setattr(jit, "translate", translate)
    trained(25)
    jit.translate(threads.SHARE, machine())
    assert len(written) > 2
    assert not [code for code in written if b".eh_frame" in code]


def forks_with_threads_of_its_own():
    pool = threads._pool()
    assert pool.submit(int).result() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks
        child = os.fork()
    if child == 0:
        os._exit(threads._pool() is pool or threads._pool().submit(int).result())
    assert os.waitpid(child, 0)[1] == 0


def test_without_pytorchs_library_at_its_place_threads_of_our_own_run(monkeypatch):
    monkeypatch.setattr(torch, "__file__", "/nowhere/__init__.py")
    assert threads._parallel.__wrapped__() is None
    assert threads._pool().submit(int).result() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_threads_of_our_own_stay_with_the_process_that_made_them():
    in_a_child(forks_with_threads_of_its_own)
