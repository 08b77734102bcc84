"""Folders of images, one subfolder a class, and how they are parted."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from saiki.data.folders import check_spelling, shown, tidy
from saiki.data.images import table
from saiki.data.images.files import ENDINGS, ImageFile, read_images
from saiki.data.images.labelled import Images, Parts, check_memory, coloured, fitted
from saiki.data.skipped import Skipped
from saiki.errors import InputError
from saiki.input_kind import InputKind
from saiki.inputs import files_below, open_file
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
    names = [path.relative_to(folder).as_posix() for path in files_below(folder, ENDINGS)]
    if not names:
        raise InputError(f"{folder} holds no images ({', '.join(ENDINGS)})")
    beside = [name for name in names if "/" not in name]
    if beside and len(beside) < len(names):
        raise InputError(
            f"{folder} holds images both in its folders and beside them, such as {beside[0]}; put "
            "each into the folder of its class"
        )
    tops = {name.split("/")[0] for name in names}
    parted = not beside and tops <= PARTS.keys() and "train" in {PARTS[top] for top in tops}
    found = []
    for name in names:
        steps = name.split("/")
        part = PARTS[steps.pop(0)] if parted else ""
        label = steps[0] if len(steps) > 1 else folder.absolute().name
        found.append(ImageFile(folder / name, shown(name), label, part))
    check_spelling(folder, (its.label for its in found))
    plain = (ImageFile(its.path, its.name, tidy(its.label), its.part) for its in found)
    return tuple(sorted(plain, key=lambda its: (tidy(its.name), its.name)))


def images_in(folder: Path) -> list[Path]:
    """The images in a folder and below it, in the order of their names.

    Raises:
        InputError: there are none, or it cannot be read.
    """
    found = files_below(folder, ENDINGS)
    if not found:
        raise InputError(f"{folder} holds no images ({', '.join(ENDINGS)})")
    return found


IMAGE = InputKind("image", in_folder=images_in)


def read_parts(folder: Path, side: int = 0, colours: int = 0, strict: bool = False) -> Parts:
    """The images of a folder, parted as its folders say, or else each class by a hash of the bytes
    of its files: so copies of a file are always of one part, and more files move few. Where a table
    of :mod:`saiki.data.images.table` says that images are changed copies of others, these are
    learned from where the others are, and left out elsewhere.

    Args:
        side: see :func:`saiki.data.images.labelled.fitted`; without, all must be of one size.
        colours: 1 or 3; 0: in grey if all of them are.
        strict: whether a file that cannot be read is refused; it is left out otherwise.

    Raises:
        InputError: no file can be read, sizes differ, or a part is left without images.
    """
    found = find(folder)
    classes = tuple(sorted({its.label for its in found}, key=_in_order))
    found, pixels, skipped = _read(folder, found, side, colours, strict)
    labels = torch.tensor([classes.index(its.label) for its in found])
    whole = Images(pixels, labels, classes, tuple(its.name for its in found))
    parts = _parts(folder, found)
    places = {
        name: torch.tensor([i for i, part in enumerate(parts) if part == name], dtype=torch.int64)
        for name in ("train", "validation", "test")
    }
    learned = set(labels[places["train"]].tolist())
    for number, label in enumerate(classes):
        if number not in learned:
            raise InputError(f"{folder} has no image of the class {label!r} to learn from")
    return Parts(**{name: whole[its] for name, its in places.items()}, skipped=skipped)


def _read(
    folder: Path, found: Sequence[ImageFile], side: int, colours: int, strict: bool
) -> tuple[tuple[ImageFile, ...], Tensor, tuple[Skipped, ...]]:
    """The files that can be read, their pixels, and the others."""
    images, usable, skipped = list[Tensor](), list[ImageFile](), list[Skipped]()
    for its, pixels in read_images(each(found), skipped, strict):
        image = coloured(pixels, colours)
        if colours == 0 and bool((image == image[:1]).all()):
            image = image[:1]
        image = fitted(image, side)
        first = images[0] if images else image
        if image.shape[1:] != first.shape[1:]:
            sizes = (f"{it.shape[2]} × {it.shape[1]}" for it in (first, image))
            raise InputError(
                f"{usable[0].name} and {its.name} of {folder} differ in size, {' and '.join(sizes)}"
                " pixels; choose one for all, as in --side 64"
            )
        check_memory(folder, len(found), *image.shape)
        images.append(image)
        usable.append(its)
    channels = max(len(image) for image in images)
    stacked = torch.stack([coloured(image, channels) for image in images])
    return tuple(usable), stacked, tuple(skipped)


def _parts(folder: Path, found: Sequence[ImageFile]) -> list[str]:
    """The part of each image."""
    made = table.read(folder)
    parts = [its.part for its in found]
    held = sorted({"train", "validation", "test"} - {"train", *parts})
    if held:
        pool = [i for i, part in enumerate(parts) if part in ("", "train")]
        hashed = _by_hash(folder, [found[i] for i in pool], made, held)
        for i, part in zip(pool, hashed, strict=True):
            parts[i] = part
    copies = {name for name, each in made.items() if each.copy > 0}
    return [
        LEFT_OUT if part != "train" and its.name in copies else part
        for its, part in zip(found, parts, strict=True)
    ]


def _by_hash(
    folder: Path, found: Sequence[ImageFile], made: Mapping[str, table.Made], held: Sequence[str]
) -> Iterator[str]:
    """Of each class the lowest hashes to the parts ``held``, the others to learn from. What is in
    several classes counts for the first, and copies count as what they were made of."""
    hashes = [made[its.name].sha256 if its.name in made else digest(its.path) for its in found]
    part_of, of_class = dict[str, str](), defaultdict[str, set[str]](set)
    for its, its_hash in zip(found, hashes, strict=True):
        of_class[its.label].add(its_hash)
    for label in sorted(of_class, key=_in_order):
        different = sorted(of_class[label] - part_of.keys())
        if len(different) <= len(held):
            raise InputError(
                f"the class {label!r} of {folder} has {len(different)} different "
                f"image{'s' * (len(different) != 1)}; it needs {len(held) + 1} at least, to learn "
                f"from and for {' and '.join(held)}"
            )
        count = max(1, round(HELD * len(different)))
        for n, its_hash in enumerate(different):
            part_of[its_hash] = held[n // count] if n < count * len(held) else "train"
    yield from (part_of[its_hash] for its_hash in hashes)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_order(label: str) -> tuple[int, int, str]:
    """Numbers by their size, other names by the alphabet."""
    number = re.fullmatch(r"-?\d{1,18}", label)
    return (0, int(label), label) if number else (1, 0, label)
