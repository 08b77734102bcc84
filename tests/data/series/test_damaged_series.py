"""Damaged tables by the hundred: each is series or one sentence, in bounded time."""

import gzip
import random
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from saiki.data.series.series_table import read_series
from saiki.errors import InputError
from test_fuzz import cut, flipped, repeated, torn

pytestmark = pytest.mark.one_in(3)

ROUNDS = 200


def swapped(data, dice):
    """Some lines with two of their fields exchanged."""
    lines = data.split(b"\n")
    for _ in range(dice.choice((1, 3, 40))):
        at = dice.randrange(len(lines))
        fields = lines[at].split(b",")
        a, b = dice.randrange(len(fields)), dice.randrange(len(fields))
        fields[a], fields[b] = fields[b], fields[a]
        lines[at] = b",".join(fields)
    return b"\n".join(lines)


def moved(data, dice):
    """Some lines where others were."""
    lines = data.split(b"\n")
    for _ in range(dice.choice((1, 2, 20))):
        lines.insert(dice.randrange(len(lines)), lines.pop(dice.randrange(len(lines))))
    return b"\n".join(lines)


@pytest.mark.parametrize("kind", ["csv", "cp932", "utf-16", "gz", "parquet"])
def test_a_damaged_table_is_a_sentence_at_most(tmp_path, capfd, kind):
    dice = random.Random(kind)
    start = datetime(2024, 1, 1)
    frame = pl.DataFrame(
        {
            "日時": [start + timedelta(hours=i // 2) for i in range(36)],
            "shop": ["東京" if i % 2 else "大阪" for i in range(36)],
            "load": [i * 1.25 for i in range(36)],
            "holiday": [i % 3 for i in range(36)],
        }
    )
    path = tmp_path / {"gz": "a.csv.gz", "parquet": "a.parquet"}.get(kind, "a.csv")
    ways = [flipped, cut, torn, repeated, swapped, moved]
    if kind == "parquet":
        frame.write_parquet(path, statistics=False)
        whole, ways = path.read_bytes(), ways[:4]
    else:
        whole = frame.write_csv().encode(kind if kind in ("cp932", "utf-16") else "utf-8")
    refused = 0
    for number in range(ROUNDS):
        data = dice.choice(ways)(whole, dice)
        path.write_bytes(gzip.compress(data, 1) if kind == "gz" and number % 2 else data)
        sentence = None
        try:
            table = read_series(
                path,
                ["load"],
                known=["holiday"],
                series="shop",
                gaps=dice.choice(("last", "refuse")),
            )
        except InputError as error:
            sentence = str(error)
        if sentence is not None:
            refused += 1
            assert "\n" not in sentence
            assert len(sentence) < 500
            assert str(path) in sentence
            continue
        for series in table.series:
            assert np.isfinite(series.targets).all()
            assert np.isfinite(series.known).all()
            assert len(series.times) == len(series.known) >= len(series.targets) == len(series.past)
            assert (np.diff(series.times) > np.timedelta64(0)).all()
    assert 10 < refused < ROUNDS
    assert capfd.readouterr() == ("", "")
