"""Tables of numbers: what is read, and what is refused and in which words."""

import numpy as np
import pytest

from saiki.data.series.tables import read_table
from saiki.errors import InputError


def written(folder, text, encoding="utf-8"):
    path = folder / "series.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "x,y\n1,2.5\n-3,4e-2\n",
        "x;y\r\n1;2.5\r\n-3;4e-2\r\n",
        "x\ty\n1\t2.5\n-3\t4e-2",
        "x y\n\n 1   2.5\n\n-3 4e-2\n",
        '"x","y"\n"1"," 2.5"\n-3,4e-2\n',
        "\ufeffx,y\n1,2.5\n,\n-3,4e-2\n",
    ],
)
def test_every_common_form_of_a_table_is_read(tmp_path, text):
    table = read_table(written(tmp_path, text), (2,))
    assert table.names == ("x", "y")
    np.testing.assert_array_equal(table.values, [[1, 2.5], [-3, 0.04]])


def test_a_table_needs_no_names(tmp_path):
    table = read_table(written(tmp_path, "1\n2\n"), (1, 2))
    assert table.names == ()
    np.testing.assert_array_equal(table.values, [[1], [2]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("x,y\n", "holds no numbers below its first line"),
        ("1,2,3\n", "must have columns: 2 of numbers, and it has 3"),
        ("1,2\n\n3\n", "has 1 columns in line 3 instead of 2"),
        ("x,y\n1,2\n3,nan\n", "has 'nan' in line 3, which is no finite number"),
        ("1,2\n3,\n", "has '' in line 2, which is no finite number"),
        ('1,2\n"3,4\n', "is not a table: a quotation mark in line 2 is not closed"),
        ("1,2\n3,1e308\n", "has '1e308' in line 2, which is no finite number within"),
    ],
)
def test_what_is_no_table_is_refused_with_the_line(tmp_path, text, said):
    with pytest.raises(InputError, match=f"series.csv {said}"):
        read_table(written(tmp_path, text), (2,))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(
        InputError, match=r"nothing\.csv cannot be read: No such file or directory$"
    ):
        read_table(tmp_path / "nothing.csv", (2,))
    with pytest.raises(InputError, match="cannot be read: "):
        read_table(tmp_path, (2,))
    with pytest.raises(InputError, match="is not text in UTF-8"):
        read_table(written(tmp_path, "größe,y\n1,2\n", "latin-1"), (2,))
