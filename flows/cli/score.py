"""What `coterie score` does and prints."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conf.compose import ConfigError
from conf.schema import CampaignConfig
from flows.cli.as_json import plain
from flows.cli.configuration import configuration, locate
from flows.errors import IncompleteCampaign
from flows.runtime.environment import prepare
from flows.runtime.logs import log_to_stderr
from flows.scoring.figure import draw
from flows.scoring.removal import Removal
from flows.scoring.scoring import Scores, estimate_words, pair_sentences, score_campaign
from flows.storage.files import write_json
from flows.storage.object_store import ObjectPath
from flows.store.campaign import Campaign

LOG = logging.getLogger("coterie")
FIGURES = (".png", ".svg", ".pdf")


def run_score(
    where: str,
    files: list[str],
    *,
    baselines: str,
    removal: int | None,
    removal_targets: int,
    removal_seeds: int,
    removal_random: int,
    max_models: int | None,
    planted: str | None,
    figure: Path | None,
    seed: int,
    overrides: list[str],
    as_json: bool,
    agreed: bool,
) -> None:
    """Score, print the tables or one JSON document, and write score.json and the figure.

    Parameters
    ----------
    where : str
        A campaign's folder, or the configuration that names it.
    files : list of str
        Attribution matrices.
    baselines, planted, seed
        As in `flows.scoring.scoring.score_campaign`.
    removal, removal_targets, removal_seeds, removal_random
        Fields of `flows.scoring.removal.Removal`; no removal without the first.
    max_models, agreed
        Budget of the removals.
    figure : Path or None
        Where the figure goes; score.png in the campaign's folder when None.
    overrides : list of str
        Settings to change, written key=value: a trainer's function, for instance.
    as_json : bool
        Print one JSON document instead of tables.

    Raises
    ------
    ConfigError
        For a figure of another kind.
    BadScore
        For attributions that do not fit.
    """
    prepare()
    log_to_stderr()
    if figure is not None and figure.suffix not in FIGURES:
        raise ConfigError(f"--figure writes {', '.join(FIGURES)}; got {figure}")
    campaign, config = _settings(where, overrides)
    campaign.meta  # noqa: B018  raises where there is no campaign
    tried = None if removal is None else Removal(removal, removal_targets, removal_seeds, removal_random)
    if tried is not None:
        from flows.runtime.preflight import check_environment

        check_environment()
    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        scores = score_campaign(
            campaign, config, files, LOG, baselines=baselines, removal=tried, max_models=max_models, agreed=agreed,
            planted=planted, seed=seed, say=lambda sentence: console.print(f"note: {sentence}"),
        )  # fmt: skip
    written = _write(campaign, scores, figure)
    if as_json:
        print(json.dumps(plain({"folder": str(campaign.folder), **scores.content()}), indent=2, ensure_ascii=False))
        return
    _print(scores, written)


def _settings(where: str, overrides: list[str]) -> tuple[Campaign, CampaignConfig | None]:
    """The campaign and its settings; a folder that holds none can be scored without features and removals."""
    campaign, config = locate(where, overrides)
    if config is None:
        with contextlib.suppress(IncompleteCampaign):
            config = configuration(where, overrides)
    return campaign, config


def _write(campaign: Campaign, scores: Scores, figure: Path | None) -> list[Path]:
    """score.json in the campaign's folder, and the figure."""
    write_json(campaign.folder / "score.json", plain(scores.content()))
    if figure is None and isinstance(campaign.folder, ObjectPath):
        return [campaign.folder / "score.json"]  # figures are written to disk
    path = figure or campaign.folder / "score.png"
    draw(scores, path)
    return [campaign.folder / "score.json", path]


def _print(scores: Scores, written: list[Path]) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    lds = scores.lds
    ceiling = (
        f"ceiling of single runs {estimate_words(lds.ceiling)} from {lds.n_replicated} masks evaluated twice"
        if lds.n_replicated and lds.ceiling.value == lds.ceiling.value
        else "ceiling unknown: fewer than 8 held-out masks were evaluated twice"
    )
    console.print(f"{lds.n_masks} held-out masks, {lds.n_targets} targets; {ceiling}", highlight=False)
    console.print(_table(scores))
    console.print("Differences in mean LDS, paired; each 95% interval by itself, not adjusted for the number of pairs:")
    for sentence in pair_sentences(scores):
        console.print(f"  {sentence}", highlight=False, markup=False)
    for path in written:
        console.print(str(path), highlight=False, soft_wrap=True)


def _table(scores: Scores) -> Table:
    """The scores as a table, the best method first."""
    titles = ["method", "LDS [95%]", "of the ceiling"]
    titles += ["loss by removal, s.d."] if scores.removal is not None else []
    titles += ["mislabel AUC"] if scores.mislabelled else []
    table = Table(*titles)
    for name in scores.ranking:
        found = scores.lds.scores[name]
        row = [name if name in scores.given else f"{name} (baseline)", estimate_words(found.mean)]
        row.append(estimate_words(found.of_ceiling, 2))
        if scores.removal is not None:
            row.append(estimate_words(scores.removal.losses.get(name), 2))
        if scores.mislabelled:
            row.append(estimate_words(scores.mislabelled[name].auc, 2))
        table.add_row(*row)
    return table
