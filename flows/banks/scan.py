"""The first reading of a bank: its shape, what its masks include, which rows have numbers, and a digest of it all."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flows.banks.arrays import Rows, can_be_transposed, open_rows, transposed
from flows.banks.errors import BankError
from flows.banks.layouts import BankFiles
from flows.banks.masks import MaskReader
from training.packed_masks import PackedMasks

BLOCK_BYTES = 2**24  # of unpacked masks, or of outputs as float32, that are read at a time
SLACK = 1e-3  # of alpha, beyond chance; as attribution.masks.inputs.check_alpha_of_masks
MOST_LOST = 0.5  # share of rows without a number above which a bank is refused


@dataclass(frozen=True)
class Scan:
    """What one reading of a bank found.

    Attributes
    ----------
    mask_of_row : (n_rows,) int64
        Mask that each row of the outputs was evaluated on.
    mask_key : (n_masks,) void16
        Digest of each mask; equal masks have equal digests.
    n_included : (n_masks,) int64
        Players in each mask.
    n_with_player : (n_players,) int64
        Finished masks that include each player.
    finished : (n_masks,) bool
        False for masks that were never evaluated.
    good : (n_rows,) bool
        Whether all outputs of a row are finite.
    mask_sums, output_sums : tuple of int
        Checksum of every block, to notice files that change before the second reading.
    digest : str
        Of the masks, the outputs and their assignment, whatever files they lie in.
    notes : tuple of str
    """

    mask_of_row: np.ndarray
    mask_key: np.ndarray
    n_included: np.ndarray
    n_with_player: np.ndarray
    finished: np.ndarray
    good: np.ndarray
    mask_sums: tuple[int, ...]
    output_sums: tuple[int, ...]
    digest: str
    notes: tuple[str, ...]


def orient(
    files: BankFiles, n_players: int | None, n_targets: int | None, n_rows: int | None
) -> tuple[BankFiles, list[str]]:
    """Turn arrays that lie on their side, by their lengths.

    Parameters
    ----------
    files
        The arrays as stored.
    n_players, n_targets
        Their numbers where the user's tables say them.
    n_rows
        Rows of the outputs where they are known from a list of replicates.

    Returns
    -------
    files : BankFiles
    notes : list of str
        What was turned.

    Raises
    ------
    BankError
        When masks and outputs have no length in common, or several.
    """
    masks, outputs = files.masks, files.outputs
    fitting, lengths = [], []
    for turn_masks in (False, True):
        for turn_outputs in (False, True):
            if (turn_masks and not can_be_transposed(masks)) or (turn_outputs and not can_be_transposed(outputs)):
                continue
            (m, n), (r, t) = (_shape(masks, turn_masks), _shape(outputs, turn_outputs))
            rows_agree = r == (n_rows if n_rows is not None else m * files.outputs_per_mask)
            if rows_agree:
                lengths.append(t)
            if rows_agree and (n_targets is None or t == n_targets):
                known = n_players is None or n in (n_players, -1)
                fitting.append((not known, turn_masks or turn_outputs, turn_masks, turn_outputs))
    if not fitting and lengths:
        raise BankError(
            f"{outputs.label} has {lengths[0]} columns and there are {n_targets} targets. Give the targets of this "
            "bank, one row a column of the outputs"
        )
    if not fitting:
        raise BankError(
            f"{masks.label} has shape {_words(masks.shape)} and {outputs.label} {_words(outputs.shape)}: their "
            f"numbers of rows differ{f', for {n_players} players' if n_players else ''}. One row of each belongs to "
            "one mask; outputs of the same masks trained again go with --replicate-of"
        )
    fitting.sort()
    if len(fitting) > 1 and fitting[0][:2] == fitting[1][:2] and fitting[0][1]:
        raise BankError(
            f"{masks.label} {_words(masks.shape)} and {outputs.label} {_words(outputs.shape)} fit in several ways when "
            "turned. Save them with one row a mask"
        )
    _, _, turn_masks, turn_outputs = fitting[0]
    notes = []
    if turn_masks:
        masks = transposed(masks)
        notes.append(f"{masks.label} has one column a mask, by its lengths: it is read as {_words(masks.shape)}")
    if turn_outputs:
        outputs = transposed(outputs)
        notes.append(f"{outputs.label} has one column a mask, by its lengths: it is read as {_words(outputs.shape)}")
    return replace(files, masks=masks, outputs=outputs), notes


def masks_of_rows(files: BankFiles, reader: MaskReader, repeats: np.ndarray | None) -> np.ndarray:
    """Return the mask of each row of the outputs.

    Parameters
    ----------
    files, reader
        The bank.
    repeats
        (n_rows,) row or mask that each row repeats, -1 for none; None when no list was given.

    Raises
    ------
    BankError
        For a list of another length, or one that names a mask that does not exist.
    """
    n_rows, n_masks = files.outputs.shape[0], reader.n_masks
    rows = np.arange(n_rows)
    if repeats is None:
        return rows // files.outputs_per_mask
    if len(repeats) != n_rows:
        raise BankError(
            f"--replicate-of has {len(repeats)} entries and the outputs have {n_rows} rows. Give one for each row"
        )
    own = (repeats < 0) | (repeats == rows)
    bad = np.flatnonzero((repeats >= n_masks) | (own & (rows >= n_masks)))
    if len(bad):
        raise BankError(
            f"row {bad[0]} of the outputs has no mask: --replicate-of gives {repeats[bad[0]]}, and there are "
            f"{n_masks} masks, "
            "counted from 0"
        )
    if n_rows == n_masks:
        return rows  # every row has a mask of its own; that the masks are equal is checked after reading
    return np.where(own, rows, repeats)


def read_repeats(given: str) -> np.ndarray:
    """Read the file of --replicate-of: for each row of the outputs the row it repeats; -1 or its own for none."""
    rows = open_rows(given, ("replicate_of", "ids"))
    if rows.shape[1] != 1:
        raise BankError(f"{given} has shape {_words(rows.shape)}; --replicate-of takes one row number for each row")
    values = np.concatenate([np.asarray(block).ravel() for block in rows.blocks(2**20)])
    if values.dtype.kind not in "iu":
        raise BankError(f"{given} holds {values.dtype}; --replicate-of takes whole numbers")
    return values.astype(np.int64)


def scan(files: BankFiles, reader: MaskReader, alpha: float | None, repeats: np.ndarray | None) -> Scan:
    """Read masks and outputs once and check them.

    Parameters
    ----------
    files, reader
        The bank, oriented.
    alpha
        Probability of inclusion that the user states.
    repeats
        Of `read_repeats`.

    Returns
    -------
    Scan

    Raises
    ------
    BankError
        For an alpha that is missing or contradicts the masks, for outputs without numbers, and for replicates whose
        masks differ.
    """
    mask_of_row = masks_of_rows(files, reader, repeats)
    finished = _finished(files, reader.n_masks)
    hashed = hashlib.blake2b(digest_size=32)
    keys, sizes, sums = [], [], []
    with_player = np.zeros(reader.n_players, np.int64)
    first = 0
    for masks in reader.blocks(mask_rows(reader.n_players)):
        packed = PackedMasks.pack(masks).bits
        keys += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in packed]
        sizes.append(masks.sum(axis=1))
        with_player += masks[finished[first : first + len(masks)]].sum(axis=0)
        sums.append(zlib.crc32(packed.tobytes()))
        hashed.update(packed.tobytes())
        first += len(masks)
    n_included = np.concatenate(sizes)
    notes = _check_alpha(alpha, n_included[finished], reader)
    good, output_sums, output_notes = _scan_outputs(files, hashed, finished[mask_of_row])
    hashed.update(mask_of_row.tobytes())
    mask_key = np.array(keys, dtype="S16").view("V16")
    if repeats is not None:
        _check_repeats(repeats, mask_key[mask_of_row])
    notes += (
        output_notes
        + _player_notes(with_player, int(finished.sum()))
        + _size_notes(n_included[finished], reader, alpha)
    )
    if not finished.all():
        notes.append(
            f"{int((~finished).sum()):,} of {len(finished):,} masks were never finished (_completed.npy) and are left "
            "out"
        )
    return Scan(
        mask_of_row, mask_key, n_included, with_player, finished, good, tuple(sums), output_sums, hashed.hexdigest(),
        tuple(notes),
    )  # fmt: skip


def mask_rows(n_players: int) -> int:
    """Masks read at a time."""
    return max(1, BLOCK_BYTES // n_players)


def output_rows(n_targets: int) -> int:
    """Rows of outputs read at a time."""
    return max(1, BLOCK_BYTES // (4 * n_targets))


def output_blocks(files: BankFiles) -> Iterator[np.ndarray]:
    """Yield the outputs as (m, n_targets) float32, block by block; values beyond float32 become infinite."""
    for block in files.outputs.blocks(output_rows(files.outputs.shape[1])):
        values = np.asarray(block)
        if values.dtype.kind not in "iufb":
            raise BankError(f"{files.outputs.label} holds {values.dtype}; outputs are numbers")
        with np.errstate(over="ignore"):
            yield files.sign * values.astype(np.float32)


def _scan_outputs(
    files: BankFiles, hashed: Any, wanted: np.ndarray
) -> tuple[np.ndarray, tuple[int, ...], list[str]]:
    n_rows, n_targets = files.outputs.shape
    good, bad_of_target, sums = np.zeros(n_rows, bool), np.zeros(n_targets, np.int64), []
    first = 0
    for values in output_blocks(files):
        finite = np.isfinite(values)
        good[first : first + len(values)] = finite.all(axis=1)
        bad_of_target += (~finite[wanted[first : first + len(values)]]).sum(axis=0)
        sums.append(zlib.crc32(values.tobytes()))
        hashed.update(values.tobytes())
        first += len(values)
    n_wanted, n_good = int(wanted.sum()), int((good & wanted).sum())
    worst = int(bad_of_target.argmax())
    if n_good < MOST_LOST * n_wanted:
        raise BankError(
            f"{n_wanted - n_good:,} of {n_wanted:,} rows of {files.outputs.label} hold NaN or infinite values; target "
            f"{worst} "
            f"alone in {bad_of_target[worst]:,}. Remove that column, or the rows"
        )
    notes = []
    if n_good < n_wanted:
        example = int(np.flatnonzero(~good & wanted)[0])
        notes.append(
            f"{n_wanted - n_good:,} of {n_wanted:,} rows hold NaN or infinite outputs, the first is row {example}: "
            "kept "
            "without a number and left out of every analysis"
        )
    return good, tuple(sums), notes


def _finished(files: BankFiles, n_masks: int) -> np.ndarray:
    if files.completed is None:
        return np.ones(n_masks, bool)
    if len(files.completed) != n_masks:
        raise BankError(f"_completed.npy marks {len(files.completed)} models, and there are {n_masks} masks")
    if not files.completed.any():
        raise BankError("_completed.npy marks no model as finished: there is nothing to import")
    return files.completed


def _check_alpha(alpha: float | None, sizes: np.ndarray, reader: MaskReader) -> list[str]:
    """The rule of the library: six standard errors and a thousandth; half a player for masks of one size."""
    share = float(sizes.mean()) / reader.n_players
    if not 0 < share < 1:
        raise BankError(
            f"the masks of {reader.rows.label} include {'all' if share else 'none'} of the players: nothing to explain"
        )
    if alpha is None:
        raise BankError(
            f"the probability of inclusion is missing: the masks include {share:.2%} of the players on average. If "
            "they were "
            f"drawn with it, give --alpha {share:.2g}"
        )
    if not 0 < alpha < 1:
        raise BankError(
            f"alpha must lie in (0, 1); got {alpha}. The masks include {share:.2%} of the players on average"
        )
    slack = 6 * math.sqrt(alpha * (1 - alpha) / (len(sizes) * reader.n_players)) + SLACK
    if (sizes == sizes[0]).all():
        slack = max(slack, 0.51 / reader.n_players)
    if abs(share - alpha) > slack:
        turned = abs(share - (1 - alpha)) <= slack
        remedy = (
            "They fit 1 - alpha: if the file marks the players that are left out, give --inverted" if turned
            else f"Give the alpha they were drawn with, perhaps --alpha {share:.3g}"
        )  # fmt: skip
        raise BankError(
            f"alpha = {alpha} contradicts the masks: they include {share:.2%} of the players on average ({slack:.2%} "
            "off would "
            f"be chance). {remedy}"
        )
    return [f"the masks include {share:.2%} of the players on average; alpha = {alpha}"]


def _check_repeats(repeats: np.ndarray, keys: np.ndarray) -> None:
    named = np.flatnonzero(repeats >= 0)
    differing = named[keys[named] != keys[repeats[named]]]
    if len(differing):
        row = int(differing[0])
        raise BankError(
            f"--replicate-of says that row {row} repeats row {repeats[row]}, and their masks differ. Correct the list"
        )


def _player_notes(with_player: np.ndarray, n_masks: int) -> list[str]:
    constant = np.flatnonzero((with_player == 0) | (with_player == n_masks))
    if not len(constant):
        return []
    shown = ", ".join(map(str, constant[:5])) + (", …" if len(constant) > 5 else "")
    return [f"{len(constant):,} players are in every mask or in none ({shown}): nothing can be said of them"]


def _size_notes(sizes: np.ndarray, reader: MaskReader, alpha: float | None) -> list[str]:
    """Masks whose sizes vary more than independent inclusion allows: several alphas, or players that go together."""
    if alpha is None or len(sizes) < 2:
        return []
    if (sizes == sizes[0]).all():
        return [
            f"every mask includes {sizes[0]:,} players: a shift common to all main effects is not identified by such "
            "masks"
        ]
    ratio = float(sizes.var(ddof=1)) / (reader.n_players * alpha * (1 - alpha))
    if ratio < 1 + 6 * math.sqrt(2 / (len(sizes) - 1)) or ratio < 1.5:
        return []
    return [
        f"the masks' sizes vary {ratio:.1f} times as much as players drawn one by one would: {sizes.min():,} to "
        f"{sizes.max():,}. Tests assume independent players of one alpha, so their q-values may be too small here"
    ]


def _shape(rows: Rows, turned: bool) -> tuple[int, int]:
    return rows.shape[::-1] if turned else rows.shape


def _words(shape: tuple[int, ...]) -> str:
    return f"({shape[0]:,} lists)" if shape[1] < 0 else "(" + ", ".join(f"{length:,}" for length in shape) + ")"
