"""Whether outputs respond to the data at all: about 24 evaluations before a campaign is paid for.

Six masks at the campaign's alpha are evaluated with two seeds each (the noise ceiling); then each is enlarged, to half
of what is missing and to all players, with the first seed (the slope). One fixed model has no seeds: its six masks are
evaluated once. Nothing is written to the campaign's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from attribution.experiments.factorial import Interval, t_interval
from attribution.statistics.precheck import ReplicateSignal, replicate_signal
from conf.schema import CampaignConfig
from flows.compute.execution_mode import AUTO, resources, threads_of_a_worker
from flows.compute.ray_cluster import Cluster
from flows.compute.work import Shard, evaluate_shard
from flows.errors import IncompleteCampaign
from flows.games.base import Game, HasModes
from flows.games.table import make_game
from flows.runtime.wording import duration, plural
from flows.store.roles import RowRange, count_rows
from flows.store.wanted import wanted
from training import sample_masks, training_seed
from training.packed_masks import PackedMasks

N_CHAINS = 6
SHARD = 3  # models in one task: a precheck is soon over
LEVEL = 0.05
FIRST_ID = 3_900_000_000  # masks of no role: a campaign never holds them


@dataclass(frozen=True)
class Precheck:
    """What a handful of evaluations showed.

    Attributes
    ----------
    name : str
        Of the game.
    signal : ReplicateSignal or None
        Share of the variance of the outputs that is due to the mask, and its p-value; None for one fixed model, of
        which the mask explains all.
    spread : float
        Median over targets of the standard deviation of the outputs of the first masks.
    shares : tuple of float
        Shares of the players: the campaign's, halfway, all.
    mean_outputs : tuple of float
        Mean output over targets and chains at each share.
    slope, second_slope : Interval
        Change of the mean output from the first share to the second, and from the second to all players.
    seconds : float
        Median seconds of one evaluation.
    n_evaluated, n_lost : int
        Evaluations, and those without a number.
    n_models : int
        Models that the configuration asks for.
    """

    name: str
    signal: ReplicateSignal | None
    spread: float
    shares: tuple[float, float, float]
    mean_outputs: tuple[float, float, float]
    slope: Interval
    second_slope: Interval
    seconds: float
    n_evaluated: int
    n_lost: int
    n_models: int
    reasons: tuple[str, ...] = ()

    @property
    def responds(self) -> bool:
        """Whether the outputs are shown to depend on which players are in."""
        return self.spread > 0 if self.signal is None else bool(self.signal.p_value <= LEVEL)

    def sentences(self) -> list[str]:
        """Return what it shows, in words."""
        found = self.signal
        said = [
            f"{self.n_evaluated} evaluations of {self.name}, {duration(self.seconds)} each (median)"
            + (f"; {self.n_lost} without a number: {'; '.join(self.reasons[:2])}" if self.n_lost else "")
        ]
        if found is None:
            said.append(
                f"one fixed model: a mask has one output. Between masks an output varies by a standard deviation of "
                f"{self.spread:.3g} (median over targets)" if self.responds
                else "most outputs are the same whichever players are in: nothing can be explained. A smaller "
                "sampler.alpha, another fill or other players change more"
            )
        elif not np.isfinite(found.ceiling):
            said.append(f"the noise ceiling is unknown: {found.n_masks} of {N_CHAINS} masks have two numbers that vary")
        else:
            said.append(
                f"noise ceiling {found.ceiling:.2f} [{found.low:.2f}, {found.high:.2f}]: the share of an output's "
                "variance that is due to which players are in; the rest is the seed's"
            )
            said.append(
                f"outputs depend on which players are in (permutation p = {found.p_value:.2g})"
                if self.responds
                else f"that outputs depend on which players are in is not shown (permutation p = {found.p_value:.2g}): "
                "a campaign would explain little. Fewer players or groups, a smaller sampler.alpha or a training with "
                "less randomness give more signal"
            )
        for first, interval in ((0, self.slope), (1, self.second_slope)):
            said.append(
                f"from {self.shares[first]:.0%} to {self.shares[first + 1]:.0%} of the players the mean output changes "
                f"by {interval.mean:+.3g} [{interval.low:+.3g}, {interval.high:+.3g}]"
            )
        whole = duration(self.n_models * self.seconds)
        noun = "mask" if found is None else "model"
        said.append(f"the campaign's {plural(self.n_models, noun)} would take about {whole} of one worker")
        return said

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        found = self.signal
        return {
            "name": self.name,
            "responds": self.responds,
            "noise_ceiling": None if found is None else [found.ceiling, found.low, found.high],
            "p_value": None if found is None else found.p_value,
            "spread": self.spread,
            "shares": list(self.shares),
            "mean_outputs": list(self.mean_outputs),
            "slopes": [[one.mean, one.low, one.high] for one in (self.slope, self.second_slope)],
            "seconds_per_model": self.seconds,
            "n_evaluated": self.n_evaluated,
            "n_lost": self.n_lost,
            "n_models": self.n_models,
            "sentences": self.sentences(),
        }


def precheck(config: CampaignConfig, cluster: Cluster) -> Precheck:
    """Evaluate a handful of masks and report whether the outputs respond to the data.

    Parameters
    ----------
    config : CampaignConfig
    cluster : Cluster
        Where the masks are evaluated.

    Returns
    -------
    Precheck

    Raises
    ------
    IncompleteCampaign
        Where no evaluation has a number.
    """
    game = make_game(config)
    masks, seeds = _design(config, game.n_players)
    if game.deterministic:  # the second seed gives the same again
        once = np.r_[:N_CHAINS, 2 * N_CHAINS : 4 * N_CHAINS]
        masks, seeds = masks[once], seeds[once]
    outputs, seconds, reasons = _evaluate(config, cluster, game, masks, seeds)
    if not np.isfinite(outputs).any():
        raise IncompleteCampaign(f"no evaluation of {game.name} has a number. The first: {(reasons or [''])[0]}")
    first, *again, half, full = (outputs[at : at + N_CHAINS] for at in range(0, len(masks), N_CHAINS))
    means = [part.mean(axis=1) for part in (first, half, full)]  # (chains,) NaN where a model has no number
    alpha = config.sampler.alpha
    return Precheck(
        name=game.name,
        signal=replicate_signal(first, again[0], seed=config.campaign.seed) if again else None,
        spread=_spread(first),
        shares=(alpha, (1 + alpha) / 2, 1.0),
        mean_outputs=(_mean(means[0]), _mean(means[1]), _mean(means[2])),
        slope=t_interval(means[1] - means[0]),
        second_slope=t_interval(means[2] - means[1]),
        seconds=float(np.nanmedian(seconds)),
        n_evaluated=len(masks),
        n_lost=int((~np.isfinite(outputs).all(axis=1)).sum()),
        n_models=count_rows(wanted(config)),
        reasons=tuple(dict.fromkeys(reasons)),
    )


def _spread(outputs: np.ndarray) -> float:
    """Median over targets of the standard deviation over masks; 0 where fewer than two masks have numbers."""
    known = outputs[np.isfinite(outputs).all(axis=1)]
    return float(np.median(known.std(axis=0, ddof=1))) if len(known) > 1 else 0.0


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _design(config: CampaignConfig, n_players: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks and seeds: N_CHAINS at alpha, the same again with another seed, each enlarged half-way, and everybody."""
    seed, alpha = config.campaign.seed, config.sampler.alpha
    ids = np.arange(FIRST_ID, FIRST_ID + N_CHAINS, dtype=np.int64)
    base = sample_masks(n_players, alpha=alpha, seed=seed, ids=ids)
    added = sample_masks(n_players, alpha=0.5, seed=seed, ids=ids + N_CHAINS)
    first = [training_seed(seed, int(number), 0) for number in ids]
    second = [training_seed(seed, int(number), 1) for number in ids]
    masks = np.concatenate([base, base, base | added, np.ones_like(base)])
    return masks, np.array([*first, *second, *first, *first], dtype=np.int64)


