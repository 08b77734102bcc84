"""The tagger: the same by torch.nn, text by text and together, in windows and as a whole."""

import pytest
import torch
from torch.nn import functional as F

import saiki
from saiki.cells import GRU, LSTM
from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack
from saiki.models import tagger
from saiki.models.encoder import Encoder
from saiki.models.tagger import Tagger
from saiki.text import END, PAD, SPECIAL, Vocabulary
from saiki.text.rows import padded, tokens_of

CHARACTERS = Vocabulary(list("abcdefgh "))
KINDS = ("none", "left", "right")
TEXTS = ["a bad cab", "", "hhhhhh", "fade a face; gag", "b"]


def made(layers=None, size=6):
    layers = layers or Bidirectional(LSTM(size, 4))
    model = Tagger(Encoder(len(CHARACTERS), size, layers), CHARACTERS, KINDS)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.8)
    return model.double().eval()


def test_two_softmax_layers_stand_on_one_recurrent_network():
    model = made()
    lstm = torch.nn.LSTM(6, 4, bidirectional=True, batch_first=True).double()
    for mine, ours in (("", "forward_layer"), ("_reverse", "backward_layer")):
        cell = getattr(model.encoder.recurrent, ours).cell
        with torch.no_grad():
            getattr(lstm, f"weight_ih_l0{mine}").copy_(cell.W.weight)
            getattr(lstm, f"weight_hh_l0{mine}").copy_(cell.U.weight)
            getattr(lstm, f"bias_ih_l0{mine}").copy_(cell.b)
            getattr(lstm, f"bias_hh_l0{mine}").zero_()
    tokens = tokens_of("bad face", CHARACTERS)[None]
    y, _ = lstm(model.encoder.embedding(tokens))
    u, v = model(tokens, torch.tensor([9]))
    torch.testing.assert_close(u, F.linear(y, model.kind.weight, model.kind.bias))
    torch.testing.assert_close(v, F.linear(y, model.missing.weight, model.missing.bias))
    assert u.shape == (1, 9, 3)
    assert v.shape == (1, 9, len(CHARACTERS))


def test_a_reading_is_that_of_the_model():
    model = made()
    for text, reading in zip(TEXTS, model.read(TEXTS), strict=True):
        u, v = model(tokens_of(text, CHARACTERS)[None], torch.tensor([len(text) + 1]))
        p = u[0].detach().softmax(-1)
        torch.testing.assert_close(reading.kinds.double(), p, rtol=1e-6, atol=1e-6)
        words = v[0, :, len(SPECIAL) :].argmax(-1).tolist()
        assert list(reading.missing) == ["abcdefgh "[i] for i in words]
        assert len(reading.missing) == len(text) + 1
    assert model.read([]) == []


def test_many_texts_are_read_as_one_by_one(monkeypatch):
    monkeypatch.setattr(tagger, "ROWS", 2)
    model = made()
    for text, reading in zip(TEXTS, model.read(TEXTS), strict=True):
        alone = model.read([text])[0]
        torch.testing.assert_close(reading.kinds, alone.kinds)
        assert reading.missing == alone.missing


def test_a_long_text_is_read_in_windows_that_know_their_surroundings(monkeypatch):
    model = made(Stack([Bidirectional(GRU(6, 4)), Bidirectional(GRU(8, 4))]))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.3)  # so that the network forgets soon
    text = "a bad cab fade " * 20
    whole = model.read([text])[0]
    for core, context, exact in ((50, 40, True), (10_000, 0, True), (50, 0, False)):
        monkeypatch.setattr(tagger, "CORE", core)
        monkeypatch.setattr(tagger, "CONTEXT", context)
        cut, _ = model.read([text, "bad"])
        difference = (cut.kinds - whole.kinds).abs().max().item()
        assert (difference < 1e-6) == exact
        assert len(cut.missing) == len(text) + 1


def test_windows_answer_for_each_character_once(monkeypatch):
    monkeypatch.setattr(tagger, "CORE", 5)
    monkeypatch.setattr(tagger, "CONTEXT", 2)
    assert list(tagger._windows(12)) == [(0, 0, 5, 7), (3, 5, 10, 12), (8, 10, 12, 12)]
    for count in range(1, 40):
        windows = list(tagger._windows(count))
        answered = [i for _, first, after, _ in windows for i in range(first, after)]
        assert answered == list(range(count))
        assert all(0 <= b <= f < a <= e <= count for b, f, a, e in windows)
        assert max(e - b for b, _, _, e in windows) <= 9


def test_rows_are_padded_and_texts_end():
    tokens, lengths = padded([tokens_of(text, CHARACTERS) for text in ("ab", "", "x b")])
    first = len(SPECIAL)
    unknown = CHARACTERS.ids(["x"])[0]
    assert tokens.tolist() == [
        [first, first + 1, END, PAD],
        [END, PAD, PAD, PAD],
        [unknown, first + 8, first + 1, END],
    ]
    assert lengths.tolist() == [3, 1, 4]
    assert padded([torch.tensor([1, 2]), torch.tensor([3])], -100)[0].tolist() == [
        [1, 2],
        [3, -100],
    ]


def test_gradients_agree_with_finite_differences():
    model = made(Recurrent(GRU(3, 4)), size=3).train()
    tokens, lengths = padded([tokens_of(text, CHARACTERS) for text in ("bad", "a")])
    names, parameters = zip(*model.named_parameters(), strict=True)

    def outputs(*values):
        u, v = torch.func.functional_call(
            model, dict(zip(names, values, strict=True)), (tokens, lengths)
        )
        return u, v

    assert torch.autograd.gradcheck(outputs, parameters)


def test_it_is_saved_and_loaded(tmp_path):
    model = made()
    model.save_pretrained(tmp_path)
    restored = saiki.load(tmp_path)
    assert (restored.kinds, restored.characters.words) == (KINDS, CHARACTERS.words)
    for one, two in zip(model.read(TEXTS), restored.read(TEXTS), strict=True):
        assert torch.equal(one.kinds, two.kinds)
        assert one.missing == two.missing


def test_an_encoder_of_other_characters_is_refused():
    with pytest.raises(InputError, match="the encoder knows 3 characters, got 14"):
        Tagger(Encoder(3, 2, GRU(2, 2)), CHARACTERS, KINDS)
