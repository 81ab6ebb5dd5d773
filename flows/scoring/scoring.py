"""One campaign, several attribution matrices: every score, as data, as a table and as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from attribution.masks.running_variance import RunningVariance, most_variable
from attribution.scoring.bootstrap import Estimate
from attribution.scoring.lds import LdsReport, score_lds
from attribution.scoring.mislabelled import MislabelScore, score_mislabelled, suspicion
from attribution.scoring.removal import RemovalReport
from conf.schema import CampaignConfig
from flows.banks.arrays import open_rows
from flows.games.table import runs_unnamed_code
from flows.runtime.logs import Log
from flows.scoring.baselines import chosen_baselines, compute_baselines
from flows.scoring.held_out import read_held_out
from flows.scoring.matrices import BadScore, read_matrices
from flows.scoring.removal import Removal, check_budget, cost_of, run_removal
from flows.store.campaign import Campaign
from flows.store.examples import player_classes, target_classes


@dataclass(frozen=True)
class Scores:
    """Scores of all methods on one campaign.

    Parameters
    ----------
    lds
    removal
        None where none was asked for.
    mislabelled
        By method; empty where no wrong label is known.
    given
        Names of the methods that came from files; the others are baselines.
    notes
        What a reader should know, in sentences.
    """

    lds: LdsReport
    removal: RemovalReport | None
    mislabelled: Mapping[str, MislabelScore]
    given: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ranking(self) -> list[str]:
        """Methods by mean LDS, the best first."""
        return sorted(self.lds.scores, key=lambda name: -np.nan_to_num(self.lds.scores[name].mean.value, nan=-2.0))

    def content(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        lds = self.lds
        return {
            "n_masks": lds.n_masks,
            "n_replicated": lds.n_replicated,
            "n_targets": lds.n_targets,
            "lds_ceiling": asdict(lds.ceiling),
            "methods": {
                name: {
                    "baseline": name not in self.given,
                    "lds": asdict(lds.scores[name].mean),
                    "lds_of_ceiling": asdict(lds.scores[name].of_ceiling),
                    "lds_per_target": lds.scores[name].per_target.tolist(),
                    "removal": None if self.removal is None or name not in self.removal.losses
                    else asdict(self.removal.losses[name]),
                    "mislabel_auc": asdict(self.mislabelled[name].auc) if name in self.mislabelled else None,
                }
                for name in self.ranking
            },
            "lds_differences": [
                {"first": pair.first, "second": pair.second, **asdict(pair.difference)} for pair in lds.pairs
            ],
            "removal_differences": [
                {"first": first, "second": second, **asdict(difference)}
                for first, second, difference in (() if self.removal is None else self.removal.pairs)
            ],
            "notes": list(self.notes),
        }  # fmt: skip


def score_campaign(
    campaign: Campaign,
    config: CampaignConfig | None,
    files: Sequence[str],
    log: Log,
    *,
    baselines: str = "all",
    removal: Removal | None = None,
    max_models: int | None = None,
    agreed: bool = False,
    planted: str | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda sentence: None,
) -> Scores:
    """Score attribution matrices and baselines.

    Parameters
    ----------
    campaign
    config
        Its settings; None where the folder holds none. Features and removals need them.
    files
        Attribution matrices (`flows.scoring.matrices.read_matrices`).
    log
        Of the training.
    baselines
        `all`, `none`, or names separated by commas.
    removal
        The removals to evaluate; None for none.
    max_models, agreed
        Budget of the removals, and whether more than ten times the campaign's models are accepted.
    planted
        File of player numbers whose labels are known to be wrong; what the campaign planted when None.
    seed
        Of the resamples and the random baseline.
    say
        Takes sentences while the work goes on.

    Returns
    -------
    Scores

    Raises
    ------
    BadScore
        For matrices that do not fit, or nothing to score.
    """
    held = read_held_out(campaign)
    methods, notes = read_matrices(campaign, files)
    names, left_out = chosen_baselines(baselines, config, campaign)
    clashing = sorted(set(names) & set(methods))
    if clashing:
        raise BadScore(f"a file is called like the baseline {clashing[0]!r}. Name it: mine=FILE")
    given = tuple(methods)
    for sentence in (*notes, *left_out):
        say(sentence)
    methods |= compute_baselines(names, config, campaign, seed)
    if not methods:
        raise BadScore("there is nothing to score: give attribution files, or --baselines all")
    common = np.all([np.isfinite(values).all(axis=0) for values in methods.values()], axis=0).ravel()
    if not common.any():
        raise BadScore("no target has attributions of every method: there is nothing to compare them on")
    if not common.all():
        sentence = (
            f"{int(common.sum())} of {len(common)} targets have attributions of every method; the others are left out"
        )
        notes.append(sentence)
        say(sentence)
    columns = np.flatnonzero(common)
    of_common = {name: values[:, columns] for name, values in methods.items()}
    lds = score_lds(
        held.masks,
        held.outputs[:, columns],
        of_common,
        None if held.again is None else held.again[:, columns],
        seed=seed,
    )
    removed = None
    if removal is not None:
        notes += _whole_classes(campaign, removal.n_removed, say)
        removed = _removals(campaign, config, {n: methods[n] for n in methods if n != "random"}, columns, removal,
                            max_models, agreed, log, say)  # fmt: skip
    return Scores(lds, removed, _mislabelled(campaign, config, of_common, columns, planted, seed), given,
                  (*notes, *left_out))  # fmt: skip


def _whole_classes(campaign: Campaign, n_removed: int, say: Callable[[str], None]) -> list[str]:
    """Warn of a removal that can take a whole class, which any method finds that knows the classes."""
    sizes = np.bincount(np.maximum(player_classes(campaign), -1) + 1)[1:]
    smallest = int(sizes[sizes > 0].min(initial=campaign.n_players))
    if n_removed < smallest:
        return []
    sentence = (
        f"the smallest class has {smallest} players, so that a removal of {n_removed} can take a whole class: it says "
        "little "
        "about a method. Remove fewer"
    )
    say(sentence)
    return [sentence]


def _removals(
    campaign: Campaign,
    config: CampaignConfig | None,
    methods: Mapping[str, np.ndarray],
    columns: np.ndarray,
    removal: Removal,
    max_models: int | None,
    agreed: bool,
    log: Log,
    say: Callable[[str], None],
) -> RemovalReport:
    if config is None:
        raise BadScore(
            f"{campaign.folder} does not hold its configuration, which removals need. Name the configuration"
        )
    moments = RunningVariance(campaign.n_targets)
    for _, outputs, _ in campaign.output_blocks("fit"):
        moments.add(outputs)
    order = most_variable(moments.variance[columns], None)
    ranked = columns[order]
    removal = Removal(removal.n_removed, min(removal.n_targets, len(ranked)), removal.n_seeds, removal.n_random)
    n_models, sentence = cost_of(campaign, removal, len(methods))
    say(sentence)
    check_budget(campaign, n_models, max_models, agreed)
    return run_removal(config, campaign, methods, ranked, np.sqrt(moments.variance), removal, log)


def _mislabelled(
    campaign: Campaign,
    config: CampaignConfig | None,
    methods: Mapping[str, np.ndarray],
    columns: np.ndarray,
    planted: str | None,
    seed: int,
) -> dict[str, MislabelScore]:
    wrong = _wrong_labels(campaign, config, planted)
    if wrong is None:
        return {}
    players, targets = player_classes(campaign), target_classes(campaign)[columns]
    return {
        name: score_mislabelled(suspicion(values, players, targets), wrong, seed=seed)
        for name, values in methods.items()
    }


def _wrong_labels(campaign: Campaign, config: CampaignConfig | None, planted: str | None) -> np.ndarray | None:
    """(n_players,) bool of the labels that are known to be wrong; None where nothing is known."""
    wrong = np.zeros(campaign.n_players, bool)
    if planted is not None:
        rows = open_rows(planted, ("planted", "flipped", "wrong"))
        numbers = np.concatenate([np.concatenate([np.ravel(row) for row in block]) for block in rows.blocks(2**20)])
        if numbers.dtype.kind not in "iu" or not ((numbers >= 0) & (numbers < campaign.n_players)).all():
            raise BadScore(f"{planted} must hold player numbers from 0 to {campaign.n_players - 1}")
        wrong[numbers] = True
    elif config is None or runs_unnamed_code(config):  # what was planted is known from the pictures alone
        return None
    elif config.game.kind == "retraining" and config.dataset.plant_flipped:
        from flows.players.load import load_planted

        dataset, truth = load_planted(config)
        if dataset.n_players != len(dataset.train):
            return None  # a group may hold wrong and right labels
        wrong[dataset.players[truth.flipped]] = True
    else:
        return None
    if not wrong.any() or wrong.all():
        raise BadScore(
            f"{int(wrong.sum())} of {len(wrong)} labels are given as wrong; some must be wrong and some right"
        )
    return wrong


def estimate_words(found: Estimate | None, digits: int = 3) -> str:
    """`0.412 [0.380, 0.445]`, a dash where unknown."""
    if found is None or not np.isfinite(found.value):
        return "–"
    bounds = f" [{found.low:.{digits}f}, {found.high:.{digits}f}]" if np.isfinite(found.low) else ""
    return f"{found.value:.{digits}f}{bounds}"


def pair_sentences(scores: Scores) -> list[str]:
    """Say of every pair of methods whether their LDS differ, best first."""
    place = {name: number for number, name in enumerate(scores.ranking)}
    found = []
    for pair in sorted(scores.lds.pairs, key=lambda one: sorted((place[one.first], place[one.second]))):
        first, second, value = pair.first, pair.second, pair.difference
        if place[first] > place[second]:
            first, second, value = second, first, Estimate(-value.value, -value.high, -value.low)
        verdict = "larger" if value.low > 0 else "no difference is shown"
        found.append(f"{first} - {second}: {estimate_words(value)}: {verdict}")
    return found
