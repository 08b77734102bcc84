"""What may be done to a picture, and what is drawn."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from saiki.data.images.augmentation import (
    REPORT,
    Augmentation,
    Mixing,
    read_policy,
    techniques,
    write_policy,
)
from saiki.data.images.changes import Box, Changes
from saiki.errors import InputError

ALL = Augmentation(
    flip_horizontal=0.5, flip_vertical=0.3, quarter_turns=3, rotation=20.0, shift=0.1, crop=0.4,
    brightness=0.3, contrast_from=0.5, contrast_to=1.5, saturation=0.2, hue=0.1, blur=0.05,
    noise=0.2, erasing=0.3,
)  # fmt: skip


def draws(augmentation, count=2000):
    return [augmentation.draw(7, i) for i in range(count)]


def test_nothing_is_done_without_a_word():
    assert Augmentation().on == []
    assert set(draws(Augmentation(), 50)) == {Changes()}
    assert not any(Changes().row().values())


def test_each_change_is_drawn_evenly_up_to_its_bound():
    every = draws(ALL)
    for name, low, high in (
        ("rotation", -20, 20), ("shift_right", -0.1, 0.1), ("shift_down", -0.1, 0.1),
        ("brightness", 0.7, 1.3), ("contrast", 0.5, 1.5), ("saturation", 0.8, 1.2),
        ("hue", -0.1, 0.1), ("blur", 0, 0.05), ("noise", 0, 0.2),
    ):  # fmt: skip
        values = np.array([getattr(changes, name) for changes in every])
        assert low <= values.min() < low + 0.02 * (high - low), name
        assert high - 0.02 * (high - low) < values.max() <= high, name
        quarters = np.histogram(values, 4, (low, high))[0] / len(values)
        assert np.abs(quarters - 0.25).max() < 0.04, name
    assert abs(np.mean([changes.flip_horizontal for changes in every]) - 0.5) < 0.04
    assert abs(np.mean([changes.flip_vertical for changes in every]) - 0.3) < 0.04
    turns = np.bincount([changes.quarter_turns for changes in every]) / len(every)
    assert np.abs(turns - 0.25).max() < 0.04
    assert abs(np.mean([changes.erasing is not None for changes in every]) - 0.5) < 0.04
    for boxes, areas in (
        ([changes.crop for changes in every], (0.6, 1.0)),
        ([changes.erasing for changes in every if changes.erasing], (0.0, 0.3)),
    ):
        shares = np.array([box.width * box.height for box in boxes])
        assert areas[0] - 1e-9 < shares.min() < areas[0] + 0.02
        assert areas[1] - 0.02 < shares.max() <= areas[1] + 1e-9
        assert all(0 <= box.x <= 1 - box.width + 1e-9 for box in boxes)
        assert all(0 <= box.y <= 1 - box.height + 1e-9 for box in boxes)


@pytest.mark.parametrize("bound", [0.01, 0.05, 0.2])
def test_a_small_crop_cuts_no_more_away_than_it_may(bound):
    boxes = [changes.crop for changes in draws(Augmentation(crop=bound))]
    areas = np.array([box.width * box.height for box in boxes])
    assert 1 - bound - 1e-9 < areas.min() < 1 - 0.98 * bound
    assert max(box.width for box in boxes) <= 1
    assert max(box.height for box in boxes) <= 1


def test_the_report_is_as_it_says():
    every = draws(REPORT, 500)
    assert {changes.quarter_turns for changes in every} == {0, 1, 2}
    assert all(0.4 <= changes.contrast <= 0.6 for changes in every)
    assert (
        min(changes.brightness for changes in every)
        < 0.25
        < 1.75
        < max(i.brightness for i in every)
    )
    assert max(abs(changes.hue) for changes in every) <= 0.1
    assert {changes.rotation for changes in every} == {0.0}
    assert REPORT.on == [
        "flip_horizontal", "flip_vertical", "quarter_turns", "brightness", "contrast_from",
        "contrast_to", "hue",
    ]  # fmt: skip


def test_what_is_drawn_follows_from_the_key_and_no_knob_disturbs_another():
    assert ALL.draw(1, 2, 3) == ALL.draw(1, 2, 3) != ALL.draw(1, 2, 4)
    whole = ALL.draw(5)
    off = Augmentation()
    for name in ALL.on:
        if name.startswith("contrast"):
            continue
        others = ALL.changed({name: getattr(off, name)}).draw(5)
        changed = [f.name for f in dataclasses.fields(whole)
                   if getattr(whole, f.name) != getattr(others, f.name)]  # fmt: skip
        own = {"shift": {"shift_right", "shift_down"}, "noise": {"noise", "seed"}}
        assert set(changed) <= own.get(name, {name})


def test_a_box_has_a_pixel_at_least_and_lies_in_the_picture():
    assert Box(0.25, 0.5, 0.5, 0.25).pixels(8, 16) == (4, 4, 2, 8)
    assert Box(0.999, 0.999, 0.001, 0.001).pixels(5, 7) == (4, 6, 1, 1)
    for changes in draws(ALL, 200):
        row, column, height, width = changes.crop.pixels(3, 5)
        assert 0 <= row <= 3 - height
        assert 0 <= column <= 5 - width


def test_a_policy_is_written_and_read_back(tmp_path):
    path = write_policy(tmp_path / "policy.json", ALL, 3, mixup=0.2)
    assert read_policy(path) == (ALL, 3)
    known = json.loads(path.read_text())
    for wrong, what in (
        ({**known, "augmentation": {"flip": 1.0}}, "policy.json: there is no knob 'flip'"),
        ({**known, "augmentation": {"hue": 2.0}}, "policy.json: hue must be a number from 0"),
        ({**known, "augmentation": []}, "is no policy of augmentation"),
        ({**known, "seed": -1}, "is no policy of augmentation"),
        ({}, "is no policy of augmentation"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=what):
            read_policy(path)
    path.write_text("no")
    with pytest.raises(InputError, match=r"policy\.json cannot be read as JSON"):
        read_policy(path)


def test_ends_of_the_contrast_must_be_in_order():
    with pytest.raises(InputError, match="contrast_from must not be above contrast_to"):
        Augmentation(contrast_from=0.8, contrast_to=0.4)


def test_techniques_grow_from_weak_to_strong():
    rows = techniques(0)
    for name in ("rotation", "shift_right", "hue", "blur", "noise"):
        [row] = [row for row in rows.values() if all(getattr(c, name) for c in row.values())]
        values = [getattr(changes, name) for changes in row.values()]
        assert values == sorted(values)
        assert len({*values}) == len(values) == 6
    for name in ("crop", "erasing"):
        sides = [getattr(changes, name).width for changes in rows[name].values()]
        assert sides == sorted(sides, reverse=name == "crop")
    assert rows["horizontal flip"]["p = 1.0"].flip_horizontal
    assert not rows["horizontal flip"]["p = 0.0"].flip_horizontal


@pytest.mark.parametrize("what", ["Augmentation().build()", "Mixing(mixup=1.0).build(2)"])
def test_without_torchvision_one_sentence_says_how_to_get_it(what):
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from saiki.data.images.augmentation import Augmentation, Mixing\n"
        f"Augmentation(hue=0.1).draw(0); Mixing().build(2)\n{what}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1].endswith(
        "InputError: to change images needs torchvision: pip install 'saiki[images]'"
    )


def test_mixing_is_none_where_both_are_off():
    assert Mixing().build(3) is None
