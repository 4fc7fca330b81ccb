"""`dbpt.read_features`: some rows of a feature cache."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import dbpt
from dbpt.errors import InputError
from dbpt.features import cache_files, embed_images
from dbpt.features.cache_files import read_manifest


@pytest.fixture(scope="module")
def embedded(tiny, tiny_backbone, tmp_path_factory):
    """A cache of several shards with an unreadable image, its paths, and all features."""
    root, patch = tmp_path_factory.mktemp("images"), pytest.MonkeyPatch()
    for path in tiny.images(20):
        shutil.copy(path, root / path.name)
    (root / "broken.png").write_text("no image")
    for name in ("LEAST_SHARD_ROWS", "MOST_SHARD_ROWS"):
        patch.setattr(cache_files, name, 8)
    paths = sorted(path.name for path in root.iterdir())
    whole = embed_images(tiny_backbone, root, paths, cache_dir=root / "cache", batch_size=4, max_failures=0.1)
    patch.undo()
    (folder,) = (root / "cache").iterdir()
    assert len(read_manifest(folder).shards) == 3
    return folder, paths, whole.features


def test_paths_and_row_numbers_give_the_features(embedded):
    folder, paths, whole = embedded
    good = [number for number, path in enumerate(paths) if path != "broken.png"]
    order = np.random.default_rng(0).permutation(good)[:9]
    found = dbpt.read_features(folder, [paths[number] for number in order])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, whole[order])
    np.testing.assert_array_equal(dbpt.read_features(str(folder), np.array(paths)[order]), whole[order])
    rows = [row for row in range(len(paths)) if not is_refused(folder, row)]
    by_number = dbpt.read_features(folder, np.array(rows, np.uint16))
    assert len(rows) == len(good) and {row.tobytes() for row in by_number} == {
        whole[number].tobytes() for number in good
    }
    assert dbpt.read_features(folder, []).shape == (0, whole.shape[1])


def is_refused(folder: Path, row: int) -> bool:
    try:
        dbpt.read_features(folder, [row])
    except InputError as error:
        assert f"rows: {row} has no features, its image could not be read" in str(error)
        return True
    return False


def test_it_reads_no_other_shard(embedded, tmp_path, monkeypatch):
    folder, read = embedded[0], []
    monkeypatch.setattr("dbpt.features.cache.file_sha256", lambda *_, **__: pytest.fail("a whole shard is read"))
    monkeypatch.setattr("dbpt.features.cache_files.map_tensor", note_calls(read))
    first = read_manifest(folder).shards[0].rows
    dbpt.read_features(folder, [first + 1])
    assert len(read) == 1


def note_calls(read: list[Path]):
    from dbpt.features.cache_files import map_tensor

    def noted(file, *arguments, **options):
        read.append(file)
        return map_tensor(file, *arguments, **options)

    return noted


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([0, 99], r"rows: 99 is not in .*; it has 20 rows; embed"),
        ([-1], r"rows: -1 is not in .*; it has 20 rows; embed"),
        (["nowhere.png"], r"rows: 'nowhere.png' is not in .*; it has 20 rows; embed other images first, with"),
        (["broken.png"], r"rows: 'broken.png' has no features, its image could not be read: .*; leave it out$"),
        ([0.5], r"rows: found \[0.5\]; expected a list of paths, or of row numbers$"),
        ([[1], [2, 3]], "rows: found .*; expected"),
        ([True], r"rows: found \[True\]; expected"),
        (7, "rows: found 7; expected"),
        ("0001.png", "rows: found '0001.png'; expected"),
    ],
)
def test_bad_rows_get_one_line(embedded, rows, expected):
    with pytest.raises(InputError, match=expected):
        dbpt.read_features(embedded[0], rows)


def test_bad_folders_get_one_line(embedded, tmp_path):
    with pytest.raises(InputError, match="not a feature cache .no manifest.json.; give one of the folders"):
        dbpt.read_features(tmp_path, [0])
    renamed = shutil.copytree(embedded[0], tmp_path / "renamed")
    with pytest.raises(InputError, match="was renamed, or manifest.json changed; its name is [0-9a-f]{20}"):
        dbpt.read_features(renamed, [0])
    torn = shutil.copytree(embedded[0], tmp_path / embedded[0].name)
    for shard in torn.glob("*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match="rows: 0 is not in"):
        dbpt.read_features(torn, [0])
