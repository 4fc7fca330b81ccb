"""MetaShift cats and dogs (Liang and Zou, 2022) in three variants, whose results are not comparable.

SubpopBench's (cats mostly indoors, dogs outdoors), the original script's, with the same groups, and DISC's (cats on
sofas and beds, dogs on benches and bikes, tested on shelves). y: 0 dog, 1 cat. The pickle that the original script
writes is never opened.
"""

from pathlib import Path

from dbpt.data.dataset import Dataset
from dbpt.data.metashift import disc, original, subpopbench
from dbpt.data.metashift.subpopbench import FOLDER, GROUPS, PUBLISHED, WORDS, subpopbench_split
from dbpt.data.roots import find_root, look_for_root

__all__ = ["FOLDER", "GROUPS", "PUBLISHED", "WORDS", "read_metashift", "subpopbench_split"]


def read_metashift(root: Path) -> Dataset:
    """Read the variant that is there; where there are several in one folder, SubpopBench's.

    Args:
        root: the variant's folder (``MetaShift-Cat-Dog-indoor-outdoor``, ``MetaShift-subpopulation-shift``,
            ``MetaDatasetCatDog``), or its parent.

    Raises:
        InputError: no variant is there, a group folder is empty, a table is malformed or names what is not there, or
            the original variant without a source of its groups.
    """
    if not look_for_root(root, subpopbench.FOLDERS, subpopbench.MARKERS):
        if found := look_for_root(root, disc.FOLDERS, disc.MARKERS):
            return disc.read(found)
        if found := look_for_root(root, original.FOLDERS, original.MARKERS):
            return original.read(found)
    title = "MetaShift in SubpopBench's layout"
    return subpopbench.read(find_root(root, subpopbench.FOLDERS, subpopbench.MARKERS, title))
