"""Short training of a model of which some components stay switched off."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from ablation.components import ComponentGame, Gates
from ablation.errors import AblationError
from ablation.fixed_model import checked_masks


def fine_tune(
    game: ComponentGame,
    mask: Any,
    images: Any,
    labels: Any,
    *,
    epochs: int = 1,
    learning_rate: float = 1e-3,
    batch_size: int = 50,
    seed: int = 0,
) -> ComponentGame:
    """Train a copy of a game's model with the components outside a mask switched off.

    Parameters
    ----------
    game : ComponentGame
        Neither it nor its model is changed.
    mask : (n_players,) bool
        Components that work. The others stay at what the game's ablation puts in their place, at every step.
    images, labels : (n, channels, height, width) array or tensor, (n,) integers
        What is trained on.
    epochs : int
        Passes over them; 0 returns the copy as it is.
    learning_rate : float
        Of AdamW, lowered to zero along a cosine.
    batch_size : int
        Images in a step. A rest of fewer images is left out, in each pass another one.
    seed : int
        Of the order of the images; everything else is deterministic on a CPU.

    Returns
    -------
    ComponentGame
        The copy, in evaluation mode. Ask for its logits under the same mask.

    Raises
    ------
    AblationError
        For a mask or labels of another length, settings out of range, or a loss that is not finite.

    Notes
    -----
    Batch statistics follow the training images, as in ordinary fine-tuning: after pruning their old values no longer
    fit. The model trains in float32.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> images, labels = torch.rand(60, 1, 4, 4), torch.arange(60) % 2
    >>> game = ComponentGame(model, images[:2], labels[:2])
    >>> tuned = fine_tune(game, [True, False, True], images, labels, epochs=2, batch_size=20)
    >>> tuned.logits([True, False, True], images).shape
    (60, 2)
    """
    keep = checked_masks(np.asarray(mask)[None], game.n_players)
    given, wanted = torch.as_tensor(images).float(), torch.as_tensor(np.asarray(labels)).long()
    if len(given) != len(wanted) or len(wanted) == 0:
        raise AblationError(
            f"fine-tuning needs one label for each image; got {len(given)} images and {len(wanted)} labels."
        )
    if epochs < 0 or batch_size < 1 or not 0 < learning_rate < float("inf"):
        raise AblationError(
            "epochs must be at least 0, batch_size at least 1 and learning_rate positive; got "
            f"{epochs}, {batch_size} and {learning_rate}."
        )
    tuned = copy.deepcopy(game)
    model, device = tuned.fixed.model, tuned.fixed.device
    if epochs == 0:
        return tuned
    for site in tuned.sites:
        if site.mean is not None:
            site.mean = site.mean.clone()  # made in inference mode, and no step may keep such a tensor
    batch = min(batch_size, len(wanted))
    n_steps = epochs * (len(wanted) // batch)
    generator = torch.Generator().manual_seed(seed)
    gates = torch.from_numpy(keep).float().to(device)
    parameters = [part.requires_grad_() for part in model.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    devices = [device] if device.type == "cuda" else []
    model.train()
    with Gates(tuned) as gated, torch.enable_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)  # of dropout
        for _ in range(epochs):
            order = torch.randperm(len(wanted), generator=generator)
            for rows in order[: len(wanted) // batch * batch].split(batch):
                logits = gated.logits(gates.expand(len(rows), -1), given[rows].to(device))
                loss = nn.functional.cross_entropy(logits.float(), wanted[rows].to(device))
                if not bool(torch.isfinite(loss)):
                    raise AblationError(f"the loss is not finite with learning_rate {learning_rate}. Lower it.")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    model.eval()
    for part in parameters:
        part.requires_grad_(False)
        part.grad = None
    return tuned
