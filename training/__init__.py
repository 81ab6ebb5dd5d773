"""Retrain many small image models on subsets of one training set.

`load_dataset` reads images, `sample_masks` says which players each model sees, `retrain` trains the models
(many members as one network) and returns what each of them says about the targets. Nothing here knows of Ray,
Prefect or of what is later made of the outputs.

Importing this package loads NumPy and nothing heavier: torch, scikit-learn, torchvision, pyarrow and Pillow
are imported where they are used.
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
