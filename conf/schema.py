"""The one description of a campaign: frozen pydantic models that check a configuration.

`CampaignConfig` is what Hydra's composed YAML is validated into, what the Prefect flow takes as its only
parameter (so that Prefect's forms and API check the same bounds) and what is saved beside every result.
Unknown keys and values out of range are errors.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """Base of every section: immutable, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetConfig(Section):
    """Which images, and which of them are players, targets and audit examples."""

    source: Literal["digits", "cifar10", "parquet", "image_folder"] = Field(
        description="digits ships with scikit-learn; cifar10 is downloaded by torchvision into `path`; parquet is a "
        "folder of image Parquet files; image_folder holds train/<class>/ and test/<class>/."
    )
    path: str | None = Field(default=None, description="Folder of the files (not needed for digits).")
    classes: tuple[str, ...] | None = Field(
        default=None, description="Names of the classes to use; all when empty. Labels are renumbered in this order."
    )
    n_train: int | None = Field(
        default=None, ge=2, description="Training examples, drawn evenly from the classes; all when empty."
    )
    n_targets: int | None = Field(default=None, ge=1, description="Test examples whose outputs are explained.")
    n_audit: int | None = Field(
        default=None, ge=0, description="Test examples no fit, choice or decision sees; the rest when empty."
    )
    image_size: int | None = Field(default=None, ge=4, le=512, description="Reduce images to this many pixels a side.")
    group_by: str | None = Field(
        default=None, description="Players are groups: a column of the Parquet file, or the path of an index file."
    )
    download: bool = Field(default=True, description="Whether torchvision may download what is missing.")
    seed: int = Field(default=0, ge=0, description="Chooses the images among those available.")


class RecipeConfig(Section):
    """How one model is trained. Everything in it is part of the campaign's identity."""

    architecture: Literal["resnet", "resnet9"] = "resnet"
    width: int = Field(default=8, ge=1, le=1024, description="Channels of the first stage.")
    blocks: int = Field(default=1, ge=1, le=100, description="Residual blocks in each of the three stages.")
    batch_size: int = Field(default=25, ge=2)
    epochs: float = Field(default=15, gt=0, description="Passes over a training set of the expected size.")
    learning_rate: float = Field(default=0.2, gt=0, description="Peak of the one-cycle schedule.")
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_fraction: float = Field(default=0.2, ge=0, lt=1, description="Share of the steps before the peak.")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = Field(default=False, description="Mirror training images at random.")
    crop_padding: int = Field(default=0, ge=0, le=64, description="Pixels of padding before a random crop.")
    cutout: int = Field(default=0, ge=0, le=64, description="Side of a square blanked out at random; 0 for none.")
    flip_at_test: bool = Field(default=False, description="Average the logits over an image and its mirror.")
    output: Literal["margin_lse", "margin_max"] = Field(
        default="margin_lse", description="What is recorded for each target: correct logit minus logsumexp, or max."
    )


class SamplerConfig(Section):
    """How masks are drawn."""

    kind: Literal["bernoulli", "fixed_size", "antithetic"] = "bernoulli"
    alpha: float = Field(default=0.5, gt=0, lt=1, description="Probability that a player is in the training set.")

    @model_validator(mode="after")
    def _antithetic_needs_half(self) -> SamplerConfig:
        # The complement of an alpha mask has 1 - alpha, so pairs keep the design only at one half.
        if self.kind == "antithetic" and self.alpha != 0.5:
            raise ValueError(
                f"antithetic masks exist at alpha = 0.5 only; got alpha = {self.alpha}. "
                "Set sampler.alpha=0.5 or sampler.kind=bernoulli"
            )
        return self


class CampaignSettings(Section):
    """Which models should exist, and where they are kept."""

    folder: str = Field(min_length=1, description="The campaign's folder; its Parquet tables are its only truth.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Every mask and every training follows from it.")
    n_fit: int = Field(ge=1, lt=1_000_000_000, description="Masks the attribution is fitted on.")
    n_holdout: int = Field(default=256, ge=0, lt=1_000_000_000, description="Masks faithfulness is measured on.")
    n_replicates: int = Field(
        default=1, ge=0, le=1000, description="Extra trainings of every held-out mask, for the noise ceiling."
    )
    shard_size: int = Field(
        default=32, ge=1, le=100_000, description="Models in one unit of work; fixed when the campaign is created."
    )


class AttributionConfig(Section):
    """What is fitted to the outputs."""

    n_targets: int | None = Field(
        default=60, ge=1, description="Targets to explain, those of highest variance first; all when empty."
    )
    max_order: int = Field(default=3, ge=1, le=4, description="Largest member set that is looked for.")
    backend: Literal["booster", "lightgbm"] = Field(default="booster", description="The gradient-boosted proxy.")
    pooled_targets: bool = Field(
        default=True, description="Explain the mean output over all targets and over each class as well."
    )
    block_size: int = Field(default=16, ge=1, description="Targets in one unit of work.")
    fdr_level: float = Field(default=0.1, gt=0, lt=1, description="False discovery rate of what `show` lists first.")
    seed: int = Field(default=0, ge=0)


class ComputeConfig(Section):
    """Hardware and its use. Not part of the campaign's identity; recorded with every row."""

    ray_address: str | None = Field(
        default=None, description="A Ray cluster; RAY_ADDRESS is used when empty, else Ray starts in this process."
    )
    workers: int | None = Field(default=None, ge=1, description="Shards trained at a time on this machine; all cores.")
    members: int = Field(default=32, ge=1, le=4096, description="Models trained as one network (K).")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpus_per_shard: float = Field(default=0.0, ge=0, le=64, description="GPUs one shard asks of Ray (may be a part).")
    memory_gb_per_shard: float | None = Field(default=None, gt=0, description="Memory one shard asks of Ray.")
    max_retries: int = Field(default=3, ge=0, description="How often Ray repeats a shard whose process died.")


class ReportConfig(Section):
    """What the report shows."""

    n_targets: int = Field(default=12, ge=1, le=500, description="Targets drawn with their strongest sets.")
    sets_per_target: int = Field(default=6, ge=1, le=50)


class CampaignConfig(Section):
    """A whole campaign."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    dataset: DatasetConfig
    recipe: RecipeConfig
    sampler: SamplerConfig
    campaign: CampaignSettings
    attribution: AttributionConfig = AttributionConfig()
    compute: ComputeConfig = ComputeConfig()
    report: ReportConfig = ReportConfig()


# Everything is hashed into a campaign's identity except what is named here: counts, hardware, places, and what is
# derived later. The bytes of the data set are hashed in place of its path.
EXEMPT_FROM_IDENTITY: frozenset[str] = frozenset(
    {
        "name",
        "attribution",
        "compute",
        "report",
        "dataset.path",
        "dataset.download",
        "campaign.folder",
        "campaign.n_fit",
        "campaign.n_holdout",
        "campaign.n_replicates",
        "campaign.shard_size",
    }
)


def identity_settings(config: CampaignConfig) -> dict[str, object]:
    """The part of a configuration that makes two runs the same campaign, as a flat {dotted key: value} dict."""
    flat: dict[str, object] = {}
    for section, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{section}.{key}": item for key, item in value.items()})
        else:
            flat[section] = value
    return {
        key: value
        for key, value in sorted(flat.items())
        if key not in EXEMPT_FROM_IDENTITY and key.split(".")[0] not in EXEMPT_FROM_IDENTITY
    }
