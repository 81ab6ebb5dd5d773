"""What a bank can get wrong: one sentence with what, got and remedy, and no campaign."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.banks.importing import import_bank
from flows.errors import CoterieError
from tests.flows.banks.bank_files import N_MASKS, bank, save

MASKS, OUTPUTS = bank()


def _files(
    folder: Path, masks: np.ndarray = MASKS, outputs: np.ndarray = OUTPUTS, **given: object
) -> dict[str, object]:
    return {**save(folder, masks=masks, outputs=outputs), "alpha": 0.5, **given}


def _with_players(folder: Path, n: int) -> dict[str, object]:
    (folder / "players.csv").write_text("name\n" + "\n".join(f"p{at}" for at in range(n)))
    return _files(folder, players=folder / "players.csv")


def _with_targets(folder: Path, n: int) -> dict[str, object]:
    (folder / "targets.csv").write_text("name\n" + "\n".join(f"t{at}" for at in range(n)))
    return _files(folder, targets=folder / "targets.csv")


def _changed(values: np.ndarray, place: tuple[int, int], to: float) -> np.ndarray:
    changed = values.astype(np.float32)
    changed[place] = to
    return changed


def _longer(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return masks, np.tile(OUTPUTS, (2, 1))


def _repeats(folder: Path, ids: np.ndarray) -> dict[str, object]:
    return {**_files(folder), "replicate_of": save(folder, ids=ids)["ids"]}


BAD: dict[str, tuple[Callable[[Path], dict[str, object]], str]] = {
    "alpha contradicts": (
        lambda f: _files(f, alpha=0.3),
        r"alpha = 0.3 contradicts the masks: they include 49.98% .* --alpha 0.5",
    ),
    "alpha of those left out": (
        lambda f: _files(f, masks=np.random.default_rng(0).random((N_MASKS, 90)) < 0.2, alpha=0.8),
        "They fit 1 - alpha.*--inverted",
    ),
    "no alpha": (lambda f: _files(f, alpha=None), "probability of inclusion is missing.*--alpha 0.5"),
    "alpha of 1": (lambda f: _files(f, alpha=1.0), r"alpha must lie in \(0, 1\); got 1.0"),
    "other lengths": (
        lambda f: _files(f, outputs=OUTPUTS[:-1]),
        r"\(240, 21\) and .*\(239, 3\): their numbers of rows differ",
    ),
    "players do not match": (lambda f: _with_players(f, 20), "there are 20 players|has 20 players"),
    "targets do not match": (lambda f: _with_targets(f, 21), "outputs.npy has 3 columns and there are 21 targets"),
    "values that are no masks": (lambda f: _files(f, masks=MASKS + 0.5), "which are no masks"),
    "a mask that is none": (
        lambda f: _files(f, *_longer(_changed(np.tile(MASKS, (2, 1)), (479, 4), 3))),
        "mask 479 .* holds 3.0 at player 4",
    ),
    "NaN in the masks": (
        lambda f: _files(f, masks=_changed(MASKS, (0, 0), np.nan)),
        "holds NaN or infinite values; a mask",
    ),
    "a target without numbers": (
        lambda f: _files(f, outputs=np.where(np.arange(3) == 1, np.nan, OUTPUTS)),
        "240 of 240 rows .*; target 1 alone in 240",
    ),
    "text": (lambda f: _files(f, outputs=np.full((N_MASKS, 2), "x")), "holds <U1; outputs are numbers"),
    "objects": (lambda f: _files(f, outputs=np.array([None] * N_MASKS, object)), "cannot be mapped|Object arrays"),
    "no such file": (lambda f: {"masks": f / "gone.npy", "outputs": f / "gone.npy", "alpha": 0.5}, "there is no file"),
    "one file only": (lambda f: {"masks": f / "gone.npy", "alpha": 0.5}, "a bank has masks and outputs"),
    "another suffix": (
        lambda f: _files(f) | {"masks": _touched(f / "masks.pt")},
        "has the suffix '.pt'; known are .npy",
    ),
    "not an npy": (lambda f: _files(f) | {"masks": _touched(f / "other.npy")}, "other.npy cannot be"),
    "a list of another length": (
        lambda f: _repeats(f, np.array([-1, 0])),
        "2 entries and the outputs have 240 rows|rows differ",
    ),
    "masks of a list differ": (
        lambda f: _repeats(f, np.r_[np.full(N_MASKS - 1, -1), 3]),
        "row 239 repeats row 3, and their masks differ",
    ),
    "packed bits of either order": (
        lambda f: _files(f, masks=np.packbits(MASKS[:, :16], axis=1)),
        "which end of a byte is the first player. Give --bit-order big",
    ),
    "all held out": (lambda f: _files(f, holdout=N_MASKS), "240 of 240 distinct masks cannot be held out"),
    "an unknown layout": (lambda f: _files(f, layout="zarr"), "unknown layout 'zarr'; known are datamodels, coar"),
    "an unknown output": (lambda f: _files(f, output="loss"), "unknown kind of output 'loss'"),
    "pictures of nobody": (lambda f: _with_players(f, 21) | {"pictures": f}, "holds no picture called like a row"),
}


def _touched(path: Path) -> Path:
    path.write_bytes(b"not an array")
    return path


@pytest.mark.parametrize("case", BAD)
def test_a_bank_that_cannot_be_used_is_one_sentence_and_no_campaign(case: str, tmp_path: Path) -> None:
    make, said = BAD[case]
    given = make(tmp_path)
    with pytest.raises(CoterieError, match=said) as raised:
        import_bank(tmp_path / "campaign", **given)  # type: ignore[arg-type]
    assert raised.value.exit_code in (2, 8) and "\n" not in str(raised.value)
    assert not (tmp_path / "campaign").exists() and not (tmp_path / ".campaign.importing").exists()


def test_masks_of_several_sizes_are_a_warning(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    masks = rng.random((N_MASKS, 400)) < np.where(np.arange(N_MASKS) % 2, 0.3, 0.7)[:, None]
    done = import_bank(tmp_path / "c", **_files(tmp_path, masks=masks))  # type: ignore[arg-type]
    assert any("masks' sizes vary" in note and "q-values may be too small" in note for note in done.notes)


def test_players_that_never_vary_are_named(tmp_path: Path) -> None:
    masks = np.column_stack([MASKS, np.ones((N_MASKS, 1), bool), np.zeros((N_MASKS, 1), bool)])
    done = import_bank(tmp_path / "c", **_files(tmp_path, masks=masks))  # type: ignore[arg-type]
    assert any(note.startswith("2 players are in every mask or in none (21, 22)") for note in done.notes)
