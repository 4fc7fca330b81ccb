"""The original script's variant of MetaShift: ``{train,val_out_of_domain}/{cat,dog}``, groups mixed in each folder.

y: 0 dog, 1 cat; a: 0 outdoor, 1 indoor. What group an image is of stands in a pickle, which is never opened: the
groups come from a CSV, or from the folders that the same script writes beside it, one for each group.
"""

from pathlib import Path, PurePosixPath

import numpy as np

from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.metashift import subpopbench
from dbpt.data.metashift.folders import list_folders, listed_dataset
from dbpt.data.roots import first_of
from dbpt.data.rows import read_columns, shortened
from dbpt.errors import InputError, nearest

FOLDERS = ("MetaShift-subpopulation-shift", "COCO-Cat-Dog-indoor-outdoor", "metashift/COCO-Cat-Dog-indoor-outdoor")
# Folder -> (y, split); the script makes no test split besides, so its validation is what results are reported on.
FOLDER_CODES = {
    "train/cat": (1, 0),
    "train/dog": (0, 0),
    "val_out_of_domain/cat": (1, 2),
    "val_out_of_domain/dog": (0, 2),
}
PICKLE, GROUP_TABLE = "imageID_to_group.pkl", "imageID_to_group.csv"
MARKERS = ("val_out_of_domain", PICKLE, GROUP_TABLE)
GROUP_CODES = {"dog(outdoor)": (0, 0), "dog(indoor)": (0, 1), "cat(outdoor)": (1, 0), "cat(indoor)": (1, 1)}
# With the script's default of 100 minority images.
PUBLISHED: GroupCounts = ((750, 100, 100, 750), (0, 0, 0, 0), (144, 144, 144, 144))

Groups = dict[str, tuple[int, int]]
"""Image ID -> (y, a)."""


def read(images: Path) -> Dataset:
    """List the four folders, and find each image's group."""
    groups, source = _find_groups(images)
    paths, codes = list_folders(images, FOLDER_CODES, "MetaShift in the original layout")
    labels, splits = zip(*codes, strict=True)
    attributes = [_attribute(path, label, groups, source) for path, label in zip(paths, labels, strict=True)]
    note = (
        f"MetaShift's original layout, not comparable with SubpopBench's; groups from {source}, "
        "val_out_of_domain is the test split"
    )
    return listed_dataset(
        images, paths, labels, attributes, np.array(splits, dtype=np.int64), subpopbench.WORDS, note, PUBLISHED
    )


def _find_groups(images: Path) -> tuple[Groups, Path]:
    if table := first_of(images, (GROUP_TABLE, f"train/{GROUP_TABLE}")):
        return _read_groups(table), table
    unmixed = images.parent / subpopbench.FOLDER
    if first_of(unmixed, subpopbench.MARKERS):
        paths, codes = list_folders(unmixed, subpopbench.GROUPS, "MetaShift")
        return {PurePosixPath(path).stem: code for path, code in zip(paths, codes, strict=True)}, unmixed
    raise InputError(
        f"{images}: the groups of MetaShift's original layout are in the pickle {PICKLE}, which is never loaded; write "
        f"them into {GROUP_TABLE} there, with the columns image,group and lines such as '2345,cat(indoor)', or put the "
        f"script's folder {subpopbench.FOLDER} beside it"
    )


def _read_groups(table: Path) -> Groups:
    columns = read_columns(table, ("image", "group"))
    groups: Groups = {}
    for row, (image, group) in enumerate(zip(columns.values["image"], columns.values["group"], strict=True)):
        code = GROUP_CODES.get(group.strip())
        if code is None:
            raise InputError(
                f"{columns.where(row)}: group is {group!r}, expected one of {shortened(GROUP_CODES)}"
                f"{nearest(group, list(GROUP_CODES))}"
            )
        image = image.strip().removesuffix(".jpg")
        if groups.setdefault(image, code) != code:
            raise InputError(f"{columns.where(row)}: image {image!r} has had another group before; keep one")
    return groups


def _attribute(path: str, label: int, groups: Groups, source: Path) -> int:
    image = PurePosixPath(path).stem
    if image not in groups:
        raise InputError(f"{path}: image {image!r} has no group in {source}; add it there or take the image out")
    class_of_group, attribute = groups[image]
    if class_of_group != label:
        raise InputError(f"{path}: {source} has image {image!r} in a group of the other class; correct it")
    return attribute
