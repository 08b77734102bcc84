"""Images in memory."""

import pytest
import torch
from PIL import Image

from saiki.data.images.labelled import Images, Parts, coloured, cut_to, fitted
from saiki.errors import InputError


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
