"""Features of the project's own networks: what the last layer sees of every training example."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Dataset
from training.errors import TrainingInputError
from training.recipe import Recipe


def embed(
    dataset: Dataset,
    recipe: Recipe,
    seeds: list[int],
    *,
    masks: np.ndarray | None = None,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits of all training examples, under networks trained on them.

    seeds: one network each, trained together. masks: (n_networks, n_players) bool, what each is trained on; all
    players when None. Returns features (n_networks, n_train, width), what the last layer reads, each network's own
    coordinates, and logits (n_networks, n_train, n_classes), both float32. With masks, a network's logits of examples
    it was not trained on are out of sample. NaN where a network diverged.

    Raises TrainingInputError for masks that do not match the seeds or the players.
    """
    import torch

    from training.engine.engine import Engine
    from training.engine.models import build_model, initialise

    present = np.ones((len(seeds), dataset.n_players), dtype=bool) if masks is None else np.asarray(masks)
    if present.shape != (len(seeds), dataset.n_players) or not present.any(axis=1).all():
        raise TrainingInputError(
            f"one mask per seed with at least one player is needed, ({len(seeds)}, {dataset.n_players}); got "
            f"{present.shape}."
        )
    engine = Engine(dataset, recipe, device=device)
    model = build_model(recipe, len(seeds), engine.image_shape, engine.n_classes)
    initialise(model, [int(seed) for seed in seeds])
    model.to(engine.device)
    finite = engine._steps(model, present[:, dataset.players], [int(seed) for seed in seeds])
    model.eval()
    caught: list[torch.Tensor] = []
    head = model.get_submodule("head")
    handle = head.register_forward_pre_hook(lambda module, given: caught.append(given[0].detach()))
    try:
        with torch.no_grad():
            logits = engine._logits(model, engine.evaluated[0][0], len(seeds))
    finally:
        handle.remove()
    if recipe.flip_at_test:
        caught = [(a + b) / 2 for a, b in zip(caught[::2], caught[1::2], strict=True)]
    # The last layer reads (batch, K * width); see layers.MemberLinear.
    read = torch.cat([part.view(len(part), len(seeds), -1).transpose(0, 1) for part in caught], dim=1)
    features, classes = read.float().cpu().numpy(), logits.float().cpu().numpy()
    diverged = ~finite.cpu().numpy()
    features[diverged], classes[diverged] = np.nan, np.nan
    return features, classes
