"""Rows that come one after the other, read and put in order as those of a table are."""

import numpy as np
import pytest

from saiki.data.series.growing import GrowingSeries, NewRow
from saiki.data.series.row_reader import RowReader
from saiki.data.series.series_table import read_series
from saiki.data.series.steps import find_step, in_words, of_words
from saiki.errors import InputError

HEADER = "when;shop;sold;sale"


def reader(**changes):
    options = {"time": "", "series": "shop", "dates": "auto", **changes}
    return RowReader(["sold", "sale"], 1, **options)


def read_lines(reading, *lines):
    return [*reading.read([line.encode() for line in lines])]


def test_rows_are_read_as_those_of_a_table_are(tmp_path):
    """One by one or together, decimal commas and Japanese dates among them."""
    lines = [
        HEADER, "2024年3月5日 1時;north;1,5;0", "2024年3月5日 2時;north;2;1",
        "2024年3月5日 3時;north;-1,25;", "2024年3月5日 4時;north;1.234,5;0",
    ]  # fmt: skip
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines))
    table = read_series(path, ["sold"], series="shop", known=["sale"], gaps="missing").series[0]
    one_by_one = reader()
    rows = [row for line in lines for row in read_lines(one_by_one, line)]
    for read_rows in (rows, read_lines(reader(), *lines)):
        assert [row.series for row in read_rows] == ["north"] * 4
        assert [row.time for row in read_rows] == table.times.astype(np.int64).tolist()
        wanted = np.concatenate((table.targets, table.known), 1)
        np.testing.assert_array_equal([row.values for row in read_rows], wanted)
        assert [row.line for row in read_rows] == [1, 2, 3, 4]


def test_a_header_may_have_another_order_and_marks():
    [row] = read_lines(reader(), "\ufeffsale,shop,when,sold\r", "1,a,2024-03-05,7\r")
    assert (row.series, row.values.tolist()) == ("a", [7, 1])
    [row] = read_lines(reader(), HEADER.replace(";", "\t"), '2024-03-05\t"Go" west\t7\t1')
    assert row.series == '"Go" west'  # marks between tabs are characters, as in a table


def test_without_a_header_rows_are_those_of_the_table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(HEADER + "\n" + "".join(f"{d}.01.2024;a;1,5;0\n" for d in (13, 14)))
    [row] = read_lines(reader(like=path), "02.03.2024;a;2;1")
    assert np.datetime64(row.time, "us") == np.datetime64("2024-03-02")
    assert row.values.tolist() == [2, 1]
    [row] = read_lines(reader(like=path), HEADER, "02.03.2024;a;1.500;1")
    assert np.datetime64(row.time, "us") == np.datetime64("2024-03-02")
    assert row.values.tolist() == [1500, 1]
    with pytest.raises(InputError, match="standard input has no column 'sold': it has no header"):
        read_lines(reader(), "02.03.2024;a;2;1")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("2024-03-05T02;north;many;0", "'many' in the column 'sold' at 2024-03-05 02:00"),
        ("tomorrow;north;1;0", "'tomorrow', which is no date or time"),
        ("2024-03-05T02;;1;0", "nothing in the column 'shop'"),
        ("2024-03-05T02;north;1", "3 columns in line 3 instead of 4"),
        ('2024-03-05T02;"north;1;0', "a quotation mark in line 3 that is not closed"),
        ("2024-03-05T02;north;\udcff;0", "not UTF-8 in line 3"),
    ],
)
def test_a_bad_row_is_refused_and_the_others_are_read(line, sentence):
    lines = [HEADER, "2024-03-05T01;north;1;0", line, "2024-03-05T03;north;3;0", ""]
    data = [each.encode(errors="surrogateescape") for each in lines]
    answers = [*reader().read(data)]
    rows = [row for row in answers if isinstance(row, NewRow)]
    assert [row.values[0] for row in rows] == [1, 3]
    [error] = [row for row in answers if isinstance(row, InputError)]
    assert sentence in str(error)


def test_dates_that_may_be_read_in_two_ways_are_asked_for():
    [error] = read_lines(reader(), HEADER, "02/03/2024;a;2;1")
    assert "say which: dates day-first or month-first" in str(error)
    first, second = read_lines(reader(), HEADER, "02/03/2024;a;2;1", "14/03/2024;a;2;1")
    assert isinstance(first, InputError)
    assert np.datetime64(second.time, "us") == np.datetime64("2024-03-14")
    [row] = read_lines(reader(dates="month-first"), HEADER, "02/03/2024;a;2;1")
    assert np.datetime64(row.time, "us") == np.datetime64("2024-02-03")


