"""Vectors that exist already, and features that are learned beside them."""

import numpy as np
import pytest
import torch

from saiki.errors import InputError
from saiki.models.word_features import WordFeatures, numbers, vocabulary_of
from saiki.text import FIRST, SPECIAL, UNKNOWN, Text
from saiki.text.tokenisers import Word, Words
from saiki.text.vectors import Vectors

TABLE = Vectors(
    ("cat", "dog", "see", "fly", "<s>", "whale"), np.arange(1, 13, dtype=np.float32).reshape(6, 2)
)
TRAIN = ["the cat sees the dog", "the cat flew", "the <s> Dog"]
FORMS = {"sees": ("see", "sees"), "flew": ("fly", "flew")}


class Lemmas(Words, name="test_lemmas.v1"):
    def words(self, text):
        return [Word(t, FORMS.get(t, (t, t.lower()))) for t in self.split(text)]


def known(minimum=2, table=TABLE):
    cut = [Lemmas().words(text) for text in TRAIN]
    return vocabulary_of(cut, [Lemmas().words("a whale")], {} if table is None else table, minimum)


def features(size=2, embedding_size=3, tuned=False, minimum=2):
    vocabulary, learned = known(minimum)
    made = WordFeatures(Text(Lemmas(), vocabulary), learned, size, embedding_size, tuned)
    if size:
        made.load_vectors(TABLE)
    return made


def test_frequent_words_come_first_then_those_with_a_vector_of_any_part():
    vocabulary, learned = known()
    assert vocabulary.words[:learned] == (*SPECIAL, "the", "cat", "dog")
    assert vocabulary.words[learned:] == ("see", "fly", "whale")
    vocabulary, learned = known(minimum=1)
    assert set(vocabulary.words[FIRST:learned]) == {"the", "cat", "dog", "see", "fly"}
    assert vocabulary.words[learned:] == ("whale",)


def test_without_a_table_only_what_is_frequent_is_known():
    vocabulary, learned = known(table=None)
    assert vocabulary.words == (*SPECIAL, "the", "cat")
    assert learned == len(vocabulary)


def test_a_word_is_found_by_the_first_of_its_forms_that_is_known():
    vocabulary, _ = known()
    words = Lemmas().words("Cat sees <pad> The unicorn")
    assert vocabulary.tokens(numbers(words, vocabulary)) == ["cat", "see", "<unk>", "the", "<unk>"]


def test_features_are_the_vector_and_what_is_learned_beside_it():
    made = features()
    vocabulary = made.text.vocabulary
    tokens = torch.tensor([vocabulary.ids(["cat", "the", "whale"]), [UNKNOWN, 0, 0]])
    z, lengths = made(tokens, torch.tensor([3, 1]))
    assert lengths.tolist() == [3, 1]
    assert z.shape == (2, 3, made.output_size) == (2, 3, 5)
    assert z[0, :, :2].tolist() == [[1, 2], [0, 0], [11, 12]]
    e = made.embedding.weight
    assert torch.equal(z[0, :, 2:], e[torch.tensor([*vocabulary.ids(["cat", "the"]), UNKNOWN])])
    assert torch.equal(z[1, 0], torch.cat((torch.zeros(2), e[UNKNOWN])))
    assert features(embedding_size=0)(tokens, lengths)[0].shape[-1] == 2
    assert features(size=0)(tokens, lengths)[0].shape[-1] == 3


def test_vectors_learn_only_where_they_are_tuned():
    assert [name for name, _ in features().named_parameters()] == ["embedding.weight"]
    names = {name for name, _ in features(tuned=True).named_parameters()}
    assert names == {"vectors", "embedding.weight"}
    assert features().state_dict().keys() == features(tuned=True).state_dict().keys()


def test_a_sentence_that_is_typed_may_hold_words_that_another_table_knows():
    made = features()
    words, unknown, z = made.read("the unicorn saw")
    assert [word.text for word in words] == ["the", "unicorn", "saw"]
    assert [word.text for word in unknown] == ["unicorn", "saw"]
    assert torch.equal(z[1:2], made.nothing())
    others = Vectors(("the", "unicorn"), np.full((2, 2), 7, np.float32))
    words, unknown, z = made.read("the unicorn saw", others)
    assert [word.text for word in unknown] == ["saw"]
    assert z[:, :2].tolist() == [[0, 0], [7, 7], [0, 0]]  # what is known stays what it is
    assert torch.equal(z[1, 2:], made.embedding.weight[UNKNOWN])


@pytest.mark.parametrize(("text", "message"), [("  ", "no word in '  '"), ("\ud800", "Unicode")])
def test_what_holds_no_word_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        features().read(text)


def test_words_must_have_something():
    with pytest.raises(InputError, match="take embedding_size above 0"):
        features(size=0, embedding_size=0)
