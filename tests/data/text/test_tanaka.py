"""Sentences of the Tanaka corpus, as one would type them."""

import pytest

from saiki.data.text.tanaka import as_typed, tanaka


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        ("i can 't tell who i 'm .", "I can't tell who I'm."),
        ("yes , he is ; tom 's here !", "Yes, he is; tom's here!"),
        ("he lives in the u.s. , i think .", "He lives in the u.s., I think."),
        ("at ten o 'clock , part i. , is it ?", "At ten o'clock, part i., is it?"),
    ],
)
def test_spaces_and_capitals_are_put_right(words, typed):
    assert as_typed(words) == typed


def test_quotations_are_left_out(tmp_path, monkeypatch):
    (tmp_path / "small_parallel_enja").mkdir()
    file = tmp_path / "small_parallel_enja" / "train.en"
    file.write_text("he said '' no '' .\ni am here .\n")
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path))
    assert tanaka() == ["I am here."]
