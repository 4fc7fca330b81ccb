"""`dbpt cache list` and `prune`: what there is, and that only what nobody can ask for is deleted."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dbpt.errors import InputError
from dbpt.features import list_caches, prune_caches, verify_cache
from dbpt.features.cache import FeatureCache
from dbpt.features.file_rows import look_up_files
from dbpt.features.owned_lock import OwnedLock

ENCODER = {"backbone": {"width": 8}, "weights": "abc", "dtype": "float32"}
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def cache(tmp_path, root) -> FeatureCache:
    """Two shards, of a and b (which failed), and of c and d."""
    made = FeatureCache(tmp_path / "features", ENCODER, root, 2)
    for names, failed in ((NAMES[:2], [0, 1]), (NAMES[2:], [0, 0])):
        features = np.where(np.array(failed)[:, None] == 0, [1.0, 0.0], 0.0)
        made.add(look_up_files(root, names), features, np.array(failed, np.uint8), ["", "bad"[: 3 * failed[1]]])
    return made


def pruned(folder: Path, **options) -> list[tuple[str, str]]:
    return [(found.path.name, found.why) for found in prune_caches(folder, **options)]


def test_list_tells_encoder_root_rows_and_bytes(command, tmp_path, cache, root):
    (found,) = list_caches(tmp_path / "features")
    assert (found.rows, found.failed) == (4, 1)
    assert found.bytes == sum(file.stat().st_size for file in cache.folder.rglob("*") if file.is_file())
    code, out, _ = command("cache", "list", "--cache", tmp_path)
    assert code == 0
    assert f"  root: {root}\n  backbone.width: 8\n  weights: abc\n  dtype: float32\n  images: 4 (1 failed)\n" in out
    assert out.splitlines()[0].startswith(f"{cache.folder}: 0.0 MB, written ")
    assert out.endswith("caches: 1, 0.0 MB\n")
    assert command("cache", "list", "--cache", tmp_path / "none")[:2] == (0, "caches: 0, 0.0 MB\n")
    (cache.folder / "manifest.json").write_text("{}")
    assert "damaged manifest" in command("cache", "list", "--cache", tmp_path)[1]


def test_what_is_current_is_kept(tmp_path, cache, root):
    (root / "a").write_text("changed")  # b, of the same shard, is as it was
    assert pruned(tmp_path / "features") == []
    assert len(FeatureCache(tmp_path / "features", ENCODER, root, 2)) == 4


def test_a_shard_without_any_current_image_goes(command, tmp_path, cache, root):
    (root / "a").write_text("changed")
    os.utime(root / "b", ns=(1, 1))
    name = next(entry.name for entry in cache.manifest.shards if entry.failed)
    assert pruned(tmp_path / "features", dry_run=True) == [(name, "its 2 images have changed or are gone")]
    assert len(FeatureCache(tmp_path / "features", ENCODER, root, 2)) == 4
    code, out, _ = command("cache", "prune", "--cache", tmp_path)
    assert (code, out) == (0, f"{cache.folder / name}: its 2 images have changed or are gone\n0.0 MB freed\n")
    left = FeatureCache(tmp_path / "features", ENCODER, root, 2)
    assert (left.find(look_up_files(root, NAMES).ids) >= 0).tolist() == [False, False, True, True]
    assert not (cache.folder / name).exists()
    assert verify_cache(tmp_path / "features") == []


def test_images_that_are_only_out_of_reach_are_not_gone(tmp_path, cache, root):
    root.rename(tmp_path / "disk")
    root.mkdir()  # where the disk is mounted
    assert pruned(tmp_path / "features") == []
    for name in NAMES:
        (root / name).symlink_to(name)  # the system can't look behind: too many levels of links
    assert pruned(tmp_path / "features") == []
    (root / "a").unlink()
    (root / "b").unlink()
    assert [why for _, why in pruned(tmp_path / "features")] == ["its 2 images have changed or are gone"]


def test_a_cache_whose_root_is_gone_goes(tmp_path, cache, root):
    root.rename(tmp_path / "moved")
    assert pruned(tmp_path / "features") == [(cache.folder.name, f"its root {root} is gone")]
    assert not cache.folder.exists()


def test_what_cannot_be_read_goes(tmp_path, cache):
    (cache.folder / "manifest.json").write_text("{}")
    empty = tmp_path / "features" / "0123456789abcdef0123"
    empty.mkdir()
    assert [name for name, _ in pruned(tmp_path / "features")] == sorted([cache.folder.name, empty.name])
    assert list((tmp_path / "features").iterdir()) == []


def test_folders_of_other_names_are_somebody_elses(command, tmp_path, cache):
    mine = tmp_path / "features/train/mine.npy"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    assert pruned(tmp_path / "features") == []
    assert pruned(tmp_path / "features", unwritten_for_days=0) == [(cache.folder.name, "nothing was stored for 0 days")]
    assert mine.read_bytes() == b"mine"
    assert command("cache", "list", "--cache", tmp_path)[1] == "caches: 0, 0.0 MB\n"


def test_a_temporary_file_may_go_while_caches_are_listed(tmp_path, cache, monkeypatch):
    walk = os.walk
    monkeypatch.setattr(
        os, "walk", lambda folder: ((at, within, [*names, "gone"]) for at, within, names in walk(folder))
    )
    (found,) = list_caches(tmp_path / "features")
    assert found.rows == 4


def test_old_caches_go_if_asked_for(tmp_path, cache):
    assert pruned(tmp_path / "features", unwritten_for_days=1) == []
    for file in cache.folder.rglob("*"):
        os.utime(file, (1, 1))
    assert pruned(tmp_path / "features") == []
    found = pruned(tmp_path / "features", unwritten_for_days=1)
    assert found == [(cache.folder.name, "nothing was stored for 1 days")]


def test_what_the_dead_have_left_goes(tmp_path, cache):
    left = [cache.folder / "orphan.safetensors", cache.folder / ".x.tmp"]
    left += [cache.folder / "claims" / name for name in ("x.lock", "x.part", ".x.part.1.tmp")]
    for file in left:
        file.write_bytes(b"left")
    assert {name for name, _ in pruned(tmp_path / "features")} == {file.name for file in left}
    assert not any(file.exists() for file in left)
    assert verify_cache(tmp_path / "features") == []


@pytest.mark.parametrize("held", ["lock", "claims/3f2a.lock"])
def test_a_cache_in_use_is_left_alone(tmp_path, cache, root, held):
    root.rename(tmp_path / "moved")
    with OwnedLock(cache.folder / held, "the feature cache"):
        assert pruned(tmp_path / "features") == []
    assert pruned(tmp_path / "features") != []


def test_wrong_arguments_are_one_line(command, tmp_path):
    with pytest.raises(InputError, match="no such feature cache"):
        prune_caches(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no such feature cache"):
        list_caches(tmp_path / "nowhere")
    code, _, err = command("cache", "prune", "--cache", tmp_path, "--unwritten-for-days", "-1")
    assert (code, err) == (2, "Error: --unwritten-for-days -1: must be 0 or above\n")


def test_a_cache_that_is_somebody_elses_alone_is_one_line(command, tmp_path, cache, root, monkeypatch):
    stat, iterdir = Path.stat, Path.iterdir

    def refused(path: Path, **options: bool) -> os.stat_result:
        if path == cache.folder / "manifest.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refused)
    line = f"{cache.folder / 'manifest.json'}: cannot be read: Permission denied; choose another cache folder"
    with pytest.raises(InputError) as error:
        FeatureCache(tmp_path / "features", ENCODER, root, 2)
    assert str(error.value) == line
    assert verify_cache(tmp_path / "features") == [line]
    assert line in command("cache", "list", "--cache", tmp_path)[1]

    def all_refused(path: Path) -> Iterator[Path]:
        if path == tmp_path / "features":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", all_refused)
    code, _, err = command("cache", "list", "--cache", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "features: cannot be read: Permission denied; choose" in err
