"""Cells that depend on one thing, and a check that its changes are noticed."""

import contextlib

import torch
from torch import nn

from compiler.twins import TOLERANCE, assert_same, cell, inputs, layer, linear, results
from saiki import Recurrent


class Cases(list):
    """The functions that it has decorated."""

    def __call__(self, case):
        self.append(case)
        return case


def scaled(read, **attributes):
    """A cell whose state is multiplied by what ``read`` makes of the cell."""
    return cell(
        lambda self, x, h: torch.tanh(self.W(x) + read(self) * h), W=linear(3, 4), **attributes
    )


def activated(function, **attributes):
    """A cell whose activation is made of the cell and its sum."""
    return cell(
        lambda self, x, h: function(self, self.W(x) + self.U(h)),
        W=linear(3, 4), U=linear(4, 4), **attributes,
    )  # fmt: skip


def differ(found, before):
    """Whether any number is another one, or a gradient has come or gone."""
    return found.keys() != before.keys() or any(
        (a is None) != (b is None) or (a is not None and not torch.equal(a, b))
        for a, b in zip(found.values(), before.values(), strict=True)
    )


def check(case):
    with contextlib.closing(case()) as steps:
        found = layer(next(steps))
        x = inputs(found.input_size)
        expected = results(Recurrent(found.cell, backend="eager"), x)
        assert_same(results(found, x), expected, TOLERANCE)
        for _ in steps:
            before, expected = expected, results(Recurrent(found.cell, backend="eager"), x)
            assert differ(expected, before), "the case changes nothing"
            assert_same(results(found, x), expected, TOLERANCE)


def check_change(read, change, undo=lambda: None):
    """The check of a step that multiplies by ``read()``, or of a cell given instead of it."""

    def case():
        try:
            yield read if isinstance(read, nn.Module) else scaled(lambda self: read())
            change()
            yield
        finally:
            undo()

    check(case)
