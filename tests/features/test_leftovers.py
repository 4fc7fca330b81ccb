"""The files that a killed process leaves in a feature cache are removed, and disturb nobody until then."""

import os
from pathlib import Path

import pytest
from test_cache import add, opened, rows, values

import dbpt
from dbpt import embed_images
from dbpt.errors import InputError
from dbpt.features.cache import FeatureCache
from dbpt.storage.locks import OwnedLock


@pytest.fixture
def cache(tmp_path) -> FeatureCache:
    """With one shard; its owner died after the manifest was written, another one long before."""
    cache = opened(tmp_path / "cache")
    add(cache, rows("a"), values(1))
    leave(cache.folder, Path(cache.manifest.shards[0].name).stem)
    leave(cache.folder, "0" * 32)
    return cache


def leave(folder: Path, stem: str) -> None:
    """Leave the locks of a process that was killed while it stored a shard."""
    for name in (f"claims/{stem}.lock", f"claims/{stem}.lock.owner", "lock", "lock.owner"):
        (folder / name).write_text("process 7 of somebody")


def test_what_somebody_holds_stays(cache):
    stem = Path(cache.manifest.shards[0].name).stem
    claim, lock = OwnedLock(cache.folder / "claims" / f"{stem}.lock", "it"), OwnedLock(cache.folder / "lock", "it")
    with claim, lock:
        opened(cache.folder.parent).clear_up()
        left = {path.name for path in cache.folder.rglob("*lock*")}
        assert left == {f"{stem}.lock", f"{stem}.lock.owner", "lock", "lock.owner"}
        assert str(os.getpid()) in (cache.folder / "lock.owner").read_text()


def test_embedding_clears_up_even_if_all_images_are_there(tiny, tiny_backbone, tmp_path):
    settings = {name: tiny.settings[name] for name in ("model", "pretrained", "embed_batch_size")}
    folder = dbpt.embed(tiny.table, cache=tmp_path, **settings).folder
    stem = Path(next(folder.glob("*.safetensors"))).stem
    paths = [row["path"] for row in tiny.rows()]
    for again in (
        lambda: dbpt.embed(tiny.table, cache=tmp_path, **settings).recomputed,
        lambda: embed_images(tiny_backbone, tiny.table.parent, paths, cache_dir=tmp_path / "features").recomputed,
    ):
        leave(folder, stem)
        assert again() == 0
        assert list(folder.rglob("*lock*")) == []


def test_a_users_own_files_are_no_leftovers(tmp_path):
    """Even where somebody has led the cache's folder to them."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "model.safetensors").write_bytes(b"precious")
    cache = opened(tmp_path / "cache")
    cache.folder.parent.mkdir()
    cache.folder.symlink_to(mine)
    with pytest.raises(InputError, match="it is a symbolic link"):
        add(cache, rows("a"), values(1))
    assert (mine / "model.safetensors").read_bytes() == b"precious"
    cache.folder.unlink()
    add(opened(tmp_path / "cache"), rows("a"), values(1))
    (cache.folder / "model.safetensors").write_bytes(b"precious")
    add(opened(tmp_path / "cache"), rows("b"), values(1))
    assert (cache.folder / "model.safetensors").read_bytes() == b"precious"
