"""Folders of images, one subfolder a class, and how they are parted."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from saiki.data.folders import by_value, tidied
from saiki.data.images.changes import AugmentedImage, read_table
from saiki.data.images.files import ENDINGS, ImageFile, read_image
from saiki.data.images.labelled import Images, Parts, check_memory, coloured, fitted
from saiki.data.skipped import LeftOut, Skipped
from saiki.errors import InputError
from saiki.input_kind import InputKind
from saiki.inputs import files_below, sha256_of
from saiki.progress import each

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What folders are called that part the images themselves."""
HELD = 0.15
"""Share of each class that validates, and that is tested, where the folders do not say it."""
LEFT_OUT = "left out"
"""The part of a changed copy of what validates or is tested."""


def find(folder: Path) -> tuple[ImageFile, ...]:
    """The images below ``folder``, in the order of their names.

    Either each of its subfolders is a class, which holds its images, nested as you like; or it has
    a subfolder ``train``, and ``test`` or ``validation``, in which they are; or all images are in
    the folder itself, and are of one class, called as it is. Hidden files and files that are no
    image by their name are passed over. Nothing is opened.

    Raises:
        InputError: there is nothing of the kind, or a class is spelled in two ways.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of images")
    names = [path.relative_to(folder).as_posix() for path in images_in(folder)]
    at_top = [name for name in names if "/" not in name]
    if at_top and len(at_top) < len(names):
        raise InputError(
            f"{folder} holds images both in its folders and beside them, such as {at_top[0]}; put "
            "each into the folder of its class"
        )
    tops = {name.split("/")[0] for name in names}
    parted = not at_top and tops <= PARTS.keys() and "train" in {PARTS[top] for top in tops}
    images = []
    for name in names:
        steps = name.split("/")
        part = PARTS[steps.pop(0)] if parted else ""
        label = steps[0] if len(steps) > 1 else folder.absolute().name
        images.append(ImageFile(folder / name, name, label, part))
    return tidied(folder, images)


def images_in(folder: Path) -> list[Path]:
    """The images in a folder and below it, in the order of their names."""
    return files_below(folder, ENDINGS, "images")


IMAGE = InputKind("image", in_folder=images_in)


def read_parts(folder: Path, side: int = 0, colours: int = 0, strict: bool = False) -> Parts:
    """The images of a folder, parted as its folders say, or else each class by a hash of the bytes
    of its files: so copies of a file are always of one part, and more files move few. Where a table
    says that images are changed copies of others (:mod:`saiki.data.images.changes`), these are
    learned from where the others are, and left out elsewhere.

    Args:
        side: see :func:`saiki.data.images.labelled.fitted`; without, all must be of one size.
        colours: 1 or 3; 0: in grey if all of them are.
        strict: whether a file that cannot be read is refused; it is left out otherwise.

    Raises:
        InputError: no file can be read, sizes differ, or a part is left without images.
    """
    files = find(folder)
    classes = tuple(sorted({file.label for file in files}, key=by_value))
    files, pixels, skipped = _read(folder, files, side, colours, strict)
    labels = torch.tensor([classes.index(file.label) for file in files])
    images = Images(pixels, labels, classes, tuple(file.name for file in files))
    parts = _parts(folder, files)
    places = {
        name: torch.tensor([i for i, part in enumerate(parts) if part == name], dtype=torch.int64)
        for name in ("train", "validation", "test")
    }
    learned = set(labels[places["train"]].tolist())
    for number, label in enumerate(classes):
        if number not in learned:
            raise InputError(f"{folder} has no image of the class {label!r} to learn from")
    return Parts(**{name: images[numbers] for name, numbers in places.items()}, skipped=skipped)


def _read(
    folder: Path, files: Sequence[ImageFile], side: int, colours: int, strict: bool
) -> tuple[tuple[ImageFile, ...], Tensor, tuple[Skipped, ...]]:
    """The files that can be read, their pixels, and the others."""
    images, usable, left_out = list[Tensor](), list[ImageFile](), LeftOut(strict)
    for file, pixels in left_out.read(each(files), read_image):
        image = coloured(pixels, colours)
        if colours == 0 and bool((image == image[:1]).all()):
            image = image[:1]
        image = fitted(image, side)
        first = images[0] if images else image
        if image.shape[1:] != first.shape[1:]:
            sizes = (f"{it.shape[2]} × {it.shape[1]}" for it in (first, image))
            raise InputError(
                f"{usable[0].name} and {file.name} of {folder} differ in size, "
                f"{' and '.join(sizes)} pixels; choose one for all, as in --side 64"
            )
        check_memory(folder, len(files), *image.shape)
        images.append(image)
        usable.append(file)
    channels = max(len(image) for image in images)
    stacked = torch.stack([coloured(image, channels) for image in images])
    return tuple(usable), stacked, tuple(left_out.files)


def _parts(folder: Path, files: Sequence[ImageFile]) -> list[str]:
    """The part of each image."""
    augmented = read_table(folder)
    parts = [file.part for file in files]
    held = sorted({"train", "validation", "test"} - {"train", *parts})
    if held:
        pool = [i for i, part in enumerate(parts) if part in ("", "train")]
        hashed = _by_hash(folder, [files[i] for i in pool], augmented, held)
        for i, part in zip(pool, hashed, strict=True):
            parts[i] = part
    copies = {name for name, image in augmented.items() if image.copy > 0}
    return [
        LEFT_OUT if part != "train" and file.name in copies else part
        for file, part in zip(files, parts, strict=True)
    ]


def _by_hash(
    folder: Path, files: Sequence[ImageFile], augmented: Mapping[str, AugmentedImage],
    held: Sequence[str],
) -> Iterator[str]:  # fmt: skip
    """Of each class the lowest hashes to the parts ``held``, the others to learn from. What is in
    several classes counts for the first, and copies count as what they were made of."""
    hashes = [
        augmented[file.name].sha256 if file.name in augmented else sha256_of(file.path)
        for file in files
    ]
    part_of, of_class = dict[str, str](), defaultdict[str, set[str]](set)
    for file, sha256 in zip(files, hashes, strict=True):
        of_class[file.label].add(sha256)
    for label in sorted(of_class, key=by_value):
        different = sorted(of_class[label] - part_of.keys())
        if len(different) <= len(held):
            raise InputError(
                f"the class {label!r} of {folder} has {len(different)} different "
                f"image{'s' * (len(different) != 1)}; it needs {len(held) + 1} at least, to learn "
                f"from and for {' and '.join(held)}"
            )
        count = max(1, round(HELD * len(different)))
        for n, sha256 in enumerate(different):
            part_of[sha256] = held[n // count] if n < count * len(held) else "train"
    yield from map(part_of.__getitem__, hashes)
