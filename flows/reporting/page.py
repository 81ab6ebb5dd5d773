"""The report: one HTML string that needs nothing from anywhere else.

Pictures are inlined once each, drawings are SVG, and style sheet and script are in the page. The script draws the two
long lists, a page at a time, from data in the page; everything else is there without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from flows.errors import StoreError
from flows.reporting import text as text
from flows.reporting.answer import answer, is_recorded
from flows.reporting.browse import PLAYERS_LISTED, browse_data
from flows.reporting.data import DEFAULT_FDR_LEVEL, ReportData, SetView, TargetView, read_report_data
from flows.reporting.experiments import read_experiments
from flows.reporting.figures import accuracy_figure, faithfulness_figure, interval_figure, removal_curve
from flows.reporting.images import Picture
from flows.reporting.lens_decisions import decisions_section
from flows.reporting.lens_figures import lens_section
from flows.reporting.players import read_players
from flows.reporting.wording import Wording
from flows.store.campaign import Campaign
from flows.store.examples import inspection
from flows.store.queries import copies_seen

TEMPLATES = Path(__file__).with_name("templates")
ARM_NAMES = {
    "random": "as many removed at random",
    "main_effects": "removal by main effects alone",
    "embedding": "removal of near-duplicates by features",
    "full": "nothing removed",
}
# Masks of one size do not identify these; the tables hold the convention of least norm.
NOT_IDENTIFIED = (
    "every mask has the same number of players: a shift common to all main effects, and each player’s sum of pair "
    "interactions, are not identified by such masks. Effects are given with a mean of zero"
)


def build_report(
    campaign: Campaign,
    *,
    n_targets: int,
    sets_per_target: int,
    config: dict[str, Any],
    runs: list[dict[str, Any]],
) -> str:
    """The campaign's report as one self-contained HTML page.

    n_targets: targets drawn with their sets; sets_per_target: sets drawn in each column of a target; config:
    the resolved configuration; runs: records of past runs ({"started", "finished", "versions",
    "trained_models", "seconds_by_stage"}, any of which may be missing), printed oldest first.
    Raises IncompleteCampaign when there is no analysis yet, StoreError for a table that cannot be read and for
    templates that do not belong to this program.
    """
    try:
        return _build(campaign, n_targets, sets_per_target, config, runs)
    except TemplateError as error:
        raise StoreError(
            f"the report's templates do not belong to the program that is running ({error}): they were changed while "
            f"it ran, or the installation is incomplete. What was computed is kept. Run `coterie report "
            f"{campaign.folder}`; if this comes again, install coterie again"
        ) from error


def _build(
    campaign: Campaign, n_targets: int, sets_per_target: int, config: dict[str, Any], runs: list[dict[str, Any]]
) -> str:
    level = (config.get("attribution") or {}).get("fdr_level") or DEFAULT_FDR_LEVEL
    data = read_report_data(
        campaign, n_targets=n_targets, sets_per_target=sets_per_target, fdr_level=float(level)
    )
    headline, lede = text.finding(len(data.faithfulness), data.n_open, data.kinds, data.n_distinct)
    shared = text.saturation_sentence(data.saturation.n_pairs, data.saturation.share, on_one_target=False)
    lede = f"{lede} {shared}".rstrip()
    tried = read_experiments(campaign, data.gallery)
    players = read_players(campaign, data.gallery)
    words = Wording.of(campaign.meta)
    page = _environment(words).get_template("report.html.j2")
    extent = _extent(data)
    return page.render(
        data=data,
        tried=tried,
        name=str(data.meta.get("name", campaign.folder.name)),
        found=answer(campaign, data, tried, players),
        decided=any(view.decision for view in players),
        n_players=len(players),
        n_listed=min(len(players), PLAYERS_LISTED),
        findings=inspection(campaign),
        noun="group" if data.gallery.has_groups else words("picture"),
        players_noun=words("training picture") if not data.gallery.has_groups else "training group",
        fixed_model=campaign.meta.is_fixed_model,
        class_names=sorted({view.picture.class_name for view in players if view.picture.class_name}),
        arm_names=ARM_NAMES,
        removal_svg=removal_curve(tried.own_network),
        browse_data=_Late(lambda: browse_data(data, players)),
        symbols=_Late(lambda: Markup("").join(data.gallery.symbols)),
        script=Markup(words.script((TEMPLATES / "browse.js.j2").read_text(encoding="utf-8"))),
        headline=headline,
        lede=words(lede),
        tiles=_tiles(data, campaign),
        kind_shares=[(kind, data.kinds[kind]) for kind in text.KINDS if data.kinds.get(kind)],
        verdict=lambda item: tried.verdicts.get((item.target, item.players)),
        interval=lambda item: interval_figure(item.value, item.low, item.high, extent),
        extent=extent,
        faithfulness_svg=faithfulness_figure(list(data.faithfulness)),
        accuracy_svg=accuracy_figure(data.accuracies),
        facts=_facts(data, campaign, config),
        settings=list(_flatten(config)),
        runs=[run for run in runs if isinstance(run, Mapping)],
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        draw=draw,
        lens=lens_section(campaign, data),
        lens_decisions=decisions_section(campaign),
    )


class _Late:
    """Text that is made when the page reaches it: which pictures it draws is known only then."""

    def __init__(self, make: Callable[[], Markup]) -> None:
        self._make = make

    def __html__(self) -> Markup:
        return self._make()


def _environment(words: Wording) -> Environment:
    environment = Environment(
        loader=FunctionLoader(lambda name: words.template((TEMPLATES / name).read_text(encoding="utf-8"))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        fixed=text.fixed,
        signed=text.signed,
        count=text.count,
        percent=text.percent,
        probability=text.probability,
        seconds=text.seconds,
        moment=_moment,
        exact=_exact,
    )
    environment.globals.update(
        plural=text.plural, kind_names=text.KIND_NAMES, is_number=text.is_number,
        saturation_sentence=text.saturation_sentence,
    )  # fmt: skip
    return environment


def draw(picture: Picture, size: str = "") -> Markup:
    """A picture as references to its images: one, or up to four as a mosaic, with what is left as '+k'; or its text."""
    uses = [Markup('<svg><use href="#{}"/></svg>').format(symbol) for symbol in picture.symbols]
    more = Markup('<span class="plus">+{}</span>').format(picture.more) if picture.more else Markup("")
    if not uses and picture.text:
        return Markup('<span class="picture text {}" title="{}"><span>{}</span></span>').format(
            size, f"{picture.alt}: {picture.text}", picture.text
        )
    css = f"picture {size} {'mosaic' if len(uses) > 1 else '' if uses else 'blank'}".split()
    return Markup('<span class="{}" role="img" aria-label="{}" title="{}">{}{}</span>').format(
        " ".join(css), picture.alt, picture.alt, Markup("").join(uses), more
    )


def _extent(data: ReportData) -> float:
    """The largest end of an interval that is drawn: every set's interval is on the same scale."""
    cards: list[TargetView] = [*data.targets, *data.closed, *data.pooled]
    drawn: list[SetView] = [item for card in cards for side in card.sets.values() for item in side]
    ends = [abs(end) for item in drawn for end in (item.low, item.high, item.value) if text.is_number(end)]
    return max(ends, default=0.0)


