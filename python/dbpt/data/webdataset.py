"""Images in WebDataset's tar shards: files of one name up to the first dot are a sample, the rest says what each is.

An image (jpg, jpeg, png, webp, bmp, gif, tif, tiff); the class in ``.cls`` or, like split and attribute, in ``.json``.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dbpt.data.archives.member import Member
from dbpt.data.archives.tar import members
from dbpt.data.cell_text import cell_text
from dbpt.data.choices import SPLIT_FOLDERS, Choices
from dbpt.data.column_names import ROLES
from dbpt.data.dataset import Dataset
from dbpt.data.image_folder import ENDINGS
from dbpt.data.jsonl import json_object
from dbpt.data.rows import Columns, shortened
from dbpt.data.shard_pattern import shards_of
from dbpt.errors import InputError

SPLIT_WORD = re.compile(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])")
COMPRESSED = re.compile(r"\.(tar\.(gz|bz2|xz|zst)|tgz)$", re.IGNORECASE)
MOST_BYTES = 1 << 20  # of a .cls or .json, which is read whole


def is_pattern_of_shards(data: str) -> bool:
    """Whether ``data`` means tar files. Raises `InputError` if they are compressed: no image can be sought in them."""
    if COMPRESSED.search(data):
        raise InputError(
            f"data {data!r}: no image can be sought in a compressed shard; unpack it to .tar, as gunzip does"
        )
    return data.lower().endswith(".tar")


def read_webdataset(pattern: str, choices: Choices) -> Dataset:
    """Read the samples of all shards, in their order; no image is read.

    Args:
        pattern: one or more files, see `shards_of`.
        choices: their columns are keys of ``.json``; with a ``label`` there, ``.cls`` is not read.

    Raises:
        InputError: as `shards_of` and `members`; a sample with two images, without a class or split, or whose ``.json``
            is no object; as `Choices.dataset`.
    """
    shards = shards_of(pattern)
    root = Path(os.path.commonpath([shard.parent for shard in shards]))
    keys = choices.named
    values: dict[str, list[str]] = {keys[role]: [] for role in ROLES if role != "path"}
    paths: list[str] = []
    without: list[str] = []
    for shard in shards:
        prefix = shard.relative_to(root).as_posix()
        for key, sample in _samples(shard).items():
            image = _image_of(sample, f"{prefix}/{key}")
            if image is None:
                without.append(f"{prefix}/{key}")
                continue
            paths.append(f"{prefix}/{image}")
            for name, value in _said(sample, keys, shard, f"{shard}/{key}", "label" in choices.columns).items():
                values[name].append(value)
    if not paths:
        raise InputError(f"data {pattern!r}: no sample with an image ({', '.join(ENDINGS)}) in {len(shards)} shards")
    read = Columns(Path(pattern), [0] * len(paths), values, names=paths)
    notes = [f"{len(without)} samples have no image and are left out: {shortened(without, 3)}"] if without else []
    name = re.sub(r"[^\w-]*[{*?\[].*|\.tar$", "", Path(pattern).name, flags=re.IGNORECASE) or "shards"
    return choices.dataset(read, paths, name=name, root=root, notes=notes)


def _samples(shard: Path) -> dict[str, dict[str, tuple[str, Member]]]:
    """By key and ending, the name of each file and where it is; hidden files are none."""
    samples: dict[str, dict[str, tuple[str, Member]]] = {}
    for name, member in members(shard).items():
        folder, slash, file = name.rpartition("/")
        stem, dot, ending = file.partition(".")
        if stem and dot:
            samples.setdefault(folder + slash + stem, {})["." + ending.lower()] = (name, member)
    return samples


def _image_of(sample: Mapping[str, tuple[str, Member]], where: str) -> str | None:
    images = [sample[ending][0] for ending in ENDINGS if ending in sample]
    if len(images) > 1:
        raise InputError(f"{where}: has {len(images)} images ({shortened(images, 3)}); keep one")
    return images[0] if images else None


def _said(
    sample: Mapping[str, tuple[str, Member]], keys: Mapping[str, str], shard: Path, where: str, label_is_named: bool
) -> dict[str, str]:
    """What a sample's files say of label, split and attribute, empty for what they don't."""
    row = json_object(_text(sample[".json"][1], f"{where}.json"), f"{where}.json") if ".json" in sample else {}
    said: dict[str, str] = {}
    for role in ROLES[1:]:
        text = cell_text(row.get(keys[role]))
        if text is None:
            raise InputError(f"{where}.json: {keys[role]} is neither text nor a number")
        said[keys[role]] = text.strip()
    if ".cls" in sample and not label_is_named:
        said[keys["label"]] = _text(sample[".cls"][1], f"{where}.cls").strip()
    if not said[keys["label"]]:
        raise InputError(
            f"{where}: no .cls, and no {keys['label']!r} in a .json; each image needs its class (a table may give it, "
            f"with paths such as {shard.name}/{Path(where).name}.jpg)"
        )
    if not said[keys["split"]]:
        words = set(SPLIT_WORD.findall(shard.name.lower())) or {shard.parent.name.lower()}
        if len(words) != 1 or words.isdisjoint(SPLIT_FOLDERS):
            raise InputError(
                f"{where}: no {keys['split']!r} in a .json, and neither the shard's name nor its folder's says one of "
                "train, val, test"
            )
        said[keys["split"]] = words.pop()
    return said


def _text(member: Member, where: str) -> str:
    if member.size > MOST_BYTES:
        raise InputError(f"{where}: has {member.size} bytes, more than a label or its JSON needs")
    try:
        return member.open().read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start} is not UTF-8") from None
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error})") from None
