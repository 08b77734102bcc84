"""N-grams and their buckets are those of fastText itself.

fasttext.bin is a model of fastText 0.9.3 (dim 4, bucket 60, minn 2, maxn 4) with the numbers of its
input matrix replaced by thousandths, and fasttext.json what fastText then says of it: the vectors
of words, and the rows of the matrix of which each is the mean.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from gensim.models.fasttext import ft_ngram_hashes, load_facebook_vectors

from saiki.errors import InputError
from saiki.text.vectors import SubWords, Vectors, read
from saiki.text.vectors.subwords import ngram_rows

MODEL = Path(__file__).parent / "fasttext.bin"
MODEL_FACTS = json.loads(MODEL.with_suffix(".json").read_text(encoding="utf-8"))


def test_a_word_is_made_of_the_rows_that_fasttext_says():
    table = read(MODEL)
    for word, wanted in MODEL_FACTS["rows"].items():
        rows, counts = ngram_rows([word], 2, 4, 60)
        own = [table.place(word)] if word in table else []
        assert own + [len(table) + row for row in rows] == wanted, word
        assert counts.tolist() == [len(rows)]


def test_vectors_of_known_and_unknown_words_are_those_of_fasttext():
    table = read(MODEL)
    unknown = 0
    for word, wanted in MODEL_FACTS["vectors"].items():
        np.testing.assert_allclose(table[word], wanted, atol=1e-7, err_msg=word)
        unknown += word not in table
    assert unknown >= 5


def test_vectors_are_those_of_gensim_to_the_last_bit():
    table, theirs = read(MODEL), load_facebook_vectors(str(MODEL))
    assert table.words == tuple(theirs.index_to_key)
    assert table.counts.tolist() == [theirs.get_vecattr(word, "count") for word in table.words]
    for word in {*MODEL_FACTS["vectors"], "日本語", "Donaudampfschifffahrt", "🙂 and more"} - {
        "</s>"
    }:
        np.testing.assert_array_equal(table[word], theirs[word], err_msg=word)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 3), (3, 6), (5, 5), (4, 30)])
def test_hashes_of_any_text_are_those_of_gensim(low, high):
    draw = np.random.default_rng(low * high)
    kinds = ["abcxyz<>", "äöéж", "日本語かな", "🙂🦆𠮷"]
    words = ["".join(draw.choice(list("".join(kinds)), draw.integers(0, 9))) for _ in range(300)]
    rows, counts = ngram_rows(words, low, high, 1_000_003)
    wanted = [ft_ngram_hashes(word, low, high, 1_000_003) for word in words]
    assert counts.tolist() == list(map(len, wanted))
    assert rows.tolist() == [each for word in wanted for each in word]


def test_a_word_of_no_n_gram_is_unknown():
    table = Vectors(("word",), np.ones((1, 2)), subwords=SubWords(np.ones((5, 2), np.float32), 4))
    assert table["words"].tolist() == [1, 1]
    assert table.similarity("words", "word") == pytest.approx(1)
    assert "words" not in table
    with pytest.raises(InputError, match="there is no vector of 'a'"):
        table["a"]
    assert table.most_similar("words") == [("word", pytest.approx(1))]


def test_wrong_buckets_are_refused():
    with pytest.raises(InputError, match="min_n must not be above max_n; got min_n 4 and max_n 3"):
        SubWords(np.ones((5, 2), np.float32), 4, 3)
    with pytest.raises(InputError, match=r"float32 array \(buckets, size\)"):
        SubWords(np.ones((0, 2), np.float32))
    with pytest.raises(InputError, match="vectors of 3 numbers need those of n-grams"):
        Vectors(("a",), np.ones((1, 3)), subwords=SubWords(np.ones((5, 2), np.float32)))
