"""Steps of a calendar, the times that follow, and what the calendar says of them."""

import tracemalloc
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from saiki.data.series.features import PIECE, calendar, calendar_features, local, seen_often
from saiki.data.series.steps import BusinessDays, Months, following, in_words
from saiki.errors import InputError


def times(*texts):
    return np.array(texts, "M8[us]")


@pytest.mark.parametrize(
    ("before", "step", "after"),
    [
        (("2024-01-01T23:00",), timedelta(hours=1), ("2024-01-02T00:00", "2024-01-02T01:00")),
        (("2024-02-28",), timedelta(days=1), ("2024-02-29", "2024-03-01")),
        (("2023-12-31", "2024-01-31"), Months(1), ("2024-02-29", "2024-03-31")),
        (("2023-12-30", "2024-01-30"), Months(1), ("2024-02-29", "2024-03-30")),
        (("2023-12-30", "2024-01-30", "2024-02-29"), Months(1), ("2024-03-30", "2024-04-30")),
        (("2023-11-15T09:00",), Months(3), ("2024-02-15T09:00", "2024-05-15T09:00")),
        (("2023-01-01", "2024-01-01"), Months(12), ("2025-01-01", "2026-01-01")),
        (("2024-03-07",), BusinessDays(), ("2024-03-08", "2024-03-11")),
    ],
)
def test_times_follow_the_last_one(before, step, after):
    next_times = following(times(*before), step, 2)
    assert (next_times == times(*after)).all()
    assert next_times.dtype == "M8[us]"


def test_numbers_follow_numbers_and_nothing_follows_nothing():
    assert following(np.arange(5), None, 3).tolist() == [5, 6, 7]
    with pytest.raises(InputError, match="a series needs a row at least"):
        following(times(), timedelta(days=1), 1)


def test_business_days_are_those_of_numpy():
    start = times("2024-01-05")
    expected = np.busday_offset("2024-01-05", np.arange(1, 600)).astype("M8[us]")
    assert (following(start, BusinessDays(), 599) == expected).all()


