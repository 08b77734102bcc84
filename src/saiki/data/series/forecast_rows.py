"""Forecasts as rows of a table: one for each time, series and target."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saiki.errors import InputError, printable
from saiki.files import write_bytes

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""Of a table by the ending of its name."""


@dataclass(frozen=True)
class ForecastRow:
    """What is forecast of one target at one time.

    Args:
        time: as text, or the number of the row where there are no times.
        series: its name; empty where there is one alone.
        quantiles: by their levels, such as ``"0.9"``.
    """

    time: str | int
    series: str
    target: str
    mean: float
    quantiles: Mapping[str, float]

    def __str__(self) -> str:
        low, high = (self.quantiles[level] for level in ("0.1", "0.9"))
        name = printable(" ".join(filter(None, (self.series, self.target))))
        return f"{self.time}  {name}  {self.mean:.6g}  (80 %: {low:.6g} to {high:.6g})"


def write_rows(path: Path, rows: Sequence[ForecastRow]) -> Path:
    """The rows of forecasts as a table, CSV or with tabs where the name ends in .tsv: for each time
    the point forecast, and the ends of each interval.

    Raises:
        InputError: the name ends in anything else.
        SaikiError: it cannot be written.
    """
    if path.suffix not in DELIMITERS:
        raise InputError(f"a table of forecasts is written as .csv or .tsv, got {path}")
    levels = [*rows[0].quantiles] if rows else []
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter=DELIMITERS[path.suffix])
    bounds = map(_bound, map(float, levels))
    writer.writerow(["time", "series", "target", "forecast", *bounds])
    for row in rows:
        numbers = [row.mean, *(row.quantiles[level] for level in levels)]
        named = [row.time, row.series, row.target]
        writer.writerow([*named, *(f"{number:.9g}" for number in numbers)])
    return write_bytes(path, table.getvalue().encode())


def _bound(level: float) -> str:
    """What the quantile of a level is called: low_80 and high_80 are the ends of an interval.

    >>> _bound(0.1), _bound(0.5), _bound(0.975)
    ('low_80', 'median', 'high_95')
    """
    if level == 0.5:
        return "median"
    return f"{'low' if level < 0.5 else 'high'}_{100 * abs(1 - 2 * level):g}"
