"""The benchmarks by name: listed, found, told what they need, and what they miss."""

import json
import sys
from types import SimpleNamespace

import pytest

from commands import refused, saiki
from saiki import bench
from saiki.bench.harness import Timing, in_words, row

HERE = [name for name in bench.BENCHMARKS if name != "forecast-laws"]


def test_all_are_listed_without_a_name():
    code, lines, _ = saiki("bench")
    assert code == 0
    assert [line.split()[0] for line in lines] == [*bench.BENCHMARKS]
    modules = {path.stem for path in (bench.SOURCE / "benchmarks").glob("*.py")}
    elsewhere = {n.replace("-", "_") for n in bench.BENCHMARKS} - bench.OF_LAYERS
    assert modules - {"updates"} == elsewhere


@pytest.mark.parametrize("name", HERE)
def test_each_is_there_and_says_its_options(name):
    if name == "quantiser":
        pytest.importorskip("vector_quantize_pytorch")
    code, lines, err = saiki("bench", name, "--help")
    assert (code, err) == (0, [])
    assert any("--json FILE" in line for line in lines)


def test_one_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no benchmark 'cels'; there are cells, grid" in refused("bench", "cels")
    monkeypatch.setitem(sys.modules, "darts", None)
    assert "forecast-laws needs the package darts" in refused("bench", "forecast-laws")
    monkeypatch.setattr(bench, "SOURCE", tmp_path)
    assert "dialogue lies beside the source of saiki" in refused("bench", "dialogue")
    assert bench.load("grid").SHAPES  # which comes with saiki


def test_what_is_missed_ends_with_1_and_all_rows_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def rows(count: int, share: float = 0.5):
        yield row("work", (count, share), {"saiki": Timing.of([1.0, 3.0]), "torch": Timing.of([8])})
        yield {"workload": "more", "missed": "by far"}

    monkeypatch.setattr(bench, "load", lambda name: SimpleNamespace(
        __doc__="Work.", rows=rows, summary=lambda rows: f"{len(rows)} rows"))  # fmt: skip
    assert "--count" in refused("bench", "work")
    code, lines, _ = saiki("bench", "work", "--count", 2, "--json", "figures.json")
    assert code == 1
    assert lines[-6:] == [
        "work: size (2, 0.5)",
        "  saiki                        milliseconds 2000.0, spread [1000.0, 3000.0]",
        "  torch                        milliseconds 8000.0, spread [8000.0, 8000.0], ratio 4.0",
        "more: missed by far",
        "2 rows",
        "figures.json",
    ]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [each["workload"] for each in figures["rows"]] == ["work", "more"]


def test_a_row_without_contenders_is_one_line():
    assert in_words({"workload": "w", "mse": 0.5, "of": [1, 2]}) == "w: mse 0.5, of [1, 2]"
