"""Several processes as torchrun starts them, and one alone."""

import itertools
import json

import pytest
import torch

from forked import together
from saiki import processes


def tell():
    long = bytes(i * i % 251 for i in range(100_000))
    cases = {"none": None, "empty": b"", "one": b"\x00", "long": long}
    with processes.joined():
        first = processes.is_first()
        values = torch.tensor([10.0 ** processes.rank(), 1.0], dtype=torch.float64)
        whole = torch.tensor([processes.rank() + 2**53])
        received = {
            name: processes.from_first(data if first else None) for name, data in cases.items()
        }
        report = {
            "count": processes.count(),
            "rank": processes.rank(),
            "first": first,
            "parts": [[(p := processes.part(rows)).start, p.stop] for rows in range(20)],
            "total": processes.total(values).tolist(),
            "whole": processes.total(whole).tolist(),
            "kept": values.tolist(),
            "heard": [name for name, data in cases.items() if received[name] == data],
            "others": processes.from_first(b"first" if first else b"another").decode(),
        }
        changes = torch.zeros(4, 3)
        changes[0] = torch.tensor([1.0, 2.0, 3.0])
        changes[1, processes.rank()] = 2.0
        changes[2, 0] = 5.0 if first else 0.0
        report["combined"] = processes.combined(torch.ones(4, 3), 1 + changes).tolist()
        mine = torch.full((2 * processes.rank() + 1, 2), processes.rank())
        report["gathered"] = processes.gathered(mine)[:, 1].tolist()
        print(json.dumps(report))
    assert processes.count() == 1  # left again


@pytest.fixture(scope="module", params=[2, 3])
def several(request):
    """What each of so many processes tells."""
    return [json.loads(out) for out in together(request.param, tell)]


def test_what_all_have_is_gathered_however_much_each_has(several):
    for report in several:
        assert report["gathered"] == [0, 1, 1, 1, *[2] * 5][: 4 if len(several) == 2 else 9]


def test_each_process_knows_its_place(several):
    count = len(several)
    assert [report["rank"] for report in several] == list(range(count))
    assert [report["count"] for report in several] == [count] * count
    assert [report["first"] for report in several] == [True] + [False] * (count - 1)


def test_the_parts_cover_every_batch_once_and_are_as_even_as_can_be(several):
    for rows in range(20):
        parts = [report["parts"][rows] for report in several]
        ends = [0, *(stop for _, stop in parts)]
        assert parts == [list(pair) for pair in itertools.pairwise(ends)]
        assert ends[-1] == rows
        sizes = [stop - start for start, stop in parts]
        assert max(sizes) - min(sizes) <= 1


def test_totals_are_sums_over_all_and_leave_the_values_alone(several):
    count = len(several)
    want = [float("1" * count), float(count)]
    for rank, report in enumerate(several):
        assert report["total"] == want
        assert report["kept"] == [10.0**rank, 1]
        # whole numbers stay whole: no float32 on the way
        assert report["whole"] == [count * 2**53 + sum(range(count))]


def test_all_hear_what_the_first_has(several):
    for report in several:
        assert report["heard"] == ["none", "empty", "one", "long"]
        assert report["others"] == "first"


def test_changes_add_up_as_far_as_they_differ(several):
    turned = [3.0] * len(several) + [1.0] * (3 - len(several))
    for report in several:
        same, at_right_angles, of_one, none = report["combined"]
        assert same == pytest.approx([2, 3, 4])
        assert at_right_angles == pytest.approx(turned)
        assert (of_one, none) == ([6, 1, 1], [1, 1, 1])
        assert report["combined"] == several[0]["combined"]


def test_alone_everything_is_as_it_is_given(monkeypatch):
    values = torch.randn(3)
    for setting in ({}, {"WORLD_SIZE": "1"}):
        for name, value in setting.items():
            monkeypatch.setenv(name, value)
        with processes.joined():
            assert (processes.count(), processes.rank(), processes.is_first()) == (1, 0, True)
            assert processes.part(7) == slice(0, 7)
            assert processes.total(values) is values
            assert processes.combined(torch.zeros(3), values) is values
            for data in (None, b"", b"\x00", bytes(100_000)):
                assert processes.from_first(data) == data
