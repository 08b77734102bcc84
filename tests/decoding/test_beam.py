"""Beam search and greedy decoding of tables, against plain Python."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.decoding_by_hand import BEGIN, END, Toy, agree, check_hypothesis
from saiki.decoding.decode import Ensemble, Search, decode
from saiki.errors import InputError

quickly = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)
penalties = st.sampled_from(
    [(0.0, 0.0), (0.6, 0.0), (1.0, 0.0), (3.0, 0.0), (0.0, 0.3), (0.8, 2.0)]
)


def toy_of(seed, vocabulary, rows, impossible):
    return Toy(seed, rows, vocabulary, sources=[3, 1, 4, 2][:rows], impossible=impossible)


@quickly
@given(seeds, st.integers(2, 4), penalties, st.integers(1, 9), st.sampled_from([0.0, 0.4]))
def test_a_beam_as_wide_as_everything_finds_the_best_of_all_sequences(
    seed, vocabulary, penalty, n_best, impossible
):
    toy = toy_of(seed, vocabulary, 3, impossible)
    search = Search("beam", 200, 1.0, 0, 1.0, *penalty, n_best=n_best)
    limits = [1, 4, 3]
    for row, hypotheses in enumerate(toy.decode(limits, search)):
        agree(toy, row, hypotheses, toy.every(row, limits[row], search), search)


@quickly
@given(
    seeds, st.integers(2, 7), penalties, st.integers(1, 5), st.integers(0, 4),
    st.sampled_from([0.0, 0.4]), st.lists(st.integers(1, 9), min_size=1, max_size=4),
)  # fmt: skip
def test_a_narrow_beam_is_that_of_plain_python(
    seed, vocabulary, penalty, n_best, wider, impossible, limits
):
    toy = toy_of(seed, vocabulary, len(limits), impossible)
    search = Search("beam", n_best + wider, 1.0, 0, 1.0, *penalty, n_best=n_best)
    for row, hypotheses in enumerate(toy.decode(limits, search)):
        agree(toy, row, hypotheses, toy.beam(row, limits[row], search), search)
        assert len({h.tokens for h in hypotheses}) == len(hypotheses)


@quickly
@given(seeds, st.integers(2, 6), st.lists(st.integers(1, 9), min_size=1, max_size=4), penalties)
def test_greedy_is_plain_python_and_a_beam_of_one(seed, vocabulary, limits, penalty):
    toy = toy_of(seed, vocabulary, len(limits), 0.2)
    search = Search("greedy", 1, 1.0, 0, 1.0, *penalty)
    narrow = toy.decode(limits, Search("beam", 1))
    for row, (h,) in enumerate(toy.decode(limits, search)):
        assert (h.tokens, h.finished) == toy.greedy(row, limits[row])
        check_hypothesis(toy, row, h, search)
        assert (h.tokens, h.finished) == (narrow[row][0].tokens, narrow[row][0].finished)
        assert h.log_probability == narrow[row][0].log_probability


@pytest.mark.parametrize("method", ["beam", "greedy", "sample"])
@quickly
@given(seed=seeds, limits=st.lists(st.integers(1, 12), min_size=2, max_size=4), penalty=penalties)
def test_a_row_is_decoded_as_if_it_were_alone(method, seed, limits, penalty):
    toy = Toy(seed, 4, 5, sources=[3, 1, 4, 2], impossible=0.2)
    n_best = 1 if method == "greedy" else 3
    search = Search(method, 3, 1.3, 0, 0.9, *penalty, n_best=n_best, seed=seed)
    prefixes = [[0, 2][: row % 3 % (limit + 1)] for row, limit in enumerate(limits)]
    toy.table[:, :, [0, 2]] = toy.table[:, :, [0, 2]].clamp(min=-20)
    together = toy.decode(limits, search, prefixes=prefixes, banned=[3])
    for row, limit in enumerate(limits):
        (alone,) = toy.decode(
            [limit], search, [row], prefixes=[prefixes[row]], banned=[3], keys=[row]
        )
        assert [(h.tokens, h.finished) for h in alone] == [
            (h.tokens, h.finished) for h in together[row]
        ]
        for h, other in zip(alone, together[row], strict=True):
            check_hypothesis(toy, row, other, search)
            assert h.score == pytest.approx(other.score, rel=1e-12)
            assert h.tokens[: len(prefixes[row])] == tuple(prefixes[row])
            assert 3 not in h.tokens
            assert len(h.tokens) <= limit


def test_the_search_stops_as_soon_as_nothing_better_can_come():
    log_p = torch.full_like(Toy(0, 1, 3).table, -torch.inf)
    log_p[..., END], log_p[..., 0], log_p[..., 2] = math.log(0.5), math.log(0.3), math.log(0.2)
    toy = Toy(0, 1, 3)
    toy.table = log_p

    def steps(limit, **arguments):
        toy.steps = 0
        toy.decode([limit], Search("beam", 4, **arguments))
        return toy.steps

    assert steps(50) == 1  # the end at once: log ½, more than any continuation has
    assert steps(50, n_best=2) == 2  # and 0, end: log 0.15 is as much as the next best of all
    # with α = 1 a continuation of 0.3 of 51 factors could have log 0.3 / (56 / 6) > log 0.5
    assert steps(50, length_penalty=1.0) > 5
    # log 0.3 · 6 / 8 < log 0.5: not one of three factors
    assert steps(2, length_penalty=1.0) == 1


def test_fewer_hypotheses_than_wanted_where_no_more_exist():
    toy = Toy(3, 2, 2)  # BEGIN is the only word
    for search in (Search("beam", 50, n_best=50), Search("beam", 7, n_best=5)):
        hypotheses = toy.decode([1, 3], search)
        assert sorted(h.tokens for h in hypotheses[0]) == [(), (0,)]
        assert sorted(h.tokens for h in hypotheses[1]) == [(), (0,), (0, 0), (0, 0, 0)]


def test_without_an_end_all_are_cut_at_the_limit():
    toy = Toy(4, 2, 4)
    for method in ("greedy", "beam", "sample"):
        search = Search(method, 3, n_best=1 if method == "greedy" else 3)
        for limit, hypotheses in zip((2, 5), toy.decode([2, 5], search, banned=[END]), strict=True):
            assert [(len(h.tokens), h.finished) for h in hypotheses] == [
                (limit, False)
            ] * search.n_best
            assert sorted((h.score for h in hypotheses), reverse=True) == [
                h.score for h in hypotheses
            ]


@quickly
@given(seeds, st.integers(3, 4), penalties)
def test_prefixes_and_bans_restrict_the_search_and_share_nothing_out(seed, vocabulary, penalty):
    toy = toy_of(seed, vocabulary, 3, 0.0)
    search = Search("beam", 100, 1.0, 0, 1.0, *penalty, n_best=3)
    prefixes, limits = [[2], [], [0, 2, 0]], [3, 4, 3]
    for row, hypotheses in enumerate(toy.decode(limits, search, prefixes=prefixes, banned=[0])):
        prefix = tuple(prefixes[row])

        def allowed(tokens, prefix=prefix):
            return tokens[: len(prefix)] == prefix and 0 not in tokens[len(prefix) :]

        agree(toy, row, hypotheses, toy.every(row, limits[row], search, allowed), search)


@quickly
@given(seeds, st.sampled_from(["greedy", "beam", "sample"]))
def test_an_ensemble_decodes_by_the_mean_of_probabilities(seed, method):
    toys = [Toy(seed + i, 2, 4, sources=[2, 3], impossible=0.3) for i in range(3)]
    mean = Toy(seed, 2, 4, sources=[2, 3])
    mean.table = torch.stack([toy.table.exp() for toy in toys]).mean(0).log()
    mean.attention = torch.stack([toy.attention for toy in toys]).mean(0)
    search = Search(method, 4, length_penalty=0.5, coverage_penalty=0.2)
    start, rows = torch.zeros(2, dtype=torch.int64), torch.arange(2)
    hypotheses = decode(
        Ensemble(toys), (start,) * 3, (rows,) * 3, [5, 7], search, begin=BEGIN, end=END,
        source_lengths=torch.tensor([2, 3]),
    )  # fmt: skip
    for (h,), (other,) in zip(hypotheses, mean.decode([5, 7], search), strict=True):
        assert (h.tokens, h.finished) == (other.tokens, other.finished)
        assert h.score == pytest.approx(other.score, rel=1e-12)
        torch.testing.assert_close(h.weights, other.weights)


def test_an_ensemble_without_weights_in_one_has_none():
    both = Ensemble([Toy(0, sources=[2]), Toy(1)])
    start = torch.zeros(1, dtype=torch.int64)
    search = Search("greedy")
    ((h,),) = decode(both, (start,) * 2, (start,) * 2, [5], search, begin=BEGIN, end=END)
    assert h.weights is None


def test_what_an_ensemble_cannot_be():
    with pytest.raises(InputError, match="an ensemble needs at least one model"):
        Ensemble([])
    both = Ensemble([Toy(0, vocabulary=4), Toy(1, vocabulary=5)])
    start = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(InputError, match="need the same tokens, got 4, 5 of them"):
        decode(both, (start,) * 2, (start,) * 2, [5], Search("greedy"), begin=BEGIN, end=END)
