"""Image files of every kind, and those that are none."""

import io
import os
import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from data.images.pictures import pattern
from saiki.data.images import files
from saiki.data.images.files import read_image, write_image
from saiki.errors import InputError

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def corners(pixels):
    """The colours near the four corners, from the left above, clockwise."""
    _, height, width = pixels.shape
    top, low, left, right = height // 5, height - height // 5 - 1, width // 5, width - width // 5
    places = [(top, left), (top, right), (low, right), (low, left)]
    return [tuple(pixels[:, y, x].tolist()) for y, x in places]


def close(ours, theirs, by):
    differences = np.abs(np.array(ours, int) - np.array(theirs, int))
    assert differences.max() <= by, (ours, theirs)


def written(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "by"),
    [("a.png", 0), ("A.PNG", 0), ("a.bmp", 0), ("a.tif", 0), ("a.ppm", 0), ("a.gif", 0),
     ("a.jpg", 8), ("A.JPEG", 8), ("a.webp", 12), ("日本語 の 写真.png", 0)],
)  # fmt: skip
def test_a_file_of_any_kind_is_red_green_and_blue(tmp_path, name, by):
    pixels = read_image(written(tmp_path / name, pattern()))
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 24, 32)
    assert pixels.is_contiguous()
    close(corners(pixels), [RED, GREEN, BLUE, BLUE], by)


def test_grey_is_weighted_as_the_eye_does(tmp_path):
    pixels = read_image(written(tmp_path / "a.png", pattern()), channels=1)
    assert pixels.shape == (1, 24, 32)
    close(corners(pixels), [(75,), (147,), (28,), (28,)], 1)
    assert read_image(written(tmp_path / "b.png", pattern().convert("L"))).shape == (3, 24, 32)


def test_the_colours_of_print_become_those_of_a_screen(tmp_path):
    cmyk = pattern().convert("CMYK")
    for name in ("a.jpg", "a.tif"):
        close(corners(read_image(written(tmp_path / name, cmyk))), [RED, GREEN, BLUE, BLUE], 12)


def sixteen(top):
    values = np.zeros((24, 32), np.uint16)
    values[:12] = top
    return values


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_become_eight_and_are_not_cut_off(tmp_path, name):
    path = written(tmp_path / name, Image.fromarray(sixteen(257 * 100)))
    assert corners(read_image(path)) == [(100,) * 3, (100,) * 3, (0,) * 3, (0,) * 3]
    assert corners(read_image(path, 1)) == [(100,), (100,), (0,), (0,)]


