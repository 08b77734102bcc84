"""Images in memory."""

import pytest
import torch
from PIL import Image

from data.images.pictures import classes
from data.images.test_idx import four
from saiki.data import store
from saiki.data.images.dataset import ImageDataset, ImageSource
from saiki.data.images.labelled import Images, Parts, coloured, cut_to, fitted
from saiki.errors import InputError
from saiki.optimisation import Batching


def some(count=60, classes=3):
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=random)
    labels = torch.arange(count) ** 2 % classes  # of unequal numbers
    return Images(pixels, labels, tuple("abc")[:classes], tuple(map(str, range(count))))


def test_numbers_choose_images_with_their_labels_and_names():
    images = some()
    chosen = images[torch.tensor([5, 1])]
    assert len(chosen) == 2
    assert torch.equal(chosen.pixels, images.pixels[[5, 1]])
    assert chosen.labels.tolist() == [25 % 3, 1]
    assert chosen.names == ("5", "1")
    assert chosen.classes == images.classes


def test_fewer_examples_are_among_more_and_of_each_class_alike():
    images = some(90)
    held = torch.bincount(images.labels, minlength=3).tolist()
    assert held == [30, 60, 0]
    few, more = images.some(20, 0), images.some(50, 0)
    assert set(few.names) < set(more.names)
    assert torch.bincount(few.labels).tolist() == [10, 10]
    assert torch.bincount(images.some(80, 0).labels).tolist() == [30, 50]
    assert images.some(20, 0).names == few.names != images.some(20, 1).names
    assert images.some(90, 0) is images
    assert len(images.some(7, 3)) == 7


def test_what_is_fitted_is_the_square_in_the_middle_scaled_without_jags():
    wide = torch.zeros(3, 8, 24, dtype=torch.uint8)
    wide[:, :, 8:16] = torch.tensor([0, 200] * 4, dtype=torch.uint8)
    assert torch.equal(fitted(wide, 8), wide[:, :, 8:16])
    assert torch.equal(fitted(wide.transpose(1, 2), 8), wide[:, :, 8:16].transpose(1, 2))
    half = fitted(wide, 4)
    assert half.shape == (3, 4, 4)
    assert half.dtype == torch.uint8
    ours = half.float()
    photo = Image.fromarray(wide[0, :, 8:16].numpy()).resize((4, 4), Image.Resampling.BILINEAR)
    theirs = torch.tensor(list(photo.get_flattened_data())).view(4, 4)
    assert (ours[0] - theirs).abs().max() <= 1
    assert fitted(wide, 0) is wide
    assert fitted(torch.stack([wide, wide]), 4).shape == (2, 3, 4, 4)
    assert fitted(torch.zeros(1, 1, 90_000, dtype=torch.uint8), 64).shape == (1, 64, 64)


def test_colours_are_weighted_as_pillow_does():
    random = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 9, 9), dtype=torch.uint8, generator=random)
    theirs = Image.fromarray(image.movedim(0, 2).numpy()).convert("L")
    theirs = torch.tensor(list(theirs.get_flattened_data())).view(1, 9, 9)
    assert (coloured(image, 1).int() - theirs).abs().max() <= 1
    assert coloured(image, 3) is coloured(image, 0) is image
    assert torch.equal(coloured(image[:1], 3), image[:1].repeat(3, 1, 1))


def test_one_class_leaves_nothing_to_tell_apart():
    images = some(classes=1)
    parts = Parts(images, images, images)
    assert parts.in_words().endswith("4 × 4 pixels in grey, one class")
    with pytest.raises(InputError, match="all images are of one class; to tell classes apart, put"):
        parts.check_classes()
    Parts(some(), some(), some()).check_classes()


def test_an_image_is_cut_to_proportions_in_its_middle_and_scaled():
    pixels = torch.zeros(3, 40, 100, dtype=torch.uint8)
    pixels[:, :, 40:60] = 200
    middle = cut_to(pixels, 20, 10)
    assert middle.shape == (3, 20, 10)
    assert (middle == 200).all()
    assert cut_to(pixels, 40, 100) is pixels
    assert cut_to(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), 5, 3).shape == (2, 1, 5, 3)


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
