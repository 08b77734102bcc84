"""Schedules against their equations, weight decay against updates by hand."""

import math

import numpy as np
import pytest
import torch

from saiki.optimisation import RULES, Optimisation
from saiki.training.loop import optimiser_state, restore_optimiser


def rates(**knobs):
    optimisation = Optimisation(learning_rate=2.0, **knobs)
    return [optimisation.rate(step, 10) for step in range(1, 11)]


def test_a_constant_rate_is_that_of_the_knob():
    assert rates() == [2.0] * 10


def test_a_line_leads_from_the_first_iteration_towards_0():
    assert rates(schedule="linear") == pytest.approx([2 - 0.2 * i for i in range(10)])


def test_half_a_cosine_leads_there_too():
    wanted = [1 + math.cos(math.pi * i / 10) for i in range(10)]
    assert rates(schedule="cosine") == pytest.approx(wanted)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_warm_up_rises_in_equal_steps_to_the_full_rate(schedule):
    warmed = rates(schedule=schedule, warmup=0.4)
    assert warmed[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    s = np.arange(6) / 6
    after = {"constant": 1 + 0 * s, "linear": 1 - s, "cosine": (1 + np.cos(np.pi * s)) / 2}
    assert warmed[4:] == pytest.approx(2 * after[schedule])


def test_a_warm_up_over_the_whole_training_ends_with_the_full_rate():
    assert rates(schedule="cosine", warmup=1.0) == pytest.approx([0.2 * i for i in range(1, 11)])


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_weight_decay_pulls_towards_0(rule):
    optimisation = Optimisation(optimiser=rule, learning_rate=0.1, weight_decay=0.5)
    w = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimiser = optimisation.build([w])
    w.grad = torch.tensor([1.0, -4.0], dtype=torch.float64)
    optimiser.step()
    pulled = torch.tensor([3.0, -2.0], dtype=torch.float64) * (1 - 0.1 * 0.5)
    # the first step of Adam is the sign of the gradient, whatever its size
    moved = {"sgd": [0.1, -0.4], "adamw": [0.1, -0.1]}[rule]
    assert w.tolist() == pytest.approx((pulled - torch.tensor(moved).double()).tolist(), rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_an_optimiser_goes_on_with_what_it_remembered(rule):
    optimisation = Optimisation(optimiser=rule, learning_rate=0.1)
    gradients = torch.randn(6, 3)

    def steps(w, optimiser, rows):
        for gradient in rows:
            w.grad = gradient.clone()
            optimiser.step()

    w = torch.ones(3, requires_grad=True)
    steps(w, optimisation.build([w]), gradients)
    a = torch.ones(3, requires_grad=True)
    first = optimisation.build([a])
    steps(a, first, gradients[:4])
    tensors, numbers = optimiser_state(first, ["w"])
    b = a.detach().clone().requires_grad_()
    second = optimisation.build([b])
    restore_optimiser(second, ["w"], {n: t.clone() for n, t in tensors.items()}, numbers)
    steps(b, second, gradients[4:])
    assert torch.equal(b, w)
