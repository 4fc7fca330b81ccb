"""Targets: tables, the known data sets' metadata, folders of images, shards."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

import repairs
from fuzz_target import UNPRINTABLE, Parse, Workplace, target
from layouts import touch, write_birds, write_faces, write_pets

from dbpt.data import Dataset, load_dataset, paths
from dbpt.data.dataset import check_dataset
from dbpt.data.layouts.webdataset import shards_of


def read_rows(data: object, root: Path | None = None) -> None:
    """Read a data set and check what was accepted, as it is written and as `fit` would take it."""
    dataset = load_dataset(data, root, check=False)
    assert_consistent(dataset)
    check_dataset(dataset)


def assert_consistent(dataset: Dataset) -> None:
    assert len(dataset) and dataset.num_classes >= 2
    assert 0 <= dataset.labels.min() <= dataset.labels.max() < dataset.num_classes
    assert -1 <= dataset.attributes.min() <= dataset.attributes.max() < max(1, dataset.num_attributes)
    assert 0 <= dataset.splits.min() <= dataset.splits.max() <= 2
    for path in dataset.paths:
        assert path and "\0" not in path and not path.startswith("/") and ".." not in PurePosixPath(path).parts
    for line in dataset.describe().split("\n"):
        assert not UNPRINTABLE.search(line), f"breaks the terminal: {line!r}"


def table(workplace: Workplace, name: str) -> Parse:
    touch(workplace.folder, "a.jpg", "b.jpg", "c.jpg", "dé.jpg")
    return workplace.parser_of(name, read_rows)


for ending in ("csv", "tsv", "jsonl", "parquet"):
    target(name=f"table_{ending}")(partial(table, name=f"rows.{ending}"))


def known(workplace: Workplace, data: str, write: Callable[[Path], Path], file: str) -> Parse:
    """One of the files of a known data set, beside its others."""
    root = write(workplace.folder)
    return workplace.parser_of(f"{root.name}/{file}", lambda path: read_rows(data, root))


celeba = partial(known, data="celeba", write=write_faces)
target(name="celeba_attributes")(partial(celeba, file="list_attr_celeba.txt"))
target(name="celeba_partition")(partial(celeba, file="list_eval_partition.txt"))
target(name="waterbirds")(partial(known, data="waterbirds", write=write_birds, file="metadata.csv"))
target(name="metashift")(partial(known, data="metashift", write=write_pets, file="metadata_metashift.csv"))


@target()
def celeba_merged(workplace: Workplace) -> Parse:
    root = write_faces(workplace.folder)
    (root / "list_attr_celeba.txt").unlink()
    return workplace.parser_of(f"{root.name}/metadata.csv", lambda path: read_rows("celeba", root))


@target()
def folder_names(workplace: Workplace) -> Parse:
    """A line a path of an image below the folder, as any program may have named it."""

    def parse(content: bytes) -> None:
        folder = workplace.folder / "images"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in content.split(b"\n")[:20]:
            _touch_below(folder, name)
        read_rows(folder)

    return parse


def _touch_below(folder: Path, name: bytes) -> None:
    path = Path(os.path.normpath(folder / os.fsdecode(name.lstrip(b"/").replace(b"\0", b""))))
    if folder in path.parents:
        with suppress(OSError):  # too long, or a folder is an image already
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


@target(repairs.tar)
def tar(workplace: Workplace) -> Parse:
    def read(path: Path) -> None:
        paths._tar_members.cache_clear()
        found = paths.tar_members(path)
        size = path.stat().st_size
        for name, member in found.items():
            assert 0 <= member.offset <= member.offset + member.size <= size
            assert not name.startswith("/") and ".." not in PurePosixPath(name).parts

    return workplace.parser_of("files.tar", read)


@target(repairs.tar)
def shard(workplace: Workplace) -> Parse:
    def read(path: Path) -> None:
        paths._tar_members.cache_clear()
        read_rows(path)

    return workplace.parser_of("train.tar", read)


@target()
def shard_pattern(workplace: Workplace) -> Parse:
    touch(workplace.folder, *(f"{split}-{n:03}.tar" for split in ("train", "val") for n in range(12)))

    def parse(content: bytes) -> None:
        for shard in shards_of(f"{workplace.folder}/{os.fsdecode(content)}"):
            assert shard.is_file()

    return parse
