"""Encoder-decoders: step by step, row by row, against PyTorch's own layers and by hand."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from saiki import pretrained, proof
from saiki.cells import FAMILIES
from saiki.decoding.decode import Search
from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack
from saiki.models.decoder import Decoder
from saiki.models.encoder import Bridge, Encoder, end_sizes
from saiki.models.seq2seq import NEVER_WRITTEN, Seq2Seq
from saiki.nn.attention.attention import Attention
from saiki.text import BEGIN, END, UNKNOWN

pytestmark = pytest.mark.one_in(3)

SOURCES, TARGETS = 13, 11
WAYS = {
    "plain": {"score": None},
    "dot": {},
    "additive": {"score": "additive"},
    "general, two heads": {"score": "general", "heads": 2},
    "location": {"score": "location", "longest": 30},
    "local-m": {"window": "local-m", "reach": 1},
    "local-p": {"window": "local-p", "reach": 2},
    "coverage": {"coverage": True},
    "marginal": {"choice": "marginal"},
}
CASES = [
    *itertools.product(["lstm"], WAYS),
    *itertools.product(["rnn", "gru", "peephole"], ["dot"]),
]
"""Every way with one cell, and every cell in one way."""


def make(
    cell="lstm",
    score="dot",
    layers=1,
    both=True,
    units=6,
    feeding=False,
    tied=True,
    dropout=0.0,
    baseline="moving",
    **attention,
):
    """A small model in float64; ``units`` of the decoder, 6 of what the encoder tells."""
    kind = FAMILIES[cell]
    read, size = [], 4
    for _ in range(layers):
        read.append(Bidirectional(kind(size, 3)) if both else Recurrent(kind(size, 6)))
        size = 6
    readout = 4 if tied else 5
    cells, size = [], 4 + readout * feeding
    for _ in range(layers):
        cells.append(kind(size, units))
        size = units
    attends = None if score is None else Attention(units, 6, score, **attention)
    if attends is not None and attends.coverage:  # it begins with 0, which would not be seen
        nn.init.normal_(attends.score.w)
    return Seq2Seq(
        Encoder(SOURCES, 4, Stack(read) if layers > 1 else read[0], dropout),
        Decoder(TARGETS, 4, cells, attends, readout, dropout, feeding, tied),
        baseline,
    ).double()


def batch(rows=5, longest=6):
    """Sources and targets of several lengths, padded."""
    lengths = torch.tensor([longest, *[1 + i % longest for i in range(rows - 1)]])
    source = torch.zeros(rows, longest, dtype=torch.long)
    target = torch.zeros(rows, longest + 1, dtype=torch.long)
    for i, n in enumerate(lengths.tolist()):
        source[i, :n] = torch.randint(5, SOURCES, (n,))
        target[i, 0], target[i, n] = BEGIN, END
        target[i, 1:n] = torch.randint(5, TARGETS, (n - 1,))
    return source, lengths, target, lengths + 1


@pytest.mark.parametrize(("cell", "way"), CASES)
def test_a_row_in_a_batch_is_as_if_it_were_alone(cell, way):
    model = make(cell, **WAYS[way]).eval()
    source, lengths, target, steps = batch()
    together = model(source, lengths, target, steps)
    for i, (n, m) in enumerate(zip(lengths.tolist(), steps.tolist(), strict=True)):
        alone = model(
            source[i : i + 1, :n], lengths[i : i + 1], target[i : i + 1, :m], steps[i : i + 1]
        )
        torch.testing.assert_close(together[i, :m], alone[0])


@pytest.mark.parametrize(
    ("cell", "way", "layers"),
    [
        *((cell, way, 1) for cell, way in CASES),
        *itertools.product(FAMILIES, ["feeding"], [1]),
        *itertools.product(["lstm"], ["dot", "feeding", "feeding and coverage"], [2]),
    ],
)
def test_all_steps_at_once_are_the_steps_one_by_one(cell, way, layers):
    more = (
        {"feeding": True, "coverage": way.endswith("coverage")} if "feeding" in way else WAYS[way]
    )
    model = make(cell, layers=layers, **more).eval()
    source, lengths, target, steps = batch()
    at_once = model(source, lengths, target, steps)
    state, memory = model.begin(source, lengths)
    for t in range(target.shape[1]):
        p, weights, state = model.advance(target[:, t], state, memory)
        live = steps > t
        torch.testing.assert_close(p[live], at_once[live, t])
        if weights is not None:
            assert (weights[torch.arange(6) >= lengths[:, None]] == 0).all()


@pytest.mark.parametrize(("cell", "score", "layers"), [
    ("lstm", "dot", 2), ("gru", "additive", 1), ("rnn", "general", 1), ("peephole", "dot", 1),
])  # fmt: skip
@pytest.mark.long
def test_with_input_feeding_the_whole_target_is_one_compiled_loop(cell, score, layers):
    model = make(cell, score, layers=layers, feeding=True, dropout=0.3).float().train()
    assert model.decoder.whole
    data = batch()
    model.loss(model.write(*data)).backward()
    [layer] = model.decoder._fed.values()
    assert layer.why_eager(torch.float32) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.decoder, "step", None)  # nothing goes step by step
        model.eval()(*data)


@pytest.mark.parametrize(
    "more", [{"coverage": True}, {"choice": "gumbel"}, {"window": "local-m"}, {"heads": 2}]
)
def test_other_decoders_with_input_feeding_go_step_by_step(more):
    assert not make("gru", feeding=True, **more).decoder.whole


def test_each_step_is_given_what_was_read_before():
    model = make("gru", coverage=True, feeding=True).eval()
    source, lengths, target, _ = batch()
    state, memory = model.begin(source, lengths)
    assert (state.covered == 0).all()
    assert (state.fed == 0).all()
    read = torch.zeros_like(state.covered)
    for t in range(3):
        h, attended, state = model.decoder.step(target[:, t], state, memory)
        read = read + attended.weights
        torch.testing.assert_close(state.covered, read)
        torch.testing.assert_close(state.fed, model.decoder.readout(h, attended.context))
        assert (state.position == t + 1).all()


def test_the_probabilities_are_those_of_layers_of_pytorch():
    """An LSTM encoder and decoder with the attention "general" of Luong, on weights of ours."""
    model = make("lstm", "general", both=False, tied=False).eval()
    source, lengths, target, steps = batch(rows=1)
    theirs = nn.LSTM(4, 6, batch_first=True).double(), nn.LSTM(4, 6, batch_first=True).double()
    for layer, cell in zip(
        theirs, (model.encoder.recurrent.cell, model.decoder.cells[0]), strict=True
    ):
        layer.weight_ih_l0.data = cell.W.weight.data
        layer.weight_hh_l0.data = cell.U.weight.data
        layer.bias_ih_l0.data = cell.b.data
        layer.bias_hh_l0.data.zero_()
    memory, state = theirs[0](model.encoder.embedding(source))
    h, _ = theirs[1](model.decoder.embedding(target), state)
    score = model.decoder.attention.score
    p = (score.query(h) @ score.key(memory).mT).softmax(-1)
    r = torch.tanh(model.decoder.combine(torch.cat((p @ memory, h), -1)))
    expected = model.decoder.output(r).log_softmax(-1)
    torch.testing.assert_close(model(source, lengths, target, steps), expected)


@pytest.mark.parametrize(
    ("cell", "way"),
    [
        *itertools.product(["lstm"], ["plain", "dot", "coverage", "marginal", "feeding"]),
        *itertools.product(["rnn", "gru", "peephole"], ["feeding"]),
    ],
)
def test_gradients_of_the_loss_agree_with_finite_differences(cell, way):
    more = {"feeding": True} if way == "feeding" else WAYS[way]
    model = make(cell, **more)
    data = batch(rows=3, longest=4)
    report = proof.check_loss(model, lambda model: model.loss(model.write(*data), 0.1))
    assert report.passed, str(report)


def test_the_loss_is_the_smoothed_cross_entropy_of_pytorch():
    model = make()
    source, lengths, target, steps = batch()
    written = model.write(source, lengths, target, steps)
    logits = model(source, lengths, target[:, :-1], steps - 1)
    wanted = target[:, 1:].masked_fill(target[:, 1:] == 0, -100)
    expected = F.cross_entropy(logits.mT, wanted, label_smoothing=0.2)
    torch.testing.assert_close(model.loss(written, 0.2), expected)
    assert written.targets.tolist() == target[:, 1:][target[:, 1:] > 0].tolist()


def test_without_teacher_forcing_the_decoder_goes_its_own_way():
    model = make("gru").eval()
    source, lengths, target, steps = batch()
    written = model.write(source, lengths, target, steps, teacher_forcing=0.0)
    state, memory = model.begin(source, lengths)
    tokens, own = target[:, 0], []
    for _ in range(target.shape[1] - 1):
        p, _, state = model.advance(tokens, state, memory)
        own.append(p)
        tokens = p.index_fill(1, torch.tensor([*NEVER_WRITTEN, UNKNOWN]), -math.inf).argmax(1)
    torch.testing.assert_close(written.log_probabilities, torch.stack(own, 1)[written.real])


def test_scheduled_sampling_takes_each_token_with_the_probability_it_is_told():
    model = make("gru").eval()
    source, lengths, target, steps = batch(rows=1, longest=2)
    target[0, 1] = 7
    forced = model.write(source, lengths, target, steps, 1.0).log_probabilities[1]
    own = model.write(source, lengths, target, steps, 0.0).log_probabilities[1]
    assert (forced - own).abs().max() > 1e-6
    seen = [
        model.write(source, lengths, target, steps, 0.3).log_probabilities[1] for _ in range(500)
    ]
    share = sum(torch.allclose(p, forced) for p in seen) / len(seen)
    assert abs(share - 0.3) < 3 * math.sqrt(0.3 * 0.7 / 500)
    assert all(torch.allclose(p, forced) or torch.allclose(p, own) for p in seen)


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("baseline", ["moving", "self-critical"])
def test_reinforce_on_average_is_the_gradient_of_the_sum_over_all_positions(baseline, feeding):
    """One source position is drawn at each of two steps: Σ over both of their probabilities."""
    model = make("rnn", choice="reinforce", baseline=baseline, feeding=feeding).train()
    source, lengths, target, steps = batch(rows=1, longest=2)
    query = model.decoder.cells[0].W.weight
    exact = torch.zeros_like(query)
    for choices in itertools.product(range(2), repeat=2):
        log_p, log_y = forced_choices(model, source, lengths, target, choices)
        exact += torch.autograd.grad(-log_p.exp() * log_y / 2, query)[0]
    ten, samples = [t.expand(10, *t.shape[1:]) for t in (source, lengths, target, steps)], []
    for _ in range(150):  # the loss is the mean of ten draws
        loss = model.loss(model.write(*ten), entropy_weight=0.0)
        samples.append(torch.autograd.grad(loss, query)[0])
    each = torch.stack(samples)
    error = each.std(0) / math.sqrt(len(each))
    # many entries: five standard errors, which one of a million such means leaves
    assert ((each.mean(0) - exact).abs() <= 5 * error + 1e-9).all()


def forced_choices(model, source, lengths, target, choices):
    """log p of these choices of positions, and log p of the target with them."""
    state, memory = model.begin(source, lengths)
    log_p, log_y = 0.0, 0.0
    for t, position in enumerate(choices):
        decoder = model.decoder
        x = decoder.embed(target[:, t])
        if state.fed is not None:
            x = torch.cat((x, state.fed), -1)
        states = decoder.cells[0](x, *state.states[0])
        h = states[0]
        p = decoder.attention(h, memory).probabilities[0]
        log_p = log_p + p[position].log()
        context = memory.values[:, position]
        y = decoder.log_probabilities(h, context)
        log_y = log_y + y[0, target[0, t + 1]]
        fed = None if state.fed is None else decoder.readout(h, context)
        state = state._replace(states=(states,), fed=fed, position=state.position + 1)
    return log_p, log_y


def test_the_marginal_is_the_sum_over_positions_by_hand():
    model = make(choice="marginal").eval()
    source, lengths, target, steps = batch(rows=1, longest=3)
    likelihood = model(source, lengths, target, steps)
    state, memory = model.begin(source, lengths)
    h, attended = model.decoder.run(target, steps, state, memory)
    by_hand = sum(
        attended.probabilities[..., i : i + 1]
        * model.decoder.log_probabilities(h, memory.values[:, i].expand(1, 4, 6)).exp()
        for i in range(3)
    )
    torch.testing.assert_close(likelihood.exp(), by_hand)


@pytest.mark.parametrize("choice", ["soft", "reinforce", "gumbel", "marginal"])
@pytest.mark.long
def test_every_choice_learns_to_copy(choice):
    torch.manual_seed(1)
    model = make("gru", choice=choice, units=6).float().train()
    adam = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(250):
        source = torch.randint(5, 9, (32, 1))
        target = torch.cat([torch.full((32, 1), BEGIN), source, torch.full((32, 1), END)], 1)
        ones = torch.ones(32, dtype=torch.long)
        loss = model.loss(model.write(source, ones, target, 3 * ones))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert model.eval().loss(model.write(source, ones, target, 3 * ones)) < 0.1, losses[-1]


def test_a_decoded_row_is_what_the_model_finds_probable():
    model = make("lstm").eval()
    source, lengths, _, _ = batch()
    for hypotheses in model.decode(source, lengths, [8] * 5, Search(n_best=3)):
        for h in hypotheses:
            assert not {*NEVER_WRITTEN, UNKNOWN, END} & set(h.tokens)
            assert h.weights.shape == (len(h.tokens) + h.finished, 6)
    row = model.decode(source, lengths, [8] * 5, Search("greedy"))[2][0]
    target = torch.tensor([[BEGIN, *row.tokens]])
    p = model(source[2:3, : lengths[2]], lengths[2:3], target, torch.tensor([target.shape[1]]))[0]
    wanted = [*row.tokens, END] if row.finished else row.tokens
    total = sum(p[t, token].item() for t, token in enumerate(wanted))
    assert row.log_probability == pytest.approx(total)


def test_a_bridge_leaves_alone_what_fits_and_maps_what_does_not():
    same = Bridge([3, 4], [3, 4])
    states = torch.randn(2, 3), torch.randn(2, 4)
    assert all(a is b for a, b in zip(same(states), states, strict=True))
    assert not list(same.parameters())
    other = Bridge([3, 4], [5, 2, 1])
    made = other(states)
    assert [s.shape[1] for s in made] == [5, 2, 1]
    expected = torch.tanh(other.linear(torch.cat(states, 1)))
    torch.testing.assert_close(torch.cat(made, 1), expected)


def test_the_end_sizes_are_those_of_the_states_that_come_out():
    layers = [
        Recurrent(FAMILIES["gru"](4, 3)),
        Bidirectional(FAMILIES["lstm"](4, 3)),
        Stack([Bidirectional(FAMILIES["lstm"](4, 3)), Recurrent(FAMILIES["peephole"](6, 2))]),
    ]
    for layer in layers:
        _, states = Encoder(SOURCES, 4, layer)(torch.randint(5, 9, (2, 3)), None)
        assert end_sizes(layer) == [s.shape[1] for s in states]


def test_tied_embeddings_are_one_table():
    tied, free = make(), make(tied=False)
    assert tied.decoder.output.weight is tied.decoder.embedding.weight
    assert free.decoder.output.weight.shape == (TARGETS, 5)


@pytest.mark.parametrize("way", ["plain", "local-p", "reinforce"])
def test_a_saved_model_is_the_same_model(way, tmp_path):
    more = {"choice": "reinforce"} if way == "reinforce" else WAYS[way]
    model = make("peephole", layers=2, **more).float().eval()
    pretrained.save(model, tmp_path / "model")
    restored = pretrained.load(tmp_path / "model")
    assert torch.equal(model(*batch_of(model)), restored(*batch_of(model)))


def batch_of(model):
    torch.manual_seed(0)
    return batch()


def test_what_does_not_fit_is_refused():
    cell = FAMILIES["lstm"](4, 6)
    with pytest.raises(InputError, match="takes 5 features, and a token has 4"):
        Encoder(9, 4, FAMILIES["lstm"](5, 6))
    with pytest.raises(InputError, match="with tied embeddings the readout has the 4 features"):
        Decoder(9, 4, [cell], readout_size=5)
    with pytest.raises(InputError, match="takes 4 features and is given 8"):
        Decoder(9, 4, [cell], input_feeding=True)
    with pytest.raises(InputError, match="queries of the size of its top state, 6"):
        Decoder(9, 4, [cell], Attention(5, 6, "general"))
    with pytest.raises(InputError, match="at least one cell"):
        Decoder(9, 4, [])
    with pytest.raises(InputError, match="baseline must be one of moving, self-critical"):
        Seq2Seq(Encoder(9, 4, cell), Decoder(9, 4, [cell]), "none")


@pytest.mark.parametrize("teacher_forcing", [1.0, 0.0])
def test_a_choice_is_rewarded_for_what_is_written_later_where_that_depends_on_it(
    teacher_forcing, monkeypatch
):
    rewards = []

    def seen(log_choice, reward, *others):
        rewards.append(reward)
        return log_choice.sum()

    monkeypatch.setattr("saiki.models.seq2seq.reinforce_loss", seen)
    model = make("gru", choice="reinforce").train()
    source, lengths, target, steps = batch(rows=1, longest=4)
    written = model.write(source, lengths, target, steps, teacher_forcing)
    model.loss(written)
    own = written.log_probabilities.gather(1, written.targets[:, None])[:, 0]
    later = own.flip(0).cumsum(0).flip(0)
    torch.testing.assert_close(rewards[0][0], own if teacher_forcing == 1 else later)
