"""Data sets: sources, splits, groups of examples, planted truth."""

from training.data.dataset import Dataset, ImageSet, RawImages

__all__ = ["Dataset", "ImageSet", "RawImages"]
