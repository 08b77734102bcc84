"""Numbers, times, headers and encodings as people and programs write them."""

import numpy as np
import pytest

from data.series.table_texts import one, refusal, rows
from saiki.data.tables import encoding as table_encoding
from saiki.data.tables import rows as table_rows

DAYS = ("2024-03-05", "2024-03-06", "2024-03-07")
HOURS = [f"2024-03-05T{hour:02}" for hour in range(24)]


def times_of(folder, text, **how):
    series = one(folder, text, **how)[1]
    return series.times.astype("M8[s]").astype(str).tolist()


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_pieces_of_any_size_are_read_alike(tmp_path, monkeypatch, size):
    for module in (table_encoding, table_rows):
        monkeypatch.setattr(module, "CHUNK", size)
    noted = 'date,note,load\n2024-03-05,"a,\n""b""",1\n2024-03-06,"c,d",2\n2024-03-07,,4'
    for text in (noted, noted.replace("\n", "\r\n"), noted + "\n\n"):
        assert one(tmp_path, text)[1].targets[:, 0].tolist() == [1, 2, 4]
    plain = rows(["2024年3月5日", "2024年3月6日"], header="日付,気温")
    for ends in ("\n", "\r\n", "\r"):
        for encoding in ("cp932", "utf-16"):
            _, series = one(tmp_path, plain.replace("\n", ends), ["気温"], encoding)
            assert series.targets[:, 0].tolist() == [1, 2]
    for line, text in ((6, f"{noted}\n2024-03-08,5\n"), (6, f"{noted}\n2024-03-08,,5,")):
        assert f"in line {line} instead of 3" in refusal(tmp_path, text)
    assert "a quotation mark in line 6 that is not" in refusal(tmp_path, noted + '\n2024,"\n\n')


@pytest.mark.parametrize(
    ("cells", "delimiter", "numbers"),
    [
        (("1.5", "-2e3", "+.5"), ",", (1.5, -2000, 0.5)),
        (("1,5", "-2,25", "3"), ";", (1.5, -2.25, 3)),
        (("1.234,5", "2.345.678", "-9"), ";", (1234.5, 2345678, -9)),
        (("1,234.5", "2,345,678", "-9"), ";", (1234.5, 2345678, -9)),
        (('"1,234"', '"2,345"', "900"), ",", (1234, 2345, 900)),
        (("1,234", "2,345", "12000"), "\t", (1.234, 2.345, 12000)),
        (("12,34,567.8", "1", "2"), "|", (1234567.8, 1, 2)),
        (("1 234,5", "1\u00a0234,5", "1\u202f234.567,5"), ";", (1234.5, 1234.5, 1234567.5)),
        (("1'234.5", "1’234.5", "7"), ",", (1234.5, 1234.5, 7)),
        (("$1.50", "-€2", "(¥3)"), ",", (1.5, -2, -3)),
        (("150円", "160 円", "1.5E3"), ",", (150, 160, 1500)),
        (("5%", "7.5 %", "−3％"), ",", (5, 7.5, -3)),
        (("１２３", "４．５", "－６"), ",", (123, 4.5, -6)),
        (("5-", "6", "7"), ",", (-5, 6, 7)),
        (("0,123", "0,456", "1,789"), ";", (0.123, 0.456, 1.789)),
        (("1.234", "2.345", "3.456"), ",", (1.234, 2.345, 3.456)),
        ((" 1 ", "2", "3 "), ",", (1, 2, 3)),
    ],
)
def test_numbers_are_read_as_they_are_meant(tmp_path, cells, delimiter, numbers):
    _, series = one(tmp_path, rows(DAYS, cells).replace(",", delimiter, 1).replace(
        "-05,", f"-05{delimiter}").replace("-06,", f"-06{delimiter}").replace(
        "-07,", f"-07{delimiter}"))  # fmt: skip
    assert series.targets[:, 0].tolist() == list(numbers)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (("1,234", "2,345", "3,456"), "leaves open whether 1,234 in the column load is more than"),
        (("1.234", "2.345", "950"), "leaves open whether 1.234 in the column load is more than"),
        (("1,5", "2.5", "3"), "writes decimals with a comma in the column load and with a point"),
        (("1 2", "3", "4"), "'1 2' in the column 'load' at 2024-03-05 (line 2), which is no fin"),
        (("1,23,4", "3,5", "4"), "'1,23,4' in the column 'load'"),
        (("AB12", "3,5", "4"), "'AB12' in the column 'load'"),
        (("5 kWh", "3", "4"), "'5 kWh' in the column 'load'"),
    ],
)
def test_numbers_that_are_none_or_open_are_refused(tmp_path, cells, sentence):
    text = "date;load\n" + "".join(f"{d};{c}\n" for d, c in zip(DAYS, cells, strict=True))
    assert sentence in refusal(tmp_path, text)


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "NaN", "null", "None", "-", "#N/A", "欠測"])
def test_what_says_that_a_number_is_missing_is_a_gap(tmp_path, cell):
    error = refusal(tmp_path, rows(DAYS, [1, cell, 2]))
    assert "nothing in the column 'load' at 2024-03-06 (line 3)" in error


