"""Images in WebDataset's tar shards.

Shards are named by a pattern such as ``train-{0000..0146}.tar`` or ``{train,val}-*.tar``. Files of one name up to the
first dot are a sample: an image (jpg, jpeg, png, webp, bmp, gif, tif, tiff), and its class in ``.cls`` or, like split
and attribute, in ``.json``.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dbpt.data.columns import Columns, DataRequest, cell_text, shortened
from dbpt.data.dataset import Dataset
from dbpt.data.labels_and_splits import SPLIT_FOLDERS, coded_dataset
from dbpt.data.other_columns import OtherCells
from dbpt.data.paths import ENDINGS, Member, is_file, is_folder, list_entries, tar_members
from dbpt.errors import InputError
from dbpt.storage.files import system_errors
from dbpt.storage.typed_json import json_object

# Not within a word: "constrained" is no training split.
SPLIT_WORD = re.compile(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])")
COMPRESSED = re.compile(r"\.(tar\.(gz|bz2|xz|zst)|tgz)$", re.IGNORECASE)
MOST_BYTES = 1 << 20  # of a .cls or .json file, which is read at once
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
MOST_BRACES = 100
MOST_PARTS = 100_000  # names and globs from braces, each of which is looked up

Sample = dict[str, tuple[str, Member]]  # the files of a sample by suffix, each with its name in the shard


def is_pattern_of_shards(data: str) -> bool:
    """Return whether ``data`` means tar files. Raises `InputError` for compressed ones, which allow no seeking."""
    if COMPRESSED.search(data):
        problem = "the images of a compressed shard can't be read one by one"
        raise InputError(f"data {data!r}: {problem}; unpack it to .tar, for example with gunzip")
    return data.lower().endswith(".tar")


def read_webdataset(pattern: str, request: DataRequest) -> Dataset:
    """Read the samples of all shards in order. No image is read.

    The columns of ``request`` are keys of ``.json``; if they name the ``label``, ``.cls`` is not read.
    """
    shards = shards_of(pattern)
    root = Path(os.path.commonpath([shard.parent for shard in shards]))
    values: dict[str, list[str]] = {name: [] for role, name in request.column_names.items() if role != "path"}
    paths: list[str] = []
    without: list[str] = []
    others = OtherCells(request.with_role)
    for shard in shards:
        prefix, rows = shard.relative_to(root).as_posix(), list[dict[str, Any]]()
        for key, sample in _samples(shard).items():
            images = [sample[ending][0] for ending in ENDINGS if ending in sample]
            if len(images) > 1:
                raise InputError(f"{prefix}/{key}: has {len(images)} images ({shortened(images, 3)}); keep one")
            if not images:
                without.append(f"{prefix}/{key}")
                continue
            paths.append(f"{prefix}/{images[0]}")
            row = _row(sample, f"{shard}/{key}.json")
            for name, value in _cells(sample, row, request, shard, f"{shard}/{key}").items():
                values[name].append(value)
            rows.append(row)
        others.add_rows(rows)
    if not paths:
        raise InputError(f"data {pattern!r}: no sample with an image ({', '.join(ENDINGS)}) in {len(shards)} shards")
    notes = [f"{len(without)} samples have no image and are left out: {shortened(without, 3)}"] if without else []
    name = re.sub(r"[^\w-]*[{*?\[].*|\.tar$", "", Path(pattern).name, flags=re.IGNORECASE) or "shards"
    columns = Columns(Path(pattern), [0] * len(paths), values, names=paths, others=others.columns())
    return coded_dataset(request, columns, paths, name=name, root=root, notes=notes)


def _samples(shard: Path) -> dict[str, Sample]:
    """Return the samples of a shard by key, without hidden files."""
    samples: dict[str, Sample] = {}
    for name, member in tar_members(shard).items():
        folder, slash, file = name.rpartition("/")
        stem, dot, ending = file.partition(".")
        if stem and dot:
            samples.setdefault(folder + slash + stem, {})["." + ending.lower()] = (name, member)
    return samples


def _row(sample: Sample, where: str) -> dict[str, Any]:
    return json_object(_text(sample[".json"][1], where), where) if ".json" in sample else {}


def _cells(sample: Sample, row: Mapping[str, Any], request: DataRequest, shard: Path, where: str) -> dict[str, str]:
    """Return the label, split and attribute of a sample by column; empty if unknown. ``row`` is its JSON."""
    names = request.column_names
    label, split = names["label"], names["split"]
    cells: dict[str, str] = {}
    for name in (name for role, name in names.items() if role != "path"):
        text = cell_text(row.get(name))
        if text is None:
            raise InputError(f"{where}.json: {name} is neither text nor a number")
        cells[name] = text.strip()
    if ".cls" in sample and "label" not in request.columns:
        cells[label] = _text(sample[".cls"][1], f"{where}.cls").strip()
    if not cells[label]:
        raise InputError(
            f"{where}: no .cls, and no {label!r} in a .json; each image needs its class: name its key with --columns "
            f"label=KEY, or give a table with paths such as {shard.name}/{Path(where).name}.jpg"
        )
    if not cells[split]:
        words = set(SPLIT_WORD.findall(shard.name.lower())) or {shard.parent.name.lower()}
        if len(words) != 1 or words.isdisjoint(SPLIT_FOLDERS):
            problem = f"{where}: no {split!r} in a .json, and neither the shard's name nor its folder's contains train"
            raise InputError(f"{problem}, val or test; name its key with --columns split=KEY")
        cells[split] = words.pop()
    return cells


def _text(member: Member, where: str) -> str:
    if member.size > MOST_BYTES:
        raise InputError(f"{where}: has {member.size} bytes, more than a label or its JSON needs")
    with system_errors(f"{where}: cannot be read"):
        content = member.open().read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start} is not UTF-8") from None


def shards_of(pattern: str) -> list[Path]:
    """Return the files in the order of the braces, sorted by name within a glob."""
    if "\0" in pattern or pattern.count("{") > MOST_BRACES:
        raise InputError(f"data {pattern!r}: expected no NUL and at most {MOST_BRACES} braces")
    shards: dict[Path, None] = {}
    for number, part in enumerate(_expanded(pattern)):
        if number == MOST_PARTS:
            raise InputError(f"data {pattern!r}: its braces make more than {MOST_PARTS} names; use a wildcard")
        is_glob = glob.has_magic(part) and not os.path.lexists(part)
        names = sorted(glob.glob(part)) if is_glob else [part]  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if is_glob and not names and is_folder(Path(part).parent):
            list_entries(Path(part).parent)  # raises if it can't be listed
        if not names or not all(is_file(Path(name)) for name in names):
            raise InputError(f"data {pattern!r}: no file {part}; name shards that are there, as '{{a,b}}.tar'")
        shards |= dict.fromkeys(map(Path, names))
    return list(shards)


def _expanded(pattern: str) -> Iterator[str]:
    """Yield the names and globs that the braces make, one at a time: `shards_of` stops at the first without a file."""
    braces = BRACES.search(pattern)
    if not braces:
        yield pattern
        return
    choices: Iterable[str] = braces[1].split(",")
    if limits := RANGE.fullmatch(braces[1]):
        first, last = map(int, limits.groups())
        if last < first:
            raise InputError(f"data {pattern!r}: {braces[0]} is not an ascending range")
        width = len(limits[1]) if limits[1].startswith("0") else 0
        choices = (f"{number:0{width}d}" for number in range(first, last + 1))
    for choice in choices:
        yield from _expanded(pattern[: braces.start()] + choice + pattern[braces.end() :])
