"""The masked language model: its equations by hand, what it restores and what it hands over."""

import numpy as np
import pytest
import torch
from torch import nn

import saiki
from saiki import proof
from saiki.cells import GRU, LSTM
from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Stack
from saiki.models import masked_lm
from saiki.models.encoder import Encoder
from saiki.models.masked_lm import MaskedLM
from saiki.text import END, FIRST, MASK, PAD, SPECIAL, UNKNOWN, Text, Vocabulary, Words

WORDS = ["the", "a", "cat", "dog", "mat", "sat", "ran", "on"]
TEXT = Text(Words(), Vocabulary(WORDS))
EMBEDDING, UNITS = 5, 3


def layers(both=True, cell=LSTM, depth=1, units=UNITS, **options):
    stack, size = [], EMBEDDING
    for _ in range(depth):
        one = Recurrent(cell(size, units, **options), backend="eager")
        stack.append(Bidirectional(one) if both else one)
        size = stack[-1].output_size
    return stack[0] if depth == 1 else Stack(stack)


def model(read=None, tied=True, text=TEXT, size=EMBEDDING):
    """With random weights far from zero, in float64."""
    read = layers() if read is None else read
    made = MaskedLM(Encoder(len(text.vocabulary), size, read), text, tied)
    for p in made.parameters():
        nn.init.normal_(p)
    return made.double().eval()


def read(*texts):
    """Rows of numbers and their lengths, as a model is given them."""
    rows = [[*TEXT.encode(text), END] for text in texts]
    longest = max(map(len, rows))
    table = [[*row, *[PAD] * (longest - len(row))] for row in rows]
    return torch.tensor(table), torch.tensor([len(row) for row in rows])


# The model.


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_the_softmax_is_that_of_the_equations(both, tied):
    m = model(layers(both), tied)
    tokens, lengths = read("the [MASK] sat on the mat", "a dog [MASK]")
    v = m(tokens, lengths).detach().numpy()
    assert v.shape == (2, 7, len(WORDS))
    y = m.encoder(tokens, lengths)[0].detach().numpy()
    b = m.bias.detach().numpy()
    if tied:
        E = m.encoder.embedding.weight.detach().numpy()[FIRST:]
        wanted = y @ m.projection.weight.detach().numpy().T @ E.T + b
    else:
        wanted = y @ m.output.detach().numpy().T + b
    np.testing.assert_allclose(v, wanted, rtol=1e-12, atol=1e-12)


def test_without_need_there_is_no_projection():
    m = model(layers(both=False, units=EMBEDDING))
    assert m.projection is None
    assert m.output is None
    tokens, lengths = read("the [MASK] sat")
    y = m.encoder(tokens, lengths)[0]
    wanted = y @ m.encoder.embedding.weight[FIRST:].T + m.bias
    torch.testing.assert_close(m(tokens, lengths), wanted)
    assert model(tied=False).projection is None


def test_at_some_places_only_it_says_what_it_says_there_among_all():
    m = model()
    tokens, lengths = read("the [MASK] sat on the mat", "a [MASK] [MASK]")
    places = tokens == MASK
    some = m(tokens, lengths, places)
    assert some.shape == (3, len(WORDS))
    torch.testing.assert_close(some, m(tokens, lengths)[places], rtol=0, atol=1e-14)


