"""A call of layers, and its tensors one after the other."""

import torch

from saiki.call import Call, Part


def part(reverse, states, parameters, memory, key=-1):
    return Part(reverse, *(list(torch.randn(n, 2)) for n in (states, parameters, memory)), key)


def of(call):
    """The tensors of each part, by kind."""
    return [(p.states, p.parameters, p.memory) for p in call.parts]


def test_other_tensors_take_the_places_of_those_there_are():
    call = Call(torch.randn(3), None, True, [part(False, 2, 3, 1, 4), part(True, 1, 0, 2, 5)])
    lengths, tensors = torch.tensor([1]), call.tensors()
    assert tensors[0] is call.x
    assert len(tensors) == 1 + 6 + 3
    others = [tensor + 1 for tensor in tensors]
    moved = call.with_tensors(others, lengths)
    assert all(a is b for a, b in zip(moved.tensors(), others, strict=True))
    assert moved.lengths is lengths
    assert moved.time_first
    assert [(p.reverse, p.key) for p in moved.parts] == [(False, 4), (True, 5)]
    for ours, theirs in zip(of(moved), of(call), strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert len(mine) == len(other)
            assert all(torch.equal(a, b + 1) for a, b in zip(mine, other, strict=True))


def test_a_call_without_tensors_has_room_for_them():
    call = Call(torch.randn(3), torch.tensor([1]), False, [part(False, 2, 3, 1)])
    bare = call.with_tensors([None] * len(call.tensors()), None)
    assert bare.tensors() == [None] * 7
    rebuilt = bare.with_tensors(call.tensors(), call.lengths)
    assert all(a is b for a, b in zip(rebuilt.tensors(), call.tensors(), strict=True))


def test_each_part_alone_keeps_what_is_its_own():
    call = Call(torch.randn(3), None, False, [part(False, 1, 1, 0), part(True, 2, 1, 0)], "ab")
    first, second = call.alone()
    assert (*first.parts, *second.parts) == tuple(call.parts)
    assert (first.layers, second.layers) == ("a", "b")
    assert first.x is second.x is call.x
