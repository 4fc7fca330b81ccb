"""From metadata on disk to a ``Dataset`` of paths, labels, attributes and splits. No image is opened here."""

from dbpt.data.columns import Columns, parse_columns
from dbpt.data.dataset import SPLITS, Dataset, check_possible
from dbpt.data.features_from_file import check_precomputed_file
from dbpt.data.layouts import DATASETS, DatasetReader, register_dataset
from dbpt.data.loading import DataLike, load_dataset
from dbpt.data.predictions_from_file import PATH, Codes, Wanted, read_codes
from dbpt.data.stored_features import StoredFeatures, first_copies
from dbpt.data.tables import READERS, read_columns
from dbpt.data.words import Vocabulary, Words, entries_of, factor_codes, factor_entries, joint_codes, parse_factors

__all__ = ["DATASETS", "SPLITS", "Dataset", "DatasetReader", "Words"]
__all__ += ["load_dataset", "read_columns", "register_dataset"]