def _evaluate(
    config: CampaignConfig, cluster: Cluster, game: Game, masks: np.ndarray, seeds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Outputs (n_masks, n_targets), seconds (n_masks,), and why models have no number."""
    if isinstance(game, HasModes):
        mode = "grouped" if config.compute.mode == AUTO else config.compute.mode
        game = game.with_mode(mode, SHARD, threads_of_a_worker(config))
    parts = [slice(start, min(start + SHARD, len(masks))) for start in range(0, len(masks), SHARD)]

    def shards() -> Iterator[Shard]:
        for part in parts:
            rows = RowRange("verify", 0, part.start, part.stop)
            yield Shard(rows, PackedMasks.pack(masks[part]), seeds[part])

    outputs = np.full((len(masks), game.n_targets), np.nan)
    seconds, reasons = np.full(len(masks), np.nan), []
    for outcome in cluster.map(evaluate_shard, game, shards(), resources(config.compute)):
        if outcome.error is not None:
            reasons.append(outcome.error)
            continue
        part, columns = parts[outcome.index], outcome.value
        good = np.array([status == "ok" for status in columns["status"]])
        outputs[part] = np.where(good[:, None], columns["outputs"], np.nan)
        seconds[part] = columns["train_seconds"]
        reasons += [reason for reason in columns.get("reasons", ()) if reason]
    return outputs, seconds, reasons
