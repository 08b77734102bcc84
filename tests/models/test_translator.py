"""Text in, text out: order, copying, prefixes, forced words, several models."""

import pytest
import torch

from saiki import pretrained
from saiki.cells import GRU
from saiki.decoding.decode import Search
from saiki.errors import InputError
from saiki.models import translator
from saiki.models.decoder import Decoder
from saiki.models.encoder import Encoder
from saiki.models.seq2seq import Seq2Seq
from saiki.models.translator import Translator
from saiki.nn.attention.attention import Attention
from saiki.text import BEGIN, END, UNKNOWN, Text

SOURCE = Text.learn("words", ["a b c d e"])
TARGET = Text.learn("words", ["A B C D E"])
GREEDY = Search("greedy")


def seq2seq(attention=True):
    return Seq2Seq(
        Encoder(len(SOURCE.vocabulary), 8, GRU(8, 12)),
        Decoder(len(TARGET.vocabulary), 8, [GRU(8, 12)], Attention(12, 12) if attention else None),
    )


@pytest.fixture(scope="module")
def trained():
    """It writes the same letters as capitals, and an unknown word for an unknown word."""
    torch.manual_seed(0)
    model = Translator([seq2seq()], SOURCE, TARGET)
    learner = model.models[0]
    adam = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(300):
        source = torch.randint(5, 11, (32, 4))
        source[source == 10] = UNKNOWN
        lengths = torch.randint(1, 5, (32,))
        steps = torch.arange(4)
        end = steps == lengths[:, None] - 1
        source = source.masked_fill(end, END).masked_fill(steps >= lengths[:, None], 0)
        target = torch.cat([torch.full((32, 1), BEGIN), source], 1)
        loss = learner.loss(learner.write(source, lengths, target, lengths + 1))
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert loss < 0.05
    return model.eval()


def test_each_text_has_its_translation_in_the_order_given(trained):
    texts = ["a b c", "d", "e a", "b", "c c b"] * 30
    translations = trained.translate(texts, GREEDY)
    assert [t.text for [t] in translations] == [text.upper() for text in texts]
    alone = trained.translate(["e a"], GREEDY)[0][0]
    assert alone.log_probability == pytest.approx(translations[2][0].log_probability, abs=1e-5)
    assert alone.finished
    assert alone.source == ("e", "a", "</s>")
    assert alone.weights.shape == (3, 3)
    torch.testing.assert_close(alone.weights.sum(1), torch.ones(3))


def test_unknown_words_are_copied_when_asked_and_never_written_otherwise(trained):
    [[copied]] = trained.translate(["a zebra c"], GREEDY, copy_unknown=True)
    assert copied.text == "A zebra C"
    [[translation]] = trained.translate(["a zebra c"], GREEDY)
    assert "<unk>" not in translation.tokens
    assert "zebra" not in translation.tokens


def test_a_translation_begins_and_holds_what_it_must(trained):
    [[continued]] = trained.translate(["a b"], Search(), prefixes=["E"])
    assert continued.tokens[0] == "E"
    [[held]] = trained.translate(["a b"], Search(), forced=[["D", "C E"]])
    assert "D" in held.tokens
    assert "C E" in held.text


def test_the_best_of_several_come_first(trained):
    [hypotheses] = trained.translate(["a b c"], Search(beam=4, n_best=4))
    scores = [t.score for t in hypotheses]
    assert scores == sorted(scores, reverse=True)
    assert len({t.tokens for t in hypotheses}) == 4
    assert hypotheses[0].text == "A B C"


def test_a_penalty_for_coverage_counts_the_real_source_alone(trained):
    search = Search(beam=3, coverage_penalty=0.5, length_penalty=0.3)
    together = trained.translate(["a b c d", "b"], search)
    for text, hypotheses in zip(["a b c d", "b"], together, strict=True):
        [alone] = trained.translate([text], search)
        assert alone[0].tokens == hypotheses[0].tokens
        assert alone[0].score == pytest.approx(hypotheses[0].score, abs=1e-5)
        read = hypotheses[0].weights.sum(0).clamp(max=1).log().sum().item()
        count = len(hypotheses[0].tokens) + 1
        expected = hypotheses[0].log_probability / ((5 + count) / 6) ** 0.3 + 0.5 * read
        assert hypotheses[0].score == pytest.approx(expected, abs=1e-4)


