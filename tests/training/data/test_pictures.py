"""Pictures are read as everybody shows them: upright, and in front of white where they are transparent."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from training.data.pictures import decode
from training.errors import TrainingInputError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
DRAWING = np.random.default_rng(1).random((6, 9)) < 0.5


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format=kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_viewers_turn_it(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    content = encoded(Image.fromarray(PIXELS), kind, exif=exif, **options)
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        shown = np.asarray(ImageOps.exif_transpose(picture))
    found = decode(content, "here")
    assert np.array_equal(found, shown)
    assert found.shape[:2] == ((9, 6) if orientation >= 5 else (6, 9))
    assert orientation == 1 or not np.array_equal(found, PIXELS)


def test_a_picture_is_turned_before_its_square_is_cut_out_and_reduced() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(PIXELS), exif=exif)
    upright = encoded(Image.fromarray(np.ascontiguousarray(np.rot90(PIXELS, -1))))
    assert np.array_equal(decode(turned, "here", 3), decode(upright, "here", 3))


@pytest.mark.parametrize("tags", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense"])
def test_damaged_tags_leave_the_picture_as_it_is(tags: bytes) -> None:
    content = encoded(Image.fromarray(PIXELS), "JPEG", exif=tags)
    assert np.array_equal(decode(content, "here"), decode(encoded(Image.fromarray(PIXELS), "JPEG"), "here"))


def drawn_in_alpha(mode: str) -> bytes:
    """A black drawing whose shape is in its transparency alone, as icons are."""
    alpha = Image.fromarray(DRAWING.astype(np.uint8) * 255)
    if mode == "P":
        picture = Image.fromarray(DRAWING.astype(np.uint8))
        picture.putpalette([0, 0, 0] * 2)
        return encoded(picture, transparency=0)
    if mode == "L":
        return encoded(Image.fromarray(np.where(DRAWING, 0, 7).astype(np.uint8)), transparency=7)
    if mode == "RGB":
        return encoded(Image.fromarray(np.repeat(np.where(DRAWING, 0, 7).astype(np.uint8)[..., None], 3, axis=2)),
                       transparency=(7, 7, 7))
    picture = Image.new(mode, (9, 6))
    picture.putalpha(alpha)
    return encoded(picture)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_what_is_transparent_is_white(mode: str) -> None:
    found = decode(drawn_in_alpha(mode), "here")
    assert np.array_equal(found[..., 0], np.where(DRAWING, 0, 255))
    assert found.shape[2] == (1 if mode in ("LA", "L") else 3)


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    picture = np.dstack([np.full((4, 4, 3), 100, np.uint8), np.full((4, 4), 51, np.uint8)])
    assert set(decode(encoded(Image.fromarray(picture)), "here").ravel().tolist()) == {224}  # 100 / 5 + 255 * 4 / 5


def test_an_opaque_alpha_channel_changes_no_pixel() -> None:
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    assert np.array_equal(decode(encoded(Image.fromarray(opaque)), "here"), PIXELS)
    grey = Image.fromarray(PIXELS[..., 0])
    assert np.array_equal(decode(encoded(grey.convert("LA")), "here")[..., 0], PIXELS[..., 0])


# ---- kinds of files


def test_pictures_of_print_are_shown_in_colours() -> None:
    """CMYK, as print shops write it: an error of the conversion would invert every colour."""
    smooth = Image.new("RGB", (9, 6), (200, 40, 90))
    found = decode(encoded(smooth.convert("CMYK"), "JPEG", quality=100), "here")
    assert found.shape == (6, 9, 3) and np.abs(found.astype(int) - (200, 40, 90)).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_read_as_other_loaders_do(kind: str) -> None:
    frames = [Image.new("RGB", (9, 6), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options), "here")
    assert set(map(tuple, found.reshape(-1, 3).tolist())) == {(255, 0, 0)}


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.int32), ("TIFF", np.float32)])
def test_grey_levels_of_more_than_eight_bits_are_refused(kind: str, dtype: type) -> None:
    """Clipped at 255, as a plain conversion does, nearly every pixel would be white."""
    content = encoded(Image.fromarray(np.arange(54).reshape(6, 9).astype(dtype) * 1000), kind)
    with pytest.raises(TrainingInputError, match="are not 8-bit grey or colour"):
        decode(content, "here")


def test_a_bilevel_scan_is_black_and_white() -> None:
    found = decode(encoded(Image.fromarray(DRAWING)), "here")
    assert np.array_equal(found[..., 0], np.where(DRAWING, 255, 0))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>", b"<svg/>", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n",
     b"\0\0\0\x18ftypheic" + bytes(50), b"GIF89a" + bytes(7), encoded(Image.fromarray(PIXELS), "JPEG")[:300]],
    ids=["empty", "a web page", "SVG", "a pointer of Git LFS", "HEIC", "no pixels", "cut short"],
)  # fmt: skip
def test_what_only_has_a_pictures_name_is_refused(content: bytes) -> None:
    with pytest.raises(TrainingInputError, match="here: not a readable picture"):
        decode(content, "here")
