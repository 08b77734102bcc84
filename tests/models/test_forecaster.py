"""From a table to forecasts: numbers of columns, scales, calibration, and going on with a table."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from saiki.cells import GRU
from saiki.data.dataset import passes
from saiki.data.series.features import calendar_names, columns_of
from saiki.data.series.origins import Origins, Split, Timelines
from saiki.data.series.series_table import read_series
from saiki.errors import InputError
from saiki.models.forecaster import Forecaster
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


def known_of(table):
    return calendar_names(table, [len(each) for each in table.series])


def parts(table, horizon=6, look_back=24):
    columns = columns_of(table, 0, known_of(table))
    splits = [Split.of(len(column), 0, 0.2, 0.2) for column in columns]
    values, known, observed = ([getattr(c, n) for c in columns] for n in
                               ("values", "known", "observed"))  # fmt: skip

    timelines = Timelines(values, known, observed, look_back, horizon)

    def of(ranges):
        return Origins(timelines, ranges)

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
    names = (*table.known, *known_of(table))
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
    names = known_of(table)
    columns = columns_of(table, 12, names)
    assert [(c.series, c.target) for c in columns] == [
        ("north", "sales"), ("north", "visits"), ("south", "sales"), ("south", "visits"),
    ]  # fmt: skip
    model = make(table, "segments")
    assert model.number_of("south", "sales") == 3
    assert model.number_of("west", "sales") == 0
    with pytest.raises(InputError, match="the model forecasts sales, visits, got 'sale'"):
        model.number_of("north", "sale")
    assert names == ("hour of day (sine)", "hour of day (cosine)")  # of twelve days
    assert columns[0].known.shape == (300, 3)  # the table knows no promotion ahead
    bare = tuple(replace(each, known=each.known[:, :0]) for each in table.series)
    calendar_alone = columns_of(replace(table, series=bare, known=()), 12, names)
    assert calendar_alone[0].known.shape == (312, 2)
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
    for values in (columns, changed):
        model = make(table, "segments")
        model.fit_scales(values, [split.train for split in splits])
        states.append(model.state_dict())
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, msg=name)
    assert states[0]["network.scaling.mean"][1] == pytest.approx(200, rel=0.05)


def within(predicted, window):
    """The share of what came between the outer quantiles."""
    low, high = predicted.quantiles[..., 0], predicted.quantiles[..., -1]
    return ((low <= window.future) & (window.future <= high)).double().mean()


@pytest.mark.parametrize("kind", ["segments", "steps"])
def test_it_learns_the_wave_and_goes_on_with_the_table(kind, table, tmp_path):
    columns, splits, (train, validation, test) = parts(table)
    model = make(table, kind)
    model.fit_scales(columns, [split.train for split in splits])
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for rows, _ in itertools.islice(passes(len(train), 32, 0), 250):
        window = train.window(rows)
        optimiser.zero_grad()
        model.loss(window).backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        [(window, _)] = validation.in_order(10_000, every=5)
        random = model(*window, is_calibrated=False)
        unit = model.network.scaling.unit(window.past, window.column)
        model.calibrate(random.quantiles, window.future, unit)
        wider = model(*window, generator=torch.Generator().manual_seed(0))
        restored = model(*window, generator=torch.Generator().manual_seed(0), is_calibrated=False)
        assert abs(within(wider, window) - 0.8) < abs(within(restored, window) - 0.8)
        if kind == "segments":  # of paths others are drawn
            assert 0.8 <= within(wider, window) < 0.9
        [(window, _)] = test.in_order(10_000, every=5)
        draw = torch.Generator().manual_seed(0)
        random = model(*window, generator=draw)
    scale = model.network.scaling.deviation[window.column][:, None]
    waves = window.column % 2 == 1
    error, of_last = (
        ((forecast - window.future) / scale)[waves].square().mean()
        for forecast in (random.mean, window.past[:, -1:])
    )
    assert error < 0.3 * of_last
    model.save_pretrained(tmp_path / kind)
    restored = load(tmp_path / kind).eval()
    a, b = (ahead(each, columns[2], 294, 6) for each in (model, restored))
    torch.testing.assert_close(a.quantiles, b.quantiles)


def remembered(model, column, end, begin=0, number=3, memory=None):
    """What is kept of a column up to a row."""
    parts = [
        torch.from_numpy(part[begin:end])[None]
        for part in (column.values, column.known, column.observed[:, : len(model.observed)])
    ]
    if memory is not None:
        return model.go_on(memory, *parts)
    return model.remember(parts[0], torch.tensor([number]), *parts[1:])


def ahead(model, column, end, horizon, memory=None, number=3):
    """What comes after a row, by what is kept up to it."""
    memory = memory or remembered(model, column, end, number=number)
    known = torch.from_numpy(column.known[end : end + model.reach(horizon)])[None]
    return model.ahead(memory, known, horizon, 20, torch.Generator().manual_seed(0))


def untrained(table, kind):
    """A model with scales and margins, in double precision."""
    columns, splits, _ = parts(table)
    model = make(table, kind).double().eval()
    model.fit_scales(columns, [split.train for split in splits])
    model.calibration.margins.copy_(torch.rand(6, 1, 1))
    return model, columns[2]


@pytest.mark.parametrize("kind", ["segments", "steps"])
@pytest.mark.parametrize("number", [3, 0])
def test_a_series_that_is_followed_is_forecast_as_from_the_whole_table(kind, number, table):
    """Row by row, several at once, with a gap, from more rows than are read at once or fewer."""
    model, column = untrained(table, kind)
    column = replace(column, values=column.values.copy())
    column.values[[33, 60]] = np.nan
    memory, end = remembered(model, column, 10, number=number), 10
    for further in (11, 12, 13, 20, 34, 61, 62, 100):
        memory, end = remembered(model, column, further, end, number, memory), further
        for horizon in (1, 4):
            fans = ahead(model, column, end, horizon, memory)
            wanted = ahead(model, column, end, horizon, number=number)
            torch.testing.assert_close(fans.mean, wanted.mean, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(fans.quantiles, wanted.quantiles, rtol=1e-9, atol=1e-9)


def test_long_series_are_read_in_pieces(table, monkeypatch):
    model, column = untrained(table, "steps")
    whole = ahead(model, column, 200, 3)
    monkeypatch.setattr("saiki.models.forecaster.PIECE", 7)
    torch.testing.assert_close(ahead(model, column, 200, 3), whole)


@pytest.mark.parametrize("kind", ["segments", "steps"])
def test_fewer_steps_are_the_first_of_more(kind, table):
    model, column = untrained(table, kind)
    more = ahead(model, column, 200, 6)
    for horizon in (1, 2, 5):
        fewer = ahead(model, column, 200, horizon)
        torch.testing.assert_close(fewer.mean, more.mean[:, :horizon])
        torch.testing.assert_close(fewer.quantiles, more.quantiles[:, :horizon])


def test_steps_that_go_one_by_one_go_on_beyond_what_was_learned(table):
    """With the margin of the last step that was calibrated."""
    model, column = untrained(table, "steps")
    fans = ahead(model, column, 200, 20)
    model.calibration.margins.zero_()
    bare = ahead(model, column, 200, 20)
    model.calibration.margins.copy_(torch.rand(6, 1, 1))
    wider = (bare.quantiles - fans.quantiles)[0, :, 0]
    assert wider.shape == (20,)
    torch.testing.assert_close(wider[6:], wider[5].expand(14))
    assert ((wider[:5] - wider[5]).abs() > 1e-3).all()
    model, column = untrained(table, "segments")
    with pytest.raises(InputError, match=r"6 rows at once .* --horizon 20, .* --steps one-by-one"):
        ahead(model, column, 200, 20)


def test_a_name_may_not_stand_twice():
    network = SegmentForecaster(GRU(4, 4), None, 2, 4, 1, 0, 0)
    with pytest.raises(InputError, match=r"no name may stand twice, got \['load', 'load'\]"):
        Forecaster(network, [""], ["load", "load"], (), (), 4, 8)
