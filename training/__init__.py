"""Retrain many small image models on subsets of one training set.

`load_dataset` reads images, `sample_masks` draws the players of each model's training set, and `retrain` trains the
models (K at a time, as one network) and returns the outputs of each on the targets. Nothing here imports Ray or
Prefect, or depends on how the outputs are analysed.

Importing this package loads NumPy and nothing heavier: torch, scikit-learn, torchvision, pyarrow and Pillow
are imported where they are used.

>>> from training import RECIPES, load_dataset, retrain, sample_masks
>>> digits = load_dataset("digits", n_train=40, n_targets=10, n_audit=10)
>>> masks = sample_masks(digits.n_players, 2, alpha=0.5, seed=0)
>>> retrain(digits, masks, seeds=[0, 1], recipe=RECIPES["digits"]).outputs.shape
(2, 10)
"""

from training.calibration.calibrate import Calibration, calibrate
from training.data.dataset import Dataset, ImageSet
from training.data.sources import load_dataset
from training.errors import TrainingInputError
from training.masks import SAMPLERS, sample_masks
from training.randomness import training_seed
from training.recipe import RECIPES, Recipe
from training.retrain import RetrainResult, retrain

__all__ = [
    "RECIPES",
    "SAMPLERS",
    "Calibration",
    "Dataset",
    "ImageSet",
    "Recipe",
    "RetrainResult",
    "TrainingInputError",
    "calibrate",
    "load_dataset",
    "retrain",
    "sample_masks",
    "training_seed",
]