def _tiles(data: ReportData, campaign: Campaign) -> list[tuple[str, str, str]]:
    """Key figures of the first screen: (number, what it is, a remark)."""
    outcomes = data.outcomes
    lost = [f"{outcomes[name]:,} {name}" for name in ("diverged", "failed") if outcomes[name]]
    sizes = " or ".join(map(str, data.ensemble_sizes))
    together = f"wall-clock share, {sizes} trained together" if sizes else ""
    tiles = [
        (
            text.count(outcomes["ok"]),
            "rows recorded" if is_recorded(campaign)
            else "masks evaluated" if campaign.meta.is_fixed_model
            else "models trained",
            ", ".join(lost) if lost else "none diverged or failed",
        ),
    ]
    if not is_recorded(campaign):
        fixed = ("per mask", "wall-clock time of one worker")
        what = fixed if campaign.meta.is_fixed_model else ("per model", together)
        tiles.append((text.seconds(data.seconds_per_model), *what))
    chance = (
        f"chance is {text.percent(1 / len(data.meta['class_names']), 0)}"
        if data.meta.get("class_names") and not campaign.meta.is_fixed_model
        else ""
    )
    mean = {
        name: float(values.mean()) if len(values) else math.nan for name, values in data.accuracies.items()
    }
    if not campaign.meta.get("margins", True):
        pass  # outputs without a right and a wrong: there is no accuracy
    elif text.is_number(mean.get("audit")):
        tiles.append((text.percent(mean["audit"]), "mean audit accuracy", chance))
    else:
        tiles.append((text.percent(mean.get("target")), "mean target accuracy", chance))
    if text.is_number(data.median("spectrum", "r2")):
        both = f"{text.fixed(data.median('datamodel', 'r2'))} → {text.fixed(data.median('spectrum', 'r2'))}"
        tiles.append((both, "median R²", "datamodel → spectrum, held out"))
    else:
        tiles.append((text.DASH, "median R²", "no held-out masks, so not measured"))
    ceiling = data.median("none", "noise_ceiling")
    remark = "best R² the noise allows, median" if text.is_number(ceiling) else "no mask was trained twice"
    if campaign.meta.is_fixed_model:
        tiles.append(("exact", "outputs", "a mask has one output; intervals are over masks"))
    else:
        tiles.append((text.fixed(ceiling), "noise ceiling", remark))
    tiles.append(
        (
            f"{data.n_open:,} / {len(data.faithfulness):,}",
            "gates open",
            "targets with evidence of interactions",
        )
    )
    return tiles


