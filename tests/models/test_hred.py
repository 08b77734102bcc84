"""Models of dialogue: batches beside dialogues alone, what is forgotten, and what is written."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from saiki.cells import GRU, LSTM
from saiki.data.text.dialogue_rows import DialogueRows, batch
from saiki.decoding import Search
from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.models.decoder import Decoder
from saiki.models.dialogue import Dialoguer
from saiki.models.encoder import Encoder
from saiki.models.hred import HRED, VHRED
from saiki.models.parts import Hearing
from saiki.nn.attention.attention import Attention
from saiki.nn.latent import Gaussian
from saiki.saving.pretrained import load
from saiki.text import BEGIN, END, Text

pytestmark = pytest.mark.one_in(2)

DIALOGUES = [
    ("a b c", "b", "c a a a", "d", "a b"),
    ("c", "d d d"),
    ("b a", "a", "c c", "d a b c d"),
    ("a", "b", "c"),
]
TEXT = Text.learn("words", [turn for turns in DIALOGUES for turn in turns])
SIZE = 8
KINDS = ("seq2seq", "hred", "vhred")
READS = [(None, 1), ("dot", 1), ("additive", 3)]


def make(kind, score=None, reach=1, cell=GRU, input_feeding=False):
    torch.manual_seed(0)
    known, latent = len(TEXT.vocabulary), 3 * (kind == "vhred")
    encoder = Encoder(known, 6, Bidirectional(cell(6, 4)))
    context = None if kind == "seq2seq" else Recurrent(GRU(SIZE, SIZE))
    attention = Attention(SIZE, SIZE, score=score) if score else None
    cells = [cell(6 + 5 + 6 * input_feeding, SIZE)]
    decoder = Decoder(known, 6, cells, attention, given_size=5, input_feeding=input_feeding)
    model = HRED(encoder, decoder, context, SIZE, reach)
    if latent:
        model = VHRED(encoder, decoder, context, SIZE, latent, 10, reach, bag_of_words=True)
    return model.double().eval()


def turns(dialogues, **cuts):
    return batch(DialogueRows.of(dialogues, TEXT, 20, **cuts).pieces)


@pytest.fixture
def draws_its_mean(monkeypatch):
    def draw(self, *counts, generator=None):
        return self.mean.expand(*counts, *self.mean.shape)

    monkeypatch.setattr(Gaussian, "draw", draw)


@pytest.mark.parametrize(("score", "reach"), READS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_tells_what_its_dialogues_tell_alone(kind, score, reach, draws_its_mean):
    model = make(kind, score, reach, LSTM, input_feeding=bool(score))
    both = model(turns(DIALOGUES), 2, words=True)
    alone = [model(turns([dialogue]), 2, words=True) for dialogue in DIALOGUES]
    for name in ("log_likelihood", "log_ratio", "divergence", "code"):
        parts = [getattr(each.bound, name) for each in alone]
        together = torch.cat(parts, dim=1 if name.startswith("log") else 0)
        torch.testing.assert_close(getattr(both.bound, name), together, rtol=0, atol=1e-10)
    for name in ("tokens", "of_words"):
        if getattr(both, name) is not None:
            parts = torch.cat([getattr(each, name) for each in alone])
            torch.testing.assert_close(getattr(both, name), parts, rtol=0, atol=1e-10)


def test_the_probability_of_a_reply_is_the_product_of_those_of_its_tokens():
    """By hand: layers called turn by turn, the decoder token by token."""
    model = make("hred")
    likelihoods = model(turns(DIALOGUES))
    by_hand = []
    for dialogue in DIALOGUES:
        state = None
        for turn, reply in pairwise(dialogue):
            ids = torch.tensor([[*TEXT.encode(turn), END]])
            _, ends = model.encoder.recurrent(model.encoder.embedding(ids))
            linear = model.summary.linear
            u = torch.cat(ends, -1) if linear is None else torch.tanh(linear(torch.cat(ends, -1)))
            u = F.layer_norm(u, [SIZE])
            y, state = model.context(u[:, None], state)
            d = u + 0.1 * F.layer_norm(y[:, 0], [SIZE])
            h, total = d, 0.0  # where the sizes are the same, it begins from d itself
            if model.bridge.linear is not None:
                h = torch.tanh(model.bridge.linear(d))
            before = BEGIN
            for token in [*TEXT.encode(reply), END]:
                g = torch.tanh(model.given(d))
                x = torch.cat((model.decoder.embedding(torch.tensor([before])), g), -1)
                h = model.decoder.cells[0](x, h)[0]
                r = torch.tanh(model.decoder.combine(torch.cat((h, g), -1)))
                total += F.log_softmax(model.decoder.output(r), -1)[0, token]
                before = token
            by_hand.append(total)
    torch.testing.assert_close(likelihoods.bound.log_likelihood[0], torch.stack(by_hand))
    assert likelihoods.tokens.tolist() == [
        len(r.split()) + 1 for turns in DIALOGUES for r in turns[1:]
    ]


@pytest.mark.parametrize(("score", "feeding"), [(None, False), ("dot", False), ("dot", True)])
def test_a_reply_is_as_probable_token_by_token_as_all_at_once(score, feeding):
    model, dialogues = make("hred", score, input_feeding=feeding), turns(DIALOGUES)
    replies = dialogues.is_reply.nonzero()[:, 0]
    tokens, lengths = dialogues.tokens[replies], dialogues.lengths[replies]
    state, memory = model.begin(model.contexts(dialogues, replies - 1)[0])
    before, total = torch.full_like(lengths, BEGIN), 0.0
    for t in range(int(lengths.max())):
        p, _, state = model.advance(before, state, memory)
        before = tokens[:, t]
        total += p.gather(1, before[:, None])[:, 0].where(t < lengths, 0.0)
    torch.testing.assert_close(model(dialogues).bound.log_likelihood[0], total)


def test_attention_looks_at_the_tokens_of_the_last_turns_and_at_no_gaps_between_them():
    model, dialogues = make("hred", "dot", 2), turns(DIALOGUES)
    last = torch.arange(len(dialogues.place))
    memory, _ = model.read(dialogues.tokens, dialogues.lengths)
    context, _ = model.contexts(dialogues, last)
    for row in last.tolist():
        wanted = torch.cat(
            [
                memory[i, : dialogues.lengths[i]]
                for i in range(row - min(1, dialogues.place[row]), row + 1)
            ]
        )
        assert context.mask[row].tolist() == [i < len(wanted) for i in range(context.mask.shape[1])]
        torch.testing.assert_close(context.memory[row, : len(wanted)], wanted, rtol=0, atol=0)
    assert context.mask.any(0).all()


@pytest.mark.parametrize(("score", "reach"), READS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_later_changes_nothing_before(kind, score, reach, draws_its_mean):
    model = make(kind, score, reach)
    before = model(turns(DIALOGUES[:1]))
    after = model(turns([(*DIALOGUES[0][:4], "d d d d d d")]))
    a, b = before.bound.log_likelihood, after.bound.log_likelihood
    torch.testing.assert_close(a[:, :3], b[:, :3])
    assert not torch.allclose(a[:, 3], b[:, 3])


@pytest.mark.parametrize(("kind", "reach", "forgets"), [
    ("seq2seq", 1, True), ("seq2seq", 2, False), ("hred", 1, False), ("vhred", 1, False),
])  # fmt: skip
def test_without_a_context_all_is_forgotten_but_the_turn_before(
    kind, reach, forgets, draws_its_mean
):
    model = make(kind, "dot", reach)
    one = model(turns([("a", "b", "c")])).bound.log_likelihood[0, 1]
    other = model(turns([("d d", "b", "c")])).bound.log_likelihood[0, 1]
    assert bool(torch.allclose(one, other)) == forgets


@pytest.mark.parametrize(("score", "reach"), READS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_exported_hears_as_the_model_does(kind, score, reach):
    model = make(kind, score, reach)
    dialogues = [turns[:n] for turns, n in zip(DIALOGUES, (4, 2, 1, 3), strict=True)]
    pieces = batch(DialogueRows.read(dialogues, TEXT, 20).pieces)
    counts = torch.tensor([len(turns) for turns in dialogues])
    context, _ = model.contexts(pieces, counts.cumsum(0) - 1)
    noise = torch.randn(4, model.latent_size).double()
    latent = None
    if model.latent_size:
        prior = model.prior_of(context)
        latent = prior.at(noise)
    state, memory = model.begin(context, latent)
    table = torch.zeros(4, 4, pieces.tokens.shape[1], dtype=torch.long)
    lengths = torch.zeros(4, 4, dtype=torch.long)
    table[pieces.dialogue, pieces.place], lengths[pieces.dialogue, pieces.place] = (
        pieces.tokens,
        pieces.lengths,
    )
    vectors = Hearing(model)(table, lengths, counts, noise if model.latent_size else None)
    count = 0 if memory is None else 3
    if memory is not None:
        *looked_at, is_there = vectors[:3]
        for ours, same in zip(looked_at, memory[:2], strict=True):
            torch.testing.assert_close(ours[is_there], same[memory.mask])
        assert is_there.sum(1).tolist() == memory.mask.sum(1).tolist()
    wanted = [tensor for layer in state.states for tensor in layer]
    torch.testing.assert_close(vectors[count : count + len(wanted)], tuple(wanted))
    torch.testing.assert_close(vectors[-2], state.conditioning)


def test_pieces_hold_each_reply_once_and_the_turns_before_it():
    rows = DialogueRows.of([tuple("abcdefg")], Text.learn("words", list("abcdefg")), 20, 2, 3)
    cut = [(len(p.turns), p.first, p.number) for p in rows.pieces]
    assert cut == [(3, 1, 0), (5, 3, 0), (5, 3, 2)]
    assert rows.mean_tokens == 4
    numbers = [n for _, numbered in rows.by_length(100) for n in numbered]
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    long = DialogueRows.of([("a b c a b c", "a")], TEXT, 4)
    assert [len(turn) for turn in long.pieces[0].turns] == [4, 2]  # what is cut has no end


def test_what_is_judged_together_is_bounded():
    """Whatever the longest dialogue: one of them may have more, alone."""
    long = [tuple("abcd"[i % 4] for i in range(n)) for n in (2, 3, 3, 9, 4, 30, 2, 7)]
    rows = DialogueRows.of(long, TEXT, 20)
    parts = [part for part, _ in rows.by_length(12)]
    sizes = [(len(part.tokens), int(part.dialogue.max()) + 1) for part in parts]
    assert sizes == [(10, 4), (4, 1), (7, 1), (9, 1), (30, 1)]


def test_how_much_is_unknown_or_cut_is_counted():
    rows = DialogueRows.of([("a x a b", "c y"), ("d", "a")], TEXT, 3)
    assert rows.unknown == pytest.approx(2 / 10)
    assert rows.cut == 1 / 4


def test_each_turn_but_the_first_is_a_reply_in_one_piece():
    rows = DialogueRows.of(DIALOGUES * 5, TEXT, 20, 2, 1)
    assert int(batch(rows.pieces).is_reply.sum()) == 5 * sum(
        len(dialogue) - 1 for dialogue in DIALOGUES
    )


def test_the_bound_of_a_latent_variable_is_below_the_estimate_of_many_draws():
    model, replies = make("vhred"), turns(DIALOGUES)
    with torch.no_grad():
        torch.manual_seed(0)
        one = [model(replies, 1) for _ in range(100)]
        many = model(replies, 500)
    elbo = torch.stack([likelihoods.bound.elbo for likelihoods in one]).mean(0)
    estimate = many.bound.importance_weighted
    assert (elbo < estimate + 0.02).all()
    assert (elbo - estimate).abs().max() < 2


def test_every_weight_learns():
    for kind in KINDS:
        model = make(kind, "additive", 2)
        likelihoods = model(turns(DIALOGUES), words=True)
        loss = likelihoods.bound.divergence.sum() - likelihoods.bound.log_likelihood.sum()
        if likelihoods.of_words is not None:
            loss = loss - likelihoods.of_words.sum()
        loss.backward()
        # nothing is learned of what is added to all scores of attention alike
        still = {n for n, p in model.named_parameters() if not p.grad.abs().sum() > 0}
        assert still == set(), kind


def test_units_that_say_nothing_of_a_reply_are_not_active():
    """Where the posterior is the prior, whatever the context makes of both."""
    model = make("vhred")
    with torch.no_grad():
        model.posterior[0].weight[:, :SIZE] = model.prior[0].weight
        model.posterior[0].weight[:, SIZE:] = 0
        model.posterior[0].bias.copy_(model.prior[0].bias)
        model.posterior[-1].load_state_dict(model.prior[-1].state_dict())
    bound = model(turns(DIALOGUES)).bound
    assert bound.divergence.abs().max() < 1e-12
    assert bound.code.abs().max() < 1e-12


def test_the_estimate_is_that_of_its_draws_by_hand():
    """ln of the mean of p(reply | v) p(v) / q(v) over draws v from q (Burda et al. 2016, eq. 8)."""
    model, dialogue, draws = make("vhred"), turns(DIALOGUES[:1]), 50
    replies = dialogue.is_reply.nonzero()[:, 0]
    with torch.no_grad():
        bound = model(dialogue, draws, generator=torch.Generator().manual_seed(1)).bound
        context, u = model.contexts(dialogue, replies - 1)
        prior = model.prior_of(context)
        posterior = Gaussian.of(model.posterior(torch.cat((context.vector, u[replies]), -1)))
        v = posterior.draw(draws, generator=torch.Generator().manual_seed(1))
        p, q = (
            torch.distributions.Normal(law.mean, law.log_variance.exp().sqrt()).log_prob(v).sum(-1)
            for law in (prior, posterior)
        )
        replied = dialogue._replace(
            tokens=dialogue.tokens[replies], lengths=dialogue.lengths[replies]
        )
        log_p = torch.stack([model._log_probabilities(replied, context, one, 0.0) for one in v])
        wanted = (log_p + p - q).logsumexp(0) - torch.tensor(draws).double().log()
    torch.testing.assert_close(bound.importance_weighted, wanted)


def test_words_are_told_by_a_model_that_was_made_for_it_alone():
    model = make("vhred")
    model.words = None
    with pytest.raises(InputError, match="made with bag_of_words"):
        model(turns(DIALOGUES), words=True)


def test_words_are_dropped_from_what_the_decoder_is_shown_alone():
    model = make("hred")
    whole = model(turns(DIALOGUES))
    torch.manual_seed(0)
    dropped = model(turns(DIALOGUES), drop=1.0)
    assert (whole.tokens == dropped.tokens).all()
    # all words but the first follow from UNKNOWN; replies of one word are the same up to their end
    second = model(turns(DIALOGUES), drop=1.0)
    torch.testing.assert_close(dropped.bound.log_likelihood, second.bound.log_likelihood)
    assert not torch.allclose(whole.bound.log_likelihood, dropped.bound.log_likelihood)


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
@pytest.mark.parametrize("kind", KINDS)
def test_replies_are_those_of_each_dialogue_alone(kind, method):
    dialoguer = Dialoguer(make(kind, "dot", 2), TEXT)
    count = 1 if method == "greedy" and kind != "vhred" else 3
    search = Search(method, n_best=1 if method == "greedy" else count, seed=4)
    together = dialoguer.replies(DIALOGUES, search, limit=6)
    alone = [dialoguer.replies([dialogue], search, limit=6)[0] for dialogue in DIALOGUES]
    assert [[r.tokens for r in replies] for replies in together] == [
        [r.tokens for r in i] for i in alone
    ]
    assert all(len(replies) <= count for replies in together)
    for replies, dialogue in zip(together, DIALOGUES, strict=True):
        scores = [reply.score for reply in replies]
        assert scores == sorted(scores, reverse=True)
        for reply in replies:
            assert reply.weights.shape[0] == len(reply.tokens) + reply.finished
            seen = (reply.weights > 0).any(0).sum()
            assert seen == sum(len(turn.split()) + 1 for turn in dialogue[-2:])


def test_a_reply_begins_with_and_holds_what_is_asked():
    dialoguer = Dialoguer(make("vhred"), TEXT)
    search = Search("beam", beam=4, n_best=2)
    for reply in dialoguer.replies(DIALOGUES[:1], search, 8, "d c", ["a a"])[0]:
        assert reply.text.startswith("d c")
        assert "a a" in reply.text
    with pytest.raises(InputError, match="cannot write 'xyz'"):
        dialoguer.replies(DIALOGUES[:1], search, must_hold=["xyz"])
    with pytest.raises(InputError, match="nothing has been said yet"):
        dialoguer.replies([["  "]], search)


def test_what_a_reply_looked_at_stands_in_the_order_in_which_it_was_said():
    dialoguer = Dialoguer(make("hred", "dot", 2), TEXT)
    search = Search("beam", beam=2)
    [[alone]] = dialoguer.replies([["c c c c", "a b", "d"]], search, 6)
    [[batched], _] = dialoguer.replies([["c c c c", "a b", "d"], ["a b c d a b", "b"]], search, 6)
    assert alone.source == batched.source == ("a", "b", "</s>", "d", "</s>")
    torch.testing.assert_close(alone.weights, batched.weights)
    torch.testing.assert_close(alone.weights.sum(1), torch.ones(len(alone.weights)))


def test_a_latent_variable_makes_other_replies_by_the_seed():
    dialoguer = Dialoguer(make("vhred"), TEXT)
    with torch.no_grad():
        dialoguer.model.prior[-1].bias[3:] = 4.0
    pictures = {
        dialoguer.replies(DIALOGUES[:1], Search("beam", beam=1, seed=seed), 6)[0][0].text
        for seed in range(20)
    }
    assert len(pictures) > 1


def test_it_comes_back_from_its_folder(tmp_path):
    dialoguer = Dialoguer(make("vhred", "dot", 2), TEXT)
    dialoguer.save_pretrained(tmp_path / "kept")
    restored = load(tmp_path / "kept").eval()
    search = Search("sample", n_best=2)
    for ours, theirs in zip(
        dialoguer.replies(DIALOGUES, search, 6), restored.replies(DIALOGUES, search, 6), strict=True
    ):
        assert [reply.text for reply in ours] == [reply.text for reply in theirs]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reach": 0}, "reach must be at least 1"),
        ({"size": 7}, "the context has 7 features"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    model = make("hred")
    parts = {"encoder": model.encoder, "decoder": model.decoder, "context": model.context}
    with pytest.raises(InputError, match=message):
        HRED(**(parts | {"size": SIZE, "reach": 1} | changes))


def test_a_decoder_that_is_not_given_what_is_known_is_refused():
    model, known = make("hred"), len(TEXT.vocabulary)
    parts = {"encoder": model.encoder, "context": model.context, "size": SIZE}
    with pytest.raises(InputError, match="a decoder with a given_size"):
        HRED(**parts, decoder=Decoder(known, 6, [GRU(6, SIZE)], None))
