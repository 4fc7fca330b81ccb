"""Data sets of Hugging Face's datasets: folders that ``save_to_disk`` has written, and objects, which are copied there.

The folders are read with pyarrow alone. datasets itself is not imported: it is slow to start, and may ask its hub.
"""

from dbpt.data.huggingface.objects import path_of
from dbpt.data.huggingface.reading import read_saved_dataset
from dbpt.data.huggingface.saved_folder import is_saved_dataset

__all__ = ["is_saved_dataset", "path_of", "read_saved_dataset"]
