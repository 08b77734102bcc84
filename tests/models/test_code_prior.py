"""The prior over codes: what it may see, what it says of codes, and what it draws."""

import itertools

import pytest
import torch

from saiki.cells import GRU, LSTM
from saiki.errors import InputError
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack
from saiki.models.code_prior import CodePrior
from saiki.saving.description import describe, make


def prior(shape=(3, 2, 2), codes=5, classes=3, seed=0):
    torch.manual_seed(seed)
    recurrent = Stack([Recurrent(LSTM(6, 8)), Recurrent(GRU(8, 7))])
    return CodePrior(shape, codes, recurrent, classes).eval()


def test_a_code_is_told_by_those_before_it_alone():
    model = prior()
    codes = torch.randint(5, (1, 3, 2, 2))
    v = model(codes, torch.tensor([1]))
    for step in range(model.steps):
        other = codes.flatten(1).clone()
        other[:, step:] = (other[:, step:] + 1) % 5
        w = model(other.view_as(codes), torch.tensor([1]))
        assert torch.allclose(w[:, : step + 1], v[:, : step + 1], atol=1e-6)
        if step + 1 < model.steps:
            assert not torch.allclose(w[:, step + 1], v[:, step + 1], atol=1e-6)


def test_it_sees_the_code_above():
    model = prior((3, 4, 1), classes=0)
    with torch.no_grad():
        model.before.weight.zero_()  # nothing else of the codes
        for p in model.recurrent.parameters():
            p.mul_(3)
    codes = torch.zeros(1, 3, 4, 1, dtype=torch.long)
    v = model(codes)
    codes[0, 0, 1] = 3
    changed = (model(codes) - v).abs().amax((0, 2)) > 1e-6
    assert changed.tolist() == [False] * 5 + [True] * 7  # from the place below it on


def test_the_probabilities_of_all_images_of_codes_sum_to_one():
    model = prior((2, 2, 1), codes=3, classes=2).double()
    every = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2, 1)
    for label in (0, 1):
        nll = model.nll(every, torch.full((len(every),), label)) * 4
        assert (-nll).exp().sum().item() == pytest.approx(1)


def test_what_is_drawn_is_as_frequent_as_it_is_probable():
    model = prior((1, 2, 1), codes=3, classes=2).double()
    label = torch.tensor([1])
    random = torch.Generator().manual_seed(0)
    samples = model.sample(20_000, label.expand(20_000), generator=random)
    for a, b in itertools.product(range(3), repeat=2):
        p = (-2 * model.nll(torch.tensor([[[[a], [b]]]]), label)).exp().item()
        share = (samples.flatten(1) == torch.tensor([a, b])).all(1).double().mean().item()
        assert share == pytest.approx(p, abs=4 * (p * (1 - p) / 20_000) ** 0.5)


def test_a_low_temperature_draws_the_most_probable():
    model = prior()
    codes = model.sample(2, torch.tensor([0, 2]), temperature=1e-4)
    assert torch.equal(model(codes, torch.tensor([0, 2])).argmax(2), codes.flatten(1))


def test_it_learns_what_goes_with_a_class():
    model = prior((2, 2, 1), codes=4, classes=2).train()
    labels = torch.arange(2).repeat(16)
    codes = (3 * labels)[:, None, None, None].expand(-1, 2, 2, 1)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        model.nll(codes, labels).mean().backward()
        optimiser.step()
    samples = model.eval().sample(20, torch.arange(2).repeat(10), 0.3)
    assert torch.equal(
        samples, (3 * torch.arange(2).repeat(10))[:, None, None, None].expand_as(samples)
    )


def test_labels_are_asked_for_where_there_are_classes_and_there_alone():
    codes, labels = torch.zeros(2, 3, 2, 2, dtype=torch.long), torch.tensor([0, 1])
    for model, wrong, message in (
        (prior(), None, "has learned 3 classes; say the label of each example"),
        (prior(classes=0), labels, "has learned no classes; leave the labels out"),
    ):
        for ask in (
            lambda m, y: m.nll(codes, y), lambda m, y: m.sample(2, y),
        ):  # fmt: skip
            with pytest.raises(InputError, match=message):
                ask(model, wrong)


def test_it_is_made_again_from_its_description():
    model = prior()
    restored = make(describe(model)).eval()
    restored.load_state_dict(model.state_dict())
    codes = torch.randint(5, (2, 3, 2, 2))
    assert torch.equal(restored(codes, torch.tensor([0, 1])), model(codes, torch.tensor([0, 1])))
    assert "C[column] + B[book] + Y[class]" in model.equations()
