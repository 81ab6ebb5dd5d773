"""The campaigns that `judged.py` and `labels_peer.py` judge, each as it is made: its configuration by name.

    python benchmarks/decisions/campaigns.py FOLDER PARQUET NAME [NAME ...]

Makes FOLDER/NAME as `coterie run CONFIG KEY=VALUE …` does (plan, retrain, attribute), in one process without Ray; what
exists is not made again. PARQUET holds CIFAR-10 as Parquet files. What `judge_*` hold was looked at by no one who chose
a rule or a level; `attribution_*` are judged by `attribution/real.py`. Not collected by pytest.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from decisions_judged import InThisProcess

from conf.compose import compose
from flows.attribute import attribute
from flows.compute import ray_cluster
from flows.plan import plan
from flows.retrain import retrain
from flows.store.history import RunRecord

COMMON = (
    "campaign.n_holdout=128", "campaign.n_replicates=0", "attribution.n_targets=20", "attribution.published_targets=0",
    "compute.workers=1", "compute.mode=native",
)  # fmt: skip
DIGITS, PAIR = "campaign.n_fit=1024", "campaign.n_fit=1024 dataset.n_train=300"
PAIR_500 = "campaign.n_fit=1536 campaign.n_holdout=256 dataset.n_train=500"
CAMPAIGNS = {
    "quickstart": ("quickstart", "campaign.n_fit=1792 dataset.n_train=200 dataset.seed=0"),
    "judge_digits_clean": ("quickstart", f"{DIGITS} dataset.n_train=250 dataset.seed=3"),
    "judge_digits_flips": ("quickstart", f"{DIGITS} dataset.n_train=300 dataset.seed=5 dataset.plant_flipped=0.1"),
    "judge_digits500_flips": ("quickstart", f"{DIGITS} dataset.n_train=500 dataset.seed=21 dataset.plant_flipped=0.05"),
    "tune_digits_flips": ("quickstart", f"{DIGITS} dataset.n_train=200 dataset.seed=11 dataset.plant_flipped=0.05"),
    "judge_planefrog": ("cifar2", f"{PAIR} dataset.classes=[airplane,frog]"),
    "judge_deership": ("cifar2", f"{PAIR} dataset.classes=[deer,ship]"),
    "judge_horseship": ("cifar2", "campaign.n_fit=768 dataset.n_train=300 dataset.classes=[horse,ship]"),
    "judge_horsetruck_flips": ("cifar2", f"{PAIR} dataset.classes=[horse,truck] dataset.plant_flipped=0.1"),
    "judge_frogship_flips": ("cifar2", f"{PAIR} dataset.classes=[frog,ship] dataset.plant_flipped=0.05"),
    "judge_birdfrog_flips": ("cifar2", f"{PAIR} dataset.classes=[bird,frog] dataset.plant_flipped=0.1"),
    "judge_planeship_flips": ("cifar2", f"{PAIR} dataset.classes=[airplane,ship] dataset.plant_flipped=0.05"),
    "tune_autocat_flips": ("cifar2", f"{PAIR} dataset.classes=[automobile,cat] dataset.plant_flipped=0.1"),
    "tune_autodeer_clean": ("cifar2", f"{PAIR} dataset.classes=[automobile,deer]"),
    "tune_catdog": ("cifar2", "campaign.n_fit=1024 dataset.n_train=200 dataset.classes=[cat,dog]"),
    "attribution_cifar2": ("cifar2", "campaign.n_fit=2560 campaign.n_holdout=256"),
    "attribution_horsedog500": ("cifar2", f"{PAIR_500} dataset.classes=[horse,dog]"),
    "attribution_birdtruck500": ("cifar2", f"{PAIR_500} dataset.classes=[bird,truck]"),
}


def make(folder: Path, parquet: str, name: str) -> None:
    """Plan, train and analyse one campaign in FOLDER/NAME."""
    configuration, own = CAMPAIGNS[name]
    source = () if configuration == "quickstart" else ("dataset.source=parquet", f"dataset.path={parquet}")
    config = compose(configuration, [*COMMON, f"campaign.folder={folder / name}", *source, *own.split()])
    start = time.perf_counter()
    record = RunRecord(config)
    for stage in (plan, retrain, attribute):
        with record.stage(stage.name):
            stage.fn(config)
    record.finish()
    print(f"{name}: {time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of one core so far", flush=True)


def main(folder: str, parquet: str, names: list[str]) -> None:
    ray_cluster._session = InThisProcess()  # type: ignore[assignment]  # flows take the process-wide session
    for name in names:
        make(Path(folder), parquet, name)


if __name__ == "__main__":
    main(*sys.argv[1:3], sys.argv[3:])
