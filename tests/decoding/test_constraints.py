"""Words that must occur in what beam search finds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.decoding_by_hand import BEGIN, END, Toy, agree, check_hypothesis
from saiki.decoding.beam import Beam
from saiki.decoding.constraints import Forced, share
from saiki.decoding.decode import Search
from saiki.decoding.task import Task
from saiki.errors import InputError

quickly = settings(max_examples=15, deadline=None, derandomize=True)
words = st.sampled_from([0, 2, 3])
phrase = st.lists(words, min_size=1, max_size=3)
phrases = st.lists(phrase, max_size=3)


def holds(tokens, phrases):
    return all(
        any(tokens[i : i + len(phrase)] == tuple(phrase) for i in range(len(tokens)))
        for phrase in phrases
    )


@quickly
@given(st.integers(0, 10**6), st.lists(phrases, min_size=2, max_size=3), st.integers(1, 6), words)
def test_forced_words_occur_wherever_there_is_room(seed, forced, beam, first):
    toy = Toy(seed, 3, 5, sources=[3, 1, 4])
    prefixes = [[], [first], []][: len(forced)]
    limits = [
        max(1, sum(map(len, each)) + len(prefix) + row)
        for row, (each, prefix) in enumerate(zip(forced, prefixes, strict=True))
    ]
    search = Search("beam", beam, 1.0, 0, 1.0, 0.7, 0.2, n_best=min(beam, 2))
    together = toy.decode(limits, search, prefixes=prefixes, forced=forced)
    for row, hypotheses in enumerate(together):
        assert hypotheses
        for h in hypotheses:
            assert holds(h.tokens, forced[row])
            assert h.tokens[: len(prefixes[row])] == tuple(prefixes[row])
            check_hypothesis(toy, row, h, search)
        assert len({h.tokens for h in hypotheses}) == len(hypotheses)
        alone = toy.decode(
            [limits[row]], search, [row], prefixes=[prefixes[row]], forced=[forced[row]]
        )
        assert [h.tokens for h in alone[0]] == [h.tokens for h in hypotheses]


@quickly
@given(
    st.integers(0, 10**6),
    st.sampled_from(
        [
            [[2, 0]],
            [[2], [0]],
            [[2, 0], [0, 2]],  # share an end
            [[2, 0, 2], [0]],  # one in the other
            [[2, 2], [2, 2]],  # twice is once
            [[2, 2, 0]],  # begins again in itself
        ]
    ),
    st.sampled_from([0.0, 1.0]),
)
def test_a_beam_as_wide_as_everything_finds_the_best_that_hold_the_words(seed, forced, alpha):
    toy = Toy(seed, 1, 3)
    search = Search("beam", 150, length_penalty=alpha, n_best=4)
    limit = max(4, sum(map(len, forced)))
    (hypotheses,) = toy.decode([limit], search, forced=[forced])
    wanted = toy.every(0, limit, search, lambda tokens: holds(tokens, forced))
    # those that are cut at the limit have no end of probability 0 here
    agree(toy, 0, hypotheses, [one for one in wanted if one[1]], search)


def test_improbable_words_are_written_in_a_good_place_by_a_narrow_beam():
    toy = Toy(5, 1, 5)
    toy.table[..., 3] = -30.0
    for forced, times in (([[3]], 1), ([[3, 3]], 2), ([[0, 3], [2, 2]], 1)):
        (hypotheses,) = toy.decode([8], Search("beam", 3, n_best=2), forced=[forced])
        assert [h.tokens.count(3) for h in hypotheses] == [times] * 2
        assert all(holds(h.tokens, forced) for h in hypotheses)


@pytest.mark.parametrize(
    ("tokens", "met", "wanted"),
    [
        ((), 0, {2, 3}),
        ((2,), 1, {2, 3}),
        ((2, 2), 2, {0, 3}),
        ((2, 2, 2), 2, {0, 3}),  # 2 2 goes on
        ((2, 2, 0), 3, {3}),  # a whole phrase
        ((2, 2, 0, 0), 3, {3}),
        ((3,), 1, {2, 0}),
        ((3, 0), 2, {2, 4}),
        ((3, 0, 4), 3, {2}),
        ((2, 2, 0, 4, 3), 4, {0}),
        ((2, 2, 0, 3, 0, 4), 6, {END}),
    ],
)
def test_how_far_a_hypothesis_is_with_its_words(tokens, met, wanted):
    task = Task(None, None, None, [9, 9], begin=BEGIN, end=END)
    forced = Forced(task, [[[3]], [[2, 2, 0], [3, 0, 4]]])
    progress = forced.start()
    for token in tokens:
        progress = forced.follow(progress, torch.tensor([[0], [token]]))
    assert int(forced.tokens_met(progress)[1]) == met
    words = {token for token in forced.wanted(progress)[1, 0].tolist() if token != END}
    assert words == wanted - {END}
    assert bool(progress.met[1].all()) == (wanted == {END})
    assert int(forced.tokens_met(progress)[0]) == 0


def test_the_banks_of_the_beam_get_places_in_turn():
    scores = torch.tensor([[-1.0, -2.0, -3.0, -torch.inf, -9.0, -8.0]])
    assert share(scores, torch.zeros(1, 6, dtype=torch.int64)).tolist() == [[0, 1, 2, 5, 4, 3]]
    assert share(scores, torch.tensor([[0, 0, 1, 2, 2, 1]])).tolist() == [[4, 2, 0, 5, 1, 3]]


def test_forced_words_that_the_model_never_writes_are_refused():
    toy = Toy(6, 2, 4)
    toy.table[1, :, 3] = -torch.inf
    with pytest.raises(
        InputError, match="nothing can be found for row 1: after 3 tokens all that may follow is"
    ):
        toy.decode([3, 3], Search("beam", 2), forced=[[[3]], [[3]]])


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        ([[[]], []], "a forced phrase of row 0 has no tokens; leave it out"),
        ([[], [[2, END]]], "token 1 is forced in row 1, but is the end or banned"),
        ([[], [[2, 3]]], "token 3 is forced in row 1, but is the end or banned"),
        (
            [[[2], [0, 0]], []],
            "row 0 may have 3 tokens, but its prefix has 1 and its forced words 3; raise the limit",
        ),
        ([[[2]]], "forced must be one for each of the 2 rows, got 1"),
        ([[[4]], []], "the model has tokens from 0 to 3, got token 4"),
    ],
)
def test_what_cannot_be_forced(forced, message):
    with pytest.raises(InputError, match=message):
        Toy(0, 2).decode([3, 3], Search(), prefixes=[[2], []], forced=forced, banned=[3])


@pytest.mark.parametrize("method", ["greedy", "sample"])
def test_words_are_forced_by_beam_search_alone(method):
    with pytest.raises(InputError, match=f"forced words need the method beam, got {method}"):
        Toy(0).decode([3], Search(method), forced=[[[2]]])
    assert Toy(0).decode([3], Search(method), forced=[[]])


def test_a_beam_gives_a_token_that_is_wanted_one_place():
    task = Task(None, None, None, [9], begin=BEGIN, end=END)
    beam = Beam(task, Search(beam=4), [[[2], [2, 3]]])
    log_probs = torch.tensor([[[-1.0, -2.0, -1.5, -3.0]]]).double()
    total, rows = torch.zeros(1, 1).double(), torch.zeros(1).long()
    chosen = beam(total, beam.start, log_probs, rows, 0)
    living = chosen.grown.tokens[chosen.grown.total > -torch.inf]
    assert sorted(living.tolist()) == [0, 2, 3]
