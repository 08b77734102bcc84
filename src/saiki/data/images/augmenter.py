"""What torchvision makes of a picture by its changes; see :mod:`saiki.data.images.augmentation`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from saiki.data.images.changes import Changes

FOLLOWS = (tv_tensors.Mask, tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)
"""What is moved as its image is, and has no colours."""
GREY = 127
"""What is erased becomes so."""


class Augmenter(v2.Transform):
    """Changes images at random.

    It takes what transforms of torchvision take: an image, or a tuple or dictionary of them with
    labels, and with boxes, masks and points, as ``torchvision.tv_tensors``, which follow their
    image. Boxes that no longer lie in it are left out, and so are those of the ``"labels"`` beside
    them in a dictionary.
    What is drawn follows from PyTorch's random state; with ``draw`` and :meth:`changed`, from
    numbers.

    Args:
        draw: the changes of the picture of a key, as
            :meth:`saiki.data.images.augmentation.Augmentation.draw` draws them.
    """

    def __init__(self, draw: Callable[..., Changes]) -> None:
        super().__init__()
        self.draw = draw
        self.sanitise = v2.SanitizeBoundingBoxes(labels_getter=_labels)

    def forward(self, *inputs: Any) -> Any:
        changed = super().forward(*inputs)
        has_boxes = any(isinstance(x, tv_tensors.BoundingBoxes) for x in tree_leaves(changed))
        return self.sanitise(changed) if has_boxes else changed

    @staticmethod
    def changed(x: Any, changes: Changes) -> Any:
        """An image, ``(..., channels, height, width)`` in bytes or from 0 to 1, with these changes;
        boxes and masks of such an image are moved as it is."""
        x = _moved(x, changes)
        return x if isinstance(x, FOLLOWS) else _recoloured(x, changes)

    def changed_all(self, images: Tensor, keys: Sequence[Sequence[int]]) -> Tensor:
        """Images of one size, ``(examples, channels, height, width)``, each with what is drawn for
        its key. A picture whose sides were exchanged is scaled back to that size."""
        size = list(images.shape[-2:])
        changes = (self.draw(*key) for key in keys)
        results = (self.changed(x, each) for x, each in zip(images, changes, strict=True))
        return torch.stack(
            [x if list(x.shape[-2:]) == size else F.resize(x, size) for x in results]
        )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"changes": self.draw(int(torch.randint(2**62, ())))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, Image.Image):
            pixels = F.pil_to_tensor(inpt)
            return F.to_pil_image(self.changed(pixels, params["changes"]), inpt.mode)
        return self.changed(inpt, params["changes"])


def _labels(inputs: Any) -> Any:
    """Those of the boxes, whether a sample is a dictionary or holds one: ``(image, target)``."""
    parts = inputs if isinstance(inputs, tuple | list) else (inputs,)
    return next((p["labels"] for p in parts if isinstance(p, Mapping) and "labels" in p), None)


def _moved(x: Any, changes: Changes) -> Any:
    if changes.flip_horizontal:
        x = F.horizontal_flip(x)
    if changes.flip_vertical:
        x = F.vertical_flip(x)
    if changes.quarter_turns:
        x = F.rotate(x, 90.0 * changes.quarter_turns, expand=True)
    if changes.rotation or changes.shift_right or changes.shift_down:
        height, width = F.get_size(x)
        shift = [round(changes.shift_right * width), round(changes.shift_down * height)]
        bilinear = v2.InterpolationMode.BILINEAR
        x = F.affine(x, changes.rotation, shift, 1.0, [0.0, 0.0], interpolation=bilinear)
    if changes.crop:
        size = F.get_size(x)
        x = F.resized_crop(x, *changes.crop.pixels(*size), size, antialias=True)
    return x


def _recoloured(x: Tensor, changes: Changes) -> Tensor:
    if changes.brightness != 1:
        x = F.adjust_brightness(x, changes.brightness)
    if changes.contrast != 1:
        x = F.adjust_contrast(x, changes.contrast)
    if changes.saturation != 1:
        x = F.adjust_saturation(x, changes.saturation)
    if changes.hue:
        x = F.adjust_hue(x, changes.hue)
    height, width = x.shape[-2:]
    if changes.blur:
        deviation = changes.blur * min(height, width)
        # the border is mirrored, and may not be wider than the picture
        reach = min(round(3 * deviation + 0.5), min(height, width) - 1)
        x = F.gaussian_blur(x, [2 * reach + 1] * 2, [deviation] * 2)
    if changes.noise:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(changes.seed)
            x = F.gaussian_noise(x, 0.0, changes.noise)
    if changes.erasing:
        grey = GREY if x.dtype == torch.uint8 else GREY / 255
        colour = torch.full((x.shape[-3], 1, 1), grey, dtype=x.dtype, device=x.device)
        x = F.erase(x, *changes.erasing.pixels(height, width), colour)
    return x


class Mixer:
    """Mixes the images of a batch in pairs, and their classes as much: mixup (Zhang et al. 2018)
    or CutMix (Yun et al. 2019).

    Args:
        mixup: α of its Beta distribution; 0: none.
        cutmix: the same.
        classes: how many there are.
    """

    def __init__(self, mixup: float, cutmix: float, classes: int) -> None:
        transforms: list[nn.Module] = []
        if mixup:
            transforms.append(v2.MixUp(alpha=mixup, num_classes=classes))
        if cutmix:
            transforms.append(v2.CutMix(alpha=cutmix, num_classes=classes))
        self.transform = v2.RandomChoice(transforms)

    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Images from 0 to 1 and their classes as shares, ``(examples, classes)``.

        Args:
            labels: the numbers of the classes.
            seed: what is drawn follows from it.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            mixed, shares = self.transform(images, labels)
        return mixed, shares

    @staticmethod
    def pair(images: Tensor, share: float, cut: bool) -> Tensor:
        """The first of two images, ``(2, channels, height, width)`` from 0 to 1, with this share of
        the second in it: over all of it (mixup) or as a rectangle in its middle (CutMix)."""
        height, width = images.shape[-2:]
        half = share**0.5 / 2
        box = [round(side * at) for at in (0.5 - half, 0.5 + half) for side in (width, height)]
        parameters = {"labels": None, "batch_size": len(images), "lam": 1 - share, "box": box}
        transform = (v2.CutMix if cut else v2.MixUp)(num_classes=2)
        mixed: Tensor = transform.transform(images, parameters)
        return mixed[0]
