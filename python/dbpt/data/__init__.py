"""From metadata on disk to a ``Dataset`` of paths, labels, attributes and splits. No image is opened here."""

from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.loading import load_dataset

__all__ = ["SPLITS", "Dataset", "load_dataset"]