def _facts(data: ReportData, campaign: Campaign, config: dict[str, Any]) -> list[tuple[str, str]]:
    """What was run, as rows of a small table; rows without a value are left out."""
    meta, analysis = data.meta, data.analysis
    part = {
        name: config.get(name) or {} for name in ("dataset", "recipe", "sampler", "campaign", "attribution")
    }
    recipe, sampler = part["recipe"], part["sampler"]
    sides = f"{text.plural(campaign.n_players, 'player')}, {text.plural(campaign.n_targets, 'target')}"
    sides += f", {text.plural(int(meta.get('n_audit') or 0), 'audit example')}"
    seeds = {"campaign": part["campaign"], "data set": part["dataset"], "attribution": part["attribution"]}
    if is_recorded(campaign):  # nothing but the folds was drawn here
        seeds = {"attribution": part["attribution"]}
    epochs = recipe.get("epochs")
    epochs_words = f"{epochs:g}" if text.is_number(epochs) else epochs
    network = f"{recipe.get('architecture')}, width {recipe.get('width')}, {epochs_words} epochs of batch "
    network += f"{recipe.get('batch_size')}, learning rate {recipe.get('learning_rate')}"
    masks = f"{text.count(analysis.get('n_fit'))} fitted on, {text.count(analysis.get('n_holdout'))} held out"
    if analysis.get("n_left_out"):
        masks += f", {text.count(analysis['n_left_out'])} excluded because training failed or diverged"
    if analysis.get("left_out_by"):
        masks += f"; which ones depends on the players: among the masks that are left, {analysis['left_out_by']}"
    method = str(analysis.get("fdr_method") or "")
    family = "one family for the campaign"
    if analysis.get("family_size"):
        family += f": {text.count(analysis['family_size'])} (set, target) combinations considered"
    if analysis.get("n_untestable"):
        family += f"; {text.plural(int(analysis['n_untestable']), 'set')} could not be tested on any target, because "
        family += "some combination of their members is in too few masks"
    if method:
        family += f"; {text.FDR_METHODS.get(method.lower(), method)}"
    rows = [
        ("Data set", f"{_data_of(config)}: {sides}"),
        ("Classes", ", ".join(map(str, meta.get("class_names", [])))),
        ("Recipe", network if recipe and _is_retraining(config) else ""),
        ("Output", str(meta.get("output") or recipe.get("output") or "")),
        ("Sampler", f"{sampler.get('kind')}, alpha = {_alphas(sampler)}" if sampler else ""),
        ("Masks", masks if analysis else ""),
        ("Not identified", NOT_IDENTIFIED if analysis.get("fixed_size") else ""),
        ("Near-duplicates", _detectable_copies(campaign, analysis)),
        ("q-values", family),
        (
            "Seeds",
            ", ".join(
                f"{name} {held['seed']}" for name, held in seeds.items() if held.get("seed") is not None
            ),
        ),
        ("Hardware", ", ".join(data.devices)),
        ("Campaign made", _moment(meta.get("created"))),
        ("Analysis", _analysis_words(analysis)),
        ("Identity", str(meta.get("identity_hash") or "")),
    ]
    return [(name, value) for name, value in rows if value and value != text.DASH]


def _is_retraining(config: Mapping[str, Any]) -> bool:
    return (config.get("game") or {}).get("kind", "retraining") == "retraining"


def _data_of(config: Mapping[str, Any]) -> str:
    """Where the examples come from: a source of images, or the user's own function."""
    if (config.get("game") or {}).get("kind") == "recorded":
        return "recorded masks and outputs"
    return str((config.get("game") or {}).get("function") or (config.get("dataset") or {}).get("source") or "")


def _alphas(sampler: Mapping[str, Any]) -> str:
    return ", ".join(f"{value}" for value in (sampler.get("alpha"), *(sampler.get("other_alphas") or ())))


def _detectable_copies(campaign: Campaign, analysis: Mapping[str, Any]) -> str:
    """How large a group of near-duplicates the campaign could have detected."""
    n_masks = analysis.get("n_fit")
    if not n_masks or "alpha" not in campaign.meta:
        return ""
    seen = str(copies_seen(campaign, int(n_masks)))
    return f"At alpha = {campaign.meta.alpha:g} {seen}; larger groups of near-duplicates are missed"


def _analysis_words(analysis: Mapping[str, Any]) -> str:
    parts = [
        _moment(analysis.get("created")),
        text.seconds(analysis.get("seconds")),
        str(analysis.get("key") or ""),
    ]
    return ", ".join(part for part in parts if part and part != text.DASH)


def _moment(value: Any) -> str:
    """'2026-11-22T15:20:00.123+00:00' -> '2026-11-22 15:20'; anything else as it is."""
    written = str(value) if value else text.DASH
    return written[:16].replace("T", " ") if len(written) >= 16 and written[10:11] == "T" else written


def _exact(value: Any) -> str:
    """A number for the machine-readable attribute of <data>: every digit."""
    return repr(float(value)) if value is not None else "nan"


def _flatten(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", "" if value is None else str(value)))
    return rows
