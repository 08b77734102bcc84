"""Attention against loops written by hand, torch.nn.MultiheadAttention and finite differences."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.attention_by_hand import attend, make
from saiki.errors import InputError
from saiki.nn.attention.attention import Attended, Attention, coverage_loss
from saiki.nn.attention.choice import CHOICES, marginal_log_likelihood
from saiki.nn.attention.scores import SCORES
from saiki.nn.attention.windows import WINDOWS
from saiki.saving.description import describe
from saiki.saving.description import make as remake

pytestmark = pytest.mark.one_in(3)

MASK = torch.tensor(
    [
        [True, True, True, True, True, True, True],
        [True, True, True, False, False, False, False],
        [False, True, True, False, True, True, False],
        [False, False, False, False, True, False, False],
    ]
)


def inputs(time=3, size=6, dtype=torch.float64):
    return torch.randn(4, time, size, dtype=dtype), torch.randn(4, 7, size, dtype=dtype)


def covered_before(time=3, dtype=torch.float64):
    return torch.rand(4, time, 7, dtype=dtype) * MASK[:, None]


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def same(a, b, tolerance=1e-12):
    for x, y in zip(a, b, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            close(x, y, tolerance)


# What the equations say


@pytest.mark.parametrize("coverage", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("score", SCORES)
def test_weights_and_contexts_are_those_of_the_equations(score, window, heads, coverage):
    attention = make(score, window=window, heads=heads, coverage=coverage)
    query, memory = inputs()
    covered = covered_before() if coverage else None
    attended = attention(query, attention.prepare(memory, MASK), 2, covered)
    weights, contexts = attend(attention, query, memory, MASK, 2, covered)
    np.testing.assert_allclose(attended.weights.detach(), weights.mean(0), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(attended.context.detach(), contexts, rtol=1e-11, atol=1e-14)
    assert torch.equal(attended.probabilities, attended.weights)


@pytest.mark.parametrize(
    ("score", "sizes"),
    [
        ("additive", {"query_size": 5, "memory_size": 4, "hidden_size": 8, "heads": 2}),
        ("dot", {"query_size": 5, "memory_size": 4, "hidden_size": 8, "heads": 2}),
        ("scaled_dot", {"query_size": 5, "memory_size": 4, "hidden_size": 8, "heads": 2}),
        ("general", {"query_size": 8, "memory_size": 4, "heads": 2}),
        ("general", {"query_size": 5, "memory_size": 4}),
        ("location", {"query_size": 5, "memory_size": 4, "heads": 2}),
    ],
)
def test_queries_and_memories_may_differ_in_size(score, sizes):
    attention = make(score, **sizes)
    query = torch.randn(4, 3, sizes["query_size"], dtype=torch.float64)
    memory = torch.randn(4, 7, 4, dtype=torch.float64)
    attended = attention(query, attention.prepare(memory, MASK))
    weights, contexts = attend(attention, query, memory, MASK)
    np.testing.assert_allclose(attended.weights.detach(), weights.mean(0), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(attended.context.detach(), contexts, rtol=1e-11, atol=1e-14)


def test_several_heads_are_those_of_torch():
    query, memory = inputs()
    ours = make("scaled_dot", heads=3)
    theirs = torch.nn.MultiheadAttention(6, 3, bias=False, batch_first=True, dtype=torch.float64)
    projections = (ours.score.query, ours.score.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.out_proj.weight.copy_(ours.output.weight)
    attended = ours(query, ours.prepare(memory, MASK))
    context, weights = theirs(query, memory, memory, key_padding_mask=~MASK)
    close(attended.context, context)
    close(attended.weights, weights)
    for y in (attended.context, context):
        y.square().sum().backward()
    close(torch.cat([p.weight.grad for p in projections]), theirs.in_proj_weight.grad)
    close(ours.output.weight.grad, theirs.out_proj.weight.grad)


def test_a_new_attention_does_not_look_at_what_was_covered():
    for score in SCORES:
        longest = 7 if score == "location" else None
        attention = Attention(6, 6, score, coverage=True, longest=longest).double()
        query, memory = inputs()
        memory = attention.prepare(memory, MASK)
        here = attention(query, memory, covered=covered_before())
        same(here, attention(query, memory, covered=torch.zeros(4, 3, 7)))


def test_the_coverage_loss_is_that_of_its_equation():
    weights = torch.rand(2, 5, 4, dtype=torch.float64)
    real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    of_steps = {}
    for b in range(2):
        for t in range(5):
            c = [sum(weights[b, u, s].item() for u in range(t)) for s in range(4)]
            of_steps[b, t] = sum(min(weights[b, t, s].item(), c[s]) for s in range(4))
    assert coverage_loss(weights).item() == pytest.approx(sum(of_steps.values()) / 10)
    some = [loss for (b, t), loss in of_steps.items() if real[b, t]]
    assert coverage_loss(weights, real).item() == pytest.approx(sum(some) / 8)
    spoiled = torch.where(real[..., None], weights, torch.nan).requires_grad_()
    loss = coverage_loss(spoiled, real)
    assert loss.item() == pytest.approx(sum(some) / 8)
    loss.backward()
    assert spoiled.grad[real].isfinite().all()
    assert torch.autograd.gradcheck(coverage_loss, (weights.requires_grad_(), real))


def test_reading_each_position_once_costs_nothing_and_twice_costs_1():
    eye = torch.eye(3)[None]
    assert coverage_loss(eye).item() == 0
    assert coverage_loss(torch.cat((eye, eye), 1)).item() == pytest.approx(3 / 6)


# Under every mask


@st.composite
def cases(draw):
    """An attention with its queries and memory, and the seed of what it draws."""
    batch, source, time = (draw(st.integers(1, n)) for n in (3, 6, 4))
    choice, heads = draw(st.sampled_from(CHOICES)), draw(st.sampled_from([1, 2, 3]))
    attention = make(
        draw(st.sampled_from(SCORES)),
        draw(st.sampled_from([torch.float32, torch.float64])),
        draw(st.sampled_from([0.3, 3.0])),
        choice=choice,
        heads=1 if choice == "marginal" else heads,
        window=draw(st.sampled_from(WINDOWS)),
        reach=draw(st.integers(1, 3)),
        coverage=draw(st.booleans()),
        temperature=draw(st.sampled_from([0.1, 1.0])),
    ).train(draw(st.booleans()))
    row = st.lists(st.booleans(), min_size=source, max_size=source).filter(any)
    mask = torch.tensor(draw(st.lists(row, min_size=batch, max_size=batch)))
    dtype = next(attention.parameters(), torch.zeros((), dtype=torch.float64)).dtype
    seed, position = draw(st.integers(0, 2**31)), draw(st.integers(0, 8))
    torch.manual_seed(seed)
    query = torch.randn(batch, time, 6, dtype=dtype)
    memory = torch.randn(batch, source, 6, dtype=dtype)
    covered = None
    if attention.coverage:
        covered = torch.rand(batch, time, source, dtype=dtype) * mask[:, None]
    return attention, query, memory, mask, position, covered, seed


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cases())
def test_weights_sum_to_1_and_are_0_on_padding(case):
    attention, query, memory, mask, position, covered, _ = case
    attended = attention(query, attention.prepare(memory, mask), position, covered)
    for a in (attended.weights, attended.probabilities):
        close(a.sum(-1), torch.ones_like(a[..., 0]), 2e-6)
        assert a.min() >= 0
        assert a.masked_select(~mask[:, None]).eq(0).all()
    assert attended.context.isfinite().all()
    hard = attention.choice in ("reinforce", "gumbel")
    if hard and attention.heads == 1:
        assert attended.weights.sort(-1).values.eq(torch.eye(mask.shape[1])[-1]).all()
    assert attended.weights.masked_select(attended.probabilities == 0).eq(0).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(cases(), st.sampled_from([torch.nan, torch.inf, -torch.inf, 1e30]))
def test_what_padding_holds_does_not_matter(case, rubbish):
    attention, query, memory, mask, position, covered, seed = case

    def run(memory):
        attention.zero_grad()
        torch.manual_seed(seed)
        leaves = [query.clone().requires_grad_(), memory.clone().requires_grad_()]
        attended = attention(leaves[0], attention.prepare(leaves[1], mask), position, covered)
        loss = attended.context.square().sum()
        if attended.log_choice is not None:
            loss = loss + attended.log_choice.sum()
        if attended.entropy is not None:
            loss = loss + attended.entropy.sum()
        loss.backward()
        return attended, [x.grad for x in (*leaves, *attention.parameters())]

    attended, gradients = run(memory)
    spoiled, spoiled_gradients = run(torch.where(mask[..., None], memory, rubbish))
    same(spoiled, attended)
    same(spoiled_gradients, gradients)
    assert all(g is None or g.isfinite().all() for g in gradients)
    assert gradients[1][~mask].eq(0).all()


def test_a_row_without_a_real_position_is_refused():
    mask = MASK.clone()
    mask[1] = mask[3] = False
    with pytest.raises(InputError, match=r"rows \[1, 3\] of the mask have no real position"):
        make("dot").prepare(inputs()[1], mask)


# Together and alone


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("choice", CHOICES)
def test_one_query_at_a_time_is_all_at_once(choice, score, window, heads):
    if choice == "marginal" and heads > 1:
        return
    attention = make(score, choice=choice, window=window, heads=heads, coverage=True)
    query, memory = inputs(time=5)
    memory = attention.prepare(memory, MASK)
    covered, alone = [torch.zeros(4, 7, dtype=torch.float64)], []
    for t in range(5):
        alone.append(attention(query[:, t], memory, t, covered[-1], best=True))
        covered.append(covered[-1] + alone[-1].weights)
    together = attention(query, memory, covered=torch.stack(covered[:-1], 1), best=True)
    parts = zip(*alone, strict=True)
    same(together, [None if p[0] is None else torch.stack(p, 1) for p in parts])


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("score", SCORES)
def test_a_row_alone_and_without_padding_is_the_row_in_a_batch(score, window, heads):
    attention = make(score, window=window, heads=heads)
    query, memory = inputs()
    mask = torch.arange(7) < torch.tensor([7, 4, 1, 5])[:, None]
    together = attention(query, attention.prepare(memory, mask))
    for b, length in enumerate(mask.sum(1).tolist()):
        row = attention.prepare(memory[b : b + 1, :length])
        alone = attention(query[b : b + 1], row)
        close(alone.context[0], together.context[b])
        close(alone.weights[0], together.weights[b, :, :length])


def test_a_position_may_be_given_for_each_query():
    attention = make("dot", window="local-m", reach=1)
    query, memory = inputs()
    prepared = attention.prepare(memory, MASK)
    steps = torch.tensor([[0, 6, 2], [1, 1, 1], [9, 0, 3], [0, 1, 2]])
    together = attention(query, prepared, steps)
    for t in range(3):
        same(attention(query[:, t], prepared, steps[:, t]), [
            None if part is None else part[:, t] for part in together
        ])  # fmt: skip
    assert together.weights[0].gt(0).nonzero().tolist() == [
        [0, 0], [0, 1], [1, 5], [1, 6], [2, 1], [2, 2], [2, 3],
    ]  # fmt: skip
    same(attention(query, prepared), attention(query, prepared, torch.arange(3).expand(4, 3)))
    same(attention(query[:, 0], prepared, 4), attention(query[:, 0], prepared, torch.tensor(4)))


# Gradients


def check(attention, function, *tensors):
    """Gradients of the tensors and of all weights against finite differences."""
    leaves = [x.requires_grad_() for x in tensors]
    every = (*leaves, *attention.parameters())
    return torch.autograd.gradcheck(lambda *x: function(*x[: len(leaves)]), every)


@pytest.mark.parametrize(("heads", "coverage"), [(1, False), (2, True)])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("score", SCORES)
def test_gradients_are_those_of_finite_differences(score, window, heads, coverage):
    longest = 4 if score == "location" else None
    attention = make(
        score, query_size=2, memory_size=2, window=window, heads=heads, coverage=coverage,
        longest=longest,
    )  # fmt: skip
    query, memory = (torch.randn(2, n, 2, dtype=torch.float64) for n in (2, 4))
    mask = torch.tensor([[True] * 4, [True, False, True, False]])
    covered = torch.rand(2, 2, 4, dtype=torch.float64)

    def run(query, memory, covered):
        attended = attention(
            query, attention.prepare(memory, mask), covered=covered if coverage else None
        )
        return attended.context, attended.weights

    assert check(attention, run, query, memory, covered)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_marginal_and_the_entropy_have_the_gradients_of_finite_differences(window):
    attention = make("general", query_size=3, memory_size=2, window=window, choice="marginal")
    query, memory = (torch.randn(2, n, k, dtype=torch.float64) for n, k in ((2, 3), (4, 2)))
    readout = torch.randn(2, dtype=torch.float64)
    mask = torch.tensor([[True] * 4, [True, False, True, False]])

    def run(query, memory, readout):
        prepared = attention.prepare(memory, mask)
        attended = attention(query, prepared)
        each = torch.nn.functional.logsigmoid(prepared.values @ readout)[:, None]
        return marginal_log_likelihood(attended.log_probabilities, each), attended.entropy

    assert check(attention, run, query, memory, readout)
    p, _ = attend(attention, query, memory, mask)
    likelihoods = 1 / (1 + np.exp(-(memory @ readout).detach().numpy()))
    want = np.log((p[0] * likelihoods[:, None]).sum(-1))
    np.testing.assert_allclose(run(query, memory, readout)[0].detach(), want, rtol=1e-12)


def test_no_gradient_of_a_logarithm_overflows():
    scores = torch.tensor([[[0.0, -95.0, -80.0, -torch.inf]]], requires_grad=True)
    p = scores.softmax(-1)
    assert 0 < p[0, 0, 1] < torch.finfo(torch.float32).tiny
    log_p = Attended(p, p, p, None, None).log_probabilities
    assert log_p[0, 0].tolist() == [0.0, -torch.inf, pytest.approx(-80.0), -torch.inf]
    marginal_log_likelihood(log_p, torch.tensor([-300.0, 0.0, -300.0, 0.0])).sum().backward()
    assert scores.grad.isfinite().all()


# Types of numbers


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("score", SCORES)
def test_bfloat16_under_autocast_and_throughout(score, choice, heads):
    if choice == "marginal" and heads > 1:
        return
    attention = make(
        score, torch.float32, 0.4, choice=choice, heads=heads, coverage=True, window="local-p"
    )
    query, memory = inputs(dtype=torch.float32)
    covered = covered_before(dtype=torch.float32)

    def run(query, memory):
        return attention(query, attention.prepare(memory, MASK), covered=covered, best=True)

    full = run(query, memory)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = run(query, memory)
        (mixed.context.float().square().sum() + mixed.probabilities.square().sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in attention.parameters())
    attention.bfloat16()
    half = run(query.bfloat16(), memory.bfloat16())
    assert half.context.dtype == torch.bfloat16
    for attended in (mixed, half):
        assert attended.probabilities.dtype == torch.float32
        close(attended.probabilities.sum(-1), torch.ones(4, 3), 1e-6)
        close(attended.probabilities, full.probabilities, 0.05)
        if choice in ("soft", "marginal"):
            close(attended.context.float(), full.context, 0.1)


# What it is made of


def test_an_attention_is_made_again_from_its_description():
    arguments = {
        "query_size": 4, "memory_size": 6, "score": "additive", "choice": "gumbel", "heads": 2,
        "window": "local-p", "reach": 3, "coverage": True, "hidden_size": 8, "temperature": 0.5,
    }  # fmt: skip
    attention = Attention(**arguments)
    described = json.loads(json.dumps(describe(attention)))
    assert described["arguments"] == arguments
    copy = remake(described)
    copy.load_state_dict(attention.state_dict())
    query, memory, covered = torch.randn(2, 3, 4), torch.randn(2, 5, 6), torch.rand(2, 3, 5)
    results = []
    for each in (attention, copy):
        torch.manual_seed(1)
        results.append(each(query, each.prepare(memory), covered=covered))
    same(*results, tolerance=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score": "cosine"}, "score must be one of additive, dot"),
        ({"window": "local"}, "window must be one of global, local-m"),
        ({"choice": "hard"}, "choice must be one of soft, reinforce"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"reach": 0}, "reach must be at least 1, got 0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"heads": 4}, "the 6 features of the memory cannot be shared among 4 heads"),
        ({"query_size": 5, "heads": 3}, "5 features of queries and keys cannot be shared among 3"),
        ({"query_size": 5}, "'dot' needs queries and memory of the same size, got 5 and 6"),
        ({"choice": "marginal", "heads": 2}, "'marginal' goes through the positions of one head"),
        ({"hidden_size": 4}, "'dot' with heads=1 projects queries to no other size"),
        ({"score": "general", "heads": 2, "hidden_size": 4}, "leave hidden_size=4 out"),
        ({"score": "location", "longest": 5, "hidden_size": 4}, "leave hidden_size=4 out"),
        ({"score": "location"}, "longest belongs to the score 'location', which needs it"),
        ({"longest": 5}, "longest belongs to the score 'location'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Attention(**({"query_size": 6, "memory_size": 6} | arguments))


def test_inputs_that_do_not_fit_are_refused():
    attention = make("dot", window="local-m")
    query, memory = inputs()
    with pytest.raises(InputError, match=r"memory must be \(batch, source, 6\) and not empty"):
        attention.prepare(memory[..., :5])
    with pytest.raises(InputError, match="and not empty"):
        attention.prepare(memory[:, :0])
    with pytest.raises(InputError, match=r"mask must be bool of shape \(4, 7\), got torch.int64"):
        attention.prepare(memory, MASK.long())
    with pytest.raises(InputError, match=r"bool of shape \(4, 7\), got torch.bool of shape \(4, 6"):
        attention.prepare(memory, MASK[:, :6])
    with pytest.raises(InputError, match="made for 9 at most"):
        make("location").prepare(torch.randn(1, 10, 6))
    memory = attention.prepare(memory, MASK)
    for wrong in (query[:3], query[..., :5], query[None]):
        with pytest.raises(InputError, match=r"query must be \(4, 6\) or \(4, time, 6\)"):
            attention(wrong, memory)
    with pytest.raises(InputError, match="give position"):
        attention(query[:, 0], memory)
    with pytest.raises(InputError, match=r"position must be a number or of shape \(4, 3\)"):
        attention(query, memory, torch.arange(3))
    covered = covered_before()
    with pytest.raises(InputError, match="got coverage=False and covered"):
        attention(query, memory, 0, covered)
    attention = make("dot", coverage=True)
    with pytest.raises(InputError, match="got coverage=True and no covered"):
        attention(query, memory)
    with pytest.raises(InputError, match=r"covered must be \(4, 3, 7\), got \(4, 7\)"):
        attention(query, memory, covered=covered[:, 0])
