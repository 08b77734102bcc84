"""Processors with narrower vectors and fewer registers, whose code runs here too."""

import pytest
import torch

from compiler.comparison import compiled, draw
from compiler.test_against_eager import ALL, LENGTHS, assert_agrees, learning
from saiki.compiler.cpu import backend, loop
from saiki.compiler.cpu import machine as processor
from saiki.compiler.cpu.machine import AVX2, SSE2

NARROWER = [AVX2, SSE2]


@pytest.mark.skipif(processor.machine().control != "mxcsr", reason="the code is for x86")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["lstm", "gru reset before", "LayerNormGRU", "FourStates"])
@pytest.mark.parametrize("machine", NARROWER, ids=lambda machine: machine.name)
def test_agrees_with_the_eager_loop(machine, name, dtype, monkeypatch):
    for module in (loop, backend):
        monkeypatch.setattr(module, "machine", lambda: machine)
    layer = compiled(ALL[name](3, 19), dtype)
    assert machine.name in layer.explain()
    tolerance = {} if dtype == torch.float64 else {"tolerance": 2e-5}
    for batch in (1, 5):
        assert_agrees(layer, learning(batch, 4, 3, dtype=dtype), **tolerance)
    assert_agrees(layer, draw(5, 6, 3, dtype=dtype), None, LENGTHS, **tolerance)
