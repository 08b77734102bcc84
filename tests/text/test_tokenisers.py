"""From a text to its tokens and back, for any text."""

import json
import random
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from saiki.errors import InputError
from saiki.saving.description import describe, make
from saiki.text import (
    SPECIAL,
    TOKENISERS,
    BytePair,
    Characters,
    Japanese,
    Words,
    tokeniser,
    tokenisers,
)
from saiki.text.tokenisers import PlainWords

LINES = ["the cat saw the dog", "the dog saw the cats", "これ は 猫 だ", "naïve cafés, 10 %"] * 3
PIECES = BytePair.learn(LINES, BytePair.SMALLEST + 30)
ODD = [
    "",
    "\0",
    "\ufeffa",
    "a\r\nb",
    "\u3000a\u3000",
    "👩‍🔬🇯🇵",
    "e\u0301",
    "\u2028",
    "  a  b ",
    "𠮷野家",
]
any_text = settings(max_examples=150, deadline=None, derandomize=True)


def with_odd(test):
    for text in ODD:
        test = example(text)(test)
    return test


@any_text
@given(st.text())
@with_odd
def test_characters_give_back_any_text(text):
    assert Characters().join(Characters().split(text)) == text


@any_text
@given(st.text())
@with_odd
def test_byte_pairs_give_back_any_text(text):
    tokens = PIECES.split(text)
    assert PIECES.join(tokens) == text
    assert 1 not in PIECES.vocabulary().ids(tokens)


@any_text
@given(st.text())
@with_odd
def test_words_give_back_all_but_white_space(text):
    tokens = Words().split(text)
    assert "".join(tokens) == "".join(text.split())
    assert Words().split(Words().join(tokens)) == tokens


@any_text
@given(st.text(max_size=30) | st.text("私は 猫ネコ。a1\u3000", max_size=30))
@with_odd
def test_japanese_gives_back_all_but_white_space(text):
    tokens = Japanese().split(text)
    assert "".join(tokens) == "".join(text.split())
    assert all(token == token.strip() != "" for token in tokens)


def test_words():
    assert Words().split("The cat,\u3000the\tdog\n") == ["The", "cat,", "the", "dog"]
    assert Words(lower=True).split("The Straße") == ["the", "straße"]
    assert Words().join(["a", "b"]) == "a b"


def test_byte_pairs_join_what_is_frequent():
    assert PIECES.split("the cat saw") == ["the", "Ġcat", "Ġsaw"]
    assert PIECES.join(["Ġcat"]) == " cat"
    assert len(PIECES.split("zzz")) == 3


def test_byte_pairs_fill_the_vocabulary_they_were_given():
    assert len(PIECES.vocabulary(["a"], 10, 99)) == BytePair.SMALLEST + 30
    assert PIECES.vocabulary().words[: len(SPECIAL)] == SPECIAL
    assert len(BytePair.learn([], BytePair.SMALLEST).vocabulary()) == BytePair.SMALLEST == 261


def test_byte_pairs_are_learned_the_same_way_each_time():
    draw = random.Random(0)
    lines = ["".join(draw.choices("abcd ", k=40)) for _ in range(200)]
    first, same = (BytePair.learn(lines, 400).vocabulary().words for _ in range(2))
    assert first == same


def test_byte_pairs_need_room_for_every_byte():
    with pytest.raises(InputError, match=r"at least 261 entries, .* got 260$"):
        BytePair.learn(LINES, 260)


@pytest.mark.parametrize("model", ["", "{}", "null", '{"model": {"type": "BPE"}}'])
def test_a_model_of_something_else_is_refused(model):
    with pytest.raises(InputError, match="is no model of byte pairs: ") as caught:
        BytePair(model)
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_split_bytes_is_refused():
    described = json.loads(PIECES.arguments()["model"])
    described["decoder"] = None
    with pytest.raises(InputError, match="does not split bytes"):
        BytePair(json.dumps(described))


def test_japanese_is_cut_into_short_units():
    japanese = Japanese()
    assert japanese.split("すもももももももものうち") == [
        "すもも",
        "も",
        "もも",
        "も",
        "もも",
        "の",
        "うち",
    ]
    assert japanese.split("2026年に iPhone 15 Proを買った。") == [
        *("2026", "年", "に", "iPhone", "15", "Pro", "を", "買っ", "た", "。")
    ]


