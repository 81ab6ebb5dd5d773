"""What certify, curate, verify and brittleness would do, in lines of text; nothing is trained or written."""

from __future__ import annotations

import math
from collections.abc import Callable

from attribution.experiments.factorial import n_cells
from conf.schema import CampaignConfig
from flows.experiments.budget import allowed_models
from flows.experiments.plans import Plan, plans
from flows.experiments.training import expected_time
from flows.runtime.wording import plural
from flows.store.campaign import Campaign
from flows.store.derived import about, finished, search_key
from flows.store.roles import RowRange, count_rows, missing_shards

SIZES_A_REMOVAL = 10  # tried for each target and search at most (attribution.curation.brittleness.removals_to_try)


def describe(stage: str, config: CampaignConfig, campaign: Campaign) -> list[str]:
    """Write the lines that `coterie STAGE --dry-run` prints. Raises what the stage itself would raise before it trains.

    Parameters
    ----------
    stage : str
        "certify", "curate", "verify", "brittleness", "prune" or "flip".
    config : CampaignConfig
    campaign : Campaign

    Returns
    -------
    list of str
    """
    lines_of: dict[str, Callable[[CampaignConfig, Campaign], list[str]]] = {
        "certify": _certify, "curate": _curate, "verify": _verify, "brittleness": _brittleness,
        "prune": _prune, "flip": _flip,
    }  # fmt: skip
    return lines_of[stage](config, campaign)


def _certify(config: CampaignConfig, campaign: Campaign) -> list[str]:
    from flows.certify import experiment_key, first_round, sets_within_budget
    from flows.experiments.certify_sets import nothing_eligible

    candidates, notes = sets_within_budget(config, campaign)
    if not candidates:
        return [f"{nothing_eligible(config)}: nothing to certify"]
    key = experiment_key(config, candidates)
    rounds = [plan for plan in plans(campaign, "certify") if plan.key == key]
    if rounds:
        n_bases = {block["place"]: 0 for block in rounds[0].content["sets"]}
        for plan in rounds:
            for block in plan.content["sets"]:
                n_bases[block["place"]] += block["n_bases"]
        wanted, level = list(n_bases.values()), float(rounds[0].content["level"])
    else:
        found, level = first_round(config, campaign, candidates)
        wanted = list(found.n_bases)
    lines = []
    for candidate, bases in zip(candidates, wanted, strict=True):
        members = ", ".join(map(str, candidate.members))
        predicted = f"{candidate.predicted:+.2f}" if math.isfinite(candidate.predicted) else "nothing"
        said = f", q {candidate.q_value:.2g}" if math.isfinite(candidate.q_value) else ""
        lines.append(
            f"{candidate.origin:<11} {members} -> {candidate.target}: {predicted} predicted"
            f"{f' ({candidate.kind})' if candidate.kind else ''}"
            f"{said}; {plural(bases, 'base mask')}, {bases * n_cells(candidate.order)} models"
        )
    total = sum(bases * n_cells(candidate.order) for candidate, bases in zip(candidates, wanted, strict=True))
    sets, bases_in_all = plural(len(candidates), "set"), plural(sum(wanted), "base mask")
    lines.append(f"{sets}, {bases_in_all}; each interval at level {level:.2g}")
    lines.append(_models(campaign, total, _left(rounds, campaign.trained()) if rounds else total))
    if len(rounds) < 2 and config.certify.n_bases is None:
        most = allowed_models(campaign, config.certify.max_models)
        lines.append(
            f"then, where intervals are wider than planned, up to {max(0, most - total)} more (certify.max_models = "
            f"{most})"
        )
    return [*lines, *notes]


def _curate(config: CampaignConfig, campaign: Campaign) -> list[str]:
    from flows.decisions.evidence import check_request, curation_key

    n_keep, least = check_request(config, campaign)
    count = config.curate.label_models if config.game.kind == "retraining" else 0  # others decide from their outputs
    check = f"{plural(count, 'model')} to check labels, each trained without a fifth of the players"
    lines = [check if count else "curate trains nothing"]
    if n_keep is None:
        lines.append("no budget: only what evidence speaks against is dropped")
    else:
        names = campaign.meta.class_names
        held = ", ".join(f"{names[label]}: {count}" for label, count in least.items())
        kept = f"{n_keep} of {plural(campaign.n_players, 'player')} to keep"
        lines.append(f"{kept}; of the classes at least {held}")
    current = about(campaign, "decisions")
    if current is None:
        lines.append("there are no decisions yet")
    elif current["key"] == curation_key(config, campaign):
        lines.append("the decisions that exist are up to date: nothing would be done")
    else:
        lines.append("decisions exist and would be replaced: the analysis or the settings have changed")
    return lines


