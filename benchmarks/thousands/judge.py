"""A campaign's decision at a share of its groups kept, beside other ways to keep as many pictures; peers' scores.

Called by `benchmarks/thousands/figures.py judge FOLDER SHARE SEEDS`. What was trained is kept beside the campaign
(FOLDER-judged), so that a run that was killed goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from attribution.curation.baselines import balanced_random
from attribution.curation.evidence import PlayerEffects
from attribution.curation.feature_similarity import without_near_duplicates
from attribution.experiments.comparison import compare
from benchmarks.decisions.peers import out_of_sample
from conf.schema import CampaignConfig
from flows.decisions.evidence import curate_campaign
from flows.errors import IncompleteCampaign
from flows.players.load import load_images, with_players
from flows.refinement.links import children_of
from flows.refinement.pictures import picture_decisions
from flows.store.campaign import Campaign
from training import Dataset, Recipe, retrain, training_seed
from training.engine.features import embed

NETWORKS = 4
FORGETTING_RUNS = 2
LEVEL = 0.05

Table = Callable[[str, list[tuple[object, ...]]], None]


def run_judge(config: CampaignConfig, folder: str, share: float, n_seeds: int, table: Table) -> None:
    campaign = Campaign(folder)
    kept = beside(folder, "")
    images, _ = load_images(config)
    grouped = with_players(config, images)
    evidence, found = curate_campaign(config, campaign, grouped)
    decided = found.keep[grouped.players]
    n_keep = int(decided.sum())
    arms = {"groups decided": decided, "main effects of groups": by_main_effects(evidence.overall, grouped, n_keep)}
    arms |= by_peers(config, images, n_keep, kept)
    trees = {} if (tree := of_tree(campaign, len(images.train))) is None else {"tree: groups and opened pictures": tree}
    trained = Trained(config, images, kept, n_seeds)
    whole = trained.correct("everything", np.ones((n_seeds, len(images.train)), bool))
    random = {count: trained.random(count) for count in {n_keep, *(int(mask.sum()) for mask in trees.values())}}
    print(f"{n_keep} of {len(images.train)} pictures kept, {len(images.audit)} audit pictures, {n_seeds} seeds; "
          f"everything {whole.mean():.3f}")  # fmt: skip
    for count, values in random.items():
        print(f"random, class-balanced, {count} pictures: {values.mean():.3f}")
    lines = []
    for name, mask in (arms | trees).items():
        values = trained.correct(f"{share:g} {name}", np.tile(mask, (n_seeds, 1)))
        apart = compare(values, random[int(mask.sum())], level=LEVEL / len(arms | trees))
        points = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * x for x in (apart.difference, apart.low, apart.high)))
        lines.append((name, int(mask.sum()), f"{values.mean():.3f}", points, apart.verdict))
    table("arm | pictures | accuracy | points beside random, interval over seeds and pictures | verdict", lines)


def by_peers(config: CampaignConfig, images: Dataset, n_keep: int, kept: Path) -> dict[str, np.ndarray]:
    """What a person would do without a campaign: every score needs a few networks trained on everything."""
    classes = images.train.labels
    rows = np.arange(len(images.train))
    features = once(kept / "features.npy", lambda: network_features(config, images))
    hard = once(kept / "el2n.npy", lambda: el2n(config, images))
    own = once(kept / "own.npy", lambda: out_of_sample(config, images, "native"))[rows, classes]
    forgotten = once(kept / "forgotten.npy", lambda: forgetting(config, images))
    return {
        "near-duplicates by features": without_near_duplicates(features, classes, n_keep),
        "EL2N, hardest kept": best_of_each_class(hard, classes, n_keep),
        "EL2N, hardest dropped": best_of_each_class(-hard, classes, n_keep),
        "out-of-sample loss (cleanlab's rank), highest dropped": best_of_each_class(own, classes, n_keep),
        "forgetting, most forgotten kept": best_of_each_class(forgotten, classes, n_keep),
    }


def beside(folder: str, name: str) -> Path:
    """Return the path of a kept array of a campaign, in the folder FOLDER-judged."""
    kept = Path(f"{folder.rstrip('/')}-judged")
    kept.mkdir(exist_ok=True)
    return kept / name


def once(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what the file holds, or make and keep it."""
    if not path.exists():
        np.save(path, make())
    found: np.ndarray = np.load(path)
    return found


