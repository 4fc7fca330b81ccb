"""The feature cache without a model: what it returns, what it survives, what `verify_cache` sees."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dbpt.errors import InputError
from dbpt.features import cache as cache_module
from dbpt.features import verify_cache
from dbpt.features.cache import FeatureCache, key_digest
from dbpt.features.shards import RowKey

KEY = {"backbone": "tiny", "weights": "abc"}
DIM = 4


def rows(*names: str, size: int = 10) -> list[RowKey]:
    return [RowKey(name, size, 7) for name in names]


def values(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def opened(folder: Path, **changes: str) -> FeatureCache:
    return FeatureCache(folder, KEY | changes, DIM)


def test_gives_back_the_bytes_in_the_order_asked_for(tmp_path):
    odd = rows("a.jpg", "dir/b c.png", "ü\n,'\".jpg", "\udcff.jpg")
    stored = values(4)
    opened(tmp_path).add(odd, stored, [])
    cache = opened(tmp_path)
    order = [odd[2], None, odd[0], RowKey("a.jpg", 11, 7), odd[3], odd[2]]
    expected = np.stack([stored[2], np.zeros(DIM), stored[0], np.zeros(DIM), stored[3], stored[2]])
    np.testing.assert_array_equal(cache.read(order), expected)
    assert all(key in cache for key in odd)
    assert RowKey("a.jpg", 10, 8) not in cache
    assert verify_cache(tmp_path) == []


def test_reading_an_empty_cache_writes_nothing(tmp_path):
    assert opened(tmp_path).read(rows("a")).tolist() == [[0.0] * DIM]
    assert opened(tmp_path).read([]).shape == (0, DIM)
    assert list(tmp_path.iterdir()) == []


def test_what_was_added_is_there_without_reopening(tmp_path):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1, 1), [])
    cache.add(rows("b"), values(1, 2), [])
    np.testing.assert_array_equal(cache.read(rows("b", "a")), np.concatenate([values(1, 2), values(1, 1)]))


def test_encoders_never_mix(tmp_path):
    opened(tmp_path).add(rows("a"), values(1), [])
    assert rows("a")[0] not in opened(tmp_path, weights="other")
    opened(tmp_path, weights="other").add(rows("a"), values(1, 1), [])
    np.testing.assert_array_equal(opened(tmp_path).read(rows("a")), values(1))
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(folders) == 2
    stored = [json.loads((folder / "manifest.json").read_text())["encoder"] for folder in folders]
    assert {one["weights"] for one in stored} == {"abc", "other"}


def test_key_of_the_manifest_is_checked_and_named(tmp_path):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1), [])
    manifest = cache.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("abc", "xyz"))
    with pytest.raises(InputError, match=r"another encoder's \(weights differ\)"):
        opened(tmp_path)
    assert any("not the digest" in problem for problem in verify_cache(tmp_path))


def test_failures_are_remembered_until_the_file_changes(tmp_path):
    cache = opened(tmp_path)
    cache.add([], values(0), [(rows("bad")[0], "truncated")])
    cache = opened(tmp_path)
    assert cache.failure(rows("bad")[0]) == "truncated"
    assert cache.failure(rows("bad", size=11)[0]) is None
    cache.add(rows("bad", size=11), values(1), [])
    assert json.loads((cache.folder / "manifest.json").read_text())["failures"] == []
    assert rows("bad", size=11)[0] in opened(tmp_path)


def test_two_writers_keep_each_others_shards(tmp_path):
    first, second = opened(tmp_path), opened(tmp_path)
    first.add(rows("a"), values(1, 1), [])
    second.add(rows("b"), values(1, 2), [])
    second.add(rows("a"), values(1, 1), [])  # the very shard that the first has written
    np.testing.assert_array_equal(first.read(rows("a")), values(1, 1))
    both = opened(tmp_path)
    np.testing.assert_array_equal(both.read(rows("a", "b")), np.concatenate([values(1, 1), values(1, 2)]))
    assert verify_cache(tmp_path) == []


def _add_twenty(folder: Path, writer: int) -> None:
    cache = FeatureCache(folder, KEY, DIM)
    for i in range(20):
        cache.add(rows(f"{writer}-{i}"), values(1, writer * 100 + i), [])


def test_processes_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_twenty, args=(tmp_path, writer)) for writer in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    cache = opened(tmp_path)
    for writer in range(2):
        keys = rows(*(f"{writer}-{i}" for i in range(20)))
        np.testing.assert_array_equal(
            cache.read(keys), np.concatenate([values(1, writer * 100 + i) for i in range(20)])
        )
    assert verify_cache(tmp_path) == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1), [])
    orphan, temporary = cache.folder / "orphan.safetensors", cache.folder / ".x.safetensors.1.tmp"
    orphan.write_bytes(b"half")
    temporary.write_bytes(b"half")
    assert verify_cache(tmp_path) == [f"{orphan}: not in the manifest"]
    opened(tmp_path).add(rows("b"), values(1), [])
    assert not orphan.exists()
    assert not temporary.exists()
    assert verify_cache(tmp_path) == []


@pytest.mark.parametrize("step", ["shard", "manifest"])
def test_killed_between_the_writes_it_ends_with_the_same_features(tmp_path, monkeypatch, step):
    write = cache_module.write_atomically

    def dies(path: Path, content: bytes | str) -> None:
        if (path.name == "manifest.json") == (step == "manifest"):
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache_module, "write_atomically", dies)
        opened(tmp_path).add(rows("a"), values(1), [])
    assert rows("a")[0] not in opened(tmp_path)
    opened(tmp_path).add(rows("a"), values(1), [])
    np.testing.assert_array_equal(opened(tmp_path).read(rows("a")), values(1))
    assert verify_cache(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_short_or_missing_shard_is_computed_again(tmp_path, damage):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1, 1), [])
    cache.add(rows("b"), values(1, 2), [])
    shard = cache.folder / json.loads((cache.folder / "manifest.json").read_text())["shards"][0]["name"]
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        shard.unlink()
    assert len(verify_cache(tmp_path)) == 1
    with pytest.warns(UserWarning, match="its 1 images are embedded again"):
        cache = opened(tmp_path)
    assert [key in cache for key in rows("a", "b")] == [False, True]
    cache.add(rows("a"), values(1, 1), [])
    np.testing.assert_array_equal(opened(tmp_path).read(rows("a")), values(1, 1))
    assert verify_cache(tmp_path) == []


def test_a_flipped_byte_is_found_by_verify(tmp_path):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1), [])
    shard = next(cache.folder.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert verify_cache(tmp_path) == [f"{shard}: the checksum is not that of the manifest"]


def test_a_shard_of_the_right_size_that_is_no_shard_is_named(tmp_path):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1), [])
    shard = next(cache.folder.glob("*.safetensors"))
    shard.write_bytes(b"\xff" * shard.stat().st_size)
    with pytest.raises(InputError, match=f"{shard.name}: damaged feature shard"):
        opened(tmp_path)


def test_nan_features_are_found_by_verify(tmp_path):
    opened(tmp_path).add(rows("a"), np.full((1, DIM), np.nan, np.float32), [])
    assert "NaN" in verify_cache(tmp_path)[0]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema_version": 2}', "[" * 100_000, '{"schema_version": 1, "encoder": {}, "embed_dim": 4}'],
)
def test_a_damaged_manifest_is_one_line(tmp_path, content):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1), [])
    (cache.folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="delete") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(verify_cache(tmp_path)) == 1


def test_a_manifest_cannot_point_outside_its_folder(tmp_path):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1), [])
    manifest = cache.folder / "manifest.json"
    content = json.loads(manifest.read_text())
    content["shards"][0]["name"] = "../../etc/passwd"
    manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match="damaged manifest"):
        opened(tmp_path)


def test_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    cache = opened(tmp_path)
    cache.add(rows("a"), values(1), [])
    before = sorted(path.name for path in cache.folder.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="No space left on device") as caught:
        patch.setattr("os.fsync", full)
        cache.add(rows("b"), values(1), [])
    assert str(cache.folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in cache.folder.iterdir()) == before
    assert verify_cache(tmp_path) == []


def test_a_folder_that_cannot_be_made_or_found_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the feature cache"):
        opened(tmp_path / "file").add(rows("a"), values(1), [])
    with pytest.raises(InputError, match="no such feature cache"):
        verify_cache(tmp_path / "nowhere")


def test_a_folder_without_manifest_is_a_problem(tmp_path):
    (tmp_path / "stray").mkdir()
    assert verify_cache(tmp_path) == [f"{tmp_path / 'stray'}: no manifest.json"]


def test_folder_names_are_stable():
    assert key_digest({"b": "2", "a": "1"}) == key_digest({"a": "1", "b": "2"}) == "0e09eeab5bdeab40e2af"


def test_needs_no_torch():
    code = "import sys, dbpt.features; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
