"""The layouts of published data sets and formats, one file each, and the registry of those known by name."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from dbpt.data.columns import DataRequest
from dbpt.data.dataset import Dataset
from dbpt.data.words import Words
from dbpt.registry import Registered, Registry


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
        """Read the rows.

        Args:
            root: the absolute path of the folder that the user named.
            request: the words and settings that the user gave.

        Returns:
            The data set, with all rows.

        Raises:
            InputError: for anything that does not fit.
        """


DATASETS = Registry[DatasetReader](
    "data",
    "dbpt.datasets",
    "dbpt.data.layouts:DatasetReader",
    {
        "waterbirds": "dbpt.data.layouts.waterbirds:Waterbirds",
        "celeba": "dbpt.data.layouts.celeba:CelebA",
        "metashift": "dbpt.data.layouts.metashift:MetaShift",
    },
    reserved="demo",
)
"""The registry of data sets."""

register_dataset = DATASETS.register
