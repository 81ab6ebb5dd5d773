"""The 1,797 handwritten digits that ship with scikit-learn: 8 x 8 pixels, ten classes, no download."""

from __future__ import annotations

import numpy as np

from training.data.dataset import ImageSet, RawImages, SourceOptions, text_array


def read_digits(options: SourceOptions) -> RawImages:
    """Read all digits; they are named `digits/0` to `digits/1796`, by their rows.

    Parameters
    ----------
    options : SourceOptions
        None of them matters here: `read_source` reduces the images.

    Returns
    -------
    RawImages
        Levels 0 to 16 spread over 0 to 255. There is no test set: test images are what training leaves over.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
    rows = np.arange(len(pixels), dtype=np.int64)
    names = text_array(f"digits/{row}" for row in rows)
    return RawImages(
        name="digits",
        class_names=tuple(str(digit) for digit in range(10)),
        train=ImageSet(pixels, bunch.target.astype(np.int64), rows, names),
        test=None,
        default_n_train=200,
        default_n_targets=400,
        default_n_audit=400,
    )
