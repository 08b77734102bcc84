"""``saiki data augment``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands import refused, saiki
from data.images.pictures import classes
from saiki.data.images.augmentation import Augmentation, read_policy, write_policy


@pytest.fixture(autouse=True)
def mine(elsewhere):
    classes(Path("mine"), count=2)


def test_copies_are_written_and_counted():
    words = "data augment mine --copies 2 --out out/new --flip-horizontal 0.5 --hue 0.1 --seed 4"
    assert saiki(*words.split()) == (0, ["12 images", "out/new"], [])
    policy, seed = read_policy(Path("out/new/policy.json"))
    assert (policy, seed) == (Augmentation(flip_horizontal=0.5, hue=0.1), 4)
    assert len(list(Path("out/new").rglob("*.png"))) == 12


def test_a_policy_is_taken_from_a_file_and_flags_change_it():
    write_policy(Path("policy.json"), Augmentation(hue=0.1, noise=0.2), 3)
    words = "data augment mine --copies 1 --out out --policy policy.json --noise 0"
    assert saiki(*words.split())[0] == 0
    assert read_policy(Path("out/policy.json")) == (Augmentation(hue=0.1), 3)


def test_what_of_a_policy_is_not_done_is_told():
    write_policy(Path("policy.json"), Augmentation(hue=0.1), 3, mixup=0.2, cutmix=1.0)
    words = "data augment mine --copies 1 --out out --policy policy.json"
    code, _, err = saiki(*words.split())
    assert (code, err) == (
        0,
        ["saiki data augment: mixup 0.2 and cutmix 1 of policy.json mix images of a batch, so "
         "copies are made without"],
    )  # fmt: skip
    write_policy(Path("policy.json"), Augmentation(hue=0.1), 3, mixup=-1)
    assert "policy.json: mixup must be a number" in refused(*words.split())


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("mine --copies 1 --out out", "say what may be done, as in --flip-horizontal 0.5"),
        ("mine --copies 0 --out out --hue 0.1", "expected a whole number of at least 1, got '0'"),
        ("mine --copies 1 --out out --hue 0.7", "hue must be a number from 0 to 0.5, got '0.7'"),
        ("mine --copies 1 --out out --huge 0.1", "did you mean --hue?"),
        ("mine --copies 1 --out out --hue 0.1 --seed -1", "seed must be a whole number from 0"),
        ("mine --copies 1 --hue 0.1", "--out"),
        ("nowhere --copies 1 --out out --hue 0.1", "nowhere is no folder of images"),
        ("mine --copies 1 --out mine --hue 0.1", "mine exists already; choose another --out"),
        ("mine --copies 1 --out out --policy no.json", "no.json does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, what):
    assert what in refused("data", "augment", *words.split())
    assert not Path("out").exists()


def test_its_help_is_there_without_torch():
    code = (
        "import sys; from saiki.cli import main\n"
        "try: main(['data', 'augment', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "--quarter-turns" in done.stdout
    assert done.stderr == "False\n"
    assert "augment FOLDER" in json.dumps(saiki("--help")[1])
