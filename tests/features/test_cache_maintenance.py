"""`dbpt cache list` and `prune`: what there is, and that only what nobody can ask for is deleted."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from unprivileged import unprivileged

from dbpt.errors import InputError
from dbpt.features import list_caches, prune_caches, verify_cache
from dbpt.features.cache import FeatureCache
from dbpt.features.cache_files import shard_name
from dbpt.features.file_rows import look_up_files
from dbpt.files.lock import OwnedLock
from dbpt.files.stored_arrays import StoredArrays

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


def pruned(folder: Path, **options) -> list[tuple[str, str]]:
    return [(found.path.name, found.why) for found in prune_caches(folder, **options)[0]]


def test_list_tells_encoder_root_rows_and_bytes(command, tmp_path, cache, root):
    (found,) = list_caches(tmp_path / "features")
    assert "images: 4 (1 failed)" in str(found)
    assert found.bytes == sum(file.stat().st_size for file in cache.folder.rglob("*") if file.is_file())
    code, out, _ = command("cache", "list", "--cache", tmp_path)
    assert code == 0
    assert f"  root: {root}\n  backbone.width: 8\n  weights: abc\n  dtype: float32\n  images: 4 (1 failed)\n" in out
    assert out.splitlines()[0].startswith(f"{cache.folder}: 0.0 MB, written ")
    assert out.endswith("caches: 1, 0.0 MB\n")
    assert command("cache", "list", "--cache", tmp_path / "none")[:2] == (0, "caches: 0, 0.0 MB\n")
    (cache.folder / "manifest.json").write_text("{}")
    assert "damaged manifest" in command("cache", "list", "--cache", tmp_path)[1]


def test_a_cache_goes_when_its_root_is_gone_and_not_when_its_images_are(tmp_path, cache, root):
    for name in NAMES:
        (root / name).unlink()
    assert pruned(tmp_path / "features") == []
    assert len(FeatureCache(tmp_path / "features", ENCODER, root, 2)) == 4
    root.rename(tmp_path / "moved")
    assert pruned(tmp_path / "features") == [(cache.folder.name, f"its root {root} is gone")]
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


@pytest.mark.parametrize("kind", ["unreadable", "damaged", "newer", "none"])
def test_a_manifest_that_cannot_be_read_deletes_nothing(command, tmp_path, cache, root, kind):
    manifest, before = cache.folder / "manifest.json", bytes_of(cache.folder)
    {
        "unreadable": lambda: manifest.chmod(0),
        "damaged": lambda: manifest.write_text("{}"),
        "newer": lambda: manifest.write_text('{"schema_version": 99}'),
        "none": manifest.unlink,
    }[kind]()
    with unprivileged():
        assert pruned(tmp_path / "features") == []
        assert command("cache", "prune", "--cache", tmp_path)[:2] == (0, "0.0 MB freed\n")
        code, out, _ = command("cache", "list", "--cache", tmp_path)
    assert code == 0
    assert {"unreadable": "Permission denied", "newer": "version 99"}.get(kind, "manifest") in out
    manifest.unlink(missing_ok=True)
    assert bytes_of(cache.folder) == {name: text for name, text in before.items() if name != "manifest.json"}


def test_a_cache_of_an_older_version_goes(tmp_path, cache):
    (cache.folder / "manifest.json").write_text('{"schema_version": 1}')
    ((name, why),) = pruned(tmp_path / "features")
    assert name == cache.folder.name
    assert "schema version 1, this version reads" in why
    assert not cache.folder.exists()


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("what", ["shard", "cache", "features"])
@pytest.mark.parametrize("verb", [["prune", "--dry-run"], ["prune"], ["verify"], ["list"]])
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


def test_a_dry_run_writes_nothing(tmp_path, cache, root):
    for file in (cache.folder / "lock", cache.folder / CLAIM, cache.folder / ".x.tmp"):
        file.write_text("left")
    root.rename(tmp_path / "moved")
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert pruned(tmp_path / "features", dry_run=True) == [(cache.folder.name, f"its root {root} is gone")]
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("name", ["lock", CLAIM, f"{CLAIM}.owner"])
def test_a_link_in_a_lock_s_place_is_not_followed(tmp_path, cache, name):
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (cache.folder / name).symlink_to(mine)
    with contextlib.suppress(InputError):
        prune_caches(tmp_path / "features", dry_run=True)
    with contextlib.suppress(InputError):
        prune_caches(tmp_path / "features")
    assert mine.read_text() == "precious"


def test_copies_of_data_sets_that_were_begun_go_unless_somebody_writes_them(command, tmp_path, cache):
    begun = [tmp_path / f"datasets/.{9:032x}.abcd_0z9.partial", tmp_path / "demo/.demo-celeba-1.0.abcd_0z9.partial"]
    for folder in begun:
        folder.mkdir(parents=True)
        for name in ("lock", "rows"):
            (folder / name).write_text("half")
    whole = tmp_path / "datasets/0123"
    whole.mkdir()
    with OwnedLock(begun[0] / "lock", "the copy"):
        assert pruned(tmp_path / "features") == [(begun[1].name, "an unfinished copy of a data set")]
    (begun[0] / "lock").write_text("as a process leaves it that is killed")
    code, out, _ = command("cache", "prune", "--cache", tmp_path)
    assert (code, out.splitlines()[0]) == (0, f"{begun[0]}: an unfinished copy of a data set")
    assert [folder.exists() for folder in (*begun, whole)] == [False, False, True]


@pytest.mark.parametrize("place", ["datasets", "demo"])
def test_hidden_folders_that_no_copy_is_in_are_somebody_elses(tmp_path, cache, place):
    names = [".git", ".venv", ".venv.abcdefgh.partial", ".mine.7.partial", f".{9:032x}.ABC", f".{9:032x}.abcdefgh"]
    without_lock = [f".{9:032x}.abcdefgh.partial", ".demo-celeba-1.0.abcdefgh.partial"]
    for name in (*names, *without_lock):
        folder = tmp_path / place / name
        folder.mkdir(parents=True)
        (folder / "config").write_text("precious")
        (folder / "lock").symlink_to("config") if name in without_lock else (folder / "lock").touch()
    assert pruned(tmp_path / "features", dry_run=True) == pruned(tmp_path / "features") == []
    assert len(list((tmp_path / place).glob("*/config"))) == len(names) + len(without_lock)


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
    assert pruned(tmp_path / "features", dry_run=True) == pruned(tmp_path / "features") == []
    cache.clear_up()
    assert {file.name for file in claims.iterdir()} == set(names)
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
    assert (out.startswith(f"{damaged}: "), out.endswith("; delete it, its images are embedded again")) == (True, True)
    damaged.unlink()
    assert "delete it" not in "".join(verify_cache(tmp_path / "features"))


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
    assert pruned(folders, unwritten_for_days=1) == [(cache.folder.name, "nothing was stored for 1 days")]
    assert [file.read_text() for file in precious] == ["precious"] * 2
    assert command("cache", "list", "--cache", tmp_path)[1] == "caches: 0, 0.0 MB\n"


def test_a_file_of_somebody_else_in_a_cache_stays(tmp_path, cache, root):
    mine = [cache.folder / name for name in ("notes.txt", "claims/mine.txt")]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("precious")
    for file in cache.folder.rglob("*"):
        os.utime(file, (1, 1))
    why = "nothing was stored for 0 days; 'notes.txt' stays, which dbpt has not written"
    assert pruned(tmp_path / "features", unwritten_for_days=0, dry_run=True) == [(cache.folder.name, why)]
    assert pruned(tmp_path / "features", unwritten_for_days=0) == [(cache.folder.name, why)]
    assert [file for file in cache.folder.rglob("*") if file.is_file()] == mine
    assert pruned(tmp_path / "features", unwritten_for_days=0) == []
    again = FeatureCache(tmp_path / "features", ENCODER, root, 2)
    assert len(again) == 0 and mine[0].read_text() == "precious"


def test_a_temporary_file_may_go_while_caches_are_listed(tmp_path, cache, monkeypatch):
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top: ((at, within, [*names, "gone"]) for at, within, names in walk(top)))
    (found,) = list_caches(tmp_path / "features")
    assert "images: 4 (" in str(found)


def test_what_the_dead_have_left_goes(tmp_path, cache):
    left = [cache.folder / name for name in (f"{0:032x}.safetensors", ".x.tmp", f"{CLAIM}.owner")]
    for file in left:
        file.write_bytes(b"left")
    assert {name for name, _ in pruned(tmp_path / "features", dry_run=True)} == {file.name for file in left}
    assert {name for name, _ in pruned(tmp_path / "features")} == {file.name for file in left}
    assert not any(file.exists() for file in left)
    assert verify_cache(tmp_path / "features") == []


@pytest.mark.parametrize("held", ["lock", CLAIM])
def test_a_cache_in_use_is_left_alone(tmp_path, cache, root, held):
    root.rename(tmp_path / "moved")
    with OwnedLock(cache.folder / held, "the feature cache"):
        assert pruned(tmp_path / "features") == []
    assert pruned(tmp_path / "features") != []


@pytest.mark.parametrize("verb", [["list"], ["verify"], ["prune", "--dry-run"], ["prune"]])
def test_folders_too_deep_for_recursion_are_one_line(command, tmp_path, cache, root, verb):
    root.rename(tmp_path / "moved")
    folder = os.open(cache.folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=folder)
        outer, folder = folder, os.open("a", os.O_RDONLY, dir_fd=folder)
        os.close(outer)
    os.close(folder)
    code, _, err = command("cache", *verb, "--cache", tmp_path)
    assert code == 0 or (code, verb) == (2, ["prune"])
    assert err.count("\n") == (code == 2)
    subprocess.run(["rm", "-rf", cache.folder], check=True)  # pytest's own way recurses, too


def test_wrong_arguments_are_one_line(command, tmp_path):
    code, _, err = command("cache", "prune", "--cache", tmp_path, "--unwritten-for-days", "-1")
    assert (code, err) == (2, "Error: --unwritten-for-days -1: must be 0 or above\n")


@pytest.mark.parametrize("verb", [["verify"], ["prune", "--dry-run"], ["prune"]])
def test_where_there_is_no_cache_there_is_no_error(command, tmp_path, verb):
    code, out, err = command("cache", *verb, "--cache", tmp_path)
    assert (code, out.splitlines()[0], err) == (0, f"{tmp_path}/features: there is no cache", "")
    assert list_caches(tmp_path / "features") == verify_cache(tmp_path / "features") == []


@pytest.mark.parametrize("verb", [["list"], ["verify"], ["prune"]])
def test_a_folder_with_other_content_is_no_cache(command, tmp_path, verb):
    (tmp_path / "features.csv").write_text("")
    code, out, err = command("cache", *verb, "--cache", tmp_path)
    way_out = "name the folder that --cache named in dbpt embed or dbpt fit"
    assert (code, out, err) == (2, "", f"Error: --cache {tmp_path}: is not a cache of dbpt; {way_out}\n")
    (tmp_path / "demo").mkdir()
    assert command("cache", *verb, "--cache", tmp_path)[0] == 0


@pytest.mark.parametrize("verb", [["verify"], ["prune", "--dry-run"], ["prune"]])
def test_a_bad_lock_is_told_and_the_other_caches_are_still_done(command, tmp_path, cache, root, verb):
    other = tmp_path / "features" / "00000000000000000000"
    other.mkdir()
    (other / "lock").symlink_to(tmp_path / "mine")
    root.rename(tmp_path / "moved")
    code, out, err = command("cache", *verb, "--cache", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{other}/lock: not a regular file" in out
    if verb[0] == "prune":
        _, (problem,) = prune_caches(tmp_path / "features", dry_run=True)
        assert problem in out
        assert f"{cache.folder}: its root {root} is gone" in out
    assert cache.folder.exists() == (verb != ["prune"])
    assert other.exists()


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


def test_sentences_are_pruned_by_age_and_nothing_else_is(tmp_path, texts):
    old, young = texts.files()
    (unfinished,) = texts.unfinished()
    os.utime(old, (0, 0))
    assert pruned(tmp_path / "features") == []  # the unfinished file may be another process's
    os.utime(unfinished, (0, 0))
    found = [(old.name, "features of sentences, stored over 9 days ago")]
    found += [(unfinished.name, "left by a process that was stopped")]
    assert pruned(tmp_path / "features", unwritten_for_days=9, dry_run=True) == found
    assert old.exists()
    assert pruned(tmp_path / "features", unwritten_for_days=9) == found
    assert sorted(file.name for file in texts.folder.iterdir()) == [young.name, "mine.txt"]
