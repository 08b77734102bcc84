"""Tables of users as series: columns, order, gaps and what is refused."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from data.series.table_texts import one, refusal, rows, written
from saiki.data.series.series_table import read_series
from saiki.data.series.steps import BusinessDays, Months
from saiki.data.tables import limits
from saiki.errors import InputError

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04")
DAY = timedelta(days=1)


def clean(count=500):
    """A table in which nothing has to be guessed."""
    draw = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "time": [datetime(2024, 1, 1) + i * timedelta(hours=1) for i in range(count)],
            "load": draw.normal(50, 20, count),
            "price": draw.normal(0, 1e-3, count),
            "holiday": draw.integers(0, 2, count),
            "wind": draw.normal(0, 1e6, count),
        }
    )


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_clean_table_is_read_as_polars_reads_it(tmp_path, name):
    frame, path = clean(), tmp_path / name
    if name == "a.parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    table = read_series(path, ["load", "price"], known=["holiday"], past=["wind"])
    (series,) = table.series
    assert (series.times == frame["time"].to_numpy()).all()
    assert series.times.dtype == "M8[us]"
    np.testing.assert_array_equal(series.targets, frame["load", "price"].to_numpy())
    np.testing.assert_array_equal(series.known, frame["holiday",].to_numpy())
    np.testing.assert_array_equal(series.past, frame["wind",].to_numpy())
    assert (table.targets, table.known, table.past) == (("load", "price"), ("holiday",), ("wind",))
    assert (table.time, table.step, table.zone) == ("time", timedelta(hours=1), "")


def test_parquet_has_times_zones_and_numbers_of_its_own(tmp_path):
    hours = clean(5)["time"]
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame(
        {
            "load": pl.Series([1, 2, 3, 4, 6], dtype=pl.Decimal(10, 2)),
            "text": ["1,5", "2,5", "3", "4", "5"],
            "flag": [True, False, True, False, True],
            "when": hours.dt.replace_time_zone("Asia/Tokyo").cast(pl.Datetime("ns", "Asia/Tokyo")),
            "list": [[1]] * 5,
            "day": hours.dt.date() + pl.Series([timedelta(days=i) for i in range(5)]),
        }
    )
    frame.write_parquet(path)
    table = read_series(path, ["load", "text"], past=["flag"])
    (series,) = table.series
    assert (table.time, table.zone, table.step) == ("when", "Asia/Tokyo", timedelta(hours=1))
    assert (series.times == hours.to_numpy() - np.timedelta64(9, "h")).all()
    assert series.targets[:, 1].tolist() == [1.5, 2.5, 3, 4, 5]
    assert series.past[:, 0].tolist() == [1, 0, 1, 0, 1]
    assert read_series(path, ["load"], time="day").step == DAY
    with pytest.raises(InputError, match=r"the column 'list' of .* must hold numbers"):
        read_series(path, ["list"])
    frame.with_columns(load=pl.Series([1.0, None, 3, 4, 5])).write_parquet(path)
    with pytest.raises(InputError, match=r"nothing in the column 'load' at .* \(row 2\)"):
        read_series(path, ["load"])


def test_rows_of_several_series_are_told_apart_by_a_column(tmp_path):
    text = "date,shop,load\n" + "".join(
        f"2024-01-{day:02},{shop},{10 * number + day}\n"
        for day in range(1, 6)
        for number, shop in enumerate(("Ueno", "Ginza", "Ebisu"))
        if day > number
    )
    table = read_series(written(tmp_path, text), ["load"], series="shop")
    assert [each.name for each in table.series] == ["Ueno", "Ginza", "Ebisu"]
    assert [len(each) for each in table.series] == [5, 4, 3]
    assert table.series[1].targets[:, 0].tolist() == [12, 13, 14, 15]
    assert table.series[2].times[0] == np.datetime64("2024-01-03")
    error = refusal(tmp_path, text)
    assert error.endswith("or name the column that tells series apart, such as 'shop'")
    error = refusal(tmp_path, text.replace("2024-01-04,Ginza", "2024-01-04,"), series="shop")
    assert error.startswith("FILE has nothing in the column 'shop', which tells series apart, in ")
    error = refusal(tmp_path, text.replace("2024-01-04,Ginza", "2024-01-03,Ginza"), series="shop")
    assert error.startswith("FILE has 2024-01-03 of the series 'Ginza' twice, in lines 6 and 9")


def test_columns_known_beforehand_reach_into_the_future(tmp_path):
    text = "date,load,holiday,wind\n1/13/24,1,0,5\n1/14/24,2,1,6\n1/15/24,,1,\n1/16/24,,0,\n"
    table, series = one(tmp_path, text, known=["holiday"], past=["wind"])
    assert series.targets.tolist() == [[1], [2]]
    assert series.past.tolist() == [[5], [6]]
    assert series.known.tolist() == [[0], [1], [1], [0]]
    assert len(series.times) == 4
    assert "empty" not in table.notes
    table, series = one(tmp_path, text)
    assert len(series.times) == 2
    assert "rows at the end left out because all targets are empty: 2" in table.notes
    error = refusal(tmp_path, text.replace("1/15/24,,1", "1/15/24,,"), known=["holiday"])
    assert "nothing in the column 'holiday' at 2024-01-15 (line 4)" in error


def test_a_table_without_times_is_read_in_its_order(tmp_path):
    table, series = one(tmp_path, "load\n5\n6\n\n7\n\n", gaps="missing")
    assert (table.time, table.step) == ("", None)
    assert series.times.tolist() == [0, 1, 2, 3]
    assert series.times.dtype == np.int64
    np.testing.assert_array_equal(series.targets[:, 0], [5, 6, np.nan, 7])
    assert "no column of times was found" in table.notes
    assert "nothing in the column 'load' at line 4" in refusal(tmp_path, "load\n5\n6\n\n7\n")


def test_newest_first_is_turned_round_and_any_other_order_sorted(tmp_path):
    table, series = one(tmp_path, rows(DAYS[::-1]))
    assert series.targets[:, 0].tolist() == [7, 4, 2, 1]
    assert "the newest row came first, so the order was turned round" in table.notes
    table, series = one(tmp_path, rows([DAYS[i] for i in (1, 0, 3, 2)]))
    assert series.targets[:, 0].tolist() == [2, 1, 7, 4]
    assert "which go back at 2 of them, and were sorted" in table.notes


@pytest.mark.parametrize(
    ("gaps", "wanted", "notes"),
    [
        ("last", [1, 1, 1, 4, 5], "empty cells filled with the last value before: 2"),
        ("linear", [1, 2, 3, 4, 5], "filled with values on a line between their neighbours: 2"),
        ("missing", [1, np.nan, np.nan, 4, 5], "empty cells: 2"),
    ],
)
def test_gaps_are_filled_as_was_said_and_counted(tmp_path, gaps, wanted, notes):
    text = "date,load\n2024-01-01,1\n2024-01-02,NA\n2024-01-04,4\n2024-01-05,5\n"
    table, series = one(tmp_path, text, gaps=gaps)
    np.testing.assert_array_equal(series.targets[:, 0], wanted)
    assert series.times[2] == np.datetime64("2024-01-03")
    assert notes in table.notes
    assert "rows put in where they were missing: 1" in table.notes
    error = refusal(tmp_path, text)
    assert error.startswith(
        "FILE lacks 1 row: rows are 1 day apart, and after 2024-01-02 (line 3) "
    )
    error = refusal(tmp_path, text.replace("2024-01-04,4\n", "2024-01-03,3\n2024-01-04,4\n"))
    assert error.startswith("FILE has nothing in the column 'load' at 2024-01-02 (line 3); fill it")


def test_values_of_one_series_fill_no_other(tmp_path):
    text = "date,shop,load\n" + "".join(
        f"{day},{shop},{value}\n"
        for shop, values in (("a", (1, 2, 3, 4)), ("b", ("", 6, 7, 9)))
        for day, value in zip(DAYS, values, strict=True)
    )
    for gaps in ("last", "linear"):
        error = refusal(tmp_path, text, series="shop", gaps=gaps)
        assert "at 2024-01-01 of the series 'b' (line 6) and nothing" in error
    table = read_series(written(tmp_path, text), ["load"], series="shop", gaps="missing")
    assert np.isnan(table.series[1].targets[0, 0])


def test_a_time_that_is_far_off_is_no_gap_to_fill(tmp_path):
    error = refusal(tmp_path, rows(["1024-01-01", *DAYS]), gaps="last")
    assert error.endswith("that is more than 20 for each that is there, so a time may be wrong")


def test_months_quarters_years_and_business_days_are_steps(tmp_path):
    for times, step in (
        (("2024-01", "2024-02", "2024-03"), Months(1)),
        (("2024-01-31", "2024-02-29", "2024-03-31"), Months(1)),
        (("2023-12-30", "2024-01-30", "2024-02-29", "2024-03-30"), Months(1)),
        (("2023-Q3", "2023-Q4", "2024-Q1"), Months(3)),
        (("2022", "2023", "2024"), Months(12)),
        (("2024-01-04", "2024-01-05", "2024-01-08"), BusinessDays()),
        (("2024-01-01", "2024-01-08", "2024-01-15"), timedelta(days=7)),
        (("2024-01-01 00:00:00.25", "2024-01-01 00:00:00.5"), timedelta(seconds=0.25)),
    ):
        assert one(tmp_path, rows(times))[0].step == step, times
    _, series = one(tmp_path, rows(["2023-12-31", "2024-01-31", "2024-03-31"]), gaps="linear")
    assert series.times[2] == np.datetime64("2024-02-29")
    assert series.targets[:, 0].tolist() == [1, 2, 3, 4]


def test_holidays_are_left_out_of_business_days_unless_they_are_to_be_filled(tmp_path):
    days = np.busday_offset("2024-03-01", range(40), holidays=["2024-03-29"]).tolist()
    table, series = one(tmp_path, rows(days))
    assert len(series) == 40
    assert "business days without a row, such as holidays, which are left out: 1" in table.notes
    table, series = one(tmp_path, rows(days), gaps="last")
    assert len(series) == 41
    assert series.targets[20] == series.targets[19]
    error = refusal(tmp_path, rows(days[:20] + days[29:]))
    assert error.startswith(
        "FILE lacks 10 rows: rows are a business day apart, and after 2024-03-28"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (rows(DAYS, [1, "abc", 2, 3]), "'abc' in the column 'load' at 2024-01-02 (line 3), which"),
        (rows(DAYS, [1, "inf", 2, 3]), "'inf' in the column 'load' at 2024-01-02 (line 3), which"),
        (rows(DAYS, [1, "-1e31", 2, 3]), "which is no finite number within ±1e30"),
        (rows(DAYS, [1, "12 May", 2, 3]), "'12 May' in the column 'load' at 2024-01-02"),
        (rows(DAYS, [5, 5, 5, 5]), "is 5 in all rows, so there is nothing to forecast"),
        (rows(DAYS, ["", "", "", ""]), "holds no number in the columns of the targets"),
        (rows(DAYS[:1]), "nobody knows how far rows are apart; two at least are needed"),
        (rows([*DAYS, DAYS[1]]), "FILE has 2024-01-02 twice, in lines 3 and 6; take one of them"),
        (rows([*DAYS, "never"]), "'never', which is no date or time as the others are in the "),
        (rows([*DAYS, "2023-02-29"]), "'2023-02-29', which is no date or time"),
        (rows([*DAYS, ""]), "FILE has no time in the column 'date' in line 6"),
        (rows([f"{DAYS[0]} {t}" for t in ("01:00", "02:00", "02:37", "03:37")]), "is not regular"),
        ("date,load\nyears,MW,x\n2024-01-01,5\n", "FILE has 3 columns in line 2 instead of 2"),
        ("\n\n \n", "holds no rows of numbers"),
        ("date,load\n", "holds no rows of numbers"),
        ("date,lod\n2024-01-01,5\n2024-01-02,6\n", "no column 'load'; it has 'date', 'lod'; did"),
        ("date,load,load\n2024-01-01,5,6\n", "2 columns called 'load'; name one by its number"),
        ("2024-01-01,5\n2024-01-02,6\n", "it has no header, and columns are named by their num"),
    ],
)  # fmt: skip
def test_what_is_no_series_is_refused_in_a_sentence(tmp_path, text, sentence):
    assert sentence in refusal(tmp_path, text)


def test_what_is_asked_for_wrongly_is_refused(tmp_path):
    text = rows(DAYS)
    assert "'load' of FILE is taken twice" in refusal(tmp_path, text, past=["load"])
    assert "is taken twice" in refusal(tmp_path, text, time="load")
    assert "no column 'dat'" in refusal(tmp_path, text, time="dat")
    error = refusal(tmp_path, "date,load,note\n2024-01-01,5,x\n", time="note")
    assert error.startswith("the column 'note' of FILE holds 'x', which is no date or time")
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=r"gaps must be one of .*'lst'; did you mean last\?"):
        read_series(path, ["load"], gaps="lst")
    with pytest.raises(InputError, match="dates must be one of"):
        read_series(path, ["load"], dates="iso")
    with pytest.raises(InputError, match="targets must be a list"):
        read_series(path, "load")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_series(tmp_path / "nothing.csv", ["load"])


def test_a_column_that_is_the_same_everywhere_is_noted(tmp_path):
    table, _ = one(tmp_path, "date,load,wind\n2024-01-01,1,3\n2024-01-02,2,3\n", past=["wind"])
    assert "the column 'wind' is 3 in all rows" in table.notes
    assert table.in_words().startswith("2 rows, 1 day apart; ")


def test_memory_that_is_not_there_is_told_before_it_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 1000)
    error = refusal(tmp_path, rows([f"2024-01-{i:02}" for i in range(1, 25)]))
    assert error.startswith("FILE has 24 rows, of which 1 columns take 0.0 GiB of memory, and 0.0 ")
    monkeypatch.undo()
    assert limits.free_memory() > 1000
