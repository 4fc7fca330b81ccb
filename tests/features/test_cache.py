"""The feature cache without a model: reading and writing, damage and interruptions, `verify_cache`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from dbpt.errors import InputError
from dbpt.features import verify_cache
from dbpt.features.cache import FeatureCache
from dbpt.features.cache_files import shard_name
from dbpt.features.cache_keys import FileRows, folder_name, ids_of

KEY = {"backbone": {"width": 8}, "weights": "abc", "dtype": "float32"}
ROOT = Path("/nowhere")
DIM = 4


def rows(*names: str, size: int = 10) -> FileRows:
    sizes, times = np.full(len(names), size), np.full(len(names), 7)
    return FileRows(names, sizes, times, ids_of(names, sizes, times), {})


def values(count: int, seed: int = 0) -> np.ndarray:
    features = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def opened(folder: Path, **changes: object) -> FeatureCache:
    return FeatureCache(folder, KEY | changes, ROOT, DIM)


def add(cache: FeatureCache, files: FileRows, features: np.ndarray, *reasons: str) -> None:
    """Store rows; those with a reason have failed."""
    reasons = reasons or ("",) * len(files)
    failed = np.array([bool(reason) for reason in reasons], dtype=np.uint8)
    cache.add(shard_name(files.ids), files, np.where(failed[:, None], 0, features), failed, reasons)


def read(cache: FeatureCache, files: FileRows) -> np.ndarray:
    return cache.read(cache.find(files.ids))


def has(cache: FeatureCache, files: FileRows) -> list[bool]:
    return (cache.find(files.ids) >= 0).tolist()


@pytest.fixture
def cache(tmp_path) -> FeatureCache:
    """A cache of one row."""
    cache = opened(tmp_path)
    add(cache, rows("a"), values(1))
    return cache


def test_gives_back_the_bytes_in_the_order_asked_for(tmp_path):
    odd = rows("a.jpg", "dir/b c.png", "ü\n,'\".jpg", "\udcff.jpg")
    stored = values(4)
    add(opened(tmp_path), odd, stored)
    cache = opened(tmp_path)
    places = cache.find(odd.ids)
    order = places[[2, 0, 3, 2]]
    np.testing.assert_array_equal(cache.read(order), stored[[2, 0, 3, 2]])
    np.testing.assert_array_equal(cache.read(np.array([-1, places[1]])), [[0.0] * DIM, stored[1]])
    assert places.min() >= 0
    assert has(cache, rows("a.jpg", size=11)) == [False]
    assert has(cache, rows("b.jpg")) == [False]
    assert verify_cache(tmp_path) == []


def test_rows_lie_in_many_shards(tmp_path):
    cache, stored = opened(tmp_path), values(60)
    files = rows(*(f"{i}.jpg" for i in range(60)))
    for i in range(0, 60, 4):
        add(cache, files.select(np.arange(i, i + 4)), stored[i : i + 4])
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(60), 2))
    for one in (cache, opened(tmp_path)):
        assert len(one) == 60
        places = one.find(files.ids)
        assert sorted(places) == list(range(60))
        np.testing.assert_array_equal(one.read(places[order]), stored[order])


def test_rows_are_told_by_both_halves_of_their_ids(tmp_path):
    cache, sizes = opened(tmp_path), np.array([1, 2])
    ids = np.array([[5, 3], [6, 1]], np.uint64)
    add(cache, FileRows(["a", "b"], sizes, sizes, ids, {}), values(2))
    np.testing.assert_array_equal(cache.find(ids), [0, 1])
    np.testing.assert_array_equal(cache.find(np.array([[5, 4], [4, 3], [6, 3]], np.uint64)), [-1, -1, -1])


def test_half_precision_is_stored_in_half(tmp_path):
    stored = values(3)
    for dtype in ("bf16", "fp16"):
        cache = opened(tmp_path / dtype, dtype=dtype)
        add(cache, rows("a", "b", "c"), stored)
        np.testing.assert_array_equal(read(cache, rows("c")), stored[2:].astype(np.float16))
        assert verify_cache(tmp_path / dtype) == []


def test_reading_an_empty_cache_writes_nothing(tmp_path):
    cache = opened(tmp_path)
    assert read(cache, rows("a")).tolist() == [[0.0] * DIM]
    assert cache.find(np.zeros((0, 2), np.uint64)).shape == (0,)
    assert cache.read(np.zeros(0, np.int64)).shape == (0, DIM)
    assert not cache.failed(np.array([-1])).any()
    assert len(cache) == 0
    assert list(tmp_path.iterdir()) == []
    cache.prepare_folder()
    assert verify_cache(tmp_path) == []


def test_encoders_never_mix(tmp_path):
    add(opened(tmp_path), rows("a"), values(1))
    assert has(opened(tmp_path, weights="other"), rows("a")) == [False]
    add(opened(tmp_path, weights="other"), rows("a"), values(1, 1))
    np.testing.assert_array_equal(read(opened(tmp_path), rows("a")), values(1))
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(folders) == 2
    stored = [json.loads((folder / "manifest.json").read_text())["encoder"] for folder in folders]
    assert {one["weights"] for one in stored} == {"abc", "other"}


def test_key_of_the_manifest_is_checked_and_named(tmp_path):
    cache = opened(tmp_path, weights="ab" * 32)
    add(cache, rows("a"), values(1))
    manifest = cache.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("ab" * 32, "cd" * 32))
    with pytest.raises(InputError, match=r"another encoder \(weights cdcdcdcdcdcd\.\.\. instead of abababababab\.\.\."):
        opened(tmp_path, weights="ab" * 32)
    assert any("not the digest" in problem for problem in verify_cache(tmp_path))


def test_failures_are_remembered_until_the_file_changes(tmp_path):
    add(opened(tmp_path), rows("good", "bad"), values(2), "", "truncated\nbadly")
    cache = opened(tmp_path)
    found = cache.find(rows("bad", "good").ids)
    assert cache.failed(np.array([*found, -1])).tolist() == [True, False, False]
    assert cache.reasons(found) == ["truncated\nbadly", ""]
    assert not read(cache, rows("bad")).any()
    assert has(cache, rows("bad", size=11)) == [False]
    assert json.loads((cache.folder / "manifest.json").read_text())["shards"][0]["failed"] == 1
    assert verify_cache(tmp_path) == []


def test_the_same_rows_make_the_same_bytes_whoever_stores_them_first(tmp_path):
    names = [rows("a", "b"), rows("c"), rows("d")]
    for folder, order in (("one", [0, 1, 2]), ("other", [2, 0, 1])):
        for number in order:
            add(opened(tmp_path / folder), names[number], values(len(names[number]), number))
    written = [{path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")} for name in ("one", "other")]
    assert len(written[0]) == 4
    assert written[0] == written[1]


def test_two_writers_keep_each_others_shards(tmp_path):
    first, second = opened(tmp_path), opened(tmp_path)
    add(first, rows("a"), values(1, 1))
    add(second, rows("b"), values(1, 2))
    add(second, rows("a"), values(1, 1))  # the very shard that the first has written
    np.testing.assert_array_equal(read(first, rows("a")), values(1, 1))
    both = opened(tmp_path)
    np.testing.assert_array_equal(read(both, rows("a", "b")), np.concatenate([values(1, 1), values(1, 2)]))
    assert verify_cache(tmp_path) == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path, cache):
    orphan, temporary = cache.folder / f"{0:032x}.safetensors", cache.folder / ".x.safetensors.1.tmp"
    orphan.write_bytes(b"half")
    temporary.write_bytes(b"half")
    assert verify_cache(tmp_path) == []
    add(opened(tmp_path), rows("b"), values(1))
    assert not orphan.exists()
    assert not temporary.exists()
    assert verify_cache(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_short_or_missing_shard_is_computed_again(tmp_path, damage, logged):
    cache = opened(tmp_path)
    add(cache, rows("a"), values(1, 1))
    add(cache, rows("b"), values(1, 2))
    shard = cache.folder / json.loads((cache.folder / "manifest.json").read_text())["shards"][0]["name"]
    whole = shard.read_bytes()
    if damage == "cut":
        shard.write_bytes(whole[:-1])
    else:
        shard.unlink()
    assert len(verify_cache(tmp_path)) == 1
    cache = opened(tmp_path)
    (line,) = logged.messages
    assert line.endswith(f" instead of {len(whole)} bytes; its 1 images are embedded again")
    assert sorted(has(cache, rows("a", "b"))) == [False, True]
    add(cache, rows("a"), values(1, 1))
    add(cache, rows("b"), values(1, 2))
    np.testing.assert_array_equal(read(opened(tmp_path), rows("a")), values(1, 1))
    assert verify_cache(tmp_path) == []


def test_features_that_were_changed_are_not_used(tmp_path):
    cache = opened(tmp_path)
    add(cache, rows("a", "b"), values(2))
    shard = next(cache.folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes().replace(values(2).tobytes(), values(2)[::-1].tobytes()))
    with pytest.raises(InputError, match=f"{shard.name}: damaged feature shard .its checksum .*; delete it"):
        read(opened(tmp_path), rows("a", "b"))
    (problem,) = verify_cache(tmp_path)
    assert problem.startswith(f"{shard}: its checksum differs from the manifest's; delete it")


def test_a_shard_of_the_right_size_that_is_no_shard_is_named(tmp_path, cache):
    shard = next(cache.folder.glob("*.safetensors"))
    shard.write_bytes(b"\xff" * shard.stat().st_size)
    with pytest.raises(InputError, match=f"{shard.name}: damaged feature shard"):
        has(opened(tmp_path), rows("a"))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema_version": 2}', "[" * 100_000, '{"schema_version": 1, "encoder": {}, "embed_dim": 4}'],
)
def test_a_damaged_manifest_is_one_line(tmp_path, cache, content):
    (cache.folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="delete"):
        opened(tmp_path)
    assert len(verify_cache(tmp_path)) == 1


@pytest.mark.parametrize("what", ["manifest.json", "shard", "pipe"])
def test_no_link_in_a_cache_is_followed(tmp_path, cache, what, logged):
    file = cache.folder / (cache.manifest.shards[0].name if what == "shard" else "manifest.json")
    file.rename(tmp_path / "elsewhere")
    if what == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(tmp_path / "elsewhere")
    if what == "shard":  # which counts as none
        assert has(opened(tmp_path), rows("a")) == [False]
        assert "missing instead of" in logged.messages[0]
    else:
        with pytest.raises(InputError, match="not a regular file" if what == "pipe" else "is a link, which is not fol"):
            opened(tmp_path)


def test_folder_names_are_stable():
    one, same = {"b": "2", "a": {"c": 1}}, {"a": {"c": 1}, "b": "2"}
    assert folder_name(one, "/x") == folder_name(same, "/x") == "d35004e82db36ce708d6" != folder_name(one, "/y")
