"""Augmented data sets: a folder of images, and copies of each that are changed at random."""

import shutil
import tempfile
from pathlib import Path

from saiki.data.folders import shown
from saiki.data.images.augmentation import Augmentation, write_policy
from saiki.data.images.changes import AugmentedImage, read_table, write_table
from saiki.data.images.files import read_image, write_image
from saiki.data.images.folder import find
from saiki.data.skipped import LeftOut, Skipped
from saiki.errors import InputError, SaikiError
from saiki.files import TEMPORARY
from saiki.inputs import sha256_of
from saiki.progress import each


def write_copies(
    folder: Path,
    out: Path,
    augmentation: Augmentation,
    copies: int,
    seed: int,
    strict: bool = False,
) -> tuple[int, list[Skipped]]:
    """Write the images of ``folder`` into ``out``, in the same subfolders, and beside each, called
    ``NAME-1.png`` and so on, copies that are changed. A table says what was done to which, and
    ``policy.json`` what might have been. All is there in the end, or nothing.

    What is drawn for a copy follows from the seed, its number and the bytes of its source.

    Returns:
        How many images were written, and the files that are left out, for they cannot be read.

    Raises:
        InputError: there are no images, none can be read, or, where that is ``strict``, one cannot;
            the folder is such a one already or has a file that is called like a copy, or ``out``
            is there already.
        SaikiError: they cannot be written.
    """
    augmenter, sources, left_out = augmentation.build(), find(folder), LeftOut(strict)
    if out.exists():
        raise InputError(f"{out} exists already; choose another --out, or remove it first")
    if read_table(folder):
        raise InputError(f"{folder} is augmented already; augment the folder it was made of")
    names = {source.path: source.path.relative_to(folder).as_posix() for source in sources}
    originals = {*names.values()}
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=out.absolute().parent, prefix=TEMPORARY, ignore_cleanup_errors=True
        ) as temporary:
            made, images = Path(temporary) / "made", list[AugmentedImage]()
            for source, pixels in left_out.read(each(sources), read_image):
                name, sha256 = names[source.path], sha256_of(source.path)
                grey = bool((pixels == pixels[:1]).all())
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.path, made / name)
                images.append(AugmentedImage(source.name, source.name, sha256, 0))
                for number in range(1, copies + 1):
                    changes = augmentation.draw(seed, int(sha256[:16], 16), number)
                    copy = f"{name}-{number}.png"
                    if copy in originals:
                        raise InputError(
                            f"a copy of {source.name} would be called {shown(copy)}, as another "
                            f"image of {folder} is; rename that one"
                        )
                    x = augmenter.changed(pixels[:1] if grey else pixels, changes)
                    write_image(made / copy, x)
                    images.append(AugmentedImage(shown(copy), source.name, sha256, number, changes))
            write_table(made, images)
            write_policy(made / "policy.json", augmentation, seed)
            made.rename(out)
    except OSError as error:
        raise SaikiError(f"cannot write {out}: {error.strerror or error}") from error
    return len(images), left_out.files
