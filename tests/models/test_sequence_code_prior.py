"""The prior over sequences of codes: what it may see, when it ends, and what it draws."""

import itertools

import pytest
import torch

from saiki.cells import GRU
from saiki.errors import InputError
from saiki.layers.recurrent import Recurrent
from saiki.models.sequence_code_prior import SequenceCodePrior
from saiki.saving.description import describe, make


def prior(books=2, codes=5, classes=3, seed=0):
    torch.manual_seed(seed)
    return SequenceCodePrior(books, codes, Recurrent(GRU(6, 8)), classes).eval()


def test_a_code_is_told_by_those_before_it_alone():
    model, label = prior(), torch.tensor([1])
    codes = torch.randint(5, (1, 4, 2))
    p = model(codes, label).exp()
    for step in range(8):
        other = codes.flatten(1).clone()
        other[:, step:] = (other[:, step:] + 1) % 5
        q = model(other.view_as(codes), label).exp()
        assert torch.allclose(q[:, : step + 1], p[:, : step + 1], atol=1e-6)
        assert not torch.allclose(q[:, step + 1], p[:, step + 1], atol=1e-6)


def test_it_ends_after_whole_steps_and_not_before_the_first():
    p = prior()(torch.randint(5, (1, 4, 2)), torch.tensor([1])).exp()
    assert torch.allclose(p.sum(2), torch.ones(1, 9))
    can_end = (p[0, :, -1] > 0).tolist()
    assert can_end == [False, False, True, False, True, False, True, False, True]


def test_the_probabilities_of_all_sequences_and_of_longer_ones_sum_to_one():
    model, label = prior(1, codes=2, classes=2).double(), torch.tensor([1])
    total = 0.0
    for steps in (1, 2, 3):
        every = torch.tensor(list(itertools.product(range(2), repeat=steps)))[..., None]
        nll = (steps + 1) * model.nll(every, label.expand(len(every)))
        total += (-nll).exp().sum().item()
        if steps == 3:  # those that go on after it
            p = model(every, label.expand(len(every))).exp()
            codes = p[:, :3].gather(2, every)[..., 0].prod(1)
            total += (codes * (1 - p[:, 3, -1])).sum().item()
    assert total == pytest.approx(1)


def test_a_batch_equals_its_rows_one_by_one_whatever_the_padding_holds():
    model, labels = prior().double(), torch.tensor([0, 1, 2])
    codes, lengths = torch.randint(5, (3, 6, 2)), torch.tensor([6, 1, 3])
    together = model.nll(codes, labels, lengths)
    for row in range(3):
        alone = model.nll(codes[row : row + 1, : lengths[row]], labels[row : row + 1])
        assert together[row].item() == pytest.approx(alone.item())
    together.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_what_is_drawn_is_as_frequent_as_it_is_probable():
    model, count = prior(2, codes=2, classes=2).double(), 20_000
    label = torch.tensor([1])
    with torch.no_grad():
        model.readout.bias[-1] = 1.0  # most are short
    random = torch.Generator().manual_seed(0)
    codes, lengths = model.sample(count, 30, label.expand(count), generator=random)
    assert codes.shape == (count, int(lengths.max()), 2)
    assert (lengths >= 1).all()
    for steps in (1, 2):
        for wanted in itertools.product(range(2), repeat=2 * steps):
            sequence = torch.tensor(wanted).view(1, steps, 2)
            p = (-(2 * steps + 1) * model.nll(sequence, label)).exp().item()
            matches = (lengths == steps) & (codes[:, :steps] == sequence).flatten(1).all(1)
            share = matches.double().mean().item()
            assert share == pytest.approx(p, abs=4 * (p * (1 - p) / count) ** 0.5)
    beyond = torch.arange(codes.shape[1]) >= lengths[:, None]
    assert (codes[beyond] == 0).all()


def test_one_that_never_ends_is_cut_and_one_that_always_does_has_a_step():
    model, labels = prior(), torch.tensor([0, 2])
    with torch.no_grad():
        model.readout.bias[-1] = -1e4
        codes, lengths = model.sample(2, 7, labels)
        assert codes.shape == (2, 7, 2)
        assert lengths.tolist() == [7, 7]
        model.readout.bias[-1] = 1e4
        codes, lengths = model.sample(2, 7, labels)
        assert codes.shape == (2, 1, 2)
        assert lengths.tolist() == [1, 1]


def test_it_learns_how_long_a_class_is():
    model, labels = prior(1, codes=3, classes=2).train(), torch.arange(2).repeat(8)
    lengths = 2 + 3 * labels
    codes = labels[:, None, None].expand(-1, 5, 1).contiguous()
    optimiser = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(80):
        optimiser.zero_grad()
        model.nll(codes, labels, lengths).mean().backward()
        optimiser.step()
    samples, steps = model.eval().sample(4, 9, torch.tensor([0, 1, 0, 1]), temperature=0.3)
    assert steps.tolist() == [2, 5, 2, 5]
    assert (samples[1] == 1).all()


def test_labels_are_asked_for_where_there_are_classes_and_there_alone():
    codes = torch.zeros(2, 3, 2, dtype=torch.long)
    with pytest.raises(InputError, match="has learned 3 classes"):
        prior().nll(codes)
    with pytest.raises(InputError, match="has learned no classes"):
        prior(classes=0).sample(2, 3, torch.tensor([0, 1]))


def test_it_is_made_again_from_its_description():
    model, labels = prior(), torch.tensor([0, 1])
    restored = make(describe(model)).eval()
    restored.load_state_dict(model.state_dict())
    codes = torch.randint(5, (2, 3, 2))
    assert torch.equal(restored(codes, labels), model(codes, labels))
    assert "p(code or end) = softmax" in model.equations()
