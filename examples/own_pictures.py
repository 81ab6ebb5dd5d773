"""Your own folder of pictures: which file should be looked at first?

Makes a small folder of handwritten digits in which one eight lies among the threes, retrains on random halves of it,
and ranks the files by what they do to the test pictures of their own class. The command does the same and more:
`coterie run images dataset.path=…`, then `curate` and `export`.
"""

# %% A folder with a subfolder for each class, in train and in test. Put your own in its place.
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from attribution import Datamodel
from training import Recipe, load_dataset, retrain, sample_masks

folder = Path(tempfile.mkdtemp()) / "mydata"
digits = load_digits()
for digit in (3, 8):
    rows = np.flatnonzero(digits.target == digit)
    for split, chosen in (("train", rows[:12]), ("test", rows[12:42])):
        place = folder / split / str(digit)
        place.mkdir(parents=True)
        for row in chosen:
            Image.fromarray((digits.images[row] * 15.9).astype(np.uint8)).save(place / f"digit-{row:04d}.png")
wrong = np.flatnonzero(digits.target == 8)[60]  # the fault to find: an eight in the folder of the threes
Image.fromarray((digits.images[wrong] * 15.9).astype(np.uint8)).save(folder / "train" / "3" / "digit-wrong.png")

# %% Read it. Half of the test pictures become targets, the rest audit examples that nothing below uses.
dataset = load_dataset(str(folder), image_size=8)
print(f"{len(dataset.train)} players, {len(dataset.targets)} targets, classes {dataset.class_names}")

# %% 300 random halves, one small network on each, 20 trained together.
masks = sample_masks(n_players=len(dataset.train), count=300, alpha=0.5, seed=0)
recipe = Recipe(width=4, batch_size=6, epochs=8, learning_rate=0.1)
# `native` is compiled; without a C++ compiler the log names the mode used instead.
result = retrain(dataset, masks, seeds=range(300), recipe=recipe, mode="native", ensemble_size=20)
print(f"accuracy on targets: {np.nanmean(result.target_accuracy):.2f}")

# %% What each file does to the targets of the class it is filed under (a linear datamodel for every target).
effects = Datamodel(alpha=0.5).fit(masks, result.outputs).coef_  # (n_targets, n_players)
same_class = dataset.targets.labels[:, None] == dataset.train.labels[None, :]
own_class_effect = np.where(same_class, effects, 0).sum(axis=0) / same_class.sum(axis=0)
order = np.argsort(own_class_effect)

for player in order[:3]:
    print(f"look at {dataset.player_names[player]}: {own_class_effect[player]:+.3f} on pictures of its own class")

# %% The wrongly filed eight comes first, by the name of its file.
assert dataset.player_names[order[0]] == "train/3/digit-wrong.png"
