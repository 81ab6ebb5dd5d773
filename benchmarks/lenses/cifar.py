"""64 patches of CIFAR-10 images under a small ResNet trained here: how faithful each estimator is on unseen masks.

    python benchmarks/lenses/cifar.py FOLDER [n_epochs]

FOLDER keeps the trained model and the evaluated masks, so that a second run goes on where the first was stopped. Images
are those of ../shared/cifar10 (Parquet). Tables: benchmarks/lenses.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ablation import PatchGame
from attribution import Datamodel, LinkDatamodel, ProxySPEX
from flows.lenses.digits import Residual

CIFAR10 = Path(__file__).resolve().parents[2].parent / "shared" / "cifar10"
MEAN, SPREAD = np.array([0.491, 0.482, 0.447], np.float32), np.array([0.247, 0.243, 0.262], np.float32)
N_IMAGES, N_HELD_OUT = 12, 500
N_MASKS = (500, 1000, 2000)


class CifarResNet(nn.Module):
    """A stem and three residual blocks of 16, 32 and 64 channels on 32 x 32 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 3, 32, 32) to logits (batch, 10)."""
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def images_of(split: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a split, normalised, and their labels."""
    import io

    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(CIFAR10 / f"{split}-00000-of-00001.parquet").slice(0, n)
    pictures = table[next(name for name in table.column_names if name in ("img", "image"))].to_pylist()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one["bytes"]))) for one in pictures]).astype(np.float32) / 255
    return np.moveaxis((pixels - MEAN) / SPREAD, -1, 1).copy(), np.array(table["label"].to_pylist())


def trained(folder: Path, n_epochs: int) -> CifarResNet:
    """Train with AdamW, a one-cycle schedule, flips and shifts; keep the weights after every epoch."""
    torch.manual_seed(0)
    model, path = CifarResNet(), folder / "model.pt"
    kept = torch.load(path, weights_only=True) if path.is_file() else {"epoch": 0}
    pixels, labels = images_of("train", 50_000)
    steps = len(labels) // 128
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=n_epochs * steps)
    if kept["epoch"]:
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        schedule.load_state_dict(kept["schedule"])
    if kept["epoch"] >= n_epochs:
        return model.eval()
    everything, classes = torch.from_numpy(pixels), torch.from_numpy(labels)
    for epoch in range(kept["epoch"], n_epochs):
        generator = torch.Generator().manual_seed(epoch)
        for rows in torch.randperm(len(labels), generator=generator)[: steps * 128].split(128):
            batch = everything[rows]
            if torch.rand((), generator=generator) < 0.5:
                batch = batch.flip(3)
            down, right = torch.randint(-3, 4, (2,), generator=generator).tolist()
            loss = nn.functional.cross_entropy(model(batch.roll((down, right), (2, 3))), classes[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        kept = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
        torch.save({**kept, "epoch": epoch + 1}, path)
        print(f"epoch {epoch + 1} of {n_epochs}: loss of the last batch {loss.item():.2f}", flush=True)
    return model.eval()


def main() -> None:
    """Train, evaluate masks, fit, and print R² on unseen masks."""
    folder, n_epochs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 24
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = trained(folder, n_epochs)
    images, labels = images_of("test", 1000)
    with torch.inference_mode():
        predicted = np.concatenate([model(part).argmax(1).numpy() for part in torch.from_numpy(images).split(250)])
    print(f"{(predicted == labels).mean():.3f} of 1,000 test images are right")
    right = np.flatnonzero(predicted == labels)[:N_IMAGES]  # the first that are right
    print("fill, masks, LASSO, with saturation, ProxySPEX order 2, ProxySPEX order 3, sets reported, seconds of fits")
    for fill in ("mean", "blur"):
        path = folder / f"outputs-{fill}.npz"
        if not path.is_file():
            game = PatchGame(model, images[right], labels[right], regions=(8, 8), fill=fill)
            masks = np.random.default_rng(0).random((max(N_MASKS) + N_HELD_OUT, game.n_players)) < 0.5
            began = time.process_time()
            outputs = game.evaluate(masks)
            print(f"{fill}: {len(masks) / (time.process_time() - began):.0f} masks of {N_IMAGES} images a second")
            np.savez(path, masks=masks, outputs=outputs)
        held = np.load(path)
        masks, outputs = held["masks"], held["outputs"].astype(np.float64)
        for n_masks in N_MASKS:
            began = time.process_time()
            models = [Datamodel(), LinkDatamodel(), ProxySPEX(max_order=2), ProxySPEX(max_order=3)]
            scores = []
            for one in models:
                one.fit(masks[:n_masks], outputs[:n_masks])
                left = outputs[-N_HELD_OUT:] - one.predict(masks[-N_HELD_OUT:])
                scores.append(float(np.mean(1 - (left**2).mean(axis=0) / outputs[-N_HELD_OUT:].var(axis=0))))
            n_sets = sum(len(models[-1].interactions(target, max_q=0.05)) for target in range(N_IMAGES))
            shown = [f"{score:.3f}" for score in scores]
            print(fill, n_masks, *shown, n_sets, f"{time.process_time() - began:.0f}", flush=True)


if __name__ == "__main__":
    main()
