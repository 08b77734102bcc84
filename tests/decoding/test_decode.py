"""Decoding with encoder-decoders, and what cannot be decoded."""

import math
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from decoding.decoding_by_hand import BEGIN, END, Toy
from saiki import Bidirectional, Stack
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.decoding.decode import Ensemble, Search, decode
from saiki.decoding.state import select
from saiki.errors import InputError
from saiki.models.decoder import Decoder
from saiki.models.encoder import Encoder
from saiki.models.seq2seq import Seq2Seq
from saiki.nn.attention.attention import Attention
from saiki.text import vocabulary

pytestmark = pytest.mark.one_in(2)

WORDS, SIZE = 11, 6
LENGTHS = [5, 1, 7, 3]
LIMITS = [6, 9, 4, 1]
METHODS = [
    Search("greedy"),
    Search("sample", temperature=1.5, top_p=0.95, n_best=3, seed=3),
    Search("beam", 4, length_penalty=0.8, n_best=3),
]
additive = partial(Attention, SIZE, 2 * SIZE, "additive", hidden_size=4)
MODELS = {
    "rnn": (SimpleRNN, None, False),
    "lstm, attention": (LSTM, additive, False),
    "gru, coverage, input feeding": (GRU, partial(additive, coverage=True), True),
    "peepholes, local-p": (partial(LSTM, peephole=True), partial(additive, window="local-p"), True),
    "gru, local-m": (GRU, partial(additive, window="local-m", reach=1), False),
    "lstm, heads": (LSTM, partial(Attention, SIZE, 2 * SIZE, "general", heads=2), False),
    "rnn, marginal": (SimpleRNN, partial(additive, choice="marginal"), False),
    "gru, reinforce": (GRU, partial(additive, choice="reinforce"), True),
}


def seq2seq(kind, seed=0):
    torch.manual_seed(seed)
    cell, attention, input_feeding = MODELS[kind]
    fed = SIZE if input_feeding else 0
    encoder = Encoder(WORDS, SIZE, Stack([Bidirectional(cell(SIZE, SIZE))]))
    cells = [cell(SIZE + fed, SIZE), cell(SIZE, SIZE)]
    attention = None if attention is None else attention()
    decoder = Decoder(WORDS, SIZE, cells, attention, input_feeding=input_feeding)
    model = Seq2Seq(encoder, decoder).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.5)  # far from uniform
        model.decoder.output.bias[vocabulary.END] += 1
    return model


def batch(seed=1):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(5, WORDS, (len(LENGTHS), max(LENGTHS)), generator=generator)
    lengths = torch.tensor(LENGTHS)
    return source * (torch.arange(max(LENGTHS)) < lengths[:, None]), lengths


def found_by(models, search, source, lengths, limits, **arguments):
    starts = [model.begin(source, lengths) for model in models]
    states, memories = zip(*starts, strict=True)
    return decode(
        Ensemble([model.advance for model in models]), states, memories, limits, search,
        begin=vocabulary.BEGIN, end=vocabulary.END, source_lengths=lengths, **arguments,
    )  # fmt: skip


def same(hypotheses, others, source):
    assert [(h.tokens, h.finished) for h in hypotheses] == [(h.tokens, h.finished) for h in others]
    for h, other in zip(hypotheses, others, strict=True):
        assert h.log_probability == pytest.approx(other.log_probability, rel=1e-9)
        assert h.score == pytest.approx(other.score, rel=1e-9)
        if other.weights is not None:
            torch.testing.assert_close(h.weights[:, :source], other.weights)
            assert not h.weights[:, source:].any()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("search", METHODS, ids=lambda search: search.method)
def test_rows_of_a_batch_are_decoded_as_if_alone_and_say_what_the_model_says(kind, search):
    model = seq2seq(kind)
    source, lengths = batch()
    prefixes = [[], [7, 8], [5], []]
    forced = [[], [[6, 9], [9, 5]], [[6]], []] if search.method == "beam" else [[]] * 4
    hypotheses = model.decode(source, lengths, LIMITS, search, prefixes=prefixes, forced=forced)
    for row, size in enumerate(LENGTHS):
        (alone,) = model.decode(
            source[row : row + 1, :size], lengths[row : row + 1], [LIMITS[row]], search,
            prefixes=[prefixes[row]], forced=[forced[row]], keys=[row],
        )  # fmt: skip
        same(hypotheses[row], alone, size)
        for h in hypotheses[row]:
            assert h.tokens[: len(prefixes[row])] == tuple(prefixes[row])
            assert all(set(phrase) <= set(h.tokens) for phrase in forced[row])
            assert not {vocabulary.PAD, vocabulary.UNKNOWN, vocabulary.MASK} & set(h.tokens)
            teacher_forced(model, source[row : row + 1, :size], h)
    assert len({len(h.tokens) for each in hypotheses for h in each}) > 2


