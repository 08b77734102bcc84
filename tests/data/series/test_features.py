"""Features of the calendar over series of any length."""

import tracemalloc
from datetime import timedelta

import numpy as np

from saiki.data.series.features import PIECE, calendar, calendar_features

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