def test_several_models_are_the_mean_of_their_probabilities(trained):
    one = trained.models[0]
    twice = Translator([one, one], SOURCE, TARGET)
    other = Translator([one, seq2seq()], SOURCE, TARGET).eval()
    [[single]], [[double]] = (m.translate(["d a"], Search()) for m in (trained, twice))
    assert single.tokens == double.tokens
    assert single.log_probability == pytest.approx(double.log_probability, abs=1e-5)
    data = torch.tensor([[5, 6]]), torch.tensor([2]), torch.tensor([[BEGIN, 5]]), torch.tensor([2])
    expected = sum(model(*data).exp() for model in other.models) / 2
    torch.testing.assert_close(other(*data).exp(), expected)


def test_a_saved_translator_says_the_same(trained, tmp_path):
    pretrained.save(trained, tmp_path / "model")
    restored = pretrained.load(tmp_path / "model")
    assert restored.source.encode("a q") == [5, UNKNOWN]
    assert restored.translate(["a b"], GREEDY)[0][0].text == "A B"


def test_what_cannot_be_is_refused(trained):
    plain = Translator([seq2seq(attention=False)], SOURCE, TARGET)
    with pytest.raises(InputError, match="without attention cannot copy"):
        plain.translate(["a"], GREEDY, copy_unknown=True)
    assert plain.eval().translate(["a"], GREEDY)[0][0].weights is None
    with pytest.raises(InputError, match="nothing to translate in ' '"):
        trained.translate([" "], GREEDY)
    with pytest.raises(InputError, match="cannot write 'Z': it is not in its vocabulary"):
        trained.translate(["a"], Search(), forced=[["A Z"]])
    with pytest.raises(InputError, match="at least one model"):
        Translator([], SOURCE, TARGET)
    with pytest.raises(
        InputError, match=r"knows \(10, 10\) tokens, and its languages have \(10, 9"
    ):
        Translator([seq2seq()], SOURCE, Text.learn("words", ["A B C D"]))


def test_a_text_without_spaces_is_cut_into_known_words_where_its_script_has_none():
    source = Text.learn("words", ["私 は ペン を 持 っ て"])
    model = Translator(
        [Seq2Seq(Encoder(len(source.vocabulary), 8, GRU(8, 12)), seq2seq().decoder)], source, TARGET
    )
    assert source.read("私はペンを") == ["私", "は", "ペン", "を"]
    assert source.read("私 はペン") == ["私", "はペン"]
    assert source.read("abc") == ["abc"]
    [[translation]] = model.eval().translate(["私はペンを"], GREEDY)
    assert translation.source == ("私", "は", "ペン", "を", "</s>")


def test_long_texts_are_written_few_at_a_time(trained, monkeypatch):
    sizes, decode = [], Seq2Seq.decode

    def counted(self, tokens, lengths, limits, *arguments, **options):
        sizes.append(tokens.numel() * max(limits))
        return decode(self, tokens, lengths, limits, *arguments, **options)

    monkeypatch.setattr(Seq2Seq, "decode", counted)
    monkeypatch.setattr(translator, "WEIGHTS_AT_ONCE", 20_000)
    texts = ["a b", *[" ".join("abcde" * 5)] * 9]
    few = trained.translate(texts, Search("greedy"))
    assert len(sizes) > 4
    assert max(sizes) <= 20_000
    monkeypatch.setattr(translator, "WEIGHTS_AT_ONCE", 10**9)
    assert [hypotheses[0].text for hypotheses in trained.translate(texts, GREEDY)] == [
        t.text for [t] in few
    ]