def teacher_forced(model, source, h):
    """That the model gives the tokens, all at once, the same log-probability and weights."""
    whole = [vocabulary.BEGIN, *h.tokens, *[vocabulary.END] * h.finished]
    target = torch.tensor([whole])
    with torch.no_grad():
        written = model.write(
            source, torch.tensor([source.shape[1]]), target, torch.tensor([len(whole)])
        )
    steps = torch.arange(len(whole) - 1)
    log_p = written.log_probabilities[steps, target[0, 1:]].sum()
    assert h.log_probability == pytest.approx(float(log_p), rel=1e-9)
    if h.weights is not None:
        weights = written.attended.weights[0]
        torch.testing.assert_close(h.weights[:, : source.shape[1]], weights)


@pytest.mark.parametrize("kind", [kind for kind in MODELS if MODELS[kind][1] is not None])
@pytest.mark.parametrize("search", METHODS, ids=lambda search: search.method)
def test_the_penalty_for_coverage_sees_the_source_of_a_row_without_padding(kind, search):
    model = seq2seq(kind)
    search = Search(**{**vars(search), "coverage_penalty": 0.3})
    source, lengths = batch()
    hypotheses = found_by([model], search, source, lengths, LIMITS)
    for row, size in enumerate(LENGTHS):
        part = slice(row, row + 1)
        (alone,) = found_by(
            [model], search, source[part, :size], lengths[part], [LIMITS[row]], keys=[row]
        )
        same(hypotheses[row], alone, size)
        for h in hypotheses[row]:
            factors = len(h.tokens) + h.finished
            lp = ((5 + factors) / 6) ** search.length_penalty
            cover = h.weights[:, :size].sum(0).clamp(2.0**-126, 1)
            cp = 0.3 * float(cover.log().sum())
            assert h.score == pytest.approx(h.log_probability / lp + cp, rel=1e-9)


def test_several_models_decode_by_the_mean_of_their_probabilities():
    models = [
        seq2seq(kind, seed) for seed, kind in enumerate(["rnn", "lstm, attention", "gru, local-m"])
    ]
    source, lengths = batch()
    hypotheses = models[0].decode(source, lengths, LIMITS, METHODS[2], also=models[1:])
    for row, size in enumerate(LENGTHS):
        for h in hypotheses[row]:
            whole = [vocabulary.BEGIN, *h.tokens, *[vocabulary.END] * h.finished]
            target, steps = torch.tensor([whole]), torch.arange(len(whole) - 1)
            with torch.no_grad():
                inputs = (source[row : row + 1, :size], torch.tensor([size]))
                p = sum(
                    model(*inputs, target[:, :-1], torch.tensor([len(steps)])).exp() / 3
                    for model in models
                )
            log_p = p[0, steps, target[0, 1:]].log().sum()
            assert h.log_probability == pytest.approx(float(log_p), rel=1e-9)
            assert h.weights is None


class Nested(NamedTuple):
    a: Tensor
    b: tuple


def test_rows_of_a_state_are_chosen_in_everything_it_holds():
    state = (None, Nested(torch.arange(3), (torch.arange(6).view(3, 2),)))
    none, nested = select(state, torch.tensor([2, 0, 2, 2]))
    assert none is None
    assert type(nested) is Nested
    assert nested.a.tolist() == [2, 0, 2, 2]
    assert nested.b[0].tolist() == [[4, 5], [0, 1], [4, 5], [4, 5]]
    with pytest.raises(InputError, match="a state is made of tensors, tuples and None, got list"):
        select((torch.arange(3), [1]), torch.tensor([0]))


def test_no_rows_have_no_hypotheses():
    for method in ("greedy", "sample", "beam"):
        assert Toy(0).decode([], Search(method)) == []
        assert Toy(0).decode([], Search(method), prefixes=[], keys=[], forced=[]) == []


