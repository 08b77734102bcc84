"""Tables of texts: what separates columns, quotation marks, encodings that are found."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saiki.data.tables.texts import read_texts
from saiki.errors import InputError

FRENCH = "Année,été,forêt\n1,très bon,déçu\n"
GERMAN = "Größe;Höhe\nStraße;20 °C\n"


def put(folder, data, name="x.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode(encoding))
    return path


def read(folder, data, name="x.csv", encoding="utf-8", **how):
    return read_texts(put(folder, data, name, encoding), **how).texts


@pytest.mark.parametrize(
    ("text", "encoding", "noted"),
    [
        ("犬,猫\n", "cp932", "cp932"),
        ("犬,猫\n", "shift_jis", "cp932"),
        ("犬,猫\n", "euc_jp", "euc_jp"),
        ("番号,ﾄｳｷｮｳ\n", "cp932", "cp932"),
        ("1,ﾄｳｷｮｳ\n", "cp932", "cp932"),
        ("1,2\n", "utf-16-le", "utf-16-le"),
        (FRENCH, "cp1252", "cp1252"),
        (FRENCH, "latin-1", "cp1252"),
        (GERMAN, "cp1252", "cp1252"),
        ("a,“b” — it’s\n", "cp1252", "cp1252"),
        ("abc,def\n" * 200_000 + "犬,猫\n", "cp932", "cp932"),
    ],
)
def test_an_encoding_is_found(tmp_path, text, encoding, noted):
    table = read_texts(put(tmp_path, text, encoding=encoding))
    assert ",".join(table.texts[-1]) == text.splitlines()[-1].replace(";", ",")
    assert table.notes == (f"read as {noted}",)


def test_quoted_fields_hold_delimiters_line_breaks_and_marks(tmp_path):
    text = '"a, ""b""\r\nc; d","x\ny"\n"e, f",z\n'
    table = read_texts(put(tmp_path, text))
    assert table.texts == [('a, "b" c; d', "x y"), ("e, f", "z")]
    assert table.lines == [1, 4]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('"Go," he said.\t"Va\n"\t""\n', [('"Go," he said.', '"Va'), ('"', '""')]),
        ('"Go."\ta\nb\tc\n', [('"Go."', "a"), ("b", "c")]),
        ('"Go."\t"Va."\n"a"\t"b"\n', [("Go.", "Va."), ("a", "b")]),
        ('"say ""a"""\tb\nc\td\n', [('say "a"', "b"), ("c", "d")]),
        ('"a\tb"\tc\nd\te\n', [("a\tb", "c"), ("d", "e")]),
    ],
)
def test_marks_between_tabs_are_characters_unless_the_table_is_written_so(tmp_path, text, cells):
    assert read(tmp_path, text, "x.tsv") == cells


def test_a_mark_within_a_field_is_a_character(tmp_path):
    assert read(tmp_path, '5" disk,a\nb,6" nail\n') == [('5" disk', "a"), ("b", '6" nail')]


def test_odd_characters_are_kept_and_spelled_alike(tmp_path):
    text = "a\t👩‍🔬\u2028c\ncafe\u0301\t\u200bx\n\ufeffd\te\n"
    assert read(tmp_path, text) == [("a", "👩‍🔬 c"), ("café", "\u200bx"), ("d", "e")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\tb\n\nc\n", "has one column in line 3 instead of 2, with a tab between them; take"),
        ("only\none\n", "has one column; it needs two or more, with a tab or a comma or a semi"),
        ('"a\nb",c\nd\n', "has one column in line 3 instead of 2, with a comma between them"),
        ("sep=;\na,b\n", "has one column; it needs two or more, with a semicolon between them"),
        ("a, b;c\nd, e;f\n", "whether comma and semicolon .* such as sep=,$"),
        ("a;b\nc;d\ne;f;g\n", "has 3 columns in line 3 instead of 2, with a semicolon between"),
        ("\n \n,\n", "is empty; it needs a row for each example"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, text)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(InputError, match=r"is a folder; give a table in it$"):
        read_texts(tmp_path)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(*[st.text('ab,;"\t\n \u3000猫', min_size=1).filter(str.strip)] * 2), min_size=1
    ),
    st.sampled_from(",;\t|"),
)
def test_what_is_written_as_csv_is_read(tmp_path_factory, pairs, delimiter):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"sep={delimiter}\n")
        csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(pairs)
    wanted = [tuple(" ".join(side.split("\n")).strip() for side in pair) for pair in pairs]
    assert read_texts(path).texts == wanted
