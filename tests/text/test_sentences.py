"""Texts cut into sentences: cases of books, and what holds of any text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saiki.text.sentences import split_sentences

CASES = {
    "two": ("It rained. We stayed.", ["It rained.", "We stayed."]),
    "titles": (
        "Mr. and Mrs. Bennet met Dr. Grant at St. Paul's. Lieut. Brown came.",
        ["Mr. and Mrs. Bennet met Dr. Grant at St. Paul's.", "Lieut. Brown came."],
    ),
    "initials": ("J. R. Smith rose. So did E. M. F.", ["J. R. Smith rose.", "So did E. M. F."]),
    "I": ("It is I. Who are you?", ["It is I.", "Who are you?"]),
    "chapter": ("CHAPTER IV. He woke.", ["CHAPTER IV.", "He woke."]),
    "No": ("No. I will not pay No. 7 again.", ["No.", "I will not pay No. 7 again."]),
    "figure": ("See Fig. 3. I made a fig. Eat.", ["See Fig. 3.", "I made a fig.", "Eat."]),
    "a word that ends as a title does": ("He met a farmstr. Next.", ["He met a farmstr.", "Next."]),
    "abroad": ("the U.S. Army went. Then", ["the U.S. Army went.", "Then"]),
    "numbers": ("It cost 3.50. A lot.", ["It cost 3.50.", "A lot."]),
    "attribution": ('"Why?" asked Ann. "Oh!"', ['"Why?" asked Ann.', '"Oh!"']),
    "quotes": ('"I know." "You do?" He left.', ['"I know."', '"You do?"', "He left."]),
    "curly": ("“It is.” ‘No!’ He left.", ["“It is.”", "‘No!’", "He left."]),
    "a quotation opens": ("He rose. “Go,” he said.", ["He rose.", "“Go,” he said."]),
    "in brackets": ("He came (late.) She left.", ["He came (late.)", "She left."]),
    "a trailing thought": ("Wait... and see. Well... Bye", ["Wait... and see.", "Well...", "Bye"]),
    "both marks": ("What?! Yes.", ["What?!", "Yes."]),
    "no end": ("a line without one", ["a line without one"]),
    "Mr at the end": ("He is a Mr.", ["He is a Mr."]),
    "Japanese": ("雨だ。行く！本当？うん", ["雨だ。", "行く！", "本当？", "うん"]),
    "Japanese attribution": ("「行く。」と言う。次。", ["「行く。」と言う。", "次。"]),
    "Japanese quotation": ("「はい。」次。", ["「はい。」", "次。"]),
    "full-width space": ("End.\u3000Next.", ["End.", "Next."]),
    "line breaks": ("One.\r\nTwo.\nThree", ["One.", "Two.", "Three"]),
    "nothing": (" \n ", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), CASES.values(), ids=CASES)
def test_cases_of_books(text, wanted):
    assert split_sentences(text) == wanted


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text() | st.text(".!?。」\"' aBI\n"))
def test_only_white_space_is_lost(text):
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)


@pytest.mark.parametrize("piece", [".", ". ", "Mr. ", '."', "。", '"', '. "', "?!) "])
def test_time_does_not_grow_with_the_square_of_a_strange_text(piece):
    start = time.process_time()
    split_sentences(piece * 100_000)
    assert time.process_time() - start < 3
