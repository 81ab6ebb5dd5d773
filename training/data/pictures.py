"""Decode pictures to uint8 arrays, all of one size, with clear errors for what cannot be read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from training.errors import TrainingInputError

_GREY_MODES = ("1", "L", "LA")
_COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")


def decode(content: bytes | Path, where: str, image_size: int | None = None) -> np.ndarray:
    """One picture as (height, width, 1 or 3) uint8; alpha is dropped, palettes become colours.

    `where` names the picture in errors. With `image_size` the picture is reduced (`reduce_area`). Raises
    TrainingInputError for anything Pillow cannot decode, for pixels of more than eight bits, and for pictures
    above Pillow's limit against decompression bombs (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    from PIL import Image

    stream = content if isinstance(content, Path) else io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            # Pillow only warns between its limit and twice its limit; here the limit is the limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(stream) as picture:
                if picture.mode not in _GREY_MODES + _COLOUR_MODES:
                    raise TrainingInputError(
                        f"{where}: pixels of mode {picture.mode!r} are not 8-bit grey or colour. Convert the "
                        f"picture to 8-bit grey or RGB."
                    )
                pixels = np.asarray(picture.convert("L" if picture.mode in _GREY_MODES else "RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise TrainingInputError(
            f"{where}: {error}. Pictures above {Image.MAX_IMAGE_PIXELS} pixels are refused; make it smaller."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        if isinstance(error, TrainingInputError):
            raise
        raise TrainingInputError(f"{where}: not a readable picture ({error}). Replace or remove it.") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels if image_size is None else reduce_area(pixels, image_size, where)


def reduce_area(pixels: np.ndarray, image_size: int, where: str) -> np.ndarray:
    """Reduce (height, width, channels) uint8 to image_size a side; each new pixel is the mean of the area it
    covers.

    What is not square is first cut to its central square. Pillow's box filter works in integers, so the
    result is the same everywhere. Raises TrainingInputError when the picture is smaller than image_size.
    """
    from PIL import Image

    height, width, channels = pixels.shape
    side = min(height, width)
    if side < image_size:
        raise TrainingInputError(
            f"{where}: image_size = {image_size} is larger than the picture ({height}x{width}). Pictures are "
            f"only reduced; choose {side} or less."
        )
    if (height, width) == (image_size, image_size):
        return pixels
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    picture = Image.fromarray(square[..., 0] if channels == 1 else square)
    reduced = np.asarray(picture.resize((image_size, image_size), Image.Resampling.BOX))
    return reduced.reshape(image_size, image_size, channels)


def reduce_all(images: np.ndarray, image_size: int | None, where: str) -> np.ndarray:
    """`reduce_area` on every image of (n, height, width, channels)."""
    if image_size is None:
        return images
    return np.stack([reduce_area(pixels, image_size, where) for pixels in images])


def stack_pictures(pictures: Iterable[np.ndarray], where: list[str]) -> np.ndarray:
    """Stack decoded pictures to (n, height, width, channels); grey ones become RGB where any is in colour.

    Raises TrainingInputError when sizes differ; `where` names the pictures.
    """
    arrays = list(pictures)
    size = arrays[0].shape[:2]
    for pixels, name in zip(arrays, where, strict=True):
        if pixels.shape[:2] != size:
            raise TrainingInputError(
                f"pictures differ in size: {where[0]} is {size[0]}x{size[1]}, {name} is {pixels.shape[0]}x"
                f"{pixels.shape[1]}. Give image_size, to which all are reduced."
            )
    channels = max(pixels.shape[2] for pixels in arrays)
    stacked = np.empty((len(arrays), *size, channels), dtype=np.uint8)
    for row, pixels in enumerate(arrays):
        stacked[row] = pixels  # one grey channel broadcasts to three
    return stacked