@dataclass
class Trained:
    """Networks trained on chosen pictures, and whether each is right about each audit picture."""

    config: CampaignConfig
    images: Dataset
    kept: Path
    n_seeds: int

    def correct(self, name: str, masks: np.ndarray) -> np.ndarray:
        """(seeds, audit pictures): 1 where the network is right; NaN where it diverged. Kept under the arm's name."""
        n_keep, n = int(masks[0].sum()), masks.shape[1]
        path = self.kept / f"{name.replace('/', ' ')} {n_keep} {self.n_seeds}.npy"
        return once(path, lambda: self._train(masks, n_keep / n))

    def random(self, n_keep: int) -> np.ndarray:
        classes = self.images.train.labels
        generators = (np.random.default_rng((7, at)) for at in range(self.n_seeds))
        draws = np.array([balanced_random(classes, n_keep, generator) for generator in generators])
        return self.correct("random", draws)

    def _train(self, masks: np.ndarray, share: float) -> np.ndarray:
        rows = np.arange(masks.shape[1])
        judged = replace(
            self.images, players=rows, player_names=tuple(map(str, rows)), player_keys=None,
            targets=self.images.audit, audit=self.images.targets,
        )  # fmt: skip
        recipe = Recipe(**{**self.config.recipe.model_dump(), "nominal_alpha": share, "output": "margin_max"})
        seeds = [training_seed(self.config.campaign.seed, 2**60 + at, 0) for at in range(self.n_seeds)]
        outputs = retrain(judged, masks, seeds, recipe, ensemble_size=8, mode="native").outputs
        return np.where(np.isfinite(outputs), outputs > 0, np.nan).astype(float)


def of_tree(campaign: Campaign, n: int) -> np.ndarray | None:
    """The pictures that the campaign and those inside its groups keep, as they are decided in the folders now."""
    if not children_of(campaign)[0]:
        return None
    try:
        decided = picture_decisions(campaign)
    except IncompleteCampaign as error:
        print(f"the tree is left out: {error}")
        return None
    for note in decided.notes:
        print(f"tree: {note}")
    keep = np.ones(n, bool)
    keep[[row["position"] for row in decided.rows if row["decision"] == "drop"]] = False
    return keep


def network_features(config: CampaignConfig, dataset: Dataset) -> np.ndarray:
    recipe = Recipe(**{**config.recipe.model_dump(), "nominal_alpha": 1.0})
    seeds = [training_seed(config.campaign.seed, 2**62 + at, 0) for at in range(NETWORKS)]
    features, _ = embed(dataset, recipe, seeds, ensemble_size=NETWORKS, mode="native")
    return features


def by_main_effects(overall: PlayerEffects, grouped: Dataset, n_keep: int) -> np.ndarray:
    """Groups of the largest effect on the utility until as many pictures are kept; of the last group a part."""
    order = np.argsort(-overall.effect)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    first = np.lexsort((np.arange(len(grouped.players)), rank[grouped.players]))[:n_keep]
    keep = np.zeros(len(grouped.players), bool)
    keep[first] = True
    return keep


def best_of_each_class(score: np.ndarray, classes: np.ndarray, n_keep: int) -> np.ndarray:
    """The pictures of the highest score of every class, in equal shares of each."""
    keep = np.zeros(len(score), bool)
    share = n_keep / len(score)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        keep[rows[np.argsort(-score[rows], kind="stable")[: int(share * len(rows))]]] = True
    spare = np.flatnonzero(~keep)[np.argsort(-score[~keep], kind="stable")]
    keep[spare[: n_keep - keep.sum()]] = True
    return keep


def el2n(config: CampaignConfig, dataset: Dataset) -> np.ndarray:
    """Norm of the error vector early in training, mean over networks (Paul, Ganguli and Dziugaite 2021)."""
    early = {**config.recipe.model_dump(), "nominal_alpha": 1.0, "epochs": max(1.0, config.recipe.epochs / 3)}
    seeds = [training_seed(config.campaign.seed, 2**59 + at, 0) for at in range(NETWORKS)]
    _, logits = embed(dataset, Recipe(**early), seeds, ensemble_size=NETWORKS, mode="native")
    shifted = np.exp(logits - logits.max(axis=2, keepdims=True))
    probabilities = shifted / shifted.sum(axis=2, keepdims=True)
    probabilities[:, np.arange(len(dataset.train)), dataset.train.labels] -= 1
    found: np.ndarray = np.linalg.norm(probabilities, axis=2).mean(axis=0)
    return found


def stopped(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe of the same run that ends after so many of its epochs: the first part of its schedule."""
    whole = recipe.epochs

    class Stopped(Recipe):
        def learning_rates(self, n_steps: int) -> list[float]:
            return super().learning_rates(round(n_steps * whole / self.epochs))[:n_steps]

    return Stopped(**{**asdict(recipe), "epochs": float(epochs)})


def forgetting(config: CampaignConfig, dataset: Dataset) -> np.ndarray:
    """How often a picture goes from right to wrong between epochs (Toneva et al. 2019), summed over runs.

    One run is looked at after each of its epochs: trained again from its seed and stopped there, so that it is the same
    run. A picture that is never right counts as forgotten once more than any can be.
    """
    recipe = Recipe(**{**config.recipe.model_dump(), "nominal_alpha": 1.0, "average_last": 0.0})
    n_epochs = round(config.recipe.epochs)
    seeds = [training_seed(config.campaign.seed, 2**58 + at, 0) for at in range(FORGETTING_RUNS)]
    right = []
    for epoch in range(1, n_epochs + 1):
        _, logits = embed(dataset, stopped(recipe, epoch), seeds, mode="native")
        right.append(logits.argmax(axis=2) == dataset.train.labels)
    seen = np.array(right)  # (epochs, runs, pictures)
    events = (seen[:-1] & ~seen[1:]).sum(axis=0)
    found: np.ndarray = np.where(seen.any(axis=0), events, n_epochs).sum(axis=0)
    return found
