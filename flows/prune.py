"""Stage prune: parts of a network that can go, by what they do together, beside other rules, judged on new images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from prefect import flow

from conf.schema import CampaignConfig
from flows.decisions.surrogates import target_surrogate
from flows.games.lenses import Lens
from flows.games.table import full_identity, make_game, require_kind
from flows.lenses import LensDecisionError
from flows.lenses.pruning import Judged, Training, compared, judge, pruned, scores_of_arms
from flows.reporting.lens_decisions import prune_sentences
from flows.runtime.logs import stage_logger
from flows.store.campaign import Campaign
from flows.store.derived import about, columns, plain, publish, read_derived, search_key
from flows.store.schemas import PRUNING

MEAN = -1  # the target that is the mean margin over all images


@dataclass(frozen=True)
class PruneSummary:
    """What was tried.

    Attributes
    ----------
    n_tried : int
        Pruned networks: rules times sizes.
    n_images : int
        Images they were judged on.
    whole : float
        Accuracy of the whole network on them.
    n_sets : int
        Sets that the spectrum's rule counted with.
    n_finetuned : int
        Images that every network, the whole one too, was trained on before it was judged; 0: none was trained.
    """

    n_tried: int
    n_images: int
    whole: float
    n_sets: int
    n_finetuned: int = 0


@flow(name="prune", flow_run_name="{config.name} prune", persist_result=False)
def prune(config: CampaignConfig) -> PruneSummary:
    """Choose the components that go by the campaign's spectrum and by other rules; judge every choice.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    PruneSummary

    Raises
    ------
    UnknownGame
        For a campaign whose players are not components.
    LensDecisionError
        Without unseen images, and for an analysis without the mean over all images.
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    lens, key = components_of(config, campaign), search_key(campaign, config.prune)
    current = about(campaign, "pruning")
    if current is not None and current["key"] == key:
        log.info("the pruning is up to date")
        return PruneSummary(**{name: current[name] for name in PruneSummary.__dataclass_fields__})
    with campaign.lock():
        rows, summary = _tried(config, campaign, lens)
        publish(campaign, "pruning", columns(rows, PRUNING), plain({"key": key, **vars(summary)}))
    for sentence in prune_sentences(read_derived(campaign, "pruning").to_pylist(), vars(summary)):
        log.info("%s", sentence)
    return summary


def components_of(config: CampaignConfig, campaign: Campaign) -> Lens:
    """Return the campaign's game with its unseen images, or say why there is nothing to prune.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    Lens

    Raises
    ------
    UnknownGame, LensDecisionError, CampaignMismatch
        As `prune`.
    """
    require_kind(config, "prune")
    if not campaign.meta.n_audit:
        raise LensDecisionError(
            "the campaign has no image that no rule has seen, and pruning is judged on such images. Plan one with "
            "game.n_unseen=200 or more"
        )
    trains = config.prune.finetune_images if config.prune.finetune_epochs else 0
    if trains and campaign.meta.n_audit - trains < 2:
        raise LensDecisionError(
            f"prune.finetune_images={trains} of the campaign's {campaign.meta.n_audit} unseen images leave fewer than "
            "two to judge on. Lower it, or plan with a larger game.n_unseen"
        )
    lens = make_game(config)
    campaign.check_identity(full_identity(config, lens))
    assert isinstance(lens, Lens)  # the table's own entry
    if MEAN not in campaign.read("effects", ["target"])["target"].unique().to_pylist():
        raise LensDecisionError(
            "the analysis has no mean over all images, from which the spectrum prunes. Run "
            f"`coterie attribute {campaign.folder} attribution.pooled_targets=true` first"
        )
    return lens


def _tried(config: CampaignConfig, campaign: Campaign, lens: Lens) -> tuple[list[dict[str, Any]], PruneSummary]:
    import torch

    torch.set_num_threads(1)
    settings, game = config.prune, lens.game
    pairs = campaign.training_pairs("fit", one_alpha=True)
    surrogate = target_surrogate(campaign, MEAN, config.attribution.fdr_level)
    scores = scores_of_arms(game, pairs.masks, pairs.outputs, campaign.meta.alpha, settings.seed)  # type: ignore[arg-type]
    images, labels = lens.audit_images, lens.audit_labels
    training = None
    if settings.finetune_epochs:
        n_judges = len(labels) - settings.finetune_images
        training = Training(
            images[n_judges:], labels[n_judges:], settings.finetune_epochs, settings.finetune_rate, settings.seed
        )
        images, labels = images[:n_judges], labels[:n_judges]

    def judged(keep: np.ndarray, beside: np.ndarray | None = None) -> Judged:
        return judge(game, keep, images, labels, beside=beside, seed=settings.seed, training=training)  # type: ignore[arg-type]

    everyone = np.ones(game.n_players, bool)
    whole = judged(everyone)  # trained as the others are
    rows = []
    for share in settings.shares:
        first: np.ndarray | None = None
        for arm, keep in pruned(surrogate, scores, share).items():
            found = judged(keep, whole.correct)
            first = found.correct if first is None else first  # of the spectrum, which is the first arm
            against = compared(found.correct, first, settings.seed)
            rows.append(
                {
                    "arm": arm, "share": share, "n_keep": int(keep.sum()), "kept": np.flatnonzero(keep).tolist(),
                    "accuracy": found.accuracy, "difference": found.difference, "low": found.low, "high": found.high,
                    "beside": against.difference, "beside_low": against.low, "beside_high": against.high,
                    "n_images": len(labels),
                }
            )  # fmt: skip
    n_trained = 0 if training is None else len(training.labels)
    return rows, PruneSummary(len(rows), len(labels), whole.accuracy, len(surrogate.sets), n_trained)