def test_a_photo_in_sixteen_bits_stands_as_its_camera_was_held(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    upside_down = Image.fromarray(sixteen(257 * 100)[::-1].copy())
    for name in ("a.tif", "a.png"):
        path = written(tmp_path / name, upside_down, exif=exif)
        assert corners(read_image(path, 1)) == [(100,), (100,), (0,), (0,)]


def test_a_netpbm_file_of_sixteen_bits(tmp_path):
    body = b"P5 32 24 65535\n" + sixteen(257 * 100).astype(">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(body)
    assert corners(read_image(tmp_path / "a.pgm", 1)) == [(100,), (100,), (0,), (0,)]


def test_numbers_without_a_white_are_refused(tmp_path):
    for values in (np.full((4, 4), 0.5, np.float32), np.full((4, 4), 10**6, np.int32)):
        path = written(tmp_path / "a.tif", Image.fromarray(values))
        with pytest.raises(InputError, match=r"a\.tif holds numbers of which nobody knows what is"):
            read_image(path)


def test_what_is_transparent_lies_over_white(tmp_path):
    image = pattern().convert("RGBA")
    alpha = np.full((24, 32), 255, np.uint8)
    alpha[:12, :16], alpha[:12, 16:] = 0, 51
    image.putalpha(Image.fromarray(alpha))
    wanted = [(255, 255, 255), (204, 254, 204), BLUE, BLUE]
    for name in ("a.png", "a.tif"):
        close(corners(read_image(written(tmp_path / name, image))), wanted, 1)
    grey = pattern().convert("LA")
    grey.putalpha(Image.fromarray(alpha))
    shades = corners(read_image(written(tmp_path / "b.png", grey), 1))
    close(shades, [(255,), (233,), (28,), (28,)], 2)


def test_a_palette_with_and_without_transparency(tmp_path):
    image = pattern().quantize(4)
    close(corners(read_image(written(tmp_path / "a.png", image))), [RED, GREEN, BLUE, BLUE], 1)
    red = image.getpixel((2, 2))
    clear = written(tmp_path / "b.png", image, transparency=red)
    close(corners(read_image(clear)), [(255,) * 3, GREEN, BLUE, BLUE], 1)
    gif = written(tmp_path / "b.gif", image, transparency=red)
    close(corners(read_image(gif)), [(255,) * 3, GREEN, BLUE, BLUE], 1)


def test_black_and_white_in_one_bit(tmp_path):
    image = Image.fromarray(sixteen(255).astype(np.uint8)).convert("1")
    assert corners(read_image(written(tmp_path / "a.png", image), 1)) == [
        (255,), (255,), (0,), (0,)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, name):
    rest = [Image.new("RGB", (32, 24), "white")] * 2
    options = {"lossless": True} if name == "a.webp" else {}
    path = written(tmp_path / name, pattern(), save_all=True, append_images=rest, **options)
    close(corners(read_image(path)), [RED, GREEN, BLUE, BLUE], 1)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photo_stands_as_its_camera_was_held(tmp_path, turn):
    undo = [
        None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
    ][turn - 1]  # fmt: skip
    image = pattern() if undo is None else pattern().transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = turn
    for name in ("a.jpg", "a.png"):
        pixels = read_image(written(tmp_path / name, image, exif=exif))
        assert pixels.shape == (3, 24, 32)
        close(corners(pixels), [RED, GREEN, BLUE, BLUE], 8)


def header_of(width, height):
    """A PNG that says it is so large, and holds nothing."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", body), (b"IDAT", data), (b"IEND", b""))
    )


@pytest.mark.parametrize("size", [(50_000, 50_000), (50_000, 2_000), (2**31 - 1, 1)])
def test_a_decompression_bomb_is_refused_before_memory_is_taken(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(header_of(*size))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bomb\.png is too large.* may have 89,000,000") as caught:
        read_image(tmp_path / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_a_picture_that_is_wide_but_not_large_is_read(tmp_path):
    path = written(tmp_path / "wide.png", Image.new("RGB", (50_000, 3), "red"))
    assert read_image(path).shape == (3, 3, 50_000)


def test_what_is_no_image_is_told_in_one_sentence(tmp_path):
    for name, body, what in (
        ("a.png", b"", r"a\.png is empty; save it as PNG or JPEG"),
        ("b.jpg", b"Dear all,\n", r"b\.jpg is no image that can be read"),
        ("c.gif", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"c\.gif is no image"),
        ("d.svg", b"<svg/>", r"d\.svg is no image"),
        ("写真.png", b"\x89PNG\r\n\x1a\n", r"写真\.png is "),
    ):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(InputError, match=what) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"nothing\.png cannot be read: No such file"):
        read_image(tmp_path / "nothing.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"folder\.png cannot be read: it is a folder"):
        read_image(tmp_path / "folder.png")
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"no")
    with pytest.raises(InputError, match=r"�\.png is no image"):
        read_image(tmp_path / os.fsdecode(b"\xff.png"))


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = written(tmp_path / "a.png", pattern())

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files.Image, "open", refuse)
    with pytest.raises(InputError, match=r"a\.png cannot be read: Permission denied"):
        read_image(path)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm"])
def test_a_file_that_is_cut_short_or_damaged_is_read_or_named(tmp_path, kind):
    buffer = io.BytesIO()
    noisy = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(noisy).save(buffer, kind)
    body, draw = buffer.getvalue(), random.Random(kind)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(body[: len(body) // 2])
    with pytest.raises(InputError, match=rf"a\.{kind} is (cut short or damaged|no image)"):
        read_image(path)
    for _ in range(150):
        broken = bytearray(body)
        for _ in range(draw.randint(1, 6)):
            broken[draw.randrange(min(len(body), draw.choice((40, 10**9))))] = draw.randrange(256)
        path.write_bytes(broken[: draw.randint(1, len(body))] if draw.random() < 0.5 else broken)
        try:
            assert read_image(path).shape[0] == 3
        except InputError as error:
            assert f"a.{kind}" in str(error)  # noqa: PT017


def test_what_is_written_is_read_back_and_written_whole_or_not_at_all(tmp_path):
    pixels = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    for image in (pixels, pixels[:1]):
        path = write_image(tmp_path / "new" / "写真.png", image)
        assert torch.equal(read_image(path, len(image)), image)
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="cannot write"):
        write_image(tmp_path / "file" / "a.png", pixels)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["写真.png"]
