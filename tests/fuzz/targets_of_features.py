"""Targets: image files, features that the user has, and the files of a feature cache."""

from functools import partial
from pathlib import Path

import numpy as np
import repairs
from fuzz_target import Parse, Workplace, target

from dbpt.data import load_dataset
from dbpt.data.features_from_file import open_precomputed_features
from dbpt.errors import InputError
from dbpt.features import images, list_caches, verify_cache
from dbpt.features.cache import FeatureCache
from dbpt.features.cache_files import DamagedShard, Shard, shard_name
from dbpt.features.cache_keys import FileRows, ids_of
from dbpt.storage.tensors import StoredArrays

BACKBONE = 4, "tiny"


@target(repairs.png)
def image(workplace: Workplace) -> Parse:
    """A file of one of the six formats; all have the same name, because the content alone counts."""

    def read(path: Path) -> None:
        with images.pillow_warnings():
            image = images.read_image(path)
        assert 0 < image.width * image.height <= images.MAX_PIXELS
        assert image.mode in images.MODES

    return workplace.parser_of("image", read)


def precomputed(workplace: Workplace, name: str) -> Parse:
    """Features of four rows."""
    table = workplace.folder / "rows.csv"
    table.write_text("path,label,split\nimg/a,x,train\nimg/b,y,train\nimg/c,x,val\nimg/d,y,test\n")
    dataset = load_dataset(table, images=False)

    def read(path: Path) -> None:
        source = path if path.parent == workplace.folder else path.parents[1]
        features = open_precomputed_features(source, dataset, *BACKBONE)
        assert features.shape == (4, 4) and features.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)

    return workplace.parser_of(name, read)


target(name="precomputed_npy")(partial(precomputed, name="features.npy"))
target(repairs.safetensors, "precomputed_safetensors")(partial(precomputed, name="features.safetensors"))


@target()
def clip_retrieval_metadata(workplace: Workplace) -> Parse:
    parse = precomputed(workplace, "folder/metadata/metadata_0.parquet")
    (workplace.folder / "folder/img_emb").mkdir()
    np.save(workplace.folder / "folder/img_emb/img_emb_0.npy", np.eye(4, dtype=np.float16))
    return parse


def small_cache(folder: Path) -> FeatureCache:
    """One shard of two rows, the second of which failed."""
    cache = FeatureCache(folder, {"dtype": "float32"}, Path("/nowhere"), 4)
    sizes, names = np.array([3, 4]), ["a", "b"]
    files = FileRows(names, sizes, sizes, ids_of(names, sizes, sizes), {})
    cache.add(shard_name(files.ids), files, np.eye(4)[:2] * [[1], [0]], np.array([0, 1], np.uint8), ["", "bad"])
    return cache


@target()
def cache_manifest(workplace: Workplace) -> Parse:
    cache = small_cache(workplace.folder)
    sizes = np.array([3, 4])
    ids = ids_of("ab", sizes, sizes)

    def read(path: Path) -> None:
        verify_cache(workplace.folder)
        list(map(str, list_caches(workplace.folder)))
        found = FeatureCache(workplace.folder, {"dtype": "float32"}, Path("/nowhere"), 4)
        assert found.read(found.find(ids)).shape == (2, 4)

    return workplace.parser_of(f"{cache.folder.name}/manifest.json", read)


@target(repairs.safetensors)
def cache_shard(workplace: Workplace) -> Parse:
    def read(path: Path) -> None:
        try:
            shard = Shard(path, 2, 4, np.dtype(np.float32))
        except DamagedShard as error:
            raise InputError(str(error)) from None
        assert shard.tensor("row_ids").shape == (2, 2) and shard.reasons

    return workplace.parser_of("shard.safetensors", read)


@target(repairs.digest)
def stored_array(workplace: Workplace) -> Parse:
    stored, key = StoredArrays(workplace.folder), "a" * 64
    stored.put(key, np.ones((2, 4), np.float32))
    (file,) = stored.files()

    def read(path: Path) -> None:
        values = stored.read(path)
        assert (values.dtype, bool(np.isfinite(values).all())) == (np.float32, True)
        assert stored.get(key, values.shape) is not None

    return workplace.parser_of(file.name, read)
