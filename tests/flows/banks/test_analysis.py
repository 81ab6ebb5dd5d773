"""An imported bank is analysed as the library analyses the same arrays: bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attribution.analysis.block_tables import BlockAnalysis, analyse_targets
from conf.compose import recompose
from flows.banks.importing import import_bank
from flows.compute.target_blocks import TargetBlocks
from flows.compute.work import analyse_block
from flows.errors import CoterieError
from flows.store import Campaign
from flows.store.configuration import kept_configuration
from tests.flows.banks.bank_files import bank, save

DIGITS = Path(__file__).parents[4] / "shared" / "campaigns" / "digits-200.npz"


def analysed(campaign: Campaign, *overrides: str) -> tuple[BlockAnalysis, np.ndarray]:
    """The first block of targets as a worker analyses it, and which targets it holds."""
    kept = kept_configuration(campaign, str(campaign.folder))
    fixed = ["attribution.pooled_targets=false", "attribution.published_targets=0"]
    config = recompose(kept, [*fixed, *overrides])
    data = TargetBlocks(campaign, config)
    block = next(iter(data))
    return analyse_block(data.job(config), block), block.target_ids


def equal(one: BlockAnalysis, other: BlockAnalysis) -> bool:
    """Whether two analyses hold the same numbers, to the last bit."""
    for name in ("effects", "interactions", "faithfulness"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.keys() == second.keys()
        for column, values in first.items():
            if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                assert np.array_equal(values, second[column], equal_nan=True), (name, column)
            else:  # texts, integers, and lists of floats, whose repr holds every digit
                assert repr(list(values)) == repr(list(second[column])), (name, column)
    return True


def test_a_bank_with_replicates_gives_the_librarys_analysis(tmp_path: Path) -> None:
    masks, outputs = bank(n_masks=200)
    again = outputs[:20] + np.float32(0.1) * np.random.default_rng(9).normal(size=(20, 3)).astype(np.float32)
    files = save(tmp_path, masks=np.concatenate([masks, masks[:20]]), outputs=np.concatenate([outputs, again]))
    done = import_bank(tmp_path / "campaign", **files, alpha=0.5)  # type: ignore[arg-type]
    assert done.n_holdout == 40
    found, targets = analysed(done.campaign, "attribution.n_targets=2", "attribution.max_order=2")

    def columns(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values[:, targets])  # the order in memory decides the last bits of a product

    held = [*range(20), *range(180, 200)]  # the repeated masks, then the last
    expected = analyse_targets(
        masks[20:180], columns(outputs[20:180]), holdout_masks=masks[held],
        holdout_outputs=columns(outputs[held]),
        holdout_replicates=columns(np.concatenate([again, np.full((20, 3), np.nan, np.float32)])), alpha=0.5,
        max_order=2,
        player_classes=np.zeros(21, int), target_classes=np.zeros(2, int), target_ids=targets, with_q_values=False,
        sampler="bernoulli",
    )  # fmt: skip
    assert equal(found, expected)
    assert np.isfinite(found.scores["none", "noise_ceiling"].value).all()


@pytest.mark.slow
@pytest.mark.skipif(not DIGITS.is_file(), reason="the recorded digits campaign is not beside this checkout")
def test_the_recorded_digits_campaign_gives_the_librarys_analysis(tmp_path: Path) -> None:
    with np.load(DIGITS) as given:
        masks = np.unpackbits(given["masks"], axis=1, bitorder="little", count=200).astype(bool)
        outputs, again = given["outputs"], given["replicate_outputs"]
        labels, train, test = given["labels"], given["train_index"], given["test_index"]
        files = save(tmp_path, masks=given["masks"], outputs=np.concatenate([outputs, *again]),
                     ids=np.r_[np.full(2048, -1), np.tile(np.arange(32), 8)])  # fmt: skip
    for what, rows in (("players", train), ("targets", test)):
        (tmp_path / f"{what}.csv").write_text("name,class\n" + "".join(f"digit {row},{labels[row]}\n" for row in rows))
    done = import_bank(
        tmp_path / "campaign", masks=files["masks"], outputs=files["outputs"], replicate_of=files["ids"], alpha=0.5,
        players=tmp_path / "players.csv", targets=tmp_path / "targets.csv", output="margin_lse", bit_order="little",
    )  # fmt: skip
    found, targets = analysed(done.campaign, "attribution.n_targets=2", "attribution.max_order=2")
    names = list(done.campaign.meta.class_names)
    held = [*range(32), *range(2048 - 224, 2048)]
    of_second_run = np.full((256, len(targets)), np.nan, np.float32)
    of_second_run[:32] = again[0][:, targets]
    expected = analyse_targets(
        masks[32 : 2048 - 224], np.ascontiguousarray(outputs[32 : 2048 - 224][:, targets]), holdout_masks=masks[held],
        holdout_outputs=np.ascontiguousarray(outputs[held][:, targets]), holdout_replicates=of_second_run, alpha=0.5,
        max_order=2,
        player_classes=np.array([names.index(str(labels[row])) for row in train]),
        target_classes=np.array([names.index(str(labels[row])) for row in test[targets]]), target_ids=targets,
        with_q_values=False, sampler="fixed_size",
    )  # fmt: skip
    assert equal(found, expected) and found.fixed_size


@pytest.mark.parametrize("stage", ["certify", "verify", "brittleness", "retrain"])
def test_stages_that_evaluate_say_what_is_missing(stage: str, tmp_path: Path) -> None:
    from flows.cli.run_stage import drive, drive_decision

    masks, outputs = bank()
    files = save(tmp_path, masks=masks, outputs=outputs)
    done = import_bank(tmp_path / "c", alpha=0.5, **files)  # type: ignore[arg-type]
    config = recompose(kept_configuration(done.campaign, str(done.campaign.folder)))
    with pytest.raises(CoterieError, match=f"coterie {stage}. evaluates masks that are not in the bank.*no trainer"):
        drive("retrain", config, False) if stage == "retrain" else drive_decision(stage, config)
