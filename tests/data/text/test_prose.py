"""Prose: three parts that share no sentence, and passages of whole words."""

import itertools
import lzma

import pytest

from saiki.data.text.docstrings import docstrings
from saiki.data.text.mistyped import SHORTEST, TESTED, plain, prose
from saiki.errors import InputError


def written(folder, count=1000):
    """Numbered sentences in paragraphs of ten, with some that come again and again."""
    lines = []
    for i in range(count):
        lines.append(f"Sentence number {i} says nothing new\n  at  all.")
        if i % 7 == 0:
            lines.append("This one stands in every part of it. Yes.")
        if i % 10 == 9:
            lines.append("")
    path = folder / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_parts_are_in_order_and_share_no_sentence(tmp_path):
    parts = prose(written(tmp_path))
    numbers = [[int(s.split()[2]) for s in part] for part in (parts.validation, parts.test)]
    learned = [int(w) for w in parts.train.split() if w.isdigit()]
    assert [*learned, *numbers[0], *numbers[1]] == list(range(1000))
    assert [len(part) for part in numbers] == pytest.approx([50, 50], abs=2)
    assert "This one stands in every part of it. Yes." in parts.train
    assert "  " not in parts.train
    assert "\n" not in parts.train
    assert parts.test[-1] == "Sentence number 999 says nothing new at all."


def test_the_parts_end_where_files_do_in_their_order(tmp_path):
    for name, word in (("a.txt", "first"), ("b.txt.xz", "second")):
        text = "".join(f"The {word} book, sentence {i}, and more.\n\n" for i in range(10 * 19))
        packed = lzma.compress(text.encode()) if name.endswith(".xz") else text.encode()
        (tmp_path / name).write_bytes(packed)
    parts = prose(tmp_path)
    assert parts.train.startswith("The first book")
    assert all("second" in sentence for sentence in (*parts.validation, *parts.test))


def test_sentences_are_spread_where_there_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr("saiki.data.text.mistyped.TESTED", 5)
    parts = prose(written(tmp_path))
    numbers = [int(s.split()[2]) for s in parts.test]
    assert TESTED > len(numbers) == 5
    assert {b - a for a, b in itertools.pairwise(numbers)} == {10}


def test_a_passage_holds_whole_words(tmp_path):
    text = prose(written(tmp_path)).train
    words = set(text.split())
    whole = prose(written(tmp_path))
    for start in (0, 1, 17, 500, len(text) - 30):
        passage = whole.passage(start, 30)
        assert 15 < len(passage) <= 30
        assert passage in text
        assert set(passage.split()) <= words
        assert passage == passage.strip()
    assert whole.passage(0, 8) == "Sentence"
    assert whole.passage(0, 5) == "Sente"
    assert whole.passage(0, 10**9) == text


def test_typographic_signs_become_plain_one_for_one():
    assert plain("“It’s – so—called”\u00a0‘it’") == "\"It's - so-called\" 'it'"


def test_too_little_text_is_refused(tmp_path):
    path = tmp_path / "small.txt"
    for text in ("", "Short. " * 100, "One sentence that is long enough to be used. " * 50):
        path.write_text(text)
        with pytest.raises(InputError, match="holds too little text"):
            prose(path)
    assert len("Short.") < SHORTEST
    with pytest.raises(InputError, match="does not exist"):
        prose(tmp_path / "gone.txt")


MODULE = '''"""Tools for trees. They grow,
and "fall", one by one.

   Is it so? It depends on my_name. Not in myTree. In JSON (2 of 3), too.
"""

def chop(tree):
    """Return the tree's wood. Uses chop() twice.

    >>> chop("oak")
    """

class Oak:
    "Tools for trees. Has oak.roots. a small one."
'''


def test_prose_is_taken_once_and_code_is_left(tmp_path):
    (tmp_path / "b.py").write_text(MODULE)
    (tmp_path / "a.py").write_text('"""First of all."""')
    (tmp_path / "c.txt").write_text('"""Not this."""')
    assert docstrings(tmp_path) == [
        "First of all.", "Tools for trees.", 'They grow, and "fall", one by one.', "Is it so?",
        "In JSON (2 of 3), too.", "Return the tree's wood.",
    ]  # fmt: skip


def test_those_of_python_are_many():
    sentences = docstrings()
    assert len(sentences) > 1000
    assert len(set(sentences)) == len(sentences)


def test_a_python_without_sources_is_told(tmp_path):
    with pytest.raises(InputError, match=r"holds no sources of Python.* with --other"):
        docstrings(tmp_path)