def test_no_row_depends_on_the_others_or_on_its_padding():
    m = model(layers(depth=2))
    tokens, lengths = read("the [MASK] sat on the mat", "a dog [MASK]")
    alone = m(*read("a dog [MASK]"))
    torch.testing.assert_close(m(tokens, lengths)[1, :4], alone[0], rtol=0, atol=1e-13)
    other = tokens.clone()
    other[1, 4:] = UNKNOWN
    torch.testing.assert_close(m(other, lengths)[1, :4], alone[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("both", [False, True])
def test_one_direction_knows_what_stands_before_a_word_and_two_know_all(both):
    m = model(layers(both))

    def logits(text):
        tokens, lengths = read(text)
        return m(tokens, lengths, tokens == MASK)[0]

    here = logits("the dog [MASK] on the mat")
    assert not torch.allclose(here, logits("the cat [MASK] on the mat"))
    assert torch.equal(here, logits("the dog [MASK] on the cat")) is not both


def test_the_gradients_are_those_of_finite_differences():
    tokens, lengths = read("the [MASK] sat on", "a dog [MASK]")
    places, words = tokens == MASK, torch.tensor([2, 5])
    for m in (model(), model(tied=False)):
        report = proof.check_loss(
            m, lambda twin: nn.functional.cross_entropy(twin(tokens, lengths, places), words)
        )
        assert report.passed, report


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"^the encoder knows 9 tokens, and the vocabulary has 13"):
        MaskedLM(Encoder(9, EMBEDDING, layers()), TEXT)
    empty = Text(Words(), Vocabulary([]))
    with pytest.raises(InputError, match="one word at least"):
        MaskedLM(Encoder(FIRST, EMBEDDING, layers()), empty)


@pytest.mark.parametrize("tied", [False, True])
def test_it_is_saved_and_loaded_with_its_words(tied, tmp_path):
    m = model(tied=tied)
    restored = saiki.load(m.save_pretrained(tmp_path / "model"))
    assert restored.restore(["the [MASK] sat"]) == m.restore(["the [MASK] sat"])


# Restoring.


def test_the_candidates_are_the_most_probable_words():
    m = model()
    tokens, lengths = read("the [MASK] sat on the mat")
    p = m(tokens, lengths)[0, 1].softmax(0).tolist()
    wanted = sorted(zip(WORDS, p, strict=True), key=lambda pair: -pair[1])
    [restored] = m.restore(["the [MASK] sat on the mat"], 3)
    [candidates] = restored.candidates
    assert [word for word, _ in candidates] == [word for word, _ in wanted[:3]]
    assert [p for _, p in candidates] == pytest.approx([p for _, p in wanted[:3]])
    assert restored.text == f"the {wanted[0][0]} sat on the mat"
    assert restored.unknown == ()
    [everything] = m.restore(["[MASK]"], 99)
    assert len(everything.candidates[0]) == len(WORDS)
    assert sum(p for _, p in everything.candidates[0]) == pytest.approx(1)


def test_texts_together_are_restored_as_each_alone():
    m = model()
    texts = ["[MASK]", "the [MASK] sat on the [MASK]", "a flying [MASK]  ran", "[MASK][MASK] the"]
    together = m.restore(texts)
    assert [len(r.candidates) for r in together] == [1, 2, 1, 2]
    for text, restored in zip(texts, together, strict=True):
        [alone] = m.restore([text])
        assert restored.text == alone.text
        assert restored.unknown == alone.unknown
        for candidates, own in zip(restored.candidates, alone.candidates, strict=True):
            assert [w for w, _ in candidates] == [w for w, _ in own]
            assert [p for _, p in candidates] == pytest.approx([p for _, p in own])
        words = iter(candidates[0][0] for candidates in restored.candidates)
        wanted = "".join(c if c != "\0" else next(words) for c in text.replace("[MASK]", "\0"))
        assert restored.text == wanted
    assert together[2].unknown == ("flying",)


def test_unknown_words_are_named_once():
    [restored] = model().restore(["x y [MASK] x </s>"])
    assert restored.unknown == ("x", "y", "</s>")


@pytest.mark.parametrize("text", ["", "the cat sat", "[mask]", "MASK", "x" * 99])
def test_a_text_that_hides_nothing_is_refused_with_an_example(text):
    with pytest.raises(InputError, match=r"^write \[MASK\] .* as in 'the \[MASK\] sat on the mat'"):
        model().restore(["a [MASK]", text])


def test_a_byte_pair_holds_the_space_before_its_word():
    pytest.importorskip("tokenizers")
    text = Text.learn("bpe", ["the cat sat on the mat"] * 20, 300)
    m = model(text=text)
    cat = text.vocabulary.ids(["Ġcat"])[0]
    assert cat >= FIRST
    with torch.no_grad():
        m.bias[cat - FIRST] = 1e3
    tokens, ids = m.read("the [MASK] sat")
    assert tokens == ["the", SPECIAL[MASK], "Ġsat"]
    assert ids == [*text.vocabulary.ids(["the", SPECIAL[MASK], "Ġsat"]), END]
    [restored] = m.restore(["the [MASK] sat"])
    assert restored.text == "the cat sat"
    assert restored.candidates[0][0] == ("cat", 1.0)


# Handing over.

OTHERS = ["dog", "whale", "the", "swam", "cat"]


def encoder(read=None, words=OTHERS, size=EMBEDDING):
    torch.manual_seed(5)
    return Encoder(FIRST + len(words), size, layers() if read is None else read).double().eval()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_an_encoder_reads_words_that_both_know_as_the_model_does(cell, both, depth):
    m = model(layers(both, cell, depth))
    vocabulary, ours = Vocabulary(OTHERS), encoder(layers(both, cell, depth))
    before = ours.embedding.weight.detach().clone()
    assert m.hand_over(ours, vocabulary) == 3
    for text in ("the cat", "dog the dog <unk>"):
        ids = torch.tensor([[*vocabulary.ids(text.split()), END]])
        same = torch.tensor([[*TEXT.encode(text), END]])
        assert not torch.equal(ids, same)
        lengths = torch.tensor([ids.shape[1]])
        torch.testing.assert_close(ours(ids, lengths), m.encoder(same, lengths), rtol=0, atol=1e-14)
    known = [vocabulary.ids([word])[0] for word in ("whale", "swam")]
    assert torch.equal(ours.embedding.weight[known], before[known])
    assert ours.embedding.weight.data_ptr() != m.encoder.embedding.weight.data_ptr()
    assert ours.embedding.weight.requires_grad


def test_weights_of_another_precision_are_handed_over():
    m, ours = model(), encoder().float()
    m.hand_over(ours, Vocabulary(OTHERS))
    assert ours.embedding.weight.dtype == torch.float32
    wanted = m.encoder.embedding.weight[TEXT.encode("dog")[0]].float()
    assert torch.equal(ours.embedding.weight[FIRST], wanted)


@pytest.mark.parametrize(
    ("ours", "words", "message"),
    [
        (encoder(), OTHERS[1:], "the encoder knows 10 tokens, and its vocabulary has 9"),
        (encoder(LSTM(4, UNITS), size=4), OTHERS, "choose the same embedding size"),
        (encoder(layers(cell=GRU)), OTHERS, "choose the same cell, direction, depth and sizes"),
        (encoder(layers(both=False)), OTHERS, "choose the same cell"),
        (encoder(Recurrent(LSTM(EMBEDDING, UNITS), reverse=True)), OTHERS, "LSTM(input_size=5"),
        (encoder(layers(units=UNITS + 1)), OTHERS, "hidden_size=4"),
        (encoder(layers(depth=2)), OTHERS, "choose the same cell"),
        (encoder(layers(peephole=True)), OTHERS, "peephole=True"),
        (encoder(layers(activation="relu")), OTHERS, "activation='relu'"),
        (encoder(Bidirectional(LSTM(EMBEDDING, UNITS), merge="sum")), OTHERS, "merge='sum'"),
    ],
)
def test_an_encoder_that_differs_is_refused_and_left_as_it_is(ours, words, message):
    before = {name: p.clone() for name, p in ours.state_dict().items()}
    with pytest.raises(InputError) as refused:
        model().hand_over(ours, Vocabulary(words))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    for name, p in ours.state_dict().items():
        assert torch.equal(p, before[name])


def test_a_translator_begins_with_what_was_handed_over():
    from saiki.models.decoder import Decoder
    from saiki.models.seq2seq import Seq2Seq
    from saiki.nn.attention.attention import Attention

    decoder = Decoder(12, EMBEDDING, [LSTM(EMBEDDING, 2 * UNITS)], Attention(2 * UNITS, 2 * UNITS))
    translator = Seq2Seq(encoder(), decoder.double()).double().eval()
    m = model()
    assert m.hand_over(translator.encoder, Vocabulary(OTHERS)) == 3
    lengths = torch.tensor([3])
    ours = translator.encoder(torch.tensor([[FIRST, FIRST + 2, END]]), lengths)
    theirs = m.encoder(torch.tensor([[*TEXT.encode("dog the"), END]]), lengths)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


def test_many_hidden_words_are_restored_some_at_a_time(monkeypatch):
    m, sizes = model(), []
    texts = ["the [MASK] sat on [MASK]", "[MASK] [MASK] [MASK] ran"]
    whole, scores = m.restore(texts), MaskedLM._scores
    monkeypatch.setattr(masked_lm, "SCORES_AT_ONCE", 2 * len(WORDS))
    monkeypatch.setattr(MaskedLM, "_scores", lambda m, y: sizes.append(len(y)) or scores(m, y))
    for ours, theirs in zip(m.restore(texts), whole, strict=True):
        assert ours.text == theirs.text
        for candidates, wanted in zip(ours.candidates, theirs.candidates, strict=True):
            assert dict(candidates) == pytest.approx(dict(wanted))
    assert sizes == [2, 2, 1]
