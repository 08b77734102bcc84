"""A trained forecaster goes on: any horizon, tables, pictures, and rows as they arrive."""

import csv
import io
import json
import os
import random
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest

from commands import flags
from saiki import cli
from saiki.runs.reopen import reopen

pytestmark = pytest.mark.one_in(3)

ROWS, PAST = 120, 100
TINY = {
    "horizon": 4, "look_back": 12, "hidden_size": 8, "epochs": 3.0, "device": "cpu", "paths": 20,
    "every": 5,
}  # fmt: skip
KINDS = ("together", "one-by-one")


def lines(shops=("north", "south")):
    """The header, and rows of some shops, one after the other at each hour."""
    dice = np.random.default_rng(0)
    lines = ["when,shop,sold,visits"]
    for t in range(ROWS):
        for shop in shops:
            when = np.datetime64("2024-03-01T00") + np.timedelta64(t, "h")
            wave = 20 * (2 + np.sin(2 * np.pi * t / 24)) + dice.standard_normal()
            lines.append(f"{when},{shop},{wave:.3f},{wave / 2 + dice.standard_normal():.3f}")
    return lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The first rows as a table, and a run of each kind that has learned from them."""
    folder = tmp_path_factory.mktemp("follow")
    table = folder / "past.csv"
    table.write_text("\n".join(lines()[: 1 + 2 * PAST]) + "\n")
    for steps in KINDS:
        knobs = {**TINY, "data": table, "target": "sold,visits", "series": "shop", "steps": steps}
        if steps == "together":
            knobs |= {"segment": 4}
        assert cli.main(["run", "forecast", *flags(**knobs), "--out", str(folder / steps)]) == 0
    return folder


def predicted(capsys, *words, command="predict"):
    """Exit code, JSON objects and sentences of a command."""
    capsys.readouterr()
    code = cli.main([command, *map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, [json.loads(line) for line in out.splitlines()], err.splitlines()


def followed(monkeypatch, capsys, text, *words):
    data = text if isinstance(text, bytes) else text.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return predicted(capsys, *words, command="follow")


def assert_close(forecasts, wanted):
    assert [{k: row[k] for k in ("time", "series", "target")} for row in forecasts] == [
        {k: row[k] for k in ("time", "series", "target")} for row in wanted
    ]
    numbers = [[[row["mean"], *row["quantiles"].values()] for row in rows] for rows in
               (forecasts, wanted)]  # fmt: skip
    np.testing.assert_allclose(*numbers, rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("steps", KINDS)
@pytest.mark.parametrize("begin", ["with a table", "without", "new series"])
def test_the_numbers_are_those_of_the_whole_table(steps, begin, folder, monkeypatch, capsys):
    """After every row, of two series in turn."""
    rows = lines(("north", "west") if begin == "new series" else ("north", "south"))
    paths = [folder / steps] + [folder / "past.csv"] * (begin != "without")
    start = 1 + 2 * PAST if begin == "with a table" else 1
    if begin == "new series":  # the table has no west
        rows = [rows[0], *(row for row in rows if ",west," in row)]
    stop = min(len(rows), start + 24)
    code, followed_rows, _ = followed(
        monkeypatch, capsys, "\n".join(rows[:1] + rows[start:stop]), *paths, "--horizon", 2
    )
    assert code == 0
    assert len(followed_rows) == 4 * (stop - start)
    for end in (start + 6, start + 7, stop):
        table = folder / "so-far.csv"
        table.write_text("\n".join(rows[:end]))
        _, wanted, _ = predicted(capsys, folder / steps, table, "--horizon", 2)
        name = rows[end - 1].split(",")[1]
        wanted = [row for row in wanted if row["series"] == name]
        at = 4 * (end - start)
        assert_close(followed_rows[at - 4 : at], wanted)


@pytest.mark.parametrize("steps", KINDS)
def test_fewer_rows_are_the_first_and_more_are_gone_on_to_or_refused(steps, folder, capsys):
    run, table = folder / steps, folder / "past.csv"
    _, usual, err = predicted(capsys, run, table)
    assert (len(usual), err) == (16, [])
    _, first, _ = predicted(capsys, run, table, "--horizon", 1)
    assert_close(first, usual[::4])
    code, more, err = predicted(capsys, run, table, "--horizon", 7)
    if steps == "together":
        assert (code, more) == (2, [])
        assert "4 rows at once and no more, got the horizon 7; train one with --horizon 7" in err[0]
    else:
        assert (code, len(more), len(err)) == (0, 28, 1)
        assert "calibrated, 4 rows ahead; further ahead the margin of the last" in err[0]
        assert_close(more[:4], usual[:4])


def test_what_was_done_to_a_table_is_told(folder, tmp_path, capsys):
    """The newest row first, no number in the last one, a row that is missing."""
    head, *rows = (folder / "past.csv").read_text().splitlines()
    run, table = folder / "together", tmp_path / "table.csv"
    north = [row for row in rows if ",north," in row]
    table.write_text("\n".join([head, *north[::-1]]))
    _, forecasts, err = predicted(capsys, run, table)
    _, wanted, _ = predicted(capsys, run, folder / "past.csv")
    assert_close(forecasts, wanted[:8])
    assert len(err) == 1
    assert "the newest row came first, so the order was turned round" in err[0]
    table.write_text("\n".join([head, *north, "2024-03-05T04,north,NaN,"]))
    _, forecasts, err = predicted(capsys, run, table)
    assert_close(forecasts, wanted[:8])
    assert "rows at the end left out because all targets are empty: 1" in err[0]
    table.write_text("\n".join([head, *north[:50], *north[51:]]))
    code, forecasts, err = predicted(capsys, run, table)
    assert (code, forecasts) == (2, [])
    assert "lacks 1 row" in err[0]
    code, forecasts, err = predicted(capsys, run, table, "--gaps", "linear")
    assert (code, len(forecasts)) == (0, 8)
    assert "empty cells filled with values on a line between their neighbours: 2" in err[0]


@pytest.mark.parametrize("name", ["forecast.csv", "forecast.tsv"])
def test_a_table_and_a_picture_of_what_comes(name, folder, tmp_path, capsys):
    run, table, out = folder / "together", folder / "past.csv", tmp_path / "new" / name
    picture = tmp_path / "forecast.png"
    flags = ["--out", str(out), "--picture", str(picture)]
    assert cli.main(["predict", str(run), str(table), *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), lines[-1]) == (17, str(out))
    with out.open(newline="") as file:
        rows = [*csv.DictReader(file, delimiter="\t" if name.endswith("tsv") else ",")]
    _, wanted, _ = predicted(capsys, run, table)
    assert [*rows[0]] == [
        "time", "series", "target", "forecast", "low_95", "low_80", "median", "high_80", "high_95",
    ]  # fmt: skip
    assert [row["time"] for row in rows] == [row["time"] for row in wanted]
    for row, same in zip(rows, wanted, strict=True):
        assert float(row["forecast"]) == pytest.approx(same["mean"], rel=1e-6)
        assert float(row["high_80"]) == pytest.approx(same["quantiles"]["0.9"], rel=1e-6)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in out.parent.iterdir()) == [name]


@pytest.mark.parametrize(
    ("flag", "name", "sentence"),
    [
        ("--out", "past.csv", "past.csv is what is read; have the answer written to another file"),
        ("--picture", "past.csv", "past.csv is what is read"),
        ("--out", "new.parquet", "a table of forecasts is written as .csv or .tsv, got"),
        ("--out", ".", "a table of forecasts is written as .csv or .tsv, got"),
    ],
)
def test_what_is_read_is_not_written_over(flag, name, sentence, folder, tmp_path, capsys):
    table = tmp_path / "past.csv"
    table.write_bytes((folder / "past.csv").read_bytes())
    flags = [str(table), flag, str(tmp_path / name)]
    assert cli.main(["predict", str(folder / "together"), *flags]) == 2
    assert sentence in capsys.readouterr().err
    assert table.read_bytes() == (folder / "past.csv").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["past.csv"]


def test_rows_that_do_not_fit_get_a_sentence_and_the_others_an_answer(folder, monkeypatch, capsys):
    rows, run = lines()[1 + 2 * PAST :], folder / "one-by-one"
    north = [row for row in rows if ",north," in row]
    arriving = [
        lines()[0], north[0], north[0], north[2], "2024-03-05T04:30,north,1,1", "x,north,1,1",
        "2024-03-05T05+01:00,north,1,1", lines()[5], "2024-03-05T05,north,NaN,1", north[1],
    ]  # fmt: skip
    code, answers, err = followed(
        monkeypatch, capsys, "\n".join(arriving), run, folder / "past.csv", "--horizon", 1
    )
    assert (code, len(answers), len(err)) == (2, 4, 7)
    for sentence, message in zip(
        ("no date or time", "again in line 3", "lacks 1 row", "not regular",
         "with its distance to UTC", "after 2024-03-05 04:00 in line 8", "nothing in the column"),
        sorted(err, key=lambda line: "no date or time" not in line), strict=True,
    ):  # fmt: skip
        assert sentence in message
    code, answers, err = followed(
        monkeypatch, capsys, "\n".join([arriving[0], north[0], north[2], north[3]]), run,
        folder / "past.csv", "--horizon", 1, "--gaps", "last",
    )  # fmt: skip
    assert (code, len(answers), len(err)) == (0, 6, 1)
    assert "north 2024-03-05 06:00: rows put in where they were missing: 1" in err[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("when,shop,sold\n2024-03-05T04,north,1\n", "standard input has no column 'visits'"),
        ("1,2,3,4\n", "standard input has no column 'sold': it has no header"),
        ("shop,sold,visits\nnorth,1,2\n", "line 2 of standard input has no time"),
        ("x" * 2**21, "a line of more than 1,048,576 bytes"),
    ],
)
def test_what_has_other_columns_is_refused(text, sentence, folder, monkeypatch, capsys):
    code, answers, err = followed(monkeypatch, capsys, text, folder / "together")
    assert (code, answers, len(err)) == (2, [], 1)
    assert sentence in err[0]


def test_nothing_to_follow_is_no_trouble(folder, monkeypatch, capsys):
    assert followed(monkeypatch, capsys, "", folder / "together") == (0, [], [])
    with pytest.raises(SystemExit) as end:
        cli.main(["follow", str(folder / "together"), "--out", "x.csv"])
    assert end.value.code == 2
    assert "unrecognized arguments: --out" in capsys.readouterr().err


@pytest.mark.long
def test_an_answer_comes_before_the_next_row_and_a_reader_may_leave(folder):
    """As a process of its own, on pipes."""
    rows = lines()[1 + 2 * PAST :]
    words = ["follow", str(folder / "one-by-one"), str(folder / "past.csv")]
    command = [sys.executable, "-m", "saiki", *words, "--horizon", "1"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:  # fmt: skip
        stop = threading.Timer(120, process.kill)
        stop.start()
        for row in rows[:3]:  # without a header, as the table has them
            process.stdin.write(f"{row}\n".encode())
            assert {process.stdout.readline()[:10] for _ in "12"} == {b"2024-03-05"}
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.write("\n".join(rows[3:]).encode())
            process.stdin.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""
        stop.cancel()


def known_table(path, rows):
    path.write_text("\n".join(["day,load,sale", *rows]))
    return path


def test_what_is_known_beforehand_is_given_before(tmp_path, monkeypatch, capsys):
    days = [np.datetime64("2024-01-01") + np.timedelta64(t, "D") for t in range(270)]
    rows = [f"{day},{10 + 5 * (t % 3 == 0)},{int(t % 3 == 0)}" for t, day in enumerate(days)]
    knobs = {**TINY, "data": known_table(tmp_path / "past.csv", rows[:250]), "target": "load",
             "known": "sale", "steps": "one-by-one", "horizon": 2}  # fmt: skip
    assert cli.main(["run", "forecast", *flags(**knobs), "--out", str(tmp_path / "run")]) == 0
    future = [f"{days[t]},,{int(t % 3 == 0)}" for t in range(250, 254)]
    text = "\n".join(["day,load,sale", *future[:3], rows[250], rows[251]])
    code, answers, err = followed(monkeypatch, capsys, text, tmp_path / "run", knobs["data"])
    assert (code, len(answers)) == (2, 2)
    assert err == [
        "saiki follow: to forecast 2 steps, what is known beforehand must reach 1 rows further"
    ]
    table = known_table(tmp_path / "now.csv", [*rows[:251], *future[1:3]])
    _, wanted, _ = predicted(capsys, tmp_path / "run", table)
    assert_close(answers, wanted)


def test_lines_among_which_no_row_ever_comes_are_told(folder, monkeypatch, capsys):
    for text in (lines()[0], "\n".join(lines()[:9]).replace("\n", " ")):
        code, answers, err = followed(monkeypatch, capsys, text, folder / "one-by-one")
        assert (code, answers) == (2, [])
        assert err == ["saiki follow: standard input ended before a row of numbers came"]


def test_a_name_is_told_without_what_a_terminal_would_act_on(folder, monkeypatch, capsys):
    text = "\n".join([lines()[0], lines()[1].replace("north", "no\x1brth")])
    words = folder / "one-by-one", "--horizon", 1
    _, answers, [message] = followed(monkeypatch, capsys, text, *words)
    assert {each["series"] for each in answers} == {"no\x1brth"}
    assert message.startswith("saiki follow: no\\u001brth begins")


def mutated(text, dice):
    """The text with some bytes, cells, rows or columns changed."""
    data = bytearray(text, "utf-8")
    rows = [row.split(",") for row in text.splitlines()]
    match dice.randrange(9):
        case 0:
            for _ in range(dice.choice((1, 3, 30))):
                data[dice.randrange(len(data))] = dice.randrange(256)
            return bytes(data)
        case 1:
            return bytes(data[: dice.randrange(len(data))])
        case 2:
            dice.shuffle(rows)
        case 3:
            rows.reverse()
        case 4:
            name = dice.randrange(len(rows[0]))
            rows = [row[:name] + row[name + 1 :] for row in rows]
        case 5:
            for _ in range(dice.choice((1, 5, 50))):
                row = dice.choice(rows)
                row[dice.randrange(len(row))] = dice.choice(
                    ("", "NaN", "inf", "1e300", '"', "1,5", "x" * 9999, "-", "2024-13-45", "\0")
                )
        case 6:
            at = dice.randrange(len(rows))
            rows[at : at + dice.choice((1, 20))] = []
        case 7:
            at = dice.randrange(len(rows))
            rows[at:at] = rows[at : at + dice.choice((1, 20))]
        case _:
            text = text.replace(dice.choice((",", "T", "\n", "north", ".", "2024")),
                                dice.choice((";", "", " ", "\t", '"', "+09:00", "\r")))  # fmt: skip
            return text.encode()
    return "\n".join(",".join(row) for row in rows).encode()


@pytest.mark.parametrize("steps", KINDS)
def test_a_damaged_table_or_stream_is_answered_or_refused(
    steps, folder, tmp_path, monkeypatch, capsys
):
    """In a sentence each, whatever stands in it."""
    dice, refused = random.Random(0), 0
    count = int(os.environ.get("SAIKI_MUTATIONS", "12"))
    text = "\n".join(lines())
    path, opened = tmp_path / "table.csv", reopen(folder / steps)
    monkeypatch.setattr("saiki.runs.reopen.reopen", lambda folder: opened)
    for number in range(count):
        if number % 2:
            data = mutated("\n".join(lines()[:40]), dice)
            code, answers, err = followed(monkeypatch, capsys, data, folder / steps, "--horizon", 1)
        else:
            path.write_bytes(mutated(text, dice))
            code, answers, err = predicted(capsys, folder / steps, path, "--horizon", 1)
        assert code in (0, 2)
        assert answers or err
        assert all(line.startswith(("saiki predict: ", "saiki follow: ")) for line in err)
        refused += code == 2
    assert refused


def test_the_state_is_kept_and_nothing_is_read_again(folder, monkeypatch):
    experiment, model = reopen(folder / "one-by-one")
    steps = []
    layer = type(model.network.layer).forward
    monkeypatch.setattr(
        type(model.network.layer), "forward",
        lambda self, x, *rest: steps.append(x.shape[1]) or layer(self, x, *rest),
    )  # fmt: skip
    rows = [line.encode() for line in lines()]
    arriving = [[row] for row in rows[1 + 2 * PAST :][:6]]
    nearest = experiment.changed({"horizon": 1})
    answers = [*nearest.follow(model, [str(folder / "past.csv")], arriving)]
    assert len(answers) == 6
    assert steps == [PAST, PAST]
