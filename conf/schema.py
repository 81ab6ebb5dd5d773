"""The one description of a campaign: frozen pydantic models that check a configuration.

`CampaignConfig` is what Hydra's composed YAML is validated into, what the Prefect flow takes as its only
parameter (so that Prefect's forms and API check the same bounds) and what is saved beside every result.
Unknown keys and values out of range are errors. The sections of certify, curate, verify and brittleness are in
`conf.decisions`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import Field, StrictInt, create_model, field_validator, model_validator

from conf.decisions import BrittlenessConfig, CertifyConfig, CurateConfig, FlipConfig, PruneConfig, VerifyConfig
from conf.games import WITHOUT_IMAGES, GameConfig
from conf.players import PlayersConfig, RefineConfig
from conf.section import MAX_ORDER, Section
from training.data.sources import SOURCES, is_known
from training.recipe import Recipe, recipe_settings

NO_IMAGES = "none"  # dataset.source of a game that brings its own data


class DatasetConfig(Section):
    """Which images, and which of them are players, targets and audit examples."""

    source: str = Field(
        description="digits ships with scikit-learn; cifar10 is downloaded by torchvision into `path`; parquet is a "
        "folder of image Parquet files; image_folder holds train/CLASS/ and test/CLASS/; package.module:function "
        "is a function of your own.",
        json_schema_extra={"examples": [*SOURCES, "package.module:function"]},
    )
    path: str | None = Field(default=None, description="Folder of the files (not needed for digits).")
    classes: tuple[str | StrictInt, ...] | None = Field(
        default=None,
        description="Names or numbers of the classes to use; all when empty. Labels are renumbered in this order. "
        "Where classes are named by numbers, a number is a name.",
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
    label_column: str | None = Field(
        default=None,
        description="Column of the Parquet files with the labels; label, labels or fine_label when empty, else the one "
        "the files declare.",
    )
    download: bool = Field(default=True, description="Whether torchvision may download what is missing.")
    unreadable: Literal["refuse", "skip"] = Field(
        default="refuse", description="Pictures that cannot be read: an error that lists them, or left out and listed."
    )
    seed: int = Field(default=0, ge=0, description="Chooses the images among those available.")
    # Planted truth is part of the campaign's identity; empty (the default) leaves the identity as it was without it.
    plant_clusters: int | None = Field(default=None, ge=1, description="Clusters of copies to plant; none when empty.")
    plant_cluster_sizes: tuple[int, ...] | None = Field(
        default=None, description="Sizes of the planted clusters, 2 to 10, taken in turn; pairs when empty."
    )
    plant_near_share: float | None = Field(
        default=None, ge=0, le=1, description="Share of the clusters that are near copies instead of exact ones."
    )
    plant_flipped: float | None = Field(
        default=None, gt=0, le=1, description="Share of the training examples to give a wrong label; none when empty."
    )

    @field_validator("source")
    @classmethod
    def _known_source(cls, given: str) -> str:
        if given != NO_IMAGES and not is_known(given):
            raise ValueError(
                f"there is no source {given!r}. Sources: {', '.join(SOURCES)}, or a function of your own "
                f"(package.module:function)"
            )
        return given


def _recipe_fields() -> dict[str, Any]:
    """Types, defaults, bounds and descriptions of the recipe section, from the fields of `training.recipe.Recipe`."""
    made: dict[str, Any] = {}
    types = get_type_hints(Recipe)
    for name, setting in recipe_settings().items():
        if name == "nominal_alpha":  # the share of players in a mask: sampler.alpha, or a stage's own
            continue
        bounds = setting.configured_bounds
        limits: dict[str, Any] = {}
        if bounds is not None:
            limits["gt" if bounds.open_low else "ge"] = bounds.low
            if math.isfinite(bounds.high):
                limits["lt" if bounds.open_high else "le"] = bounds.high
        kind = Literal[tuple(setting.choices)] if setting.choices else types[name]
        default = Recipe.__dataclass_fields__[name].default
        made[name] = (kind, Field(default=default, description=setting.description, **limits))
    return made


if TYPE_CHECKING:

    class RecipeConfig(Section):
        """How one model is trained."""

        def __getattr__(self, name: str) -> Any: ...

else:
    RecipeConfig = create_model(
        "RecipeConfig",
        __base__=Section,
        __module__=__name__,
        __doc__="How one model is trained. Everything in it is part of the campaign's identity.",
        **_recipe_fields(),
    )


class SamplerConfig(Section):
    """How masks are drawn."""

    kind: Literal["bernoulli", "fixed_size", "antithetic", "spex"] = Field(
        default="bernoulli",
        description="Every player by itself; the same number in every mask; a mask and its complement in turn; or the "
        "structured masks of SPEX.",
    )
    alpha: float = Field(default=0.5, gt=0, lt=1, description="Probability that a player is in the training set.")
    other_alphas: tuple[float, ...] | None = Field(
        default=None,
        description="Further alphas: masks take alpha and these in turn. Small ones show large clusters of copies; "
        "results are reported at alpha, and every model takes the training steps of alpha. Empty: alpha alone.",
    )

    max_order: int = Field(
        default=5, ge=1, le=MAX_ORDER, description="For sampler.kind=spex: members of the largest set decoded."
    )

    @property
    def alphas(self) -> tuple[float, ...]:
        """All of them; masks take them in turn by their mask_id."""
        return (self.alpha, *(self.other_alphas or ()))

    @model_validator(mode="after")
    def _several_are_drawn_independently(self) -> SamplerConfig:
        others = self.other_alphas or ()
        if others and self.kind != "bernoulli":
            raise ValueError(f"several alphas need sampler.kind=bernoulli; got {self.kind}")
        if not all(0 < value < 1 for value in others) or len(set(self.alphas)) != len(self.alphas):
            raise ValueError(f"sampler.other_alphas must lie in (0, 1) and differ; got {list(others)}")
        return self

    @model_validator(mode="after")
    def _spex_needs_half(self) -> SamplerConfig:
        if self.kind == "spex" and self.alpha != 0.5:
            raise ValueError(
                f"the masks of SPEX include every player half of the time; got alpha = {self.alpha}. Set "
                "sampler.alpha=0.5 or sampler.kind=bernoulli"
            )
        return self

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
    max_order: int = Field(default=3, ge=1, le=MAX_ORDER, description="Members of the largest set that is screened.")
    max_proxy_order: int | None = Field(
        default=None, ge=0, le=MAX_ORDER,
        description="Members of the largest set that a proxy proposes; empty: `max_order` + 1, from 3 on. 0: no proxy.",
    )  # fmt: skip
    backend: Literal["booster", "lightgbm"] = Field(
        default="booster", description="Library that fits the gradient-boosted proxy, which proposes sets."
    )
    device: Literal["cpu", "cuda"] = Field(
        default="cpu",
        description="Where the large products run: NumPy, or torch on a GPU. Not chosen by itself, because results "
        "differ in their last digits.",
    )
    gpus_per_block: float = Field(
        default=0.25, gt=0, le=1, description="Part of a GPU one block asks of Ray when `device` is cuda."
    )
    pooled_targets: bool = Field(
        default=True, description="Explain the mean output over all targets and over each class as well."
    )
    published_targets: int = Field(
        default=8, ge=0,
        description="Of the targets, spread evenly, those on which ProxySPEX as published is fitted and scored beside "
        "the others: seconds for each. 0: none.",
    )  # fmt: skip
    block_size: int = Field(default=16, ge=1, description="Targets in one unit of work.")
    fdr_level: float = Field(default=0.1, gt=0, lt=1, description="False discovery rate of what `show` lists first.")
    fdr_method: Literal["BH", "BY"] = Field(
        default="BH", description="Benjamini-Hochberg, or Benjamini-Yekutieli, which holds under any dependence."
    )
    seed: int = Field(default=0, ge=0, description="Divides the masks into folds.")


class ComputeConfig(Section):
    """Hardware and its use. Not part of the campaign's identity; recorded with every row."""

    ray_address: str | None = Field(
        default=None, description="A Ray cluster; RAY_ADDRESS is used when empty, else Ray starts in this process."
    )
    workers: int | None = Field(default=None, ge=1, description="Shards trained at a time on this machine; all cores.")
    mode: str = Field(
        default="auto",
        pattern=r"^(auto|native|(grouped|batched|vmap)(\+(channels_last|compiled|bfloat16|float16))*)$",
        description="How K models are trained together; auto measures, once for each campaign.",
    )
    ensemble_size: int = Field(
        default=32, ge=1, le=4096, description="Models trained together (K); with compute.mode=auto, at most."
    )
    threads: int | None = Field(default=None, ge=1, le=1024, description="Threads of one worker; from `workers`.")
    arithmetic: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Type of products that compute.mode=auto may use; weights are float32."
    )
    calibration_seconds: float = Field(
        default=3.0, ge=0, le=3600, description="For compute.mode=auto; what was measured is kept for the next time."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models are trained; auto takes a GPU where there is one."
    )
    gpus_per_shard: float = Field(default=0.0, ge=0, le=64, description="GPUs one shard asks of Ray (may be a part).")
    memory_gb_per_shard: float | None = Field(default=None, gt=0, description="Memory one shard asks of Ray.")
    max_retries: int = Field(default=3, ge=0, description="How often Ray repeats a shard whose process died.")


