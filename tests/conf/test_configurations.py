"""Every configuration in conf/ runs, whole, for a step or two on a few pictures made here."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.compose import available
from conf.schema import CampaignConfig
from flows.compute.ray_cluster import Cluster
from flows.store.campaign import Campaign
from tests.flows.toy import run_stages, toy, write_image_folder, write_parquet_folder
from training import TrainingInputError

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return {
        "parquet": write_parquet_folder(folder / "parquet", CIFAR10, rows=200),
        "folder": write_image_folder(folder / "folder"),
    }


def small(name: str, folder: Path, pictures: dict[str, Path]) -> CampaignConfig:
    """A shipped configuration, cut down to a machine without GPU or network; everything else as it is shipped."""
    parquet = ("dataset.source=parquet", f"dataset.path={pictures['parquet']}")
    source = {
        "cifar10": (*parquet, "dataset.n_train=32"),
        "cifar2": parquet,
        "cifar2_planted": (*parquet, "dataset.n_train=32"),
        "images": (f"dataset.path={pictures['folder']}",),
        "quickstart_planted": ("dataset.n_train=32",),
        "trainer": ("game.function=tests.flows.games.own_trainer:train",),
        "value": ("game.function=tests.flows.games.own_value:value",),
    }
    here = ("compute.device=cpu", "compute.gpus_per_shard=0", "campaign.n_fit=24", "campaign.n_replicates=0")
    return toy(folder, *source.get(name, ()), *here, "recipe.epochs=0.01", "attribution.n_targets=1", name=name)


@pytest.mark.ray
@pytest.mark.parametrize("name", available())
def test_every_configuration_runs_from_plan_to_report(
    name: str, cluster: Cluster, pictures: dict[str, Path], tmp_path: Path
) -> None:
    config = small(name, tmp_path / "campaign", pictures)
    run_stages(config)
    campaign = Campaign(tmp_path / "campaign")
    assert campaign.read("outputs")["status"].to_pylist() == ["ok"] * 32
    assert campaign.read("faithfulness").num_rows > 0
    assert (campaign.folder / "report.html").is_file()


def test_every_configuration_is_covered_as_shipped_but_for_its_size(pictures: dict[str, Path], tmp_path: Path) -> None:
    """What the tests above change is where pictures come from, hardware and sizes; not how anything works."""
    from conf.compose import compose

    for name in available():
        shipped = compose(name, ["dataset.path=pictures"] if name == "images" else []).model_dump()
        changed = small(name, tmp_path, pictures).model_dump()
        differing = {
            f"{section}.{key}"
            for section, values in shipped.items() if isinstance(values, dict)
            for key in values if values[key] != changed[section][key]
        }
        assert differing <= {
            "dataset.source", "dataset.path", "dataset.n_train", "dataset.n_targets", "dataset.n_audit",
            "recipe.epochs", "recipe.width", "compute.device", "compute.gpus_per_shard", "compute.mode",
            "attribution.n_targets", "attribution.published_targets", "game.function",
            "campaign.folder", "campaign.n_fit", "campaign.n_holdout", "campaign.n_replicates", "campaign.shard_size",
        }, name


@pytest.mark.parametrize("name", ["cifar10", "cifar2", "cifar2_planted"])
def test_without_network_and_files_the_error_names_both_ways_out(name: str, tmp_path: Path) -> None:
    from flows.players.load import load

    config = toy(tmp_path / "c", f"dataset.path={tmp_path / 'none'}", "dataset.download=false", name=name)
    with pytest.raises(TrainingInputError, match="(?s)CIFAR-10 is not .*network.*folder of image Parquet files") as e:
        load(config)
    assert not Path(config.campaign.folder).exists()
    assert "Traceback" not in str(e.value)