def test_the_calendar_is_that_of_polars():
    draw = np.random.default_rng(0)
    moments = (draw.integers(-(10**15), 2 * 10**15, 500) // 10**6 * 10**6).astype("M8[us]")
    there = pl.Series(moments).dt
    features, names = calendar(moments, timedelta(minutes=7))
    column = dict(zip(names, features.T, strict=True))
    hours = (there.hour() + there.minute() / 60 + there.second() / 3600).to_numpy()
    weekday, day = there.weekday().to_numpy() - 1, there.day().to_numpy()
    of_year = there.ordinal_day().to_numpy() - 1 + hours / 24
    for name, turns in (
        ("hour of day", hours / 24),
        ("day of week", weekday / 7),
        ("day of year", of_year / 366),
    ):
        np.testing.assert_allclose(column[f"{name} (sine)"], np.sin(2 * np.pi * turns), atol=1e-9)
        np.testing.assert_allclose(column[f"{name} (cosine)"], np.cos(2 * np.pi * turns), atol=1e-9)
    np.testing.assert_allclose(column["day of month"], (day - 1) / 30 - 0.5)
    months, names = calendar(moments, Months(1))
    np.testing.assert_allclose(
        months[:, 0], np.sin(2 * np.pi * (there.month().to_numpy() - 1) / 12)
    )
    assert names == ("month (sine)", "month (cosine)")


@pytest.mark.parametrize(
    ("step", "varies"),
    [
        (timedelta(hours=1), ["hour of day", "day of week", "day of month", "day of year"]),
        (timedelta(hours=36), ["hour of day", "day of week", "day of month", "day of year"]),
        (timedelta(days=1), ["day of week", "day of month", "day of year"]),
        (BusinessDays(), ["day of week", "day of month", "day of year"]),
        (timedelta(days=7), ["day of month", "day of year"]),
        (timedelta(days=28), ["day of year"]),
        (Months(1), ["month"]),
        (Months(3), ["month"]),
        (Months(12), []),
        (None, []),
    ],
)
def test_only_what_changes_from_step_to_step_is_a_feature(step, varies):
    moments = times("2024-01-01", "2024-01-02")
    features, names = calendar(moments, step)
    assert list(dict.fromkeys(name.split(" (")[0] for name in names)) == varies
    assert features.shape == (2, len(names))
    assert calendar(np.arange(3), step)[0].shape == (3, 0)


def test_the_clock_of_a_zone_counts():
    moments = times("2024-03-31T00:30", "2024-03-31T01:30")
    assert local(moments, "Europe/Berlin").astype(str)[1][11:16] == "03:30"
    assert (local(moments, "+09:00") == moments + np.timedelta64(9, "h")).all()
    assert (local(moments, "-03:30") == moments - np.timedelta64(210, "m")).all()
    assert (local(moments, "UTC") == moments).all()
    there, _ = calendar(moments, timedelta(hours=1), "+09:00")
    assert (there == calendar(moments + np.timedelta64(9, "h"), timedelta(hours=1))[0]).all()
    with pytest.raises(InputError, match="there is no time zone 'Mars/Base'"):
        local(moments, "Mars/Base")


def test_steps_are_told_in_words():
    assert [in_words(step) for step in (timedelta(seconds=0.5), timedelta(minutes=15))] == [
        "0.5 seconds",
        "15 minutes",
    ]
    assert [in_words(step) for step in (Months(2), Months(12), BusinessDays())] == [
        "2 months",
        "a year",
        "a business day",
    ]


@pytest.mark.parametrize(
    ("times", "known"),
    [
        (np.arange("2024-01-01T00", "2024-01-03T12", dtype="M8[h]"), set()),
        (np.arange("2024-01-01T00", "2024-01-04T00", dtype="M8[h]"), {"hour of day"}),
        (np.arange("2024-01-01", "2024-01-22", dtype="M8[D]"), {"day of week"}),
        (
            np.arange("2021-01-01", "2024-01-03", dtype="M8[D]"),
            {"day of week", "day of year", "day of month"},
        ),
        (np.arange("2022", "2025", dtype="M8[M]"), {"month"}),
        (np.arange(10_000), set()),
    ],
)  # fmt: skip
def test_nothing_is_learned_from_a_cycle_that_hardly_comes_again(times, known):
    steps = {"M8[h]": timedelta(hours=1), "M8[D]": timedelta(days=1), "M8[M]": Months(1)}
    step = next((step for dtype, step in steps.items() if times.dtype == dtype), None)
    names = calendar(times, step)[1] if step else ("month (sine)",)
    assert {name.partition(" (")[0] for name in seen_often(names, times)} == known


HOUR = timedelta(hours=1)


def test_a_long_series_has_the_features_of_its_parts_and_takes_their_memory():
    times = np.datetime64("2020-01-01T00", "us") + np.arange(5 * PIECE + 7) * np.timedelta64(1, "h")
    names = ("day of year (cosine)", "hour of day (sine)")
    calendar_features(times[:1], HOUR, "Asia/Tokyo", names)  # imports what it needs
    tracemalloc.start()
    features = calendar_features(times, HOUR, "Asia/Tokyo", names)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    every, known = calendar(times, HOUR, "Asia/Tokyo")
    wanted = every[:, [*map(known.index, names)]].astype(np.float32)
    np.testing.assert_array_equal(features, wanted)
    assert most < features.nbytes + 40 * 8 * PIECE


def test_without_names_or_times_there_are_none():
    times = np.array(["2020-01-01T00"], "M8[us]")
    assert calendar_features(times, HOUR, "", ()).shape == (1, 0)
    assert calendar_features(times[:0], HOUR, "", ("hour of day (sine)",)).shape == (0, 1)