@pytest.mark.parametrize(
    "times",
    [
        ("2024-03-05", "2024-03-06"),
        ("2024/3/5", "2024/03/06"),
        ("2024.03.05", "2024.03.06"),
        ("20240305", "20240306"),
        ("2024年3月5日", "2024年03月06日"),
        ("2024年3月5日(火)", "2024年3月6日（水）"),
        ("２０２４年３月５日", "２０２４年３月６日"),
        ("令和6年3月5日", "令和6年3月6日"),
        ("05.03.2024", "06.03.2024"),
        ("5 Mar 2024", "6 March 2024"),
        ("Tue, 05-Mar-24", "Wed, 06-Mar-24"),
        ("March 5 2024", "Mar 6 2024"),
        ("2024-03-05T00:00:00", "2024-03-06T00:00"),
        ("2024-03-04 24:00", "2024-03-05 24:00"),
        ("2024-03-05 12:00 AM", "2024-03-06 12:00 a.m."),
        ("1709596800", "1709683200"),
        ("1709596800000", "1709683200000"),
        ("1709596800.0", "1709683200.0"),
    ],
)
def test_days_are_read_as_they_are_written(tmp_path, times):
    assert times_of(tmp_path, rows(times)) == ["2024-03-05T00:00:00", "2024-03-06T00:00:00"]


@pytest.mark.parametrize(
    "times",
    [
        ("2024-03-05 14:00", "2024-03-05 15:00:30"),
        ("2024-03-05T14:00:00.000", "2024-03-05T15:00:30,0"),
        ("2024/3/5 14:00:00", "2024/3/5 15:00:30"),
        ("20240305T140000", "20240305T150030"),
        ("2024年3月5日14時00分00秒", "2024年3月5日 15時0分30秒"),
        ("2024年3月5日 午後2時", "2024年3月5日 午後3時0分30秒"),
        ("5.3.2024 14:00", "5.3.2024 15:00:30"),
        ("2024-03-05 2:00 PM", "2024-03-05 3:00:30 pm"),
        ("2024-03-05T14:00:00Z", "2024-03-05T15:00:30Z"),
        ("2024-03-05T23:00:00+09:00", "2024-03-06T00:00:30+0900"),
        ("2024-03-05 14:00 UTC", "2024-03-05 15:00:30 UTC"),
        ("2024-03-05 09:00 EST", "2024-03-05 10:00:30 EST"),
    ],
)
def test_hours_are_read_as_they_are_written(tmp_path, times):
    assert times_of(tmp_path, rows(times)) == ["2024-03-05T14:00:00", "2024-03-05T15:00:30"]


def test_eras_begin_with_their_first_year(tmp_path):
    text = rows(["昭和64年1月7日", "平成元年1月8日", "平成1年1月9日"])
    assert times_of(tmp_path, text)[1] == "1989-01-08T00:00:00"


def test_the_order_of_day_and_month_is_found_or_asked_for(tmp_path):
    assert times_of(tmp_path, rows(["12/01/2024", "13/01/2024"]))[0] == "2024-01-12T00:00:00"
    assert times_of(tmp_path, rows(["01/12/24", "01/13/24"]))[0] == "2024-01-12T00:00:00"
    text = rows(["3/5/2024", "4/5/2024"])
    error = refusal(tmp_path, text)
    assert error == (
        "the column 'date' of FILE leaves open whether days or months come first, as in "
        "'3/5/2024'; say which: dates day-first or month-first"
    )
    assert times_of(tmp_path, text, dates="day-first")[1] == "2024-05-04T00:00:00"
    assert times_of(tmp_path, text, dates="month-first")[1] == "2024-04-05T00:00:00"
    error = refusal(tmp_path, rows(["13/1/2024", "1/13/2024"]))
    assert "has dates with the day first and others with the month first" in error
    short = rows(["24/03/05", "24/03/06", "24/03/07"])
    assert "leaves open which number is the year, as in '24/03/05'" in refusal(tmp_path, short)
    days = [f"{day:02}/03/24" for day in range(5, 25)]
    assert times_of(tmp_path, rows(days))[-1] == "2024-03-24T00:00:00"


def test_the_hour_that_comes_twice_is_right_with_zones_and_told_without(tmp_path):
    text = rows(["2024-10-27 01:00 CEST", "2024-10-27 02:00 CEST", "2024-10-27 02:00 CET"])
    table, series = one(tmp_path, text)
    assert table.zone == "UTC"
    assert series.times[2] == np.datetime64("2024-10-27T01:00")
    error = refusal(tmp_path, text.replace(" CEST", "").replace(" CET", ""))
    assert error.startswith(
        "FILE has 2024-10-27 02:00 twice, in lines 3 and 4; where clocks are pu"
    )
    error = refusal(tmp_path, rows(["2024-03-31 00:00", "2024-03-31 01:00", "2024-03-31 03:00"]))
    assert error.endswith("or where clocks are put forward write times with their distance to UTC")
    error = refusal(tmp_path, text.replace(" CET", ""))
    assert error.startswith("FILE has a time without its distance to UTC in the column 'date' in l")


