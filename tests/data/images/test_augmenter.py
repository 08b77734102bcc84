"""What torchvision makes of a picture, against arrays turned and cut by hand."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from saiki.data.images.augmentation import Augmentation, Mixing, techniques
from saiki.data.images.augmenter import GREY, Augmenter, Mixer
from saiki.data.images.changes import Box, Changes

HEIGHT, WIDTH = 9, 14


def picture(channels=3):
    random = torch.Generator().manual_seed(0)
    shape = (channels, HEIGHT, WIDTH)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)


def made(x, **changes):
    return Augmenter.changed(x, Changes(**changes))


def test_flips_and_turns_are_those_of_arrays():
    x = picture()
    assert torch.equal(made(x), x)
    assert torch.equal(made(x, flip_horizontal=True), x.flip(2))
    assert torch.equal(made(x, flip_vertical=True), x.flip(1))
    for turns in (1, 2, 3):
        assert torch.equal(made(x, quarter_turns=turns), torch.rot90(x, turns, (1, 2)))
    assert torch.equal(made(x, rotation=180.0), x.flip(1, 2))
    square = x[:, :, :HEIGHT]
    assert torch.equal(made(square, rotation=90.0), torch.rot90(square, -1, (1, 2)))


def test_a_shift_leaves_black_behind_and_a_crop_is_scaled_to_the_whole():
    x = picture()
    moved = made(x, shift_right=2 / WIDTH, shift_down=-3 / HEIGHT)
    assert torch.equal(moved[:, :-3, 2:], x[:, 3:, :-2])
    assert not moved[:, -3:].any()
    assert not moved[:, :, :2].any()
    box = Box(2 / WIDTH, 3 / HEIGHT, 7 / WIDTH, 6 / HEIGHT)
    crop = made(x, crop=box)
    part = x[:, 3:9, 2:9].float()
    wanted = torch.nn.functional.interpolate(part[None], (HEIGHT, WIDTH), mode="bilinear")[0]
    assert (crop.float() - wanted).abs().max() <= 1
    assert torch.equal(made(x, crop=Box(0, 0, 1, 1)), x)


def test_colours_are_those_of_their_formulas():
    x = picture().float() / 255
    close = {"atol": 1e-6, "rtol": 0}
    torch.testing.assert_close(made(x, brightness=0.5), 0.5 * x, **close)
    torch.testing.assert_close(made(x, brightness=1.7), (1.7 * x).clamp(max=1), **close)
    grey = torch.einsum("chw,c->hw", x, torch.tensor([0.2989, 0.587, 0.114]))
    torch.testing.assert_close(
        made(x, contrast=0.4), 0.4 * x + 0.6 * grey.mean(), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(made(x, saturation=0.0), grey.expand(3, -1, -1), atol=1e-3, rtol=0)
    red = torch.zeros(3, 2, 2)
    red[0] = 1
    turned = made(red, hue=1 / 3)
    torch.testing.assert_close(turned, red.roll(1, 0), atol=0.02, rtol=0)  # green


def test_noise_and_blur_are_of_the_size_they_say():
    x = torch.full((1, 200, 200), 0.5)
    noisy = made(x, noise=0.1, seed=3)
    assert abs((noisy - x).std() - 0.1) < 0.005
    assert torch.equal(noisy, made(x, noise=0.1, seed=3))
    assert not torch.equal(noisy, made(x, noise=0.1, seed=4))
    point = torch.zeros(1, 101, 101)
    point[0, 50, 50] = 1
    blurred = made(point, blur=0.03)[0]
    offsets = torch.arange(101) - 50.0
    assert abs((blurred.sum(0) * offsets**2).sum().sqrt() - 0.03 * 101) < 0.05
    state = torch.get_rng_state()
    made(x, noise=0.1)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_erased_is_grey():
    x = picture()
    erased = made(x, erasing=Box(2 / WIDTH, 3 / HEIGHT, 4 / WIDTH, 5 / HEIGHT))
    assert (erased[:, 3:8, 2:6] == GREY).all()
    erased[:, 3:8, 2:6] = x[:, 3:8, 2:6]
    assert torch.equal(erased, x)
    part = made(x.float() / 255, erasing=Box(0, 0, 1, 1))
    torch.testing.assert_close(part, torch.full_like(part, GREY / 255))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (28, 28)])
def test_pictures_of_any_size_bear_every_technique(channels, size):
    x = torch.randint(0, 256, (channels, *size), dtype=torch.uint8)
    for strengths in techniques(0).values():
        for changes in strengths.values():
            for pixels in (x, x.float() / 255):
                changed = Augmenter.changed(pixels, changes)
                assert changed.dtype == pixels.dtype
                assert sorted(changed.shape[1:]) == sorted(size)
                assert len(changed) == channels


def sample():
    """A white square on black, its box, its mask, and that of another that is cut off."""
    x = torch.zeros(3, 20, 30, dtype=torch.uint8)
    x[:, 4:9, 6:12] = 255
    boxes = torch.tensor([[6, 4, 12, 9], [25, 15, 30, 20]])
    return {
        "image": tv_tensors.Image(x),
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(20, 30)),
        "mask": tv_tensors.Mask((x[:1] > 0).to(torch.uint8)),
        "labels": torch.tensor([3, 5]),
        "name": "a square",
    }


def around(mask):
    rows, columns = np.nonzero(mask.squeeze(0).numpy())
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


MOVES = {
    "flip_horizontal": 0.5,
    "flip_vertical": 0.5,
    "quarter_turns": 3,
    "crop": 0.3,
    "shift": 0.1,
}


def as_one(augment):
    return augment(sample())


def as_pair(augment):
    """An image and its target, as data sets of torchvision give them."""
    target = sample()
    image, target = augment(target.pop("image"), target)
    return {"image": image, **target}


@pytest.mark.parametrize("augmented", [as_one, as_pair])
def test_boxes_masks_and_labels_follow_their_picture(augmented):
    augment, seen = Augmentation(**MOVES).build(), set()
    for seed in range(40):
        torch.manual_seed(seed)
        augmented_sample = augmented(augment)
        white = (augmented_sample["image"][:1] > 127).to(torch.uint8)
        assert (white != augmented_sample["mask"]).float().mean() < 0.05
        assert len(augmented_sample["labels"]) == len(augmented_sample["boxes"])
        assert augmented_sample["name"] == "a square"
        if 3 in augmented_sample["labels"].tolist() and augmented_sample["mask"].any():
            box = augmented_sample["boxes"][augmented_sample["labels"] == 3][0]
            assert np.abs(box.numpy() - around(augmented_sample["mask"])).max() <= 1.5
        seen.add(tuple(augmented_sample["labels"].tolist()))
    assert {(3, 5), (3,)} <= seen  # one box is cut off now and then, and its label with it


def test_colours_change_no_mask_and_no_box():
    augment = Augmentation(brightness=0.5, hue=0.2, noise=0.2, erasing=0.5, blur=0.05).build()
    torch.manual_seed(1)
    after, before = augment(sample()), sample()
    assert torch.equal(after["mask"], before["mask"])
    assert torch.equal(after["boxes"], before["boxes"])
    assert not torch.equal(after["image"], before["image"])


def test_it_is_a_transform_among_those_of_torchvision():
    after = [v2.Resize((10, 10)), v2.ToDtype(torch.float32, True)]
    chain = v2.Compose([Augmentation(**MOVES).build(), *after])
    torch.manual_seed(0)
    x, label = chain(picture(), 7)
    assert x.shape == (3, 10, 10)
    assert label == 7
    torch.manual_seed(0)
    assert torch.equal(chain(picture(), 7)[0], x)


def test_pillow_s_images_come_back_as_such():
    x = picture()
    photo = Image.fromarray(x.movedim(0, 2).numpy())
    augment = Augmentation(flip_horizontal=1.0).build()
    flipped = augment(photo)
    assert flipped.mode == "RGB"
    assert np.array_equal(np.asarray(flipped), np.asarray(photo)[:, ::-1])
    assert np.array_equal(
        np.asarray(augment(photo.convert("L"))), np.asarray(photo.convert("L"))[:, ::-1]
    )


def test_a_batch_has_changes_of_its_own_for_each_key_whatever_else_is_in_it():
    augmentation = Augmentation(**MOVES, rotation=20.0, noise=0.1, hue=0.1)
    images = torch.stack([picture() for _ in range(6)])
    keys = [(1, i) for i in range(6)]
    whole = augmentation.build().changed_all(images, keys)
    assert whole.shape == images.shape
    assert torch.equal(augmentation.build().changed_all(images[3:5], keys[3:5]), whole[3:5])
    assert len({x.numpy().tobytes() for x in whole}) == 6


def test_mixup_and_cutmix_mix_the_classes_as_much_as_the_pictures():
    x = torch.arange(4.0)[:, None, None, None].expand(4, 1, 8, 8) / 4
    labels = torch.tensor([0, 1, 2, 0])
    for mixing in (Mixing(mixup=1.0), Mixing(cutmix=1.0), Mixing(mixup=0.5, cutmix=0.5)):
        mixer = mixing.build(3)
        for seed in range(20):
            mixed, shares = mixer(x, labels, seed)
            torch.testing.assert_close(shares.sum(1), torch.ones(4))
            own = torch.nn.functional.one_hot(labels, 3).float()
            lam = (shares[1, 1]).item()  # the second is mixed with the first, of another class
            torch.testing.assert_close(shares, lam * own + (1 - lam) * own.roll(1, 0))
            torch.testing.assert_close(mixed[1].mean(), lam * x[1].mean() + (1 - lam) * x[0].mean())
        state = torch.get_rng_state()
        repeated = mixer(x, labels, 19)
        assert torch.equal(repeated[0], mixed)
        assert torch.equal(torch.get_rng_state(), state)


def test_a_pair_is_mixed_by_the_share_that_is_given():
    pair = torch.stack([torch.zeros(3, 20, 20), torch.ones(3, 20, 20)])
    torch.testing.assert_close(Mixer.pair(pair, 0.3, False), torch.full((3, 20, 20), 0.3))
    cut = Mixer.pair(pair, 0.25, True)
    assert cut.mean() == pytest.approx(0.25)
    assert (cut[:, 5:15, 5:15] == 1).all()
