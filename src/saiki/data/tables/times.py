"""Times as people and programs write them, column by column, by polars."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

NAMES = (
    *("time", "date", "datetime", "timestamp", "ds", "day", "month", "quarter", "year"),
    *("date time", "date_time", "time stamp", "datum", "zeit", "zeitstempel", "fecha", "utc"),
    *("日付", "日時", "年月日", "時刻", "年月", "時間", "年", "年度"),
)
"""What a column of times is called, in small letters."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ERAS = {"明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018}
_ZONES = {
    **{"z": 0, "utc": 0, "gmt": 0, "bst": 60, "cet": 60, "cest": 120, "eet": 120, "eest": 180},
    **{"jst": 540, "est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360},
    **{"pst": -480, "pdt": -420},
}
_DAY = 86_400_000_000
_LATEST = 2_932_896 * _DAY
"""The first day of the year 10,000."""
_UNITS = {10: 1_000_000, 13: 1_000, 16: 1}
"""Microseconds of Unix times by their digits, since 2001."""
_CLOCK = (
    r"(?:%s(?P<half>午前|午後)?\s*(?P<H>\d{1,2})(?:[:時](?:(?P<M>\d{1,2})分?"
    r"(?:[:.]?(?P<S>\d{1,2})秒?)?(?:[.,](?P<F>\d{1,9}))?)?)?\s*(?P<ampm>[AaPp]\.?[Mm]\.?)?"
    rf"\s*(?P<Z>[+-]\d{{2}}(?::?\d{{2}})?|(?i:{'|'.join(_ZONES)}))?(?:\[[\w/+-]+\])?)?$"
)
_APART, _CLOSE = _CLOCK % r"[T\s,]+", _CLOCK % r"[T\s,]*"
_WEEKDAY = r"(?:\s*[（(](?:[日月火水木金土]|[A-Za-z]{3})[)）])?"
FORMS = {
    "year first": rf"^(?P<y>\d{{4}})[-/.](?P<m>\d{{1,2}})[-/.](?P<d>\d{{1,2}}){_WEEKDAY}{_APART}",
    "Japanese": rf"^(?P<y>\d{{4}})年(?P<m>\d{{1,2}})月(?P<d>\d{{1,2}})日{_WEEKDAY}{_CLOSE}",
    "era": rf"^(?P<e>{'|'.join(_ERAS)})(?P<y>\d{{1,2}}|元)[年.](?P<m>\d{{1,2}})[月.]"
    rf"(?P<d>\d{{1,2}})日?{_WEEKDAY}{_CLOSE}",
    "two numbers and a year": r"^(?P<a>\d{1,2})[-/.](?P<c>\d{1,2})[-/.](?P<y>\d{4}|\d{2})" + _APART,
    "named month": r"^(?:[A-Za-z]{3,9},?\s+)?(?P<d>\d{1,2})[\s.\-](?P<b>[A-Za-z]{3,9})[\s.,\-]+"
    rf"(?P<y>\d{{4}}|\d{{2}}){_APART}",
    "named month first": r"^(?P<b>[A-Za-z]{3,9})\.?\s+(?P<d>\d{1,2}),?\s+(?P<y>\d{4})" + _APART,
    "year, month, day": rf"^(?P<y>\d{{4}}) (?P<m>\d{{1,2}}) (?P<d>\d{{1,2}}){_APART}",
    "year, month": r"^(?P<y>\d{4}) (?P<m>\d{1,2})$",
    "month": r"^(?P<y>\d{4})(?:[-/.]|年|M)(?P<m>\d{1,2})月?$",
    "era month": rf"^(?P<e>{'|'.join(_ERAS)})(?P<y>\d{{1,2}}|元)年(?P<m>\d{{1,2}})月$",
    "month of a year": r"^(?P<m>\d{1,2})/(?P<y>\d{4})$",
    "named month of a year": r"^(?P<b>[A-Za-z]{3,9})\.?[\s\-](?P<y>\d{4}|\d{2})$",
    "quarter": r"^(?P<y>\d{4})[-\s/]?Q(?P<q>[1-4])$",
    "digits": r"^(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})"
    r"(?:[T\s]?(?P<H>\d{2}):?(?P<M>\d{2})(?::?(?P<S>\d{2}))?)?(?P<Z>Z)?$",
    "digits of a month": r"^(?P<y>(?:19|20)\d{2})(?P<m>0[1-9]|1[0-2])$",
    "year": r"^(?P<y>1[5-9]\d{2}|20\d{2}|21\d{2})(?:年度?)?$",
}
"""Regular expressions of what times look like, the most usual ones first. The parts: year, month,
day, era, quarter, name of the month, and two numbers of which one is the month."""
NUMBERS = ("digits", "digits of a month", "year", "Unix")
"""Forms of numbers, which are times only in a column that is named or called so."""


@dataclass(frozen=True)
class Form:
    """How the times of a column are written."""

    name: str
    pattern: str
    micros: int = 0
    """Of Unix times, microseconds of one."""


def find_form(cells: Sequence[str]) -> tuple[Form | None, float]:
    """The form that most of the cells have, and how many of them."""
    tidy = [unicodedata.normalize("NFKC", cell).strip() for cell in cells]
    best: tuple[Form | None, float] = (None, 0.0)
    for name, pattern in FORMS.items():
        seen = re.compile(pattern)
        share = sum(bool(seen.match(cell)) for cell in tidy) / max(1, len(tidy))
        if share > best[1]:
            best = Form(name, pattern), share
    digits = [re.fullmatch(r"(\d+)(?:\.\d+)?", cell) for cell in tidy]
    for length, micros in _UNITS.items():
        share = sum(bool(d) and len(d[1]) in (length, length - 1) for d in digits if d) / max(
            1, len(tidy)
        )
        if share > best[1]:
            best = Form("Unix", r"^\d+(?:\.\d+)?$", micros), share
    return best


def tidy(text: pl.Expr) -> pl.Expr:
    """Without white space around it, full-width characters as usual ones."""
    wide = {chr(0xFF01 + i): chr(0x21 + i) for i in range(94)} | {"\u3000": " ", "\u00a0": " "}
    return text.str.strip_chars().str.replace_many([*wide], [*wide.values()])


def orders(scan: pl.LazyFrame, text: pl.Expr, form: Form) -> pl.LazyFrame:
    """Of times that have two numbers before the year, in one row: the largest first and second one,
    how often a slash or a hyphen stands between them, whether all last ones could be days, and how
    many different first and last ones there are."""
    parts = scan.select(text, tidy(text).str.extract_groups(form.pattern).alias("parts"))
    numbers = [
        pl.col("parts").struct.field(part).cast(pl.Int32, strict=False).alias(name)
        for part, name in (("a", "first"), ("c", "second"), ("y", "last"))
    ]
    return parts.select(text, *numbers).select(
        pl.col("first").max(),
        pl.col("second").max(),
        text.str.contains(r"^\s*\d+[-/]").sum().alias("slashes"),
        (pl.col("last") <= 31).all().alias("short"),
        pl.col("first").n_unique().alias("firsts"),
        pl.col("last").n_unique().alias("lasts"),
    )


def parse(scan: pl.LazyFrame, text: pl.Expr, form: Form, day_first: bool) -> pl.LazyFrame:
    """The columns with two more: ``t``, microseconds since 1970 on the clock that wrote a time, and
    ``z``, the minutes of that clock before UTC, null where it does not say. Both are null where
    there is no time of this form."""
    text = tidy(text)
    if form.name == "Unix":
        integer = text.cast(pl.Int64, strict=False) * form.micros
        part = (text.cast(pl.Float64, strict=False) * form.micros).round()
        fits = text.cast(pl.Float64, strict=False) * form.micros < _LATEST
        moment = pl.when(fits).then(integer.fill_null(part.cast(pl.Int64, strict=False)))
        return scan.with_columns(t=moment, z=pl.lit(0, pl.Int32))
    parts = scan.with_columns(text.str.extract_groups(form.pattern).alias("parts")).unnest("parts")
    groups = re.compile(form.pattern).groupindex
    numbers = [
        (_number(name) if name in groups else pl.lit(None, pl.Int64)).alias(f"n{name}")
        for name in "ymdacqHMSF"
    ]
    zone = _offset(pl.col("Z")) if "Z" in groups else pl.lit(None, pl.Int32)
    parts = parts.with_columns(*numbers, zone.alias("z"), _month(groups), _afternoon(groups))
    year, month, day = _day(groups, day_first)
    hour, minute, second = (pl.col(f"n{name}").fill_null(0) for name in "HMS")
    half = pl.col("half_day").is_not_null() & (hour <= 12)
    of_day = pl.when(half).then(hour % 12 + 12 * pl.col("half_day")).otherwise(hour)
    clock = ((of_day * 60 + minute) * 60 + second) * 1_000_000 + pl.col("nF").fill_null(0)
    days = pl.format("{}-{}-{}", year, month, day).str.to_date("%Y-%m-%d", strict=False)
    since_1970 = days.cast(pl.Int32).cast(pl.Int64) * _DAY + clock
    return parts.with_columns(
        t=pl.when((clock <= _DAY) & (minute < 60) & (second < 60)).then(since_1970)
    )


def _number(name: str) -> pl.Expr:
    text = pl.col(name)
    if name == "F":
        text = text.str.pad_end(6, "0").str.slice(0, 6)
    if name == "y":
        text = text.str.replace("元", "1", literal=True)
    return text.cast(pl.Int64, strict=False)


def _day(groups: Mapping[str, int], day_first: bool) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Year, month and day."""
    year = pl.col("ny")
    if "e" in groups:
        year = year + _looked_up(pl.col("e"), _ERAS)
    else:
        century = pl.when(year < 70).then(2000).when(year < 100).then(1900).otherwise(0)
        year = pl.when(pl.col("y").str.len_bytes() == 2).then(year + century).otherwise(year)
    if "a" in groups:
        first, second = pl.col("na"), pl.col("nc")
        return year, *((second, first) if day_first else (first, second))
    month = pl.col("nq") * 3 - 2 if "q" in groups else pl.col("named") if "b" in groups else None
    return year, pl.col("nm").fill_null(1) if month is None else month, pl.col("nd").fill_null(1)


def _month(groups: Mapping[str, int]) -> pl.Expr:
    """The number of a month of which the name stands there; null where there is none."""
    if "b" not in groups:
        return pl.lit(None, pl.Int64).alias("named")
    names = {name: i + 1 for i, name in enumerate(_MONTHS)}
    short = pl.col("b").str.slice(0, 3).str.to_lowercase()
    return _looked_up(short, names).alias("named")


def _afternoon(groups: Mapping[str, int]) -> pl.Expr:
    """1 in the afternoon and 0 in the morning, where the time says it."""
    if "ampm" not in groups:
        return pl.lit(None, pl.Int64).alias("half_day")
    half = pl.col("ampm").str.slice(0, 1).fill_null(pl.col("half"))
    halves = {"a": 0, "A": 0, "p": 1, "P": 1, "午前": 0, "午後": 1}
    return _looked_up(half, halves).alias("half_day")


def _offset(zone: pl.Expr) -> pl.Expr:
    hours = zone.str.slice(0, 3).cast(pl.Int32, strict=False)
    minutes = zone.str.slice(3).str.strip_chars_start(":").cast(pl.Int32, strict=False).fill_null(0)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    named = _looked_up(zone.str.to_lowercase(), _ZONES).cast(pl.Int32)
    return named.fill_null(hours * 60 + sign * minutes)


def _looked_up(text: pl.Expr, numbers: Mapping[str, int]) -> pl.Expr:
    """The number of each text, null where it has none, in bounded memory; ``replace_strict`` holds
    the whole column."""
    result: pl.Expr = pl.lit(None, pl.Int64)
    for name, value in numbers.items():
        result = pl.when(text == name).then(value).otherwise(result)
    return result
