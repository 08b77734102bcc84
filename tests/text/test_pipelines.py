"""Pipelines of spaCy: rules of languages, and GiNZA, which takes seconds to load, once."""

import json
import sys
import unicodedata

import numpy as np
import pytest

from saiki.errors import InputError
from saiki.saving.description import describe, make
from saiki.text import pipelines
from saiki.text.pipelines import Pipeline, PipelineVectors, loaded
from saiki.text.tokenisers import AT_ONCE, Word, Words


def test_a_tokeniser_of_saiki_is_looked_up_as_it_stands_and_in_small_letters():
    assert Words().words("The cat") == [Word("The", ("The", "the")), Word("cat", ("cat", "cat"))]


def test_rules_of_a_language_cut_and_give_norms():
    pytest.importorskip("spacy")
    english = Pipeline("en")
    assert english.split("I don't like it.\n  Really ") == [
        *("I", "do", "n't", "like", "it", ".", "Really")
    ]
    assert english.words("Isn't")[1] == Word("n't", ("not", "n't"))
    assert Pipeline("en", norms=False).words("Isn't")[0] == Word("Is", ("Is", "is"))
    assert english.join(["a", "cat"]) == "a cat"
    assert "".join(english.split("ab " * AT_ONCE)) == "ab" * AT_ONCE
    assert english.split(" \n") == english.split("") == []


def test_a_pipeline_is_made_again_from_its_description_before_it_is_loaded(monkeypatch):
    made = make(json.loads(json.dumps(describe(Pipeline("xx-of-nobody", norms=False)))))
    assert (made.pipeline, made.norms) == ("xx-of-nobody", False)
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(InputError, match=r"pip install 'saiki\[japanese\]'; for other languages"):
        made.words("a")


def test_a_pipeline_that_is_not_here_is_told():
    pytest.importorskip("spacy")
    with pytest.raises(InputError, match=r"there is no spaCy pipeline 'xx_no' here; give ginza"):
        loaded("xx_no")


def test_a_pipeline_without_vectors_is_told(monkeypatch):
    pytest.importorskip("spacy")
    with pytest.raises(InputError, match="pipeline en has no vectors of words"):
        PipelineVectors("en")
    monkeypatch.setattr("spacy.util.is_package", lambda name: False)
    with pytest.raises(
        InputError, match=r"GiNZA is not installed: pip install 'saiki\[japanese\]'"
    ):
        loaded.__wrapped__(pipelines.GINZA)


def test_ginza_cuts_japanese_and_knows_words_by_their_norms():
    pytest.importorskip("ja_ginza")
    ginza, vectors = Pipeline(), PipelineVectors()
    assert ginza.split("朝食は普通でした。") == ["朝食", "は", "普通", "でし", "た", "。"]
    assert ginza.join(["朝食", "は", "iPhone", "15"]) == "朝食はiPhone 15"
    assert [word.forms[0] for word in ginza.words("凄く、すごく、スゴイ")][::2] == ["凄い"] * 3
    assert "ありがとう" not in vectors
    assert ginza.words("ありがとう")[0].forms == ("有り難う", "ありがとう")
    assert "有り難う" in vectors
    assert "" not in vectors
    assert Pipeline(norms=False).words("ありがとう")[0].forms == ("ありがとう",)
    # different words, and one vector
    assert (vectors.size, vectors.shared) == (300, (480_443, 20_000))
    np.testing.assert_array_equal(vectors["親切"], vectors["不親切"])
    assert (vectors["親切"] != vectors["朝食"]).any()
    # texts that no person writes
    assert len(ginza.split("部屋 が\n" * AT_ONCE)) == 2 * AT_ONCE
    random = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(map(chr, random.integers(0x20, 0x3100, 8)))
        text = "".join(c for c in text if unicodedata.category(c) != "Cn")
        assert "".join("".join(ginza.split(text)).split()) == "".join(text.split())
