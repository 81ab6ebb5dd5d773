"""Decode pictures to uint8 arrays, all of one size, with clear errors for what cannot be read."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.errors import TrainingInputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_GREY_MODES = ("1", "L", "LA")
_COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")
_ORIENTATION = 0x0112  # EXIF tag
LISTED = 200  # unreadable pictures that an error lists by name


def decode(content: bytes | Path, where: str, image_size: int | None = None) -> np.ndarray:
    """Decode one picture as viewers show it: turned as its EXIF orientation demands, on white where it is transparent.

    Palettes become colours.

    Parameters
    ----------
    content : bytes or Path
    where : str
        Name of the picture in errors.
    image_size : int, optional
        Reduce to this many pixels a side (`reduce_area`).

    Returns
    -------
    (height, width, 1 or 3) uint8

    Raises
    ------
    TrainingInputError
        For anything Pillow cannot decode, for pixels of more than eight bits, and for pictures above Pillow's
        limit against decompression bombs (`PIL.Image.MAX_IMAGE_PIXELS`).
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
                pixels = _turned(np.asarray(_on_white(picture)), _orientation(picture))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise TrainingInputError(
            f"{where}: {error}. Pictures above {Image.MAX_IMAGE_PIXELS} pixels are refused; make it smaller."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        if isinstance(error, TrainingInputError):
            raise
        raise TrainingInputError(f"{where}: not a readable picture ({error}).") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels if image_size is None else reduce_area(pixels, image_size, where)


def _on_white(picture: Picture) -> Picture:
    """The picture in grey or RGB, its transparent parts in front of white; loads it."""
    from PIL import Image

    target = "L" if picture.mode in _GREY_MODES else "RGB"
    picture.load()  # some formats know of transparency, or turn themselves, only then
    if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
        return picture.convert(target)
    drawn = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert(target)


def _orientation(picture: Picture) -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 where there is none."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error, OSError, EOFError):
        return 1  # damaged tags of a picture whose pixels are whole: viewers show it as it is stored
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels that are stored in an EXIF orientation upright: orientations 5 to 8 swap rows and columns."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def reduce_area(pixels: np.ndarray, image_size: int, where: str) -> np.ndarray:
    """Reduce a picture to image_size pixels a side; each new pixel is the mean of the area it covers.

    Parameters
    ----------
    pixels : (height, width, channels) uint8
        Its central square is used where it is not square.
    image_size : int
    where : str
        Name of the picture in errors.

    Returns
    -------
    (image_size, image_size, channels) uint8
        Pillow's box filter works in integers, so the result is the same on every machine.

    Raises
    ------
    TrainingInputError
        When the picture is smaller than image_size.
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


def reduce_all(images: np.ndarray, image_size: int, names: list[str]) -> np.ndarray:
    """Reduce every image of (n, height, width, channels) uint8, see `reduce_area`; `names` name them in errors."""
    return np.stack([reduce_area(pixels, image_size, name) for pixels, name in zip(images, names, strict=True)])


class PictureReader:
    """Decode pictures one after another, and collect those that cannot be read.

    Parameters
    ----------
    image_size : int, optional
        Pixels a side to reduce to.
    unreadable : {"refuse", "skip"}
        What `finish` does about pictures that cannot be read.

    Attributes
    ----------
    failed : list of (name, reason)
    """

    def __init__(self, image_size: int | None, unreadable: str) -> None:
        self.image_size = image_size
        self.unreadable = unreadable
        self.failed: list[tuple[str, str]] = []

    def read(self, content: bytes | Path | None, name: str) -> np.ndarray | None:
        """Decode one picture, see `decode`; None where it cannot be read."""
        if content is None:
            self.failed.append((name, "the row holds no picture bytes"))
            return None
        try:
            return decode(content, name, self.image_size)
        except TrainingInputError as error:
            self.failed.append((name, str(error).removeprefix(f"{name}: ")))
            return None

    def finish(self, where: Path) -> tuple[tuple[str, str], ...]:
        """Return (name, reason) of the pictures to leave out.

        Raises
        ------
        TrainingInputError
            One error that lists every picture that cannot be read, unless they are to be left out.
        """
        if self.failed and self.unreadable != "skip":
            lines = [f"  {name}: {reason}" for name, reason in self.failed[:LISTED]]
            if len(self.failed) > LISTED:
                lines.append(f"  and {len(self.failed) - LISTED:,} more")
            count = "1 picture" if len(self.failed) == 1 else f"{len(self.failed):,} pictures"
            raise TrainingInputError(
                f"{count} in {where} cannot be read. Replace or remove them, or leave them out with "
                f"dataset.unreadable=skip:\n" + "\n".join(lines)
            )
        return tuple(self.failed)


def stack_pictures(arrays: list[np.ndarray], names: list[str]) -> np.ndarray:
    """Stack decoded pictures to (n, height, width, channels); grey ones become RGB where any is in colour.

    Raises TrainingInputError when sizes differ; `names` name the pictures.
    """
    size = arrays[0].shape[:2]
    for pixels, name in zip(arrays, names, strict=True):
        if pixels.shape[:2] != size:
            raise TrainingInputError(
                f"pictures differ in size: {names[0]} is {size[0]}x{size[1]}, {name} is {pixels.shape[0]}x"
                f"{pixels.shape[1]}. Give image_size, to which all are reduced."
            )
    channels = max(pixels.shape[2] for pixels in arrays)
    stacked = np.empty((len(arrays), *size, channels), dtype=np.uint8)
    for row, pixels in enumerate(arrays):
        stacked[row] = pixels  # one grey channel broadcasts to three
    return stacked
