"""Which changes make another campaign, and which leave the folder's models usable."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from conf.compose import compose, validate
from conf.schema import EXEMPT_FROM_IDENTITY, CampaignConfig, identity_settings

QUICKSTART = compose("quickstart")
BASE = identity_settings(QUICKSTART)


def identity(key: str, value: object) -> dict[str, object]:
    """Identity of the quickstart with one key changed."""
    changed = QUICKSTART.model_dump()
    section, _, name = key.rpartition(".")
    (changed[section] if section else changed)[name] = value
    return identity_settings(validate(changed))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("campaign.seed", 1),
        ("sampler.alpha", 0.3),
        ("sampler.kind", "fixed_size"),
        ("sampler.kind", "antithetic"),
        ("sampler.other_alphas", [0.2]),
        ("recipe.epochs", 16),
        ("recipe.width", 9),
        ("recipe.flip", True),
        ("recipe.output", "margin_max"),
        ("recipe.learning_rate", 0.05),
        ("recipe.batching", "slot_aligned"),
        ("recipe.average_last", 0.5),
        ("dataset.n_train", 100),
        ("dataset.n_targets", 100),
        ("dataset.n_audit", 100),
        ("dataset.seed", 1),
        ("dataset.classes", [0, 1]),
        ("dataset.image_size", 4),
        ("dataset.group_by", "groups.csv"),
        ("dataset.source", "parquet"),
    ],
)
def test_what_decides_a_result_changes_the_identity(key: str, value: object) -> None:
    assert identity(key, value) != BASE


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "other"),
        ("campaign.folder", "elsewhere"),
        ("campaign.n_fit", 4000),
        ("campaign.n_holdout", 512),
        ("campaign.n_replicates", 2),
        ("campaign.shard_size", 16),
        ("dataset.path", "elsewhere"),
        ("dataset.download", True),
        ("attribution.n_targets", 10),
        ("attribution.max_order", 2),
        ("attribution.seed", 3),
        ("compute.gpus_per_shard", 1.0),
        ("compute.ensemble_size", 8),
        ("compute.mode", "native"),
        ("compute.arithmetic", "bfloat16"),
        ("compute.device", "cpu"),
        ("compute.workers", 1),
        ("report.n_targets", 3),
    ],
)
def test_counts_hardware_folders_and_what_is_derived_later_do_not(key: str, value: object) -> None:
    assert identity(key, value) == BASE


def test_without_found_groups_the_section_about_them_is_empty() -> None:
    """A campaign of a version that had no such section is still this one."""
    assert {value for key, value in BASE.items() if key.startswith("players.")} == {None}


def test_everything_is_part_of_the_identity_unless_exempt_by_name() -> None:
    """A key that somebody adds tomorrow counts, until it is named in the list of exemptions."""
    special = {"players": {"by": "similarity", "count": 20}, "sampler": {"kind": "spex"}}
    grouped = validate({**QUICKSTART.model_dump(), **special})
    counted, exempt = set(identity_settings(grouped)), set()
    for section, field in CampaignConfig.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            exempt.add(section)
            continue
        keys = {f"{section}.{key}" for key in model.model_fields}
        exempt |= {section} if section in EXEMPT_FROM_IDENTITY else keys - counted
    assert exempt == set(EXEMPT_FROM_IDENTITY)
