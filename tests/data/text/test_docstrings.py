"""Sentences of docstrings: prose, and nothing of code."""

import pytest

from saiki.data.text.docstrings import docstrings
from saiki.errors import InputError

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
