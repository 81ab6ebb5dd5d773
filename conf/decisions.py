"""The sections of a configuration that turn results into decisions: certify, curate, verify and brittleness."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from conf.section import MAX_ORDER, Section

InteractionKind = Literal[
    "redundancy", "synergy", "boundary_synergy", "interference", "saturation", "uncertain"
]


class CertifyConfig(Section):
    """Which interactions are tried by a factorial retraining experiment, and how hard."""

    members: tuple[int, ...] | None = Field(default=None, description="One set of your own, instead of the top sets.")
    target: int | None = Field(default=None, description="Its target; the best one reported when empty.")
    kinds: tuple[InteractionKind, ...] | None = Field(
        default=None, description="Try the strongest sets of these kinds instead, whatever their q-value."
    )
    orders: tuple[int, ...] | None = Field(
        default=None, description="Try the strongest sets of so many members instead, e.g. [3]; 2 to 6."
    )
    top: int = Field(default=20, ge=1, le=10_000, description="Distinct member sets to try, by pooled evidence.")
    n_random: int = Field(default=10, ge=0, le=10_000, description="Matched random sets, beside the first of the top.")
    level: float = Field(default=0.05, ge=1e-6, lt=1, description="Level over all sets tried together.")
    power: float = Field(default=0.8, gt=0.05, lt=1, description="Power the number of base masks is planned for.")
    n_bases: int | None = Field(default=None, ge=2, description="Base masks of every set; from power when empty.")
    min_bases: int = Field(default=12, ge=2, description="Base masks a set gets at least.")
    max_bases: int = Field(default=256, ge=2, description="Base masks a set gets at most.")
    max_models: int | None = Field(
        default=None, ge=4,
        description="Models the whole experiment may train; the campaign's own number when empty, and then as many of "
        "the top sets as get the base masks that power asks for.",
    )
    seed: int = Field(default=0, ge=0, description="Draws the random sets.")

    @field_validator("orders")
    @classmethod
    def _orders_that_can_be_tried(cls, given: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if given is not None and any(not 2 <= order <= MAX_ORDER for order in given):
            raise ValueError(f"a set has 2 to {MAX_ORDER} members; got {list(given)}. Set certify.orders=[3]")
        return given

    @model_validator(mode="after")
    def _bounds_in_order(self) -> CertifyConfig:
        default = CertifyConfig.model_fields["min_bases"].default  # not set by the user: a low maximum overrides it
        if self.min_bases != default and self.n_bases is None and self.min_bases > self.max_bases:
            raise ValueError(
                f"min_bases = {self.min_bases} is more than max_bases = {self.max_bases}. Lower certify.min_bases or "
                "raise certify.max_bases"
            )
        return self


class CurateConfig(Section):
    """How effects and interactions become decisions."""

    keep_share: float | None = Field(
        default=None, gt=0, lt=1,
        description="Share of the players to keep (0.8 drops 20%); empty drops only what evidence speaks against. "
        "Effects are measured on sets of sampler.alpha of the players.",
    )
    keep_count: int | None = Field(default=None, ge=1, description="Players to keep, instead of a share.")
    class_quotas: dict[str, int] | None = Field(default=None, description="Players to keep at least, by class name.")
    least_class_share: float = Field(
        default=0.5, ge=0, le=1, description="Part of its even share that every class keeps at least."
    )
    objective: Literal["coverage", "mean"] = Field(
        default="coverage",
        description="What a budget maximises: targets expected to be right, returns diminishing; or a mean utility.",
    )
    near_duplicate_share: float = Field(
        default=0.5, ge=0, le=1,
        description="Part of what a budget drops that goes as near duplicates by features, before the objective.",
    )
    confidence: float = Field(default=1.0, ge=0, le=5, description="Standard errors the lower bound lies below.")
    replaceable: float = Field(
        default=0.5, gt=0, le=1, description="Part of a member's own effect that the others must stand in for."
    )
    drop_redundant: bool = Field(default=True, description="Drop all but one of a redundant cluster without a budget.")
    level: float = Field(default=0.1, gt=0, lt=1, description="False discovery rate of harmful examples to review.")
    drop_level: float = Field(
        default=0.01, gt=0, lt=1,
        description="Rate below which a boundary synergy with a harmful example protects nobody.",
    )
    label_models: int = Field(
        default=40, ge=0, le=10_000,
        description="Models trained without a fifth of the players each, in whose absence labels are checked; 0 calls "
        "no label wrong.",
    )
    race_models: int = Field(
        default=0, ge=0, le=100_000,
        description="Models with which a budget's rules (coverage, mixture, main effects, near-duplicates) compete on "
        "the targets; 0 takes the objective without a race.",
    )
    allow_unlearnable: bool = Field(
        default=False, description="Decide and export although the models are not above chance."
    )
    similarity: bool = Field(default=True, description="Also test groups of examples that look alike.")

    @field_validator("class_quotas", mode="before")
    @classmethod
    def _names_of_classes(cls, given: object) -> object:
        # YAML and Hydra read the class name 0 as a number.
        return {str(name): quota for name, quota in given.items()} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _one_budget(self) -> CurateConfig:
        if self.keep_count is not None and self.keep_share is not None:
            raise ValueError(
                f"keep_share = {self.keep_share} and keep_count = {self.keep_count} are two budgets. Set one of them "
                "to null"
            )
        if self.class_quotas and self.keep_count is None and self.keep_share is None:
            raise ValueError(
                f"class_quotas = {self.class_quotas} hold under a budget, and there is none. Set curate.keep_share or "
                "curate.keep_count, or leave the quotas out"
            )
        return self


class VerifyConfig(Section):
    """How a decision is put to the test by retraining."""

    n_seeds: int = Field(default=20, ge=2, le=10_000, description="Models of every arm at the declared size.")
    curve: tuple[float, ...] = Field(
        default=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), description="Shares kept in the removal curve."
    )
    curve_seeds: int = Field(default=6, ge=0, le=10_000, description="Models of every arm at the curve's other sizes.")
    level: float = Field(default=0.05, gt=0, lt=1, description="Error level over what is claimed together.")
    second_architecture: bool = Field(default=True, description="Repeat the declared size with another network.")
    embedding_models: int = Field(default=4, ge=1, le=64, description="Networks whose features find near-duplicates.")
    max_models: int | None = Field(
        default=None, ge=10, description="Models a verification may train; the campaign's own number when empty."
    )

    @field_validator("curve")
    @classmethod
    def _shares(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share < 1 for share in given):
            raise ValueError(f"shares kept lie between 0 and 1; got {list(given)}. Set verify.curve=[0.25,0.5]")
        return given


class PruneConfig(Section):
    """Which parts of a network go (game.kind=components)."""

    shares: tuple[float, ...] = Field(
        default=(0.05, 0.1, 0.2, 0.3, 0.4, 0.6), min_length=1, description="Shares of the components that go."
    )
    finetune_epochs: int = Field(
        default=0, ge=0, le=1000,
        description="Passes of training that every pruned network, and the whole one, gets before it is judged.",
    )  # fmt: skip
    finetune_images: int = Field(
        default=200, ge=2, le=1_000_000,
        description="Unseen images it trains on, the last ones; the others judge. Used with finetune_epochs only.",
    )  # fmt: skip
    finetune_rate: float = Field(default=1e-3, gt=0, le=1, description="Learning rate of that training.")
    seed: int = Field(
        default=0, ge=0, description="Of the random rule, the order of training and the intervals' resamples."
    )

    @field_validator("shares")
    @classmethod
    def _shares_of_a_whole(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share < 1 for share in given) or len(set(given)) != len(given):
            raise ValueError(
                f"prune.shares must lie in (0, 1) and differ; got {list(given)}. Set prune.shares=[0.1,0.3]"
            )
        return tuple(sorted(given))


class FlipConfig(Section):
    """The smallest sets of players whose removal turns a prediction over, where one fixed model is explained."""

    n_targets: int = Field(default=24, ge=1, le=10_000, description="Targets that are right, the first ones first.")
    gradient_steps: int = Field(
        default=32, ge=0, le=1000, description="For patches: points of integrated gradients; 0 leaves them out."
    )
    seed: int = Field(default=0, ge=0, description="Of the random order and of the intervals' resamples.")


class BrittlenessConfig(Section):
    """The smallest removals that flip a prediction."""

    n_targets: int = Field(default=12, ge=1, le=10_000, description="Targets, those with interactions first.")
    n_seeds: int = Field(default=6, ge=2, le=1000, description="Models of every removal.")
    max_removals: int = Field(default=60, ge=1, description="Removals tried at most.")
    max_models: int | None = Field(
        default=None, ge=2, description="Models the experiment may train; the campaign's own number when empty."
    )
