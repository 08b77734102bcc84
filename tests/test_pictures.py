"""The pictures of README.md and docs/ are there, small, legible, and drawn by the code as it is."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tools import pictures

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": {"attention.png", "gradient.png", "sounds.png", "try.png", "words.png"},
    "docs/augment.md": {"augment.png", "augment-gains.png", "techniques.png"},
    "docs/adder.md": {"gradient.png", "try.png"},
    "docs/course.md": {
        "gradient.png",
        "mistakes.png",
        "sentence-collapse.png",
        "words.png",
        "attention.png",
        "vq-codes.png",
        "vq-samples.png",
        "confusion.png",
        "sounds.png",
        "sin-cos.png",
        "forcing.png",
        "augment.png",
        "augment-gains.png",
    },
    "docs/dialogue.md": {"dialogue-turns.png"},
    "docs/forecast.md": {"forecasts.png", "prices.png"},
    "docs/masked-lm.md": {"perplexity.png"},
    "docs/proofread.md": {"mistakes.png"},
    "docs/sentence-vae.md": {"sentence-course.png", "sentence-collapse.png"},
    "docs/sentences.md": {"influence.png"},
    "docs/sin-cos.md": {"sin-cos.png", "forcing.png"},
    "docs/spoken-digits.md": {"confusion.png", "sounds.png"},
    "docs/translate.md": {"attention.png", "dates.png"},
    "docs/vae.md": {
        "vae-images.png",
        "vae-samples.png",
        "vae-course.png",
        "vae-plane.png",
        "vae-plain.png",
    },
    "docs/vq-vae.md": {"vq-codes.png", "vq-samples.png"},
    "docs/sound-codes.md": {"sound-codes.png", "sound-usage.png"},
    "docs/words.md": {"words.png"},
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_its_pictures(page):
    shown = re.findall(r"!\[([^\]]+)\]\(([^)]*pictures/([^)]+))\)", (ROOT / page).read_text())
    assert {name for _, _, name in shown} == PAGES[page]
    for description, path, _ in shown:
        assert (ROOT / page).parent.joinpath(path).is_file()
        assert len(description.split()) > 3  # for whoever does not see it


def test_every_picture_is_shown_and_none_is_left_over():
    assert set.union(*PAGES.values()) == set(pictures.PICTURES)
    files = {path.name for path in pictures.FOLDER.iterdir()}
    assert files == {*pictures.PICTURES, pictures.RECORD.name}
    assert {picture.run for picture in pictures.PICTURES.values()} == set(pictures.RUNS)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_small_and_has_a_ground_of_its_own(name):
    path = pictures.FOLDER / name
    assert path.stat().st_size <= pictures.LARGEST
    with Image.open(path) as picture:
        seen = np.asarray(picture.convert("RGBA"))
    assert (seen[..., 3] == 255).all()  # as legible on a dark page as on a light one
    assert (seen[0, 0, :3] > 240).all()


def test_all_of_them_are_small_together():
    assert sum(path.stat().st_size for path in pictures.FOLDER.iterdir()) <= pictures.ALL


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_as_the_code_draws_it(name):
    record = json.loads(pictures.RECORD.read_text(encoding="utf-8"))[name]
    assert pictures.digest(pictures.FOLDER / name) == record["picture"], (
        f"docs/pictures/{name} is not what `make pictures` made"
    )
    now = pictures.code_of(pictures.PICTURES[name])
    changed = sorted(n for n in {*now, *record["code"]} if now.get(n) != record["code"].get(n))
    assert not changed, (
        f"saiki.{', saiki.'.join(changed)} no longer draws docs/pictures/{name} as it was "
        "drawn: run `make pictures`, look at the pictures and commit them"
    )


def test_a_picture_is_drawn_by_all_that_its_module_imports():
    plots = {
        module: {name.removeprefix("plots.") for name in pictures.needed(f"plots.{module}")}
        for module in ("errors", "latent")
    }
    assert plots["errors"] == {"errors", "curves", "canvas", "fonts"}
    assert plots["latent"] == {"latent", "curves", "images", "canvas", "fonts"}


def test_only_what_is_done_changes_a_fingerprint(tmp_path):
    one, same, other, swapped = (tmp_path / name for name in ("1.py", "2.py", "3.py", "4.py"))
    one.write_text(
        '"""Draw."""\n\n\ndef f(x, y):\n    """A line."""\n    z = x + 1\n    return z * y\n'
    )
    same.write_text(
        "def f(at, to):  # as before\n    end = (\n        at + 1\n    )\n    return end * to\n"
    )
    other.write_text("def f(x, y):\n    z = x + 2\n    return z * y\n")
    swapped.write_text("def f(x, y):\n    z = y + 1\n    return z * x\n")
    assert pictures.fingerprint(one) == pictures.fingerprint(same)
    assert len({*map(pictures.fingerprint, (one, other, swapped))}) == 3
