"""Regions whose removal changes what a model says: the smallest set that flips it, deletion and insertion curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ablation import PatchGame
from attribution import Spectrum


@dataclass(frozen=True)
class Flip:
    """A set of regions whose removal was tried.

    Attributes
    ----------
    removed : tuple of int
        In the order of removal.
    flipped : bool
        Whether the margin fell below zero when the regions were removed.
    n_tried : int
        Masks that were evaluated to find out.
    """

    removed: tuple[int, ...]
    flipped: bool
    n_tried: int


def removal_order(spectrum: Spectrum, *, interactions: bool = True) -> list[int]:
    """Order the regions so that each removal lowers the predicted margin the most, given those removed before.

    Parameters
    ----------
    spectrum : Spectrum
        Of one image.
    interactions : bool
        False leaves the sets of two and more out, so that the order is that of the main effects.

    Returns
    -------
    list of int
        All players.
    """
    used = spectrum if interactions else spectrum.truncate(1)
    present = np.ones(spectrum.n_players, bool)
    order: list[int] = []
    while present.any():
        candidates = np.flatnonzero(present)
        masks = np.repeat(present[None], len(candidates), axis=0)
        masks[np.arange(len(candidates)), candidates] = False
        best = int(candidates[used.evaluate(masks).argmin()])
        order.append(best)
        present[best] = False
    return order


def smallest_flip(game: PatchGame, spectrum: Spectrum, image: int, *, interactions: bool = True) -> Flip:
    """Find the fewest regions whose removal flips an image, by the spectrum, and try them.

    Parameters
    ----------
    game : PatchGame
    spectrum : Spectrum
        Of this image.
    image : int
    interactions : bool
        As for `removal_order`.

    Returns
    -------
    Flip
        Removals grow in the order of the spectrum until the margin falls below zero; then regions are put back one by
        one, the first removed first, where the margin stays below zero without them. Every step is evaluated.
    """
    order = removal_order(spectrum, interactions=interactions)
    masks = np.ones((len(order), game.n_players), bool)
    for number, player in enumerate(order):
        masks[number:, player] = False
    margins = game.evaluate(masks)[:, image]
    below = np.flatnonzero(margins < 0)
    if not len(below):
        return Flip(tuple(order), False, len(masks))
    removed, n_tried = order[: int(below[0]) + 1], len(masks)
    for player in list(removed[:-1]):
        without = [other for other in removed if other != player]
        mask = np.ones((1, game.n_players), bool)
        mask[0, without] = False
        n_tried += 1
        if game.evaluate(mask)[0, image] < 0:
            removed = without
    return Flip(tuple(removed), True, n_tried)


def curve(game: PatchGame, order: list[int], image: int, *, insert: bool = False) -> np.ndarray:
    """Return the margin as regions are removed one by one, or put in, in an order.

    Parameters
    ----------
    game : PatchGame
    order : list of int
        All regions.
    image : int
    insert : bool
        Start from none instead of all.

    Returns
    -------
    (n_players + 1,) float32
        Its mean is the area under the deletion (or insertion) curve.
    """
    masks = np.full((len(order) + 1, game.n_players), not insert)
    for number, player in enumerate(order):
        masks[number + 1 :, player] = insert
    return game.evaluate(masks)[:, image]
