"""Data that change between a run and its going on."""

import shutil

import pytest

from commands import saiki
from saiki import cli
from saiki.experiments import load
from saiki.runs.fingerprint import changes, fingerprint
from tiny import TINY, book, tones


def of(name, folder, data):
    return fingerprint(load(name).from_dict({**TINY[name].settings, "data": str(data)}).data)


def test_sounds_that_change_are_told(tmp_path):
    data = tones(tmp_path)
    before = of("spoken-digits", tmp_path, data)
    assert changes(before, of("spoken-digits", tmp_path, data)) == ""
    shutil.copy(data / "low" / "1.wav", data / "low" / "0.wav")
    replaced = of("spoken-digits", tmp_path, data)
    assert changes(before, replaced) == "not all recordings are what they were"
    (data / "low" / "0.wav").unlink()
    removed = of("spoken-digits", tmp_path, data)
    assert changes(before, removed) == "there are 11 recordings instead of 12"
    (data / "low").rename(data / "deep")
    assert changes(removed, of("spoken-digits", tmp_path, data)) == (
        "not all classes are what they were, not all recordings are what they were"
    )


@pytest.mark.parametrize("name", ["translate", "sin-cos", "masked-lm"])
def test_rows_that_change_are_told(tmp_path, name):
    data = book(tmp_path) if name == "masked-lm" else TINY[name].data(tmp_path)
    before = of(name, tmp_path, data)
    lines = data.read_text().splitlines()
    data.write_text("\n".join([*lines[:5], lines[6], lines[5], *lines[7:]]) + "\n")
    assert "in another order" in changes(before, of(name, tmp_path, data)) or name == "masked-lm"
    data.write_text("\n".join(lines[:-1]) + "\n")
    assert "instead of" in changes(before, of(name, tmp_path, data))
    words = lines[0].replace(",", "\t").split("\t")
    data.write_text("\n".join([(words[0] + "1" + lines[0][len(words[0]) :]), *lines[1:]]) + "\n")
    assert "not all " in changes(before, of(name, tmp_path, data))


def test_texts_that_only_choose_the_threshold_and_votes_count_too(tmp_path):
    data, other = book(tmp_path), tmp_path / "other.txt"
    sentences = [f"A clean sentence of another kind, number {i}." for i in range(30)]

    def of_other(text):
        other.write_text(text)
        values = {**TINY["proofread"].settings, "data": str(data), "other": str(other)}
        return fingerprint(load("proofread").from_dict(values).data)

    before = of_other("\n\n".join(sentences))
    assert changes(before, of_other("\n\n".join(sentences))) == ""
    changed = of_other("\n\n".join([*sentences[:-1], "A clean sentence that is quite new."]))
    assert changes(before, changed) == "not all sentences of another kind are what they were"

    def of_votes(*votes):
        rows = [(f"text {i}", f"{i % 2}", f'{{"{i % 2}": {n}}}') for i, n in enumerate(votes)]
        table = tmp_path / "votes.tsv"
        table.write_text("".join("\t".join(row) + "\n" for row in rows))
        return of("sentences", tmp_path, table)

    before = of_votes(1, 2, 3, 4)
    assert changes(before, of_votes(1, 2, 3, 4)) == ""
    assert changes(before, of_votes(1, 2, 3, 5)) == "not all votes are what they were"


def test_a_run_goes_on_with_other_data_only_where_it_is_asked_to(tmp_path, capsys):
    flags, out = TINY["sin-cos"].flags(tmp_path, epochs=400.0, log_every=1000), tmp_path / "run"
    words = ["run", "sin-cos", *flags, "--out", str(out), "--checkpoint-seconds", "0"]
    stopped_after(monkeypatch := pytest.MonkeyPatch(), 5)
    assert cli.main(words) == 130
    monkeypatch.undo()
    data = tmp_path / "wave.csv"
    data.write_text(data.read_text().replace("0.000000", "0.100000", 1))
    resume = ["run", "sin-cos", "--out", str(out), "--resume"]
    code, _, err = saiki(*resume)
    assert code == 2
    assert err == [
        f"saiki run: the data of {out} have changed since it was stopped: not all points are what "
        "they were; put them back, or go on with --data-changed"
    ]
    assert saiki("finish", out)[0] == 2
    assert saiki(*resume, "--data-changed")[0] == 0


def stopped_after(monkeypatch, step):
    from saiki.runs.record import Record

    keep = Record.keep

    def keep_and_stop(record):
        keep(record)
        record.training.interrupted |= record.training.step == step

    monkeypatch.setattr(Record, "keep", keep_and_stop)
