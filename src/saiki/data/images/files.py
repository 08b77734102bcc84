"""Image files in and out: any of them as red, green and blue, or grey, in bytes."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from saiki import files
from saiki.data.folders import LabelledFile, shown
from saiki.errors import InputError, SaikiError
from saiki.inputs import open_file
from saiki.prediction import FileOutput

ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
)
"""What an image file's name ends with, in small or capital letters. Where those of the last three
cannot be read on this machine, that is said of the file."""
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
"""Those that are read; of no other are the bytes looked at, and none starts another program."""
MOST_PIXELS = 89_000_000
"""Of one image: about 270 MB in colour."""
MODES = {1: "L", 3: "RGB"}
_WHITE = 65535


@dataclass(frozen=True)
class ImageFile(LabelledFile):
    """An image of a folder, its class, and the part it belongs to, where the folders say it."""

    part: str = ""


def read_image(path: str | Path, channels: int = 3) -> Tensor:
    """The image as bytes, ``(channels, height, width)``, as a person sees it.

    It is turned as its EXIF data say, laid over white where it is transparent, and of an animation
    the first frame. Colours of print (CMYK) become those of a screen, 16 bits 8.

    Args:
        channels: 3, or 1 for grey.

    Raises:
        InputError: it cannot be read, is no image, is cut short, or its header says that it is
            larger than :data:`MOST_PIXELS`; then no memory was taken for it.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and what Pillow finds large
            with open_file(path) as file, Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _too_large(path, f", {image.width:,} × {image.height:,} pixels")
                array = np.array(_upright(path, image).convert(MODES[channels]))
        pixels = torch.from_numpy(array).view(*array.shape[:2], -1)
        return pixels.movedim(2, 0).contiguous()
    except (SaikiError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except UnidentifiedImageError:
        problem = "is empty" if path.stat().st_size == 0 else "is no image that can be read"
        raise InputError(
            f"{shown(path)} {problem}; save it as PNG or JPEG, or take it away"
        ) from None
    except OSError as error:
        if error.strerror:
            raise InputError(f"{shown(path)} cannot be read: {error.strerror}") from None
        raise _broken(path) from None
    except Exception:  # decoders of broken files raise whatever they stumble over
        raise _broken(path) from None


def write_image(path: Path, pixels: Tensor) -> Path:
    """Write bytes ``(channels, height, width)`` of 1 or 3 channels as PNG, whole or not at all."""
    array = pixels.movedim(0, -1).numpy()
    image = Image.fromarray(array if len(pixels) == 3 else array[:, :, 0])
    return files.write(path, lambda file: image.save(file, "PNG"))


@dataclass(frozen=True, eq=False)
class Picture(FileOutput):
    """An image as :func:`write_image` takes it."""

    pixels: Tensor

    ending = ".png"

    def save(self, path: Path) -> Path:
        """Write it as :func:`write_image` does."""
        return write_image(path, self.pixels)


def _upright(path: Path, image: Image.Image) -> Image.Image:
    """The first frame in 8 bits, opaque, turned."""
    image.seek(0)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(path, image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image


def _eight_bits(path: Path, image: Image.Image) -> Image.Image:
    """Grey of 16 bits, which also comes in numbers of 32, as grey of 8."""
    values = np.asarray(image)
    is_readable = values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= _WHITE
    if not is_readable:
        raise InputError(
            f"{shown(path)} holds numbers of which nobody knows what is white; save it with 8 or "
            "16 bits a pixel"
        )
    return Image.fromarray(((values.astype(np.uint32) * 255 + _WHITE // 2) // _WHITE).astype("u1"))


def _too_large(path: Path, size: str = "") -> InputError:
    return InputError(
        f"{shown(path)} is too large{size}: an image may have {MOST_PIXELS:,} at most; make it "
        "smaller"
    )


def _broken(path: Path) -> InputError:
    return InputError(f"{shown(path)} is cut short or damaged; get it anew, or take it away")