STEP = of_words("1 hour")
NAMES = "sold", "sale"


def at(hour, sold=1.0, sale=0.0, line=0):
    time = np.datetime64("2024-03-05T00", "us") + np.timedelta64(int(60 * hour), "m")
    return NewRow("", int(time.astype(np.int64)), "", np.array([sold, sale]), line)


def refusal(add):
    with pytest.raises(InputError) as refused:
        add()
    return str(refused.value)


def growing(gaps="refuse", step=STEP):
    series = GrowingSeries("", NAMES, 1, 1, step, gaps)
    series.add(at(0))
    return series


def added(series, row):
    return series.add(row)[1].tolist()


def test_rows_go_on_at_the_distance_of_the_series():
    series = growing()
    assert added(series, at(1, 5)) == [[5, 0]]
    assert series.ahead(2).astype("M8[h]").astype(str).tolist() == [
        "2024-03-05T02", "2024-03-05T03",
    ]  # fmt: skip
    assert "2024-03-05 01:00 again in line 7" in refusal(lambda: series.add(at(1, line=6)))
    assert "after 2024-03-05 01:00 in line 1; rows must come" in refusal(lambda: series.add(at(0)))
    assert "is not regular" in refusal(lambda: series.add(at(2.5)))
    assert "lacks 2 rows" in refusal(lambda: series.add(at(4)))
    assert "has nothing in the column 'sale'" in refusal(lambda: series.add(at(2, 3, np.nan)))
    assert added(series, at(2, 6)) == [[6, 0]]


@pytest.mark.parametrize(
    ("gaps", "between"),
    [("last", [1, 1]), ("linear", [2, 3]), ("missing", [np.nan, np.nan])],
)
def test_rows_that_are_missing_are_filled_as_in_a_table(gaps, between):
    times, values, notes = growing(gaps).add(at(3, 4))
    assert times.astype("M8[h]").astype(str).tolist() == [f"2024-03-05T0{h}" for h in (1, 2, 3)]
    np.testing.assert_array_equal(values[:, 0], [*between, 4])
    assert notes[0] == "rows put in where they were missing: 2"


def test_what_is_known_beforehand_comes_in_rows_without_targets():
    series = growing()
    for hour in (1, 2):
        assert added(series, at(hour, np.nan, hour)) == []
    assert series.coming.tolist() == [[1], [2]]
    assert "it must be said of the row 3 behind" in refusal(lambda: series.add(at(5, np.nan, 1)))
    assert added(series, at(1, 5, np.nan)) == [[5, 1]]
    assert added(series, at(2, 6, 9)) == [[6, 9]]
    assert series.coming.tolist() == []
    assert "has no number in the columns" in refusal(lambda: series.add(at(3, np.nan, np.nan)))


def test_without_times_rows_are_numbered():
    series = GrowingSeries("", NAMES, 1, 1, None, "refuse")
    for number in range(3):
        row = NewRow("", None, "", np.array([number, 0.0]), 0)
        assert series.add(row)[0].tolist() == [number]
    assert series.ahead(2).tolist() == [3, 4]


@pytest.mark.parametrize(
    "times",
    [
        np.arange(5) * np.timedelta64(90, "m"),
        np.arange(5) * np.timedelta64(1, "D"),
        np.arange(5) * np.timedelta64(1500, "ms"),
        np.arange("2024-01", "2024-06", dtype="M8[M]") - np.datetime64("1970-01"),
        np.arange("2020", "2025", dtype="M8[Y]") - np.datetime64("1970"),
        (np.arange("2024-01", "2024-06", dtype="M8[M]") - np.datetime64("1970-01")) * 2,
        np.busday_offset("2024-01-01", np.arange(9)) - np.datetime64("1970-01-01"),
    ],
)
def test_steps_are_found_in_their_words(times):
    moments = np.datetime64("1970-01-01") if times.dtype.str[-2] not in "MY" else None
    if moments is None:
        times = (np.datetime64(0, times.dtype.str[-2]) + times).astype("M8[us]")
    micros = times.astype("m8[us]" if moments is not None else "M8[us]").astype(np.int64)
    step = find_step(micros, np.ones(len(micros) - 1, bool))
    assert of_words(in_words(step)) == step
    assert of_words("") is None
