"""Banks in the layouts of other projects, as their public descriptions have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.banks.errors import BankError
from flows.banks.importing import Imported, import_bank
from tests.flows.banks.bank_files import N_MASKS, N_PLAYERS, bank, save

MASKS, OUTPUTS = bank()


def imported(folder: Path, layout: str, **given: object) -> Imported:
    return import_bank(folder / "campaign", layout=layout, bank=folder / "bank", **given)  # type: ignore[arg-type]


def fitted(done: Imported) -> tuple[np.ndarray, np.ndarray]:
    pairs = done.campaign.training_pairs("fit")
    return pairs.masks, pairs.outputs


@pytest.mark.parametrize(("layout", "outputs"), [("datamodels", "margins"), ("coar", "test_margins")])
def test_a_store_of_datamodels_leaves_out_models_that_were_never_finished(
    layout: str, outputs: str, tmp_path: Path
) -> None:
    done = np.ones(N_MASKS, bool)
    done[[3, 7]] = False
    masks, margins = MASKS.copy(), OUTPUTS.astype(np.float16)
    masks[~done], margins[~done] = False, 0.0  # as the store leaves rows that no worker wrote
    save(tmp_path / "bank", **{"masks": masks, outputs: margins, "_completed": done})
    found = imported(tmp_path, layout, alpha=0.5)
    kept = np.flatnonzero(done)[: found.n_fit]
    assert found.n_fit + found.n_holdout == N_MASKS - 2
    assert np.array_equal(fitted(found)[0], MASKS[kept])
    assert np.array_equal(fitted(found)[1], OUTPUTS[kept].astype(np.float16).astype(np.float32))
    assert any("2 of 240 masks were never finished" in note for note in found.notes)


def dattri(folder: Path, n_runs: int, mode: str = "lds") -> None:
    for number, mask in enumerate(MASKS):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "indices.txt").write_text("\n".join(map(str, np.flatnonzero(mask))))
    metadata = {
        "mode": mode, "num_subsets": N_MASKS, "num_runs_per_subset": n_runs,
        "subset_dir_map": {number: f"/elsewhere/{number}" for number in range(N_MASKS)},
    }  # fmt: skip
    (folder / "metadata.yml").write_text(yaml.safe_dump(metadata))


def test_a_folder_of_dattri_needs_the_outputs_that_it_does_not_keep(tmp_path: Path) -> None:
    dattri(tmp_path / "bank", 1)
    with pytest.raises(BankError, match="weights and subsets, no outputs.*calculate_lds_ground_truth"):
        imported(tmp_path, "dattri", alpha=0.5)
    files = save(tmp_path, outputs=OUTPUTS)
    found = imported(tmp_path, "dattri", outputs=files["outputs"], alpha=0.5, n_players=N_PLAYERS)
    assert np.array_equal(fitted(found)[0], MASKS[: found.n_fit])


def test_several_runs_of_a_subset_are_replicates(tmp_path: Path) -> None:
    dattri(tmp_path / "bank", 2)
    runs = np.stack([OUTPUTS, OUTPUTS + 1], axis=1).reshape(2 * N_MASKS, -1)
    files = save(tmp_path, outputs=runs)
    found = imported(tmp_path, "dattri", outputs=files["outputs"], alpha=0.5, n_players=N_PLAYERS)
    first, second = (found.campaign.training_pairs("holdout", replicate) for replicate in (0, 1))
    assert np.array_equal(first.masks, second.masks) and np.allclose(second.outputs, first.outputs + 1)
    means = import_bank(
        tmp_path / "means", layout="dattri", bank=tmp_path / "bank", alpha=0.5, n_players=N_PLAYERS,
        **save(tmp_path / "m", outputs=OUTPUTS),  # type: ignore[arg-type]
    )  # fmt: skip
    assert any("means over 2 runs" in note for note in means.notes)


def test_leave_one_out_of_dattri_is_refused(tmp_path: Path) -> None:
    dattri(tmp_path / "bank", 1, mode="loo")
    with pytest.raises(BankError, match="mode 'loo': models that each lack one example"):
        imported(tmp_path, "dattri", alpha=0.5)


def test_a_bank_of_bergson_lists_what_is_left_out_and_holds_losses(tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "bank"
    (folder / "query_loss_cache").mkdir(parents=True)
    (folder / "subsets.json").write_text(json.dumps([np.flatnonzero(~mask).tolist() for mask in MASKS]))
    blob = {"baseline": 0.0, "baseline_per_doc": torch.zeros(3), "per_subset": torch.tensor(OUTPUTS)}
    torch.save(blob, folder / "query_loss_cache" / "losses_0123456789abcdef.pt")
    found = imported(tmp_path, "bergson", alpha=0.5, output="value")
    assert np.array_equal(fitted(found)[0], MASKS[: found.n_fit])
    assert np.array_equal(fitted(found)[1], -OUTPUTS[: found.n_fit])
    assert any("minus the loss is stored" in note for note in found.notes)
    torch.save(blob, folder / "query_loss_cache" / "losses_other.pt")
    with pytest.raises(BankError, match="holds 2 files losses_"):
        imported(tmp_path, "bergson", alpha=0.5)


def test_a_folder_without_the_files_of_its_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    with pytest.raises(BankError, match=r"has no masks\.npy. Give --masks and --outputs"):
        imported(tmp_path, "datamodels", alpha=0.5)
    with pytest.raises(BankError, match="--layout coar reads a folder, and 'None' is none"):
        import_bank(tmp_path / "campaign", layout="coar", alpha=0.5)
