"""Drawing tokens: how often each comes, and that nothing else changes what is drawn."""

import math

import pytest
import torch

from decoding.decoding_by_hand import END, Toy, check_hypothesis
from saiki.decoding.decode import Search
from saiki.decoding.sampling import draw, uniforms
from saiki.errors import InputError

P = torch.tensor([0.05, 0.1, 0.4, 0.0, 0.25, 0.2], dtype=torch.float64)


def expected(keep, temperature=1.0):
    p = [float(p) ** (1 / temperature) if i in keep else 0.0 for i, p in enumerate(P)]
    return [x / sum(p) for x in p]


CASES = [
    ({}, expected(range(6))),
    ({"temperature": 0.5}, expected(range(6), 0.5)),
    ({"temperature": 3.0}, expected(range(6), 3.0)),
    ({"top_k": 1}, expected({2})),
    ({"top_k": 3}, expected({2, 4, 5})),
    ({"top_k": 9}, expected(range(6))),
    ({"top_p": 0.39}, expected({2})),
    ({"top_p": 0.41}, expected({2, 4})),
    ({"top_p": 0.64}, expected({2, 4})),
    ({"top_p": 0.66}, expected({2, 4, 5})),
    ({"top_p": 0.9999}, expected(range(6))),
    ({"top_k": 3, "top_p": 0.76}, expected({2, 4})),  # 0.65 / 0.85 > 0.76 of the three
    ({"top_k": 3, "top_p": 0.77}, expected({2, 4, 5})),
    # 0.4² / Σ p² = 0.58: after the temperature
    ({"temperature": 0.5, "top_p": 0.57}, expected({2})),
    ({"temperature": 0.5, "top_p": 0.6}, expected({2, 4}, 0.5)),
]


@pytest.mark.parametrize(("settings", "wanted"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tokens_have_their_share_of_the_places(settings, wanted, dtype):
    """An even grid of places in place of random ones: exact to one place a token."""
    count = 10_000
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    log_p = P.log().to(dtype).expand(count, 6)
    counts = draw(log_p, places, Search("sample", **settings)).bincount(minlength=6)
    for got, p in zip(counts.tolist(), wanted, strict=True):
        assert abs(got - count * p) <= 1
        assert (got == 0) == (p == 0)


def test_equally_probable_tokens_the_first_ones_are_kept():
    even = torch.zeros(100, 8, dtype=torch.float64) - math.log(8)
    places = torch.linspace(0, 0.999, 100, dtype=torch.float64)
    assert draw(even, places, Search("sample", top_k=3)).unique().tolist() == [0, 1, 2]
    assert draw(even, places, Search("sample", top_p=0.25)).unique().tolist() == [0, 1]


def test_the_greatest_place_there_is_and_the_least_temperature():
    almost = torch.tensor([1 - 2.0**-53], dtype=torch.float64)
    rows = torch.randn(300, 50).double().log_softmax(-1)
    rows[:, 40:] = -torch.inf
    tokens = draw(rows, almost.expand(300), Search("sample"))
    assert (tokens < 40).all()
    coldest = draw(rows, almost.expand(300), Search("sample", temperature=5e-324))
    assert torch.equal(coldest, rows.argmax(1))


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.6, "top_p": 0.9}, {"top_k": 2}])
def test_whole_sequences_come_as_often_as_they_are_probable(settings):
    toy = Toy(11, 1, 3)
    count = 3000
    search = Search("sample", n_best=count, seed=5, **settings)
    (hypotheses,) = toy.decode([3], search)
    assert len(hypotheses) == count
    seen = {}
    for h in hypotheses:
        seen[h.tokens, h.finished] = seen.get((h.tokens, h.finished), 0) + 1
    total = 0.0
    for (tokens, finished), times in seen.items():
        p = 1.0
        for i, token in enumerate((*tokens, END)):
            q = torch.tensor(toy.after(0, tokens[:i])[0]).double() / search.temperature
            q = q.softmax(0)
            order = q.argsort(descending=True)
            keep = order[: search.top_k or None]
            if search.top_p < 1:
                keep = keep[: int((q[keep].cumsum(0) < search.top_p).sum()) + 1]
            q = torch.zeros_like(q).index_copy(0, keep, q[keep]) / q[keep].sum()
            p *= float(q[token] if token != END or finished else 1 - q[END])
        assert abs(times - count * p) <= 4 * math.sqrt(count * p * (1 - p)) + 1
        total += p
    assert total > 0.99
    assert [(h.finished, h.score) for h in hypotheses] == sorted(
        ((h.finished, h.score) for h in hypotheses), reverse=True
    )
    for h in hypotheses[:: count // 5]:
        check_hypothesis(toy, 0, h, search)


def test_a_draw_follows_from_the_seed_the_key_and_its_number_alone():
    toy = Toy(1, 3, 5)

    def sampled(rows, limits, n_best=2, seed=7, keys=None):
        search = Search("sample", n_best=n_best, seed=seed)
        hypotheses = toy.decode(limits, search, rows, keys=keys)
        return [{(h.tokens[:4], h.log_probability) for h in each} for each in hypotheses]

    a, b, c = sampled([0, 1, 2], [9, 9, 9], keys=[4, 0, 2])
    assert sampled([2, 0], [9, 9], keys=[2, 4]) == [c, a]
    assert sampled([1], [9], keys=[0]) == [b]
    assert a <= sampled([0], [9], n_best=5, keys=[4])[0]
    assert sampled([0], [9], seed=8, keys=[4]) != [a]
    assert sampled([0], [9], keys=[5]) != [a]
    assert sampled([0], [9], keys=[0]) == sampled([0], [9])
    assert torch.equal(uniforms(3, [1, 2], 2, 9)[:, :4], uniforms(3, [1, 2], 2, 4))
    assert len(uniforms(3, [1, 2], 2, 9).unique()) == 36


def test_a_key_below_zero():
    with pytest.raises(InputError, match="the keys of rows must be at least 0, got -1"):
        Toy(0, 2).decode([3, 3], Search("sample"), keys=[0, -1])
