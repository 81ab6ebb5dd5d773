"""Pictures are read as everybody shows them: upright, and in front of white where they are transparent."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from training.data.pictures import decode

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
