"""Where the images of an exercise come from."""

import pytest

from data.images.pictures import classes
from data.images.test_idx import four
from saiki.data import store
from saiki.errors import InputError
from saiki.experiments.groups.images import ImageSource


def test_a_folder_of_classes_the_four_files_and_fashion_mnist(tmp_path, monkeypatch):
    source = ImageSource(data=str(classes(tmp_path / "own", count=8)), side=4, examples=3)
    assert source.shape == (3, 4, 4)
    assert len(source.train) == 3
    assert source.drawn(1).names != source.train.names
    assert len(source.validation) == len(source.test) == 2
    four(tmp_path / "mnist")
    source = ImageSource(data=str(tmp_path / "mnist"))
    assert source.shape == (1, 6, 6)
    assert source.train.classes == ("0", "1", "2")
    monkeypatch.setattr(store, "locate", lambda name: tmp_path / "mnist")
    assert ImageSource().train.classes[8] == "Bag"


def test_what_is_learned_from_is_told_where_it_is_not_all(tmp_path):
    source = ImageSource(data=str(classes(tmp_path / "own", count=8)), side=4, examples=3)
    said = "12 images to learn from, 2 to validate, 2 to test; 4 × 4 pixels in colour, 2 classes"
    assert source.describe(source.train) == f"{said}; learns from 3"
    assert source.describe(source.parts.train) == said


def test_the_shape_is_known_without_an_image_where_the_knobs_say_it(tmp_path):
    assert ImageSource().shape == (1, 28, 28)
    assert ImageSource(side=14, colours=3).shape == (3, 14, 14)
    nowhere = str(tmp_path / "nowhere")
    assert ImageSource(data=nowhere, side=14, colours=1).shape == (1, 14, 14)
    with pytest.raises(InputError, match="nowhere does not exist"):
        _ = ImageSource(data=nowhere).shape
    with pytest.raises(InputError, match=r"colours must be 1, 3, or 0 .*, got 2"):
        ImageSource(colours=2)
