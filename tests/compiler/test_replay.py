"""A call on buffers of its own beside the operator, for one batch after another."""

import itertools

import pytest
import torch

from compiler.comparison import compiled, draw
from compiler.test_against_eager import ALL
from saiki.compiler.operators import DIRECT
from saiki.compiler.replay import replayable

SCAN, BACKWARD = torch.ops.saiki.scan.default, torch.ops.saiki.scan_backward.default


NAMES = [name for name in ALL if name not in ("Constants", "Blind", "Unlearnt")]


@pytest.mark.parametrize(("name", "input_size"), list(zip(NAMES, itertools.cycle([3, 9]))))
def test_does_what_the_operator_does_for_one_batch_after_another(name, input_size):
    layer = compiled(ALL[name](input_size, 5), torch.float32)
    sizes, reverse, time_first = layer.cell.state_sizes, [input_size == 9], input_size == 9
    known = layer._saiki_kernels.find(torch.float32)
    tensors = [owner[name].detach() for owner, name in known.inputs]
    keys, needs = [known.key], [True, *known.compiled.step.has_gradient[1:]]
    forward, inference, backward = (replayable(op, keys, None) for op in (SCAN, SCAN, BACKWARD))
    batches = []
    for _ in range(3):
        x, states = draw(4, 6, layer.input_size).float(), [draw(4, s).float() for s in sizes]
        if time_first:
            x = x.transpose(0, 1).contiguous()
        batches.append((x, x.clone()))
        for t in tensors:
            if t.is_floating_point():
                t.mul_(0.9)  # in place, as an optimiser does
        call = x, states, tensors, None, keys, reverse, time_first
        for op, function, training in ((SCAN, forward, True), (SCAN, inference, False)):
            wanted, found = DIRECT[op](*call, training), function(*call, training)
            assert_equal(found, wanted)
            if training:
                left, ours = wanted[1 + len(sizes) :], found[1 + len(sizes) :]
        d_y = torch.randn_like(wanted[0])
        d_states = [torch.randn_like(s) for s in states]
        end = keys, reverse, time_first, needs
        assert_equal(
            backward(d_y, d_states, x, states, tensors, None, ours, *end),
            DIRECT[BACKWARD](d_y, d_states, x, states, tensors, None, left, *end),
        )
    for x, before in batches:  # no call writes into the batch of another
        assert torch.equal(x, before)


def assert_equal(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)


def test_ragged_input_and_several_directions_go_to_the_operator():
    layer = compiled(ALL["lstm"](3, 5), torch.float32)
    key = layer._saiki_kernels.find(torch.float32).key
    assert replayable(SCAN, [key, key], None) is DIRECT[SCAN]
    assert replayable(SCAN, [key], torch.tensor([1])) is DIRECT[SCAN]
    assert replayable(SCAN, [key], None) is not DIRECT[SCAN]