def test_one_distance_to_utc_is_the_zone_and_days_stay_days(tmp_path):
    assert one(tmp_path, rows(["2024-03-05T00:00+09:00", "2024-03-05T01:00+09:00"]))[0].zone == (
        "+09:00"
    )
    table, series = one(
        tmp_path, rows(["2024-03-30T00:00+01:00", "2024-03-31T00:00+01:00", "2024-04-01T00+02:00"])
    )
    assert series.times[2] == np.datetime64("2024-04-01")
    assert "days apart by the clocks of their zone" in table.notes


def test_times_in_two_columns_are_put_together(tmp_path):
    text = "Date;Time;load\n16/12/2006;17:24:00;1\n16/12/2006;17:25:00;2\n"
    table, series = one(tmp_path, text)
    assert series.times[1] == np.datetime64("2006-12-16T17:25")
    assert "times are those of the column 'Date' with those of 'Time'" in table.notes


@pytest.mark.parametrize(
    ("header", "first", "second", "time"),
    [
        ("year,month,load", "2024,1,1", "2024,2,2", "2024-02-01T00"),
        ("年,月,日,load", "2024,3,5,1", "2024,3,6,2", "2024-03-06T00"),
        ("No,year,month,day,hour,load", "1,2010,1,1,23,1", "2,2010,1,2,0,2", "2010-01-02T00"),
        ("month,day,year,load", "2,28,2024,1", "2,29,2024,2", "2024-02-29T00"),
    ],
)
def test_times_in_columns_of_years_months_and_days(tmp_path, header, first, second, time):
    table, series = one(tmp_path, f"{header}\n{first}\n{second}\n")
    assert series.times[1] == np.datetime64(time)
    assert "with those of" in table.notes


def test_the_column_of_times_is_found_wherever_it_is(tmp_path):
    for header in ("load,when", "load,日時"):
        text = f"{header}\n1,2024-03-05\n2,2024-03-06\n"
        table, series = one(tmp_path, text)
        assert table.time == header[5:]
        assert series.times[1] == np.datetime64("2024-03-06")
    table, _ = one(tmp_path, "load,code\n1,20240305\n2,20240306\n")
    assert table.time == ""  # numbers are times only where they are called so


@pytest.mark.parametrize(
    ("text", "targets", "numbers"),
    [
        ("Report\nof Tokyo\n\ndate,load\n2024-03-05,1\n2024-03-06,2\n", ["load"], [1, 2]),
        ("Report;;\nby;me;\ndate;a;load\n2024-03-05;5;1,5\n2024-03-06;5;2\n", ["load"], [1.5, 2]),
        ("# a,b\n# c\ndate,load\n2024-03-05,1\n2024-03-06,2\n", ["load"], [1, 2]),
        ("date,load\n,MW\n2024-03-05,1\n2024-03-06,2\n", ["load"], [1, 2]),
        (",A,,B\ndate,min,max,min\n2024-03-05,1,5,7\n2024-03-06,2,6,8\n", ["B min"], [7, 8]),
        (",A,,B\ndate,min,max,min\n2024-03-05,1,5,7\n2024-03-06,2,6,8\n", ["A max"], [5, 6]),
        ("Price,Close\nTicker,AAPL\nDate,\n2024-03-05,1\n2024-03-06,2\n", ["Close"], [1, 2]),
        ("date,0,1,OT\n2024-03-05,1,5,7\n2024-03-06,2,6,8\n", ["0"], [1, 2]),
        ("2024-03-05,1\n2024-03-06,2\n", ["2"], [1, 2]),
        ("sep=;\ndate;load\n2024-03-05;1\n2024-03-06;2\n", ["load"], [1, 2]),
        ("date, Load ,x\n2024-03-05,1,\n2024-03-06,2,\n", ["load"], [1, 2]),
        ('"date","the\nload"\n"2024-03-05","1"\n"2024-03-06","2"\n', ["2"], [1, 2]),
        ("date,load\n\n2024-03-05,1\n  \n2024-03-06,2\n,\n\n", ["load"], [1, 2]),
        ('date,note,load\n2024-03-05,"a, b",1\n2024-03-06,"c ""d""\n",2\n', ["load"], [1, 2]),
        ("date,load,\n2024-03-05,1,\n2024-03-06,2,\n", ["load"], [1, 2]),
        ("date,load\n2024-03-05,1,\n2024-03-06,2,\n", ["load"], [1, 2]),
    ],
)  # fmt: skip
def test_headers_and_what_stands_around_them(tmp_path, text, targets, numbers):
    _, series = one(tmp_path, text, targets)
    assert series.targets[:, 0].tolist() == numbers
    assert series.times[1] == np.datetime64("2024-03-06")
