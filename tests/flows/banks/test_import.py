"""Banks of every form become the same campaign; what cannot be used is one sentence, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.banks.assignment import assign
from flows.banks.errors import BankError
from flows.banks.importing import Imported, import_bank
from flows.errors import CampaignMismatch, CoterieError
from flows.games.table import make_game
from flows.store import Campaign
from tests.flows.banks.bank_files import ALPHA, N_MASKS, N_PLAYERS, N_TARGETS, bank, save

MASKS, OUTPUTS = bank()


def imported(folder: Path, name: str = "campaign", **given: object) -> Imported:
    return import_bank(folder / name, **{"alpha": ALPHA, **given})  # type: ignore[arg-type]


def written(campaign: Campaign) -> tuple[np.ndarray, np.ndarray]:
    """Masks and outputs of the campaign in the bank's order: the held-out ones were its last."""
    fit, held = campaign.training_pairs("fit"), campaign.training_pairs("holdout")
    return np.concatenate([fit.masks, held.masks]), np.concatenate([fit.outputs, held.outputs])


def _npz(folder: Path) -> dict[str, object]:
    np.savez_compressed(folder / "bank.npz", masks=MASKS, margins=OUTPUTS)
    return {"masks": folder / "bank.npz", "outputs": f"{folder / 'bank.npz'}:margins"}


def _parquet(folder: Path) -> dict[str, object]:
    table = pa.table({"masks": MASKS.tolist(), "outputs": OUTPUTS.tolist()})
    pq.write_table(table, folder / "bank.parquet", row_group_size=50)
    return {"masks": folder / "bank.parquet", "outputs": folder / "bank.parquet"}


def _wide_parquet(folder: Path) -> dict[str, object]:
    pq.write_table(pa.table({f"p{at}": MASKS[:, at] for at in range(N_PLAYERS)}), folder / "masks.parquet")
    pq.write_table(pa.table({f"t{at}": OUTPUTS[:, at] for at in range(N_TARGETS)}), folder / "outputs.parquet")
    return {"masks": folder / "masks.parquet", "outputs": folder / "outputs.parquet"}


def _lists(folder: Path) -> dict[str, object]:
    subsets = [np.flatnonzero(mask).tolist() for mask in MASKS]
    (folder / "subsets.json").write_text(json.dumps(subsets))
    return {"masks": folder / "subsets.json", **save(folder, outputs=OUTPUTS)}


def _list_column(folder: Path) -> dict[str, object]:
    subsets = [np.flatnonzero(mask).tolist() for mask in MASKS]
    pq.write_table(pa.table({"masks": subsets, "outputs": OUTPUTS.tolist()}), folder / "bank.parquet")
    return {"masks": folder / "bank.parquet", "outputs": folder / "bank.parquet", "n_players": N_PLAYERS}


def _left_out(folder: Path) -> dict[str, object]:
    (folder / "out.txt").write_text("\n".join(" ".join(map(str, np.flatnonzero(~mask))) for mask in MASKS))
    return {"masks": folder / "out.txt", "inverted": True, **save(folder, outputs=OUTPUTS)}


def _numbers(folder: Path) -> dict[str, object]:
    """Player numbers as an array, filled up with NaN where a subset is smaller."""
    subsets = np.full(MASKS.shape, np.nan, np.float32)
    for row, mask in zip(subsets, MASKS, strict=True):
        row[: mask.sum()] = np.flatnonzero(mask)
    return {**save(folder, masks=subsets, outputs=OUTPUTS), "n_players": N_PLAYERS, "mask_format": "indices"}