def test_japanese_is_joined_without_spaces_but_between_latin_words():
    join = Japanese().join
    assert join(["私", "は", "猫", "だ", "。"]) == "私は猫だ。"
    assert join(["iPhone", "15", "Pro", "を", "買っ", "た"]) == "iPhone 15 Proを買った"
    assert join(["カフェ", "café", "crème", "2", "つ"]) == "カフェcafé crème 2つ"
    assert join([]) == ""
    assert join(["a", "\0", "b"]) == "a\0b"


@pytest.mark.parametrize("text", ["猫が好き。" * 30_000, "猫" * 70_000, "ﷺ" * 9_000, "a" * 200_000])
def test_japanese_takes_texts_of_any_length(text):
    assert "".join(Japanese().split(text)) == text


def test_a_long_japanese_text_is_cut_after_a_sentence():
    sentence = "私はすもももももももものうちと言った。"
    tokens = Japanese().split(sentence)
    assert Japanese().split(sentence * 500) == tokens * 500


@pytest.mark.parametrize("name", TOKENISERS)
def test_each_is_made_by_name_and_again_from_its_description(name):
    made = tokeniser(name, LINES, 300)
    remade = make(json.loads(json.dumps(describe(made))))
    assert type(remade) is type(made)
    for line in LINES:
        assert remade.split(line) == made.split(line) != []


def test_an_unknown_name_is_told():
    with pytest.raises(InputError, match=r"one of words, characters, bpe, japanese, got 'char'$"):
        tokeniser("char")


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [
        ("tokenizers", "bpe", "text"),
        ("sudachipy", "japanese", "japanese"),
        ("sudachidict_core", "japanese", "japanese"),
    ],
)
def test_a_missing_library_is_told(monkeypatch, module, name, extra):
    monkeypatch.setitem(sys.modules, module, None)
    tokenisers._sudachi.cache_clear()
    with pytest.raises(InputError, match=rf"{module}.*: pip install 'saiki\[{extra}\]'$"):
        tokeniser(name, LINES, 300)


def test_plain_words():
    words = PlainWords()
    text = "‘I don’t,’ said _Ann_—“no. 5 (or so)…”\ufeff"
    assert words.split(text) == [
        *("'", "i", "don't", ",", "'", "said", "ann", "—", '"', "no", ".", "5", "(", "or", "so"),
        *(")", "…", '"'),
    ]
    assert words.join(words.split('He said: "Go (now)!"')) == 'he said: "go (now)!"'


@any_text
@given(st.text())
def test_plain_words_are_the_same_once_joined(text):
    words = PlainWords()
    tokens = words.split(text)
    assert "".join(words.join(tokens).split()) == "".join(tokens)


def damaged(change):
    model = json.loads(PIECES.arguments()["model"])
    change(model)
    return json.dumps(model)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.clear(), "is no model of byte pairs"),
        (lambda m: m["model"].update(merges=[["a", "☃"]]), "is no model of byte pairs: .*vocab"),
        (lambda m: m["model"].update(continuing_subword_prefix="####"), "it marks what continues"),
        (lambda m: m["model"].update(vocab={}, merges=[]), "does not give back the text"),
        (lambda m: m["model"]["vocab"].pop("Ã"), "Token `Ã` out of vocabulary"),
        (lambda m: m["model"]["vocab"].pop("ñ"), "does not give back the text"),
        (lambda m: m["model"]["vocab"].update(a=m["model"]["vocab"]["b"]), "does not give back"),
        (lambda m: m.update(normalizer={"type": "Lowercase"}), "does not give back the text"),
        (lambda m: m.update(pre_tokenizer=None), "does not give back the text"),
        (lambda m: m.update(decoder=None), "does not split bytes"),
    ],
)
def test_a_damaged_model_of_byte_pairs_is_refused(change, reason, capfd):
    with pytest.raises(InputError, match=reason) as caught:
        BytePair(damaged(change))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("model", ["", "{", "null", "[]", '{"model": 3}', None, 3])
def test_what_is_no_model_of_byte_pairs_is_refused(model):
    with pytest.raises(InputError, match=r"is no model of byte pairs: "):
        BytePair(model)
