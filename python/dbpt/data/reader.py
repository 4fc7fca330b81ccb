"""``DatasetReader``: how a data set that is known by name is read, and the registry of them."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from dbpt.data.columns import DataRequest
from dbpt.data.dataset import Dataset
from dbpt.data.registry import Registered, Registry
from dbpt.data.words import Words


class DatasetReader(Registered):
    """A data set with a layout of its own, in the folder that the user names as ``root``."""

    words: ClassVar[Words]
    """Its words, in index order; the user's replace them."""
    holds: ClassVar[str]
    """Files or folders that the root contains, for messages."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the arguments of `load_dataset` that only this data set reads."""

    @staticmethod
    @abstractmethod
    def read(root: Path, request: DataRequest) -> Dataset:
        """Read the rows from the absolute path ``root``. Raises `InputError` for anything that does not fit."""


DATASETS = Registry[DatasetReader](
    "data",
    "dbpt.datasets",
    "dbpt.data.reader:DatasetReader",
    {
        "waterbirds": "dbpt.data.waterbirds:Waterbirds",
        "celeba": "dbpt.data.celeba:CelebA",
        "metashift": "dbpt.data.metashift:MetaShift",
    },
    reserved="demo",
)
"""The registry of data sets."""

register_dataset = DATASETS.register