class Broken:
    """Gives one log-probability of one row and step some other value."""

    def __init__(self, value, step, whole):
        self.toy, self.value, self.step, self.whole, self.now = Toy(1, 3), value, step, whole, 0

    def __call__(self, tokens, state, memory):
        log_probs, read, state = self.toy(tokens, state, memory)
        if self.now == self.step:
            row = (memory == 1).repeat_interleave(len(tokens) // len(memory))
            log_probs[row, slice(None) if self.whole else 2] = self.value
        self.now += 1
        return log_probs, read, state


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 3.0])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("step", [0, 2])
def test_a_model_that_gives_no_probabilities(method, value, whole, step):
    rows = torch.arange(3)
    limits, search = [9, 9, 9], Search(method, 3, seed=2)
    with pytest.raises(
        InputError,
        match=f"the model must give logarithms of probabilities, got {value} for row 1 after "
        f"{step} tokens; its weights or its input may hold NaN",
    ):
        decode(
            Broken(value, step, whole), rows * 0, rows, limits, search, begin=BEGIN, end=END,
            prefixes=[[2, 2, 2]] * 3,
        )  # fmt: skip


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
@pytest.mark.parametrize("step", [0, 2])
def test_nothing_can_follow(method, step):
    rows = torch.arange(3)
    search = Search(method, 3, n_best=2 if method == "sample" else 1)

    def decoded(limit):
        return decode(
            Broken(-math.inf, step, True), rows * 0, rows, [limit] * 3, search,
            begin=BEGIN, end=END, prefixes=[[2, 2][: limit]] * 3,
        )  # fmt: skip

    with pytest.raises(InputError, match=f"nothing can be found for row 1: after {step} tokens"):
        decoded(9)
    if step:  # at the limit nothing needs to follow
        assert {(h.tokens, h.finished) for h in decoded(step)[1]} == {((2, 2), False)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keys": [1]}, "keys must be one for each of the 2 rows, got 1"),
        ({"prefixes": [[]] * 3}, "prefixes must be one for each of the 2 rows, got 3"),
        ({"limits": [3, 0]}, "a limit must be at least 1, got 0 for row 1"),
        ({"prefixes": [[2, 2], []], "limits": [1, 3]},
         "row 0 may have 1 tokens, but its prefix has 2; raise the limit"),
        ({"prefixes": [[], [2, END]]}, "the prefix of row 1 has the end in it, token 1"),
        ({"prefixes": [[], [4]]}, "the model has tokens from 0 to 3, got token 4"),
        ({"prefixes": [[], [-1]]}, "the model has tokens from 0 to 3, got token -1"),
        ({"banned": [9]}, "the model has tokens from 0 to 3, got token 9"),
        ({"end": 4}, "the model has tokens from 0 to 3, got token 4"),
        ({"banned": [0, 1, 2, 3]}, "nothing can be found for row 0: after 0 tokens all"),
        ({"search": Search(coverage_penalty=0.1), "source_lengths": torch.tensor([2, 2])},
         "coverage_penalty needs attention weights, and this model has none; set it to 0"),
        ({"search": Search(coverage_penalty=0.1)},
         "coverage_penalty needs source_lengths, the positions of each source that count"),
        ({"state": [1]}, "a state is made of tensors, tuples and None, got list; put"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["beam", "greedy"])
def test_what_cannot_be_decoded(arguments, message, method):
    zeros = torch.zeros(2, dtype=torch.int64)
    options = {
        "state": zeros,
        "memory": torch.arange(2),
        "limits": [3, 3],
        "begin": BEGIN,
        "end": END,
    }
    options |= {"search": Search(), **arguments}
    options["search"] = Search(**{**vars(options["search"]), "method": method})
    with pytest.raises(InputError, match=message):
        decode(Toy(0, 2), **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "best"}, "method must be one of beam, greedy, sample, got 'best'"),
        ({"beam": 0}, "beam must be a whole number of at least 1, got 0"),
        ({"beam": 2.0}, "beam must be a whole number of at least 1, got 2.0"),
        ({"n_best": True}, "n_best must be a whole number of at least 1, got True"),
        ({"top_k": -1}, "top_k must be a whole number of at least 0, got -1"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"temperature": 0.0}, "temperature must be more than 0 and finite, got 0.0; for the most"),
        ({"temperature": math.nan}, "temperature must be more than 0 and finite, got nan; for"),
        ({"temperature": math.inf}, "temperature must be more than 0 and finite, got inf; for"),
        ({"top_p": 0.0}, "top_p must be more than 0 and at most 1, got 0.0"),
        ({"top_p": 1.1}, "top_p must be more than 0 and at most 1, got 1.1"),
        ({"length_penalty": -0.1}, "length_penalty must be at least 0 and finite, got -0.1"),
        ({"length_penalty": math.inf}, "length_penalty must be at least 0 and finite, got inf"),
        ({"coverage_penalty": math.nan}, "coverage_penalty must be at least 0 and finite, got nan"),
        ({"method": "greedy", "n_best": 2}, "the greedy method finds one hypothesis, got n_best=2"),
        ({"beam": 2, "n_best": 3}, "n_best must be at most the beam, 2, got 3; a wider beam finds"),
    ],
)  # fmt: skip
def test_what_a_search_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        Search(**arguments)
