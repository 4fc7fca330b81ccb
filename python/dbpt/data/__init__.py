"""From metadata on disk to a ``Dataset`` of paths, labels, attributes and splits. No image is opened here."""

from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.layouts import DATASETS, DatasetReader, register_dataset
from dbpt.data.loading import load_dataset
from dbpt.data.tables import read_columns
from dbpt.data.words import Words

__all__ = [
    "DATASETS",
    "SPLITS",
    "Dataset",
    "DatasetReader",
    "Words",
    "load_dataset",
    "read_columns",
    "register_dataset",
]
