"""From a table to forecasts: numbers of columns, scales, calibration, and going on with a table."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from saiki.cells import GRU
from saiki.data.series.features import columns_of, feature_names, numbers_of
from saiki.data.series.origins import Origins, Split
from saiki.data.series.series_table import read_series
from saiki.errors import InputError
from saiki.models.forecaster import Forecaster, window_of
from saiki.models.segment_forecaster import SegmentForecaster
from saiki.models.stepwise_forecaster import StepwiseForecaster
from saiki.saving.pretrained import load

LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two series by the hour that wave once a day, a promotion known beforehand, a temperature
    known afterwards."""
    random = np.random.default_rng(0)
    lines = ["time,shop,sales,visits,promotion,temperature"]
    for shop, level in (("north", 100), ("south", 1000)):
        for t in range(300):
            wave = np.sin(2 * np.pi * t / 24)
            time = np.datetime64("2024-01-01T00") + np.timedelta64(t, "h")
            sales, visits = level * (2 + wave), level / 10 + random.standard_normal()
            row = [time, shop, sales, visits, int(t % 50 == 0), random.standard_normal()]
            lines.append(",".join(map(str, row)))
    path = tmp_path_factory.mktemp("data") / "shops.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_series(
        path, ["sales", "visits"], series="shop", known=["promotion"], past=["temperature"]
    )


def parts(table, horizon=6, look_back=24):
    columns = columns_of(table, 0)
    splits = [Split.of(len(column), 0, 0.2, 0.2) for column in columns]
    values, known, observed = ([getattr(c, n) for c in columns] for n in
                               ("values", "known", "observed"))  # fmt: skip

    def of(ranges):
        return Origins(values, known, observed, ranges, look_back, horizon)

    return (
        columns,
        splits,
        [
            of([(look_back, s.train) for s in splits]),
            of([(s.train, s.validation) for s in splits]),
            of([(s.validation, s.test) for s in splits]),
        ],
    )


def make(table, kind, horizon=6, look_back=24):
    torch.manual_seed(0)
    names = feature_names(table)
    observed = table.past if kind == "segments" else ()
    size = 1 + len(names) + 4
    if kind == "segments":
        network = SegmentForecaster(
            GRU(16, 16), segment=6, horizon=horizon, columns=4, known=len(names),
            observed=len(observed), levels=LEVELS,
        )  # fmt: skip
    else:
        network = StepwiseForecaster(GRU(size, 16), columns=4, known=len(names), embedding_size=4)
    series = [series.name for series in table.series]
    return Forecaster(network, series, table.targets, names, observed, horizon, look_back, LEVELS)


def test_columns_are_numbered_and_have_features_of_the_calendar(table):
    columns = columns_of(table, 12)
    assert [(c.series, c.target) for c in columns] == [
        ("north", "sales"), ("north", "visits"), ("south", "sales"), ("south", "visits"),
    ]  # fmt: skip
    assert numbers_of(columns)["south", "sales"] == 3
    model = make(table, "segments")
    assert model.number_of("south", "sales") == 3
    assert model.number_of("west", "sales") == 0
    with pytest.raises(InputError, match="the model forecasts sales, visits, got 'sale'"):
        model.number_of("north", "sale")
    names = feature_names(table)
    assert names[:3] == ("promotion", "hour of day (sine)", "hour of day (cosine)")
    assert columns[0].known.shape == (300, len(names))  # the table knows no promotion ahead
    bare = tuple(replace(each, known=each.known[:, :0]) for each in table.series)
    calendar_alone = columns_of(replace(table, series=bare, known=()), 12)
    assert calendar_alone[0].known.shape == (312, len(names) - 1)
    assert calendar_alone[0].times[-1] - calendar_alone[0].times[299] == np.timedelta64(12, "h")


def test_scales_are_those_of_what_is_learned_from(table):
    columns, splits, _ = parts(table)
    parts_of = ("values", "known", "observed")
    changed = [replace(c, **{name: getattr(c, name).copy() for name in parts_of}) for c in columns]
    for column, split in zip(changed, splits, strict=True):
        column.values[split.train :] = 1e6
        column.known[split.train :] = 1e6
        column.observed[split.train :] = 1e6
    states = []
    for its in (columns, changed):
        model = make(table, "segments")
        model.fit_scales(its, [split.train for split in splits])
        states.append(model.state_dict())
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, msg=name)
    assert states[0]["network.scaling.mean"][1] == pytest.approx(200, rel=0.05)


def within(found, window):
    """The share of what came between the outer quantiles."""
    low, high = found.quantiles[..., 0], found.quantiles[..., -1]
    return ((low <= window.future) & (window.future <= high)).double().mean()


@pytest.mark.parametrize("kind", ["segments", "steps"])
def test_it_learns_the_wave_and_goes_on_with_the_table(kind, table, tmp_path):
    columns, splits, (train, validation, test) = parts(table)
    model = make(table, kind)
    model.fit_scales(columns, [split.train for split in splits])
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _, window in zip(range(250), train.batches(32, 0), strict=False):
        optimiser.zero_grad()
        model.loss(window).backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        [(window, _)] = validation.in_order(10_000, every=5)
        found = model(*window, is_calibrated=False)
        unit = model.network.scaling.unit(window.past, window.column)
        model.calibrate(found.quantiles, window.future, unit)
        wider = model(*window, generator=torch.Generator().manual_seed(0))
        again = model(*window, generator=torch.Generator().manual_seed(0), is_calibrated=False)
        assert within(again, window) < within(wider, window)
        if kind == "segments":  # of paths others are drawn
            assert 0.8 <= within(wider, window) < 0.9
        [(window, _)] = test.in_order(10_000, every=5)
        draw = torch.Generator().manual_seed(0)
        found = model(*window, generator=draw)
    scale = model.network.scaling.deviation[window.column][:, None]
    waves = window.column % 2 == 1
    error, of_last = (
        ((forecast - window.future) / scale)[waves].square().mean()
        for forecast in (found.mean, window.past[:, -1:])
    )
    assert error < 0.3 * of_last
    model.save_pretrained(tmp_path / kind)
    again = load(tmp_path / kind).eval()
    with pytest.raises(InputError, match="must reach 6 rows further"):
        window_of(columns[2], 3, 24, 6, torch.float32)
    window = window_of(_shorter(columns[2], 6), 3, 24, 6, torch.float32)
    draws = [torch.Generator().manual_seed(1) for _ in range(2)]
    with torch.no_grad():
        a, b = model(*window, generator=draws[0]), again(*window, generator=draws[1])
    torch.testing.assert_close(a.quantiles, b.quantiles)


def _shorter(column, steps):
    """A column without its last values, whose features reach as far as before."""
    end = len(column) - steps
    return replace(column, values=column.values[:end], observed=column.observed[:end])
