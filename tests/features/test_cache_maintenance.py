"""`dbpt cache list` and `prune`: what there is, and that only what nobody can ask for is deleted."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from folders import files_in
from unprivileged import unprivileged

from dbpt.features import list_caches, prune_caches, verify_cache
from dbpt.features.cache import FeatureCache
from dbpt.features.cache_files import shard_name
from dbpt.features.cache_keys import look_up_files
from dbpt.storage.locks import OwnedLock
from dbpt.storage.tensors import StoredArrays

ENCODER = {"backbone": {"width": 8}, "weights": "abc", "dtype": "float32"}
NAMES = ("a", "b", "c", "d")
CLAIM = f"claims/{7:032x}.lock"


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
        files, reasons = look_up_files(root, names), ["", "bad"[: 3 * failed[1]]]
        made.add(shard_name(files.ids), files, features, np.array(failed, np.uint8), reasons)
    return made


def test_list_tells_encoder_root_rows_and_bytes(command, tmp_path, cache, root):
    (found,) = list_caches(tmp_path / "features")
    assert "images: 4 (1 failed)" in str(found)
    assert found.bytes == sum(file.stat().st_size for file in cache.folder.rglob("*") if file.is_file())
    code, out, _ = command("cache", "list", "--cache", tmp_path)
    assert code == 0
    assert f"  root: {root}\n  backbone.width: 8\n  weights: abc\n  dtype: float32\n  images: 4 (1 failed)\n" in out
    assert out.splitlines()[0].startswith(f"{cache.folder}: 0.0 MB, written ")
    assert out.endswith("caches: 1, 0.0 MB\n")


def test_a_cache_goes_when_its_root_is_gone_and_not_when_its_images_are(tmp_path, cache, root):
    for name in NAMES:
        (root / name).unlink()
    assert pruned(tmp_path / "features") == []
    assert len(FeatureCache(tmp_path / "features", ENCODER, root, 2)) == 4
    root.rename(tmp_path / "moved")
    assert pruned(tmp_path / "features") == [f"its root {root} is gone"]
    assert not cache.folder.exists()


@pytest.mark.parametrize("kind", ["not mounted", "unreadable", "a link to itself"])
def test_a_root_that_is_only_out_of_reach_is_not_gone(tmp_path, kind):
    disk = tmp_path / "disk"
    (disk / "images").mkdir(parents=True)
    (disk / "images/a").write_text("a")
    made = FeatureCache(tmp_path / "features", ENCODER, disk / "images", 2)
    files = look_up_files(disk / "images", ["a"])
    made.add(shard_name(files.ids), files, np.array([[1.0, 0.0]]), np.zeros(1, np.uint8), [""])
    (disk / "images").rename(tmp_path / "elsewhere")
    if kind == "unreadable":
        disk.chmod(0)
    elif kind != "not mounted":
        (disk / "images").symlink_to("images")
    with unprivileged():
        assert pruned(tmp_path / "features") == []
    assert made.folder.exists()


@pytest.mark.parametrize("what", ["shard", "cache", "features"])
@pytest.mark.parametrize("verb", [["prune"], ["verify"], ["list"]])
def test_what_may_not_be_read_is_one_line_and_not_deleted(command, tmp_path, cache, what, verb):
    shard = cache.folder / cache.manifest.shards[0].name
    place = {"shard": shard, "cache": cache.folder, "features": tmp_path / "features"}[what]
    place.chmod(0)
    with unprivileged():
        code, out, err = command("cache", *verb, "--cache", tmp_path)
    place.chmod(0o755)
    assert code in (0, 2)
    assert "Traceback" not in err
    assert err.count("\n") == (code == 2)
    if verb == ["verify"] or what == "features":
        assert (code, "Permission denied" in out + err) == (2, True)
    assert len(FeatureCache(tmp_path / "features", ENCODER, tmp_path / "root", 2)) == 4


@pytest.mark.parametrize("what", ["claims are a link", "cache is a link", "other names"])
def test_locks_that_are_no_claims_are_somebody_elses(tmp_path, cache, what):
    mine, folder = tmp_path / "mine", cache.folder
    claims = mine / "claims" if what == "cache is a link" else mine
    claims.mkdir(parents=True)
    names = ["poetry.lock", "poetry.lock.owner"]
    if what != "other names":
        names += [Path(CLAIM).name, f"{Path(CLAIM).name}.owner"]
    for name in names:
        (claims / name).write_text("precious")
    shutil.rmtree(folder / "claims")
    if what == "claims are a link":
        (folder / "claims").symlink_to(mine)
    elif what == "other names":
        claims = mine.rename(folder / "claims")
    else:
        (mine / "lock").write_text("precious")
        folder.rename(tmp_path / "away")
        folder.symlink_to(mine)
    (tmp_path / "root").rename(tmp_path / "moved")
    prune_caches(tmp_path / "features")
    cache.clear_up()
    assert {file.name for file in claims.iterdir()} == set(names)
    assert cache.folder.exists()
    assert what != "cache is a link" or (mine / "lock").read_text() == "precious"


def test_verify_advises_to_delete_what_is_damaged_and_not_what_is_unreadable(command, tmp_path, cache):
    damaged, unreadable = (cache.folder / entry.name for entry in cache.manifest.shards)
    unreadable.chmod(0)
    with unprivileged():
        _, out, err = command("cache", "verify", "--cache", tmp_path)
    assert out == f"{unreadable}: cannot be read: Permission denied; make it readable\n"
    assert err == f"Error: {tmp_path / 'features'}: problems found: 1; each line says what to do\n"
    damaged.write_bytes(b"")
    with unprivileged():
        out = command("cache", "verify", "--cache", tmp_path)[1].splitlines()[0]
    assert out.startswith(f"{damaged}: ") and "delete it" in out
    damaged.unlink()
    assert "delete it" not in "".join(verify_cache(tmp_path / "features"))


@pytest.mark.parametrize("held", ["lock", CLAIM])
def test_a_cache_in_use_is_left_alone(tmp_path, cache, root, held):
    root.rename(tmp_path / "moved")
    with OwnedLock(cache.folder / held, "the feature cache"):
        assert prune_caches(tmp_path / "features") == []
    assert pruned(tmp_path / "features") != []


def test_wrong_arguments_are_one_line(command, tmp_path):
    code, _, err = command("cache", "prune", "--cache", tmp_path, "--unwritten-for-days", "-1")
    assert (code, err) == (2, "Error: --unwritten-for-days -1: must be 0 or above\n")


@pytest.mark.parametrize("verb", [["list"], ["verify"], ["prune"]])
def test_a_folder_with_other_content_is_no_cache(command, tmp_path, verb):
    (tmp_path / "features.csv").write_text("")
    code, out, err = command("cache", *verb, "--cache", tmp_path)
    way_out = "name the folder that --cache named in dbpt embed or dbpt fit"
    assert (code, out, err) == (2, "", f"Error: --cache {tmp_path}: is not a cache of dbpt; {way_out}\n")
    (tmp_path / "demo").mkdir()
    assert command("cache", *verb, "--cache", tmp_path)[0] == 0


@pytest.fixture
def texts(tmp_path) -> StoredArrays:
    """The features of two lists of sentences, and an unfinished file of a third."""
    found = StoredArrays(tmp_path / "texts")
    for letter in "ab":
        found.put(letter * 64, np.ones((2, 3), np.float32))
    (tmp_path / "texts" / f".{'c' * 64}.safetensors.12345678.tmp").write_bytes(b"half")
    (tmp_path / "texts" / "mine.txt").write_text("precious")
    return found


def test_sentences_are_listed_and_verified(command, tmp_path, texts):
    size = sum(file.stat().st_size for file in texts.files())
    expected = f"{texts.folder}: features of 2 lists of sentences, {size / 1e6:.1f} MB\ncaches: 0, 0.0 MB\n"
    assert command("cache", "list", "--cache", tmp_path)[:2] == (0, expected)
    assert verify_cache(tmp_path / "features") == []
    file = texts.files()[1]
    file.write_bytes(file.read_bytes()[:-1])
    (problem,) = verify_cache(tmp_path / "features")
    assert problem.startswith(f"{file}: not a readable stored array")
    assert problem.endswith("; it is computed again")
    assert command("cache", "verify", "--cache", tmp_path)[0] == 2


def pruned(folder: Path, **options) -> list[str]:
    """The reasons of `prune_caches`, which a dry run gives too, and deletes nothing."""
    before = files_in(folder)
    expected = prune_caches(folder, **options, dry_run=True)
    assert files_in(folder) == before
    assert prune_caches(folder, **options) == expected
    return [line.partition(": ")[2] for line in expected]


@pytest.mark.parametrize("kind", ["unreadable", "damaged", "newer", "none"])
def test_a_manifest_that_cannot_be_read_is_told_and_deletes_nothing(command, tmp_path, cache, kind):
    manifest = cache.folder / "manifest.json"
    {
        "unreadable": lambda: manifest.chmod(0),
        "damaged": lambda: manifest.write_text("{}"),
        "newer": lambda: manifest.write_text('{"schema_version": 99}'),
        "none": manifest.unlink,
    }[kind]()
    with unprivileged():
        assert prune_caches(tmp_path / "features") == []
        code, out, _ = command("cache", "list", "--cache", tmp_path)
    assert code == 0
    shown = {
        "unreadable": "Permission denied",
        "damaged": "not of schema version 3",
        "newer": "version 99",
        "none": "caches: 0",
    }
    assert shown[kind] in out
    assert len(list(cache.folder.glob("*.safetensors"))) == 2


def test_old_caches_go_if_asked_for_and_nothing_that_is_none(command, tmp_path, cache):
    """Neither folders of other names nor a link to one."""
    folders, mine = tmp_path / "features", tmp_path / "mine"
    precious = [folders / "train/mine.npy", mine / f"{0:032x}.safetensors"]
    for file in precious:
        file.parent.mkdir()
        file.write_text("precious")
    (folders / "0123456789abcdef0123").symlink_to(mine)
    assert pruned(folders) == pruned(folders, unwritten_for_days=1) == []
    for file in cache.folder.rglob("*"):
        os.utime(file, (1, 1))
    assert pruned(folders) == []
    assert pruned(folders, unwritten_for_days=1) == ["nothing was stored for 1 days"]
    assert [file.read_text() for file in precious] == ["precious"] * 2
    assert not cache.folder.exists()


def test_a_file_of_somebody_else_in_a_cache_stays_and_the_cache_is_not_listed(command, tmp_path, cache, root):
    mine = [cache.folder / name for name in ("notes.txt", "claims/mine.txt")]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("precious")
    for file in cache.folder.rglob("*"):
        os.utime(file, (1, 1))
    code, out, _ = command("cache", "prune", "--cache", tmp_path, "--unwritten-for-days", "0")
    assert (code, out) == (0, f"{cache.folder}: nothing was stored for 0 days\ndeleted: 1\n")
    assert [file for file in cache.folder.rglob("*") if file.is_file()] == mine
    assert command("cache", "list", "--cache", tmp_path)[1] == "caches: 0, 0.0 MB\n"
    again = FeatureCache(tmp_path / "features", ENCODER, root, 2)
    assert len(again) == 0 and mine[0].read_text() == "precious"


@pytest.mark.parametrize("verb", ["list", "verify", "prune"])
def test_where_there_is_no_cache_there_is_no_error_unless_its_folder_is_misspelt(command, refusal, tmp_path, verb):
    assert refusal("cache", verb, "--cache", tmp_path / "chace").startswith(f"--cache {tmp_path / 'chace'}: does not")
    expected = {"list": "caches: 0, 0.0 MB", "verify": f"{tmp_path}/features: there is no cache", "prune": "deleted: 0"}
    assert command("cache", verb, "--cache", tmp_path) == (0, f"{expected[verb]}\n", "")


def test_old_sentences_go_if_asked_for_and_nothing_else(tmp_path, texts):
    old, young = texts.files()
    os.utime(old, (0, 0))
    assert prune_caches(tmp_path / "features") == []
    line = f"{old}: stored over 9 days ago"
    assert prune_caches(tmp_path / "features", unwritten_for_days=9, dry_run=True) == [line]
    assert old.exists()
    assert prune_caches(tmp_path / "features", unwritten_for_days=9) == [line]
    assert texts.files() == [young]