def _verify(config: CampaignConfig, campaign: Campaign) -> list[str]:
    from flows.store.derived import read_derived
    from flows.verify import arms, current_decisions, resolution_sentence, verification_key, what_to_train

    decided = current_decisions(config, campaign)
    settings, n = config.verify, campaign.n_players
    kept = [value != "drop" for value in read_derived(campaign, "decisions")["decision"].to_pylist()]
    declared = sum(kept)
    budgeted = what_to_train(config, campaign, declared)
    n_networks = len(budgeted.architectures)
    # (models, players each is trained on): steps, and so time, grow with the size.
    compared = arms(config)
    parts = [(len(compared) * n_networks * budgeted.n_seeds, declared), (n_networks * budgeted.n_seeds, n)]
    parts += [(len(compared) * settings.curve_seeds, size) for size in budgeted.sizes]
    total = budgeted.n_models
    key = verification_key(config, decided["key"])
    rounds = [plan for plan in plans(campaign, "verify") if plan.key == key]
    cost = sum(count * size for count, size in parts) / (n * config.sampler.alpha)
    lines = [
        f"{declared} of {plural(n, 'player')} kept (declared): {len(compared)} arms ({', '.join(compared)}) and the "
        f"full set, {budgeted.n_seeds} seeds each, {plural(n_networks, 'network')}",
        f"removal curve: {', '.join(map(str, budgeted.sizes))} kept, {plural(settings.curve_seeds, 'seed')} an arm"
        if budgeted.sizes else "no removal curve",
        _models(campaign, total, _left(rounds, finished(campaign)) if rounds else total, cost)
        + (", the second network taken to cost as much as the first" if n_networks > 1 else ""),
        resolution_sentence(config, campaign),
        *budgeted.left_out,
    ]
    if not rounds:
        networks = plural(settings.embedding_models, "network")
        lines.append(f"and {networks} whose features find near-duplicates")
    return lines


def _brittleness(config: CampaignConfig, campaign: Campaign) -> list[str]:
    from flows.brittleness import SEARCHES

    settings, key = config.brittleness, search_key(campaign, config.brittleness)
    rounds = [plan for plan in plans(campaign, "brittleness") if plan.key == key]
    lines = []
    if not rounds:
        lines.append(_models(campaign, settings.n_seeds, settings.n_seeds) + ": the full training set")
    else:
        total = count_rows(plan.rows for plan in rounds)
        lines.append(_models(campaign, total, _left(rounds, finished(campaign))))
    if len(rounds) < 2:
        whole = settings.n_targets * len(SEARCHES) * SIZES_A_REMOVAL * settings.n_seeds
        most = min(whole, max(0, allowed_models(campaign, settings.max_models) - settings.n_seeds))
        lines.append(
            f"then removals for up to {plural(settings.n_targets, 'target')}, {len(SEARCHES)} searches, at most "
            f"{SIZES_A_REMOVAL} sizes and {settings.n_seeds} seeds each: at most {plural(most, 'model')}"
            f"{expected_time(campaign, most)}"
        )
        if most < whole:
            lines.append(f"brittleness.max_models={whole + settings.n_seeds} has room for "
                         f"{plural(settings.n_targets, 'target')}")  # fmt: skip
    return lines


def _prune(config: CampaignConfig, campaign: Campaign) -> list[str]:
    from flows.games.table import require_kind
    from flows.lenses.pruning import ARMS

    require_kind(config, "prune")
    sizes = ", ".join(f"{share:.0%}" for share in config.prune.shares)
    epochs = config.prune.finetune_epochs
    n_trained = config.prune.finetune_images if epochs else 0
    n_networks = len(ARMS) * len(config.prune.shares)
    lines = [
        f"{sizes} of {plural(campaign.n_players, 'component')} go, by {len(ARMS)} rules ({', '.join(ARMS)}): "
        f"{plural(n_networks, 'network')} judged on {plural(campaign.meta.n_audit - n_trained, 'image')} "
        "that no rule has seen",
        f"each of them, and the whole one, is first trained on {n_trained} other unseen images, "
        f"{plural(epochs, 'time')} over" if epochs else "nothing is trained",
    ]
    return [*lines, _exists(campaign, "pruning", search_key(campaign, config.prune))]


def _flip(config: CampaignConfig, campaign: Campaign) -> list[str]:
    from flows.games.table import require_kind

    require_kind(config, "flip")
    gradients = config.game.kind == "patches" and config.flip.gradient_steps > 0
    n_orders, n_targets = 6 if gradients else 5, min(config.flip.n_targets, campaign.n_targets)
    n_masks = n_orders * n_targets * 2 * (campaign.n_players + 1)
    lines = [
        f"{n_orders} orders of {plural(campaign.n_players, 'player')} for up to {plural(n_targets, 'target')}, removed "
        f"and put in one by one: about {plural(n_masks, 'evaluation')}",
        "nothing is trained",
    ]
    return [*lines, _exists(campaign, "flips", search_key(campaign, config.flip))]


def _exists(campaign: Campaign, table: str, key: str) -> str:
    current = about(campaign, table)
    if current is None:
        return f"there are no {table} yet" if table == "flips" else f"there is no {table} yet"
    if current["key"] == key:
        return f"the {table} that exist are up to date: nothing would be done"
    return f"{table} exist and would be replaced: the analysis or the settings have changed"


def _left(rounds: list[Plan], done: list[RowRange]) -> int:
    return count_rows(missing_shards([plan.rows for plan in rounds], done, 10**9))


def _models(campaign: Campaign, total: int, left: int, cost: float | None = None) -> str:
    """"m of n models to train" with the time; cost: of all n, in models of the campaign's own size."""
    if not left:
        return f"all {plural(total, 'model')} exist: nothing would be trained"
    whole = total if cost is None else cost
    return f"{left} of {plural(total, 'model')} to train{expected_time(campaign, whole * left / total)}"
