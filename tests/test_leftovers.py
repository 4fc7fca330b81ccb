"""What a process that died has left in a feature cache is taken away, and is in nobody's way until then."""

import os
import shutil
from pathlib import Path

import pytest
from test_cache import add, opened, rows, values

import dbpt
from dbpt import embed_images
from dbpt.errors import InputError
from dbpt.features import cache as cache_module
from dbpt.features import owned_lock
from dbpt.features.cache import FeatureCache
from dbpt.features.known_encoders import KnownEncoder, remember_encoder
from dbpt.features.owned_lock import OwnedLock


@pytest.fixture
def cache(tmp_path) -> FeatureCache:
    """With one shard; its owner died after the manifest was written, another one long before."""
    cache = opened(tmp_path / "cache")
    add(cache, rows("a"), values(1))
    leave(cache.folder, Path(cache.manifest.shards[0].name).stem)
    leave(cache.folder, "0" * 32)
    return cache


def leave(folder: Path, stem: str) -> None:
    """What a process has when it is killed while it stores a shard, and had been in saving a part of it before."""
    for name in (f"claims/{stem}.lock", f"claims/{stem}.part", f"claims/.{stem}.part.abc.tmp", "lock"):
        (folder / name).write_text("process 7 of somebody")


def claims(cache: FeatureCache) -> set[str]:
    return {path.name for path in (cache.folder / "claims").iterdir()}


UNFINISHED = {f"{'0' * 32}.lock", f"{'0' * 32}.part", f".{'0' * 32}.part.abc.tmp"}


def test_claims_of_whole_shards_are_cleared_up(cache):
    cache.clear_up()
    assert claims(cache) == UNFINISHED
    assert (cache.folder / "lock").read_bytes() == b""


@pytest.mark.parametrize("only", ["part", "lock", "tmp"])
def test_so_is_each_part_of_them_alone(cache, only):
    for path in (cache.folder / "claims").iterdir():
        if not path.name.endswith(only):
            path.unlink()
    cache.clear_up()
    assert claims(cache) == {name for name in UNFINISHED if name.endswith(only)}


def test_what_somebody_holds_stays(cache):
    before, name = claims(cache), Path(cache.manifest.shards[0].name).stem
    claim, lock = OwnedLock(cache.folder / "claims" / f"{name}.lock", "it"), OwnedLock(cache.folder / "lock", "it")
    with claim, lock:
        opened(cache.folder.parent).clear_up()
        assert claims(cache) == before
        assert str(os.getpid()) in (cache.folder / "lock").read_text()


def test_where_nothing_is_left_nothing_is_written(tmp_path, monkeypatch):
    cache = opened(tmp_path)
    add(cache, rows("a"), values(1))
    monkeypatch.setattr(OwnedLock, "take", lambda lock: pytest.fail("a lock is taken"))
    cache.clear_up()
    opened(tmp_path / "none").clear_up()


def test_what_cannot_be_cleared_up_stays(cache, monkeypatch):
    before = claims(cache)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    cache.clear_up()
    assert claims(cache) == before


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
        assert list((folder / "claims").iterdir()) == []
        assert (folder / "lock").read_bytes() == b""


def test_one_that_cannot_be_deleted_stops_nobody(tmp_path, monkeypatch):
    cache, real = opened(tmp_path), Path.unlink
    cache.prepare_folder()
    orphan = cache.folder / "orphan.safetensors"
    orphan.write_bytes(b"half")

    def refuse(path, **options):
        if path == orphan:
            raise PermissionError(13, "Permission denied")
        real(path, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    add(cache, rows("a"), values(1))
    assert orphan.exists()
    assert len(opened(tmp_path)) == 1


def test_a_cache_deleted_while_it_stores_is_told(tmp_path, monkeypatch):
    cache, real = opened(tmp_path), cache_module.file_sha256
    monkeypatch.setattr(cache_module, "file_sha256", lambda file: (shutil.rmtree(cache.folder), real(file))[1])
    with pytest.raises(InputError, match="cannot read back what was written: No such file or directory; start again"):
        add(cache, rows("a"), values(1))


def test_a_list_of_encoders_that_was_never_finished_is_deleted(tmp_path):
    (tmp_path / ".encoders.json.abc.tmp").write_text("half")
    remember_encoder(tmp_path, "ViT-B-32", None, "float32", KnownEncoder({}, 4))
    assert [path.name for path in tmp_path.iterdir()] == ["encoders.json"]


def test_a_lock_that_is_refused_to_the_last_is_told_in_one_line(tmp_path, monkeypatch):
    real = os.close

    def refuse(descriptor):
        real(descriptor)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("dbpt.features.owned_lock._lock", lambda _: refuse(os.open(os.devnull, os.O_RDONLY)))
    monkeypatch.setattr(os, "close", refuse)
    with pytest.raises(InputError, match="cannot lock it: Input/output error; choose another folder"):
        OwnedLock(tmp_path / "lock", "it").take()


def test_a_lock_whose_file_was_removed_before_it_was_locked_is_not_taken(tmp_path, monkeypatch):
    """Else two would have it: the other one that of the next file of this name."""
    lock, real = OwnedLock(tmp_path / "lock", "it"), owned_lock._lock

    def removed_meanwhile(descriptor):
        lock.file.unlink()
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(owned_lock, "_lock", removed_meanwhile)
        assert not lock.take()
    assert not lock.file.exists()
    with lock, OwnedLock(tmp_path / "other", "another"):
        assert not OwnedLock(lock.file, "it").take()
