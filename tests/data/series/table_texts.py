"""Tables as texts, and what is read of them."""

from saiki.data.series.series_table import read_series
from saiki.errors import InputError


def written(folder, text, encoding="utf-8", name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def rows(times, values=None, header="date,load"):
    """A table of times and of numbers, which are 1, 2, 4, 7 … without."""
    values = [1 + i * (i + 1) // 2 for i in range(len(times))] if values is None else values
    quoted = [f'"{time}"' if "," in str(time) else time for time in times]
    lines = [f"{time},{value}\n" for time, value in zip(quoted, values, strict=True)]
    return "".join([f"{header}\n", *lines])


def one(folder, text, targets=("load",), encoding="utf-8", name="table.csv", **how):
    """The table, and its only series."""
    table = read_series(written(folder, text, encoding, name), targets, **how)
    (series,) = table.series
    return table, series


def refusal(folder, text, targets=("load",), encoding="utf-8", name="table.csv", **how):
    """The sentence that refuses a table."""
    path = written(folder, text, encoding, name)
    try:
        read_series(path, targets, **how)
    except InputError as error:
        sentence = str(error)
        assert "\n" not in sentence
        assert str(path) in sentence
        return sentence.replace(str(path), "FILE")
    raise AssertionError("nothing was refused")