class ReportConfig(Section):
    """What the report shows."""

    n_targets: int = Field(default=12, ge=1, le=500, description="Targets drawn with their strongest sets.")
    sets_per_target: int = Field(default=6, ge=1, le=50, description="Sets drawn for each of them.")


class CampaignConfig(Section):
    """A whole campaign."""

    name: str = Field(
        min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="The campaign's name, in logs and reports."
    )
    dataset: DatasetConfig
    recipe: RecipeConfig
    sampler: SamplerConfig
    campaign: CampaignSettings
    game: GameConfig = GameConfig()
    players: PlayersConfig = PlayersConfig()
    attribution: AttributionConfig = AttributionConfig()
    compute: ComputeConfig = ComputeConfig()
    report: ReportConfig = ReportConfig()
    certify: CertifyConfig = CertifyConfig()
    curate: CurateConfig = CurateConfig()
    verify: VerifyConfig = VerifyConfig()
    brittleness: BrittlenessConfig = BrittlenessConfig()
    prune: PruneConfig = PruneConfig()
    flip: FlipConfig = FlipConfig()
    refine: RefineConfig = RefineConfig()

    @model_validator(mode="after")
    def _groups_come_from_one_place(self) -> CampaignConfig:
        if self.players.by is not None and self.dataset.group_by is not None:
            raise ValueError(
                f"players.by = {self.players.by} and dataset.group_by = {self.dataset.group_by} both make groups. Set "
                "one of them to null"
            )
        if self.players.by is not None and self.game.kind != "retraining":
            raise ValueError(
                f"players.by = {self.players.by} makes groups of training images, and game.kind = {self.game.kind} has "
                "none. Leave players.by empty"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _own_data_need_no_images(cls, given: Any) -> Any:
        if not isinstance(given, dict) or (given.get("game") or {}).get("kind") not in WITHOUT_IMAGES:
            return given
        dataset = given.get("dataset") or {}
        dataset = {"source": NO_IMAGES, **dataset} if isinstance(dataset, dict) else dataset
        return {"recipe": {}, "sampler": {}, **given, "dataset": dataset}

    @model_validator(mode="after")
    def _images_where_they_are_needed(self) -> CampaignConfig:
        if self.dataset.source == NO_IMAGES and self.game.kind not in WITHOUT_IMAGES:
            raise ValueError(f"game.kind={self.game.kind} needs images: set dataset.source")
        return self


# Everything is hashed into a campaign's identity except what is named here: counts, hardware, places, and what is
# derived later. The bytes of the data set are hashed in place of its path.
EXEMPT_FROM_IDENTITY: frozenset[str] = frozenset(
    {
        "name",
        "game",
        "attribution",
        "compute",
        "report",
        "certify",
        "curate",
        "verify",
        "brittleness",
        "prune",
        "flip",
        "refine",
        "players.embedding",  # what it decides, which image is in which group, is in the fingerprint
        "players.parent",
        "dataset.path",
        "dataset.download",
        "dataset.label_column",  # the labels show in the bytes of the data set
        "dataset.unreadable",  # what is left out shows in the bytes of the data set
        "campaign.folder",
        "campaign.n_fit",
        "campaign.n_holdout",
        "campaign.n_replicates",
        "campaign.shard_size",
    }
)


def identity_settings(config: CampaignConfig) -> dict[str, object]:
    """Return the part of a configuration that makes two runs the same campaign, as a flat {dotted key: value} dict."""
    flat: dict[str, object] = {}
    for section, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            # Without found groups the section counts as empty: campaigns of versions that had none stay what they are.
            unused = section == "players" and value["by"] is None
            flat.update({f"{section}.{key}": None if unused else item for key, item in value.items()})
        else:
            flat[section] = value
    exempt = EXEMPT_FROM_IDENTITY | ({"dataset", "recipe", "players"} if config.game.kind in WITHOUT_IMAGES else set())
    if config.sampler.kind != "spex":
        exempt |= {"sampler.max_order"}  # of the structured masks alone
    return {
        key: value for key, value in sorted(flat.items()) if key not in exempt and key.split(".")[0] not in exempt
    }