FORMS: dict[str, Callable[[Path], dict[str, object]]] = {
    "bool": lambda folder: {**save(folder, masks=MASKS, outputs=OUTPUTS)},
    "uint8": lambda folder: {**save(folder, masks=MASKS.astype(np.uint8), outputs=OUTPUTS)},
    "float and double": lambda folder: {
        **save(folder, masks=MASKS.astype(np.float32), outputs=OUTPUTS.astype(np.float64))
    },
    "signs": lambda folder: {**save(folder, masks=2 * MASKS.astype(np.int8) - 1, outputs=OUTPUTS)},
    "packed": lambda folder: {**save(folder, masks=np.packbits(MASKS, axis=1), outputs=OUTPUTS)},
    "packed, lowest bit first": lambda folder: {
        **save(folder, masks=np.packbits(MASKS, axis=1, bitorder="little"), outputs=OUTPUTS), "n_players": N_PLAYERS
    },
    "numbers of one size": _numbers,
    "transposed": lambda folder: {**save(folder, masks=MASKS.T, outputs=OUTPUTS.T)},
    "masks transposed": lambda folder: {**save(folder, masks=MASKS.T, outputs=OUTPUTS)},
    "column by column": lambda folder: {
        **save(folder, masks=np.asfortranarray(MASKS), outputs=np.asfortranarray(OUTPUTS))
    },
    "npz": _npz,
    "parquet": _parquet,
    "wide parquet": _wide_parquet,
    "lists": _lists,
    "list column": _list_column,
    "lists of those left out": _left_out,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_bank_becomes_the_same_campaign(form: str, tmp_path: Path) -> None:
    done = imported(tmp_path, **FORMS[form](tmp_path))
    masks, outputs = written(done.campaign)
    assert np.array_equal(masks, MASKS) and np.array_equal(outputs, OUTPUTS)
    assert done.new and (done.n_fit, done.n_holdout) == (N_MASKS - N_MASKS // 5, N_MASKS // 5)
    reference = imported(tmp_path, "reference", **FORMS["bool"](tmp_path / "plain"))
    assert done.campaign.meta.identity_hash == reference.campaign.meta.identity_hash


@pytest.mark.parametrize(("block", "fragment"), [(60, 2**25), (1000, 100), (7, 37)])
def test_blocks_and_fragments_of_any_size_give_the_same_campaign(
    block: int, fragment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks, outputs = np.concatenate([MASKS, MASKS[[5, 90]]]), np.concatenate([OUTPUTS, OUTPUTS[[5, 90]] + 1])
    files = save(tmp_path, masks=masks, outputs=outputs)
    whole = imported(tmp_path, "whole", **files)
    monkeypatch.setattr("flows.banks.scan.BLOCK_BYTES", block)
    monkeypatch.setattr("flows.banks.writing.FRAGMENT_BYTES", fragment)
    pieces = imported(tmp_path, "pieces", **files)
    assert pieces.campaign.meta.identity_hash == whole.campaign.meta.identity_hash
    assert len(pieces.campaign.trained()) >= len(whole.campaign.trained())
    for role, replicate in (("fit", 0), ("holdout", 0), ("holdout", 1)):
        pairs = (done.campaign.training_pairs(role, replicate) for done in (whole, pieces))
        assert all(np.array_equal(one, other) for one, other in zip(*pairs, strict=True))


def test_what_was_recognised_is_reported(tmp_path: Path) -> None:
    said = {form: " ".join(imported(tmp_path, form, **FORMS[form](tmp_path / f"files of {form}")).notes)
            for form in ("transposed", "signs", "packed")}  # fmt: skip
    assert "masks.npy has one column a mask" in said["transposed"] and "outputs.npy has one" in said["transposed"]
    assert "+1 is read as included" in said["signs"]
    assert "21 players are assumed" in said["packed"] and "highest bit" in said["packed"]


def test_half_precision_is_stored_as_it_is(tmp_path: Path) -> None:
    halves = OUTPUTS.astype(np.float16)
    done = imported(tmp_path, **save(tmp_path, masks=MASKS, outputs=halves))
    assert np.array_equal(written(done.campaign)[1], halves.astype(np.float32))


def test_losses_are_stored_with_the_opposite_sign(tmp_path: Path) -> None:
    done = imported(tmp_path, lower_is_better=True, output="value", **FORMS["bool"](tmp_path))
    assert np.array_equal(written(done.campaign)[1], -OUTPUTS)
    assert any("minus the output is stored" in note for note in done.notes)


def test_the_held_out_masks_are_the_repeated_ones_and_then_the_last(tmp_path: Path) -> None:
    """Masks 7 (three times) and 2 (twice) are held out first; their further rows are replicates."""
    masks = np.concatenate([MASKS, MASKS[[7, 2, 7]]])
    outputs = np.concatenate([OUTPUTS, OUTPUTS[[7, 2, 7]] + np.arange(1, 4, dtype=np.float32)[:, None]])
    done = imported(tmp_path, holdout=4, **save(tmp_path, masks=masks, outputs=outputs))
    campaign = done.campaign
    held = campaign.training_pairs("holdout")
    assert np.array_equal(held.masks, MASKS[[7, 2, 238, 239]]) and np.array_equal(
        held.outputs, OUTPUTS[[7, 2, 238, 239]]
    )
    first, second = campaign.training_pairs("holdout", 1), campaign.training_pairs("holdout", 2)
    assert np.array_equal(first.outputs, OUTPUTS[[7, 2]] + np.float32([[1], [2]]))
    assert np.array_equal(first.masks, MASKS[[7, 2]])
    assert np.array_equal(second.outputs, OUTPUTS[[7]] + np.float32(3)) and len(second.mask_ids) == 1
    assert len(campaign.training_pairs("fit").masks) == N_MASKS - 4
    assert "2 held-out masks were recorded more than once" in " ".join(done.notes)


def test_replicates_named_by_a_list_need_no_mask_of_their_own(tmp_path: Path) -> None:
    outputs = np.concatenate([OUTPUTS, OUTPUTS[:2] + 1])
    ids = np.concatenate([np.full(N_MASKS, -1), [0, 1]])
    files = save(tmp_path, masks=MASKS, outputs=outputs, ids=ids)
    done = imported(tmp_path, masks=files["masks"], outputs=files["outputs"], replicate_of=files["ids"], holdout=8)
    again = done.campaign.training_pairs("holdout", 1)
    assert np.array_equal(again.masks, MASKS[:2]) and np.array_equal(again.outputs, OUTPUTS[:2] + np.float32(1))
    repeated = np.concatenate([MASKS, MASKS[:2]])
    same = imported(tmp_path, "same", **save(tmp_path / "b", masks=repeated, outputs=outputs), holdout=8)
    assert np.array_equal(same.campaign.training_pairs("holdout", 1).outputs, again.outputs)


def test_without_replicates_the_ceiling_is_unknown(tmp_path: Path) -> None:
    done = imported(tmp_path, **FORMS["bool"](tmp_path))
    assert any("noise ceiling is unknown" in note for note in done.notes)


def test_rows_without_a_number_are_kept_and_counted(tmp_path: Path) -> None:
    outputs = OUTPUTS.copy()
    outputs[5, 1], outputs[-1, 0] = np.nan, np.inf
    done = imported(tmp_path, **save(tmp_path, masks=MASKS, outputs=outputs))
    assert any(note.startswith("2 of 240 rows hold NaN or infinite") and "row 5" in note for note in done.notes)
    pairs = done.campaign.training_pairs("fit")
    assert pairs.n_left_out == 1 and np.array_equal(pairs.outputs, np.delete(OUTPUTS, 5, axis=0)[: len(pairs.outputs)])
    reasons = set(done.campaign.read("outputs", ["reason"])["reason"].to_pylist())
    assert reasons == {"", "the bank holds no finite number in this row"}


def test_names_classes_and_pictures_come_from_the_users_tables(tmp_path: Path) -> None:
    from tests.flows.toy import random_picture

    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat 3.png").write_bytes(random_picture(3))
    lines = ["name,class,colour", *(f"cat {at},{'cat' if at % 2 else 'dog'},red" for at in range(N_PLAYERS))]
    (tmp_path / "players.csv").write_text("\n".join(lines))
    done = imported(
        tmp_path, players=tmp_path / "players.csv", pictures=tmp_path / "pictures", **FORMS["bool"](tmp_path)
    )
    rows = done.campaign.read("examples").to_pylist()
    assert rows[3]["name"] == "cat 3" and rows[3]["class_name"] == "cat" and rows[3]["image"].startswith(b"\x89PNG")
    assert rows[4]["image"] is None and rows[4]["text"] == "colour red"
    assert rows[N_PLAYERS]["name"] == "target 0"
    assert list(done.campaign.meta.player_names)[:2] == ["cat 0", "cat 1"]


def test_a_second_import_writes_nothing_and_another_bank_is_refused(tmp_path: Path) -> None:
    from tests.flows.toy import stamps

    files = FORMS["bool"](tmp_path)
    campaign = imported(tmp_path, **files).campaign
    before = stamps(campaign.folder)
    assert not imported(tmp_path, **files).new
    with pytest.raises(CampaignMismatch, match=r"bank\.digest"):
        imported(tmp_path, **save(tmp_path / "other", masks=MASKS, outputs=OUTPUTS + 1))
    with pytest.raises(CampaignMismatch, match=r"bank\.n_holdout"):
        imported(tmp_path, holdout=3, **files)
    assert stamps(campaign.folder) == before


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "campaign").mkdir()
    (tmp_path / "campaign" / "notes.txt").write_text("mine")
    with pytest.raises(CampaignMismatch, match="holds other files"):
        imported(tmp_path, **FORMS["bool"](tmp_path / "files"))
    assert [path.name for path in (tmp_path / "campaign").iterdir()] == ["notes.txt"]


def test_an_import_that_was_killed_leaves_no_campaign_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FORMS["bool"](tmp_path)
    monkeypatch.setattr("flows.banks.importing.shutil.rmtree", lambda *_, **__: None)  # killed: nothing is tidied
    monkeypatch.setattr("flows.banks.importing.write_outputs", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        imported(tmp_path, **files)
    assert not (tmp_path / "campaign").exists() and (tmp_path / ".campaign.importing" / "masks").is_dir()
    monkeypatch.undo()
    assert np.array_equal(written(imported(tmp_path, **files).campaign)[1], OUTPUTS)
    assert not (tmp_path / ".campaign.importing").exists()


def test_a_file_that_changes_between_the_readings_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = save(tmp_path, masks=MASKS, outputs=OUTPUTS)

    def change_then_assign(*given: object) -> object:
        stat = files["outputs"].stat()
        changed = np.load(files["outputs"])
        changed[0, 0] += 1
        np.save(files["outputs"], changed)
        import os

        os.utime(files["outputs"], ns=(stat.st_atime_ns, stat.st_mtime_ns))  # size and time are as before
        return assign(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("flows.banks.importing.assign", change_then_assign)
    with pytest.raises(BankError, match=r"outputs\.npy changed while it was read. No campaign was written"):
        imported(tmp_path, **files)
    assert not (tmp_path / "campaign").exists()


def test_a_bank_cannot_be_asked_for_more_masks(tmp_path: Path) -> None:
    from conf.compose import recompose
    from flows.store.configuration import kept_configuration

    campaign = imported(tmp_path, **FORMS["bool"](tmp_path)).campaign
    saved = kept_configuration(campaign, str(campaign.folder))
    game = make_game(recompose(saved))
    assert (game.n_players, game.n_targets, game.n_audit, game.deterministic) == (N_PLAYERS, N_TARGETS, 0, False)
    with pytest.raises(CoterieError, match="campaign.n_fit=4000, with 192 fit masks .* has no trainer"):
        make_game(recompose(saved, ["campaign.n_fit=4000"]))
    with pytest.raises(CoterieError, match="evaluating 1 masks .* no trainer"):
        game.evaluate(MASKS[:1], [0])


def test_from_bank_is_the_same_as_the_command(tmp_path: Path) -> None:
    files = save(tmp_path, masks=MASKS, margins=OUTPUTS)
    campaign = Campaign.from_bank(tmp_path / "c", masks=files["masks"], outputs=files["margins"], alpha=0.5)
    assert np.array_equal(written(campaign)[0], MASKS)
