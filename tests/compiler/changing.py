"""Cells that depend on one thing, and a check that its changes are noticed."""

import contextlib

import torch
from torch import nn

from compiler.twins import TOLERANCE, assert_same, cell, draw, inputs, layer, linear, results
from saiki import Recurrent


class Cases(list):
    """Generators that yield a cell and then change it, time and again, last of all as they end:
    those that it has decorated, and those of tables."""

    def __call__(self, case):
        self.append(case)
        return case

    def table(self, cases):
        """Of each case what makes the cell, and what changes it."""
        for name, (make, *steps) in cases.items():

            def case(make=make, steps=steps):
                yield (subject := make())
                for step in steps[:-1]:
                    step(subject)
                    yield
                steps[-1](subject)

            case.__name__ = name
            self.append(case)


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


def with_buffer(cell, name="mean", value=None):
    cell.register_buffer(name, draw(4) if value is None else value)
    return cell


def differ(after, before):
    """Whether any number is another one, or a gradient has come or gone."""
    return after.keys() != before.keys() or any(
        (a is None) != (b is None) or (a is not None and not torch.equal(a, b))
        for a, b in zip(after.values(), before.values(), strict=True)
    )


def changes_of(case):
    """Goes on once for each change of a case that has yielded its cell."""
    yield from case
    yield


def check(case):
    with contextlib.closing(case()) as steps:
        compiled = layer(next(steps))
        x = inputs(compiled.input_size)
        expected = results(Recurrent(compiled.cell, backend="eager"), x)
        assert_same(results(compiled, x), expected, TOLERANCE)
        for _ in changes_of(steps):
            before, expected = expected, results(Recurrent(compiled.cell, backend="eager"), x)
            assert differ(expected, before), "the case changes nothing"
            assert_same(results(compiled, x), expected, TOLERANCE)


def check_change(read, change, undo=lambda: None):
    """The check of a step that multiplies by ``read()``, or of a cell given instead of it."""

    def case():
        yield read if isinstance(read, nn.Module) else scaled(lambda self: read())
        change()

    try:
        check(case)
    finally:
        undo()
