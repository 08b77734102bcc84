"""Where images come from, and which of them are learned from."""

import pytest
import torch

from data.images.pictures import classes
from data.images.test_idx import four
from saiki.data import store
from saiki.data.images.dataset import ImageDataset, ImageSource
from saiki.errors import InputError
from saiki.optimisation import Batching


class Plain(ImageDataset):
    """Images as they are."""

    def batch(self, draw):
        return self.parts.train.pixels[torch.from_numpy(draw.own)]


def of(seed=0, **knobs):
    return Plain(Batching(), ImageSource(**knobs), torch.float32, seed)


def test_a_folder_of_classes_the_four_files_and_fashion_mnist(tmp_path, monkeypatch):
    knobs = {"data": str(classes(tmp_path / "own", count=8)), "side": 4, "examples": 3}
    data = of(**knobs)
    assert data.shape == (3, 4, 4)
    train, validation, test = data.parts.train, data.parts.validation, data.parts.test
    assert [len(part) for part in (train, validation, test)] == [3, 2, 2]
    assert of(seed=1, **knobs).parts.train.names != train.names
    four(tmp_path / "mnist")
    data = of(data=str(tmp_path / "mnist"))
    assert data.shape == (1, 6, 6)
    assert data.parts.train.classes == ("0", "1", "2")
    monkeypatch.setattr(store, "locate", lambda name: tmp_path / "mnist")
    assert of().parts.train.classes[8] == "Bag"


def test_what_is_learned_from_is_told_where_it_is_not_all(tmp_path):
    knobs = {"data": str(classes(tmp_path / "own", count=8)), "side": 4}
    sizes = "12 images to learn from, 2 to validate, 2 to test; 4 × 4 pixels in colour, 2 classes"
    assert of(examples=3, **knobs).describe() == f"{sizes}; learns from 3"
    assert of(**knobs).describe() == sizes


def test_the_shape_is_known_without_an_image_where_the_knobs_say_it(tmp_path):
    assert of().shape == (1, 28, 28)
    assert of(side=14, colours=3).shape == (3, 14, 14)
    nowhere = str(tmp_path / "nowhere")
    assert of(data=nowhere, side=14, colours=1).shape == (1, 14, 14)
    with pytest.raises(InputError, match="nowhere does not exist"):
        _ = of(data=nowhere).shape
    with pytest.raises(InputError, match=r"colours must be 1, 3, or 0 .*, got 2"):
        ImageSource(colours=2)
