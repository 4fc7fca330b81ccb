"""Embedding images: equality with open_clip, what is computed again, bad images, interruptions."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import files_in
from PIL import Image
from small_images import CONFIG, noise

from dbpt.clip import Backbone, load_backbone
from dbpt.errors import InputError, NotFinite
from dbpt.features import cache_files, embed_images, verify_cache
from dbpt.features import embedding as embedding_pass
from dbpt.features.cache_keys import FileRows, ids_of


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    path = tmp_path_factory.mktemp("model") / "tiny.json"
    path.write_text(json.dumps(CONFIG))
    return load_backbone(path, "random")


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def paths(root) -> list[str]:
    (root / "images").mkdir(parents=True)
    names = [f"images/{i:03d}.{'jpg' if i % 2 else 'png'}" for i in range(21)]
    for i, name in enumerate(names):
        noise(40 + i % 3, 30, i).save(root / name)
    return names


def run(backbone: Backbone, root: Path, paths: list[str], **kwargs):
    kwargs = {"cache_dir": root.parent / "cache", "batch_size": 4} | kwargs
    return embed_images(backbone, root, paths, **kwargs)


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_features_are_those_of_open_clips_own_pipeline(backbone, root, paths):
    result = run(backbone, root, paths)
    pixels = torch.stack([backbone.preprocess(Image.open(root / path)) for path in paths])
    with torch.no_grad():
        expected = backbone.model.encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(result.features, expected, atol=3e-6)
    assert result.features.dtype == np.float32
    assert result.ok.all()
    assert result.failures == ()
    assert result.recomputed == 21


def test_warm_and_cold_runs_give_the_same_bytes_and_compute_nothing(backbone, root, paths, monkeypatch):
    cold = run(backbone, root, paths)
    other = run(backbone, root, paths, cache_dir=root.parent / "other", num_workers=3)
    np.testing.assert_array_equal(cold.features, other.features)
    backwards = run(backbone, root, paths[::-1], cache_dir=root.parent / "backwards")
    np.testing.assert_array_equal(cold.features, backwards.features[::-1])
    monkeypatch.setattr(Backbone, "encode_image", None)
    warm = run(backbone, root, paths, batch_size=5)
    assert warm.recomputed == 0
    np.testing.assert_array_equal(cold.features, warm.features)
    assert verify_cache(root.parent / "cache") == []


def test_rows_follow_the_list_with_repeats_and_reordering(backbone, root, paths):
    features = run(backbone, root, paths).features
    order = [3, 3, 0, 20, 7]
    again = run(backbone, root, [paths[i] for i in order])
    assert again.recomputed == 0
    np.testing.assert_array_equal(again.features, features[order])
    repeated = run(backbone, root, [paths[0]] * 5, cache_dir=root.parent / "other")
    assert repeated.recomputed == 1
    assert len(run(backbone, root, []).features) == 0


def test_grown_and_changed_lists_compute_only_what_they_must(backbone, root, paths):
    before = run(backbone, root, paths[:15])
    grown = run(backbone, root, paths)
    assert grown.recomputed == 6
    np.testing.assert_array_equal(grown.features[:15], before.features)
    noise(50, 50, 99).save(root / paths[2])
    changed = run(backbone, root, paths)
    assert changed.recomputed == 1
    assert not np.array_equal(changed.features[2], grown.features[2])
    np.testing.assert_array_equal(np.delete(changed.features, 2, 0), np.delete(grown.features, 2, 0))
    os.utime(root / paths[3], ns=(1, 1))
    assert run(backbone, root, paths).recomputed == 1


def test_bad_images_are_rows_of_the_ledger_and_shift_nothing(backbone, root, paths):
    good = run(backbone, root, paths, cache_dir=root.parent / "good").features
    truncate(root / paths[1])
    (root / paths[5]).write_bytes(b"")
    (root / paths[9]).write_text("<html><body>404</body></html>")
    (root / paths[12]).unlink()
    (root / "images/folder.jpg").mkdir()
    asked = [*paths, "images/folder.jpg", paths[9], "nul\0byte.jpg"]
    result = run(backbone, root, asked, max_failures=0.5)
    reasons = {failure.row: failure.reason for failure in result.failures}
    assert list(reasons) == [1, 5, 9, 12, 21, 22, 23]
    assert "truncated" in reasons[1]
    assert reasons[5] == "the file is empty"
    assert "not a JPEG, PNG, WebP, BMP, GIF or TIFF" in reasons[9]
    assert "<html" in reasons[9]
    assert reasons[12] == "No such file or directory"
    assert reasons[21] == "not a regular file"
    assert result.failures[0].path == paths[1]
    assert result.ok.sum() + len(result.failures) == len(asked)
    assert not result.features[~result.ok].any()
    np.testing.assert_array_equal(result.features[:21][result.ok[:21]], good[result.ok[:21]])


def test_failed_images_are_tried_again_only_when_they_change(backbone, root, paths):
    whole = (root / paths[1]).read_bytes()
    truncate(root / paths[1])
    assert run(backbone, root, paths, max_failures=0.1).recomputed == 21
    again = run(backbone, root, paths, max_failures=0.1)
    assert again.recomputed == 0
    assert "truncated" in again.failures[0].reason
    (root / paths[1]).write_bytes(whole)
    mended = run(backbone, root, paths)
    assert mended.recomputed == 1
    assert mended.ok.all()


def test_missing_files_count_before_anything_is_computed(backbone, root, paths, monkeypatch):
    monkeypatch.setattr(Backbone, "encode_image", None)
    with pytest.raises(InputError, match=r"1 of 22 .*nowhere\.jpg: No such file"):
        run(backbone, root, [*paths, "nowhere.jpg"])


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"num_workers": 0}, {"max_failures": -1}, {"max_failures": 2}])
def test_wrong_arguments_are_named(backbone, root, paths, wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is "):
        run(backbone, root, paths, **wrong)
    with pytest.raises(InputError, match=r"^backbone is 'tiny\.json'; expected .* dbpt\.load_backbone returns"):
        run("tiny.json", root, paths)


def test_a_file_that_changes_under_the_reader_is_a_failure_that_is_tried_again(backbone, root, paths, monkeypatch):
    look_up = embedding_pass.look_up_files

    def of_another_time(root, paths):
        sizes, times = look_up(root, paths).sizes, np.full(len(paths), 5)
        return FileRows(paths, sizes, times, ids_of(paths, sizes, times), {})

    with monkeypatch.context() as patch:
        patch.setattr(embedding_pass, "look_up_files", of_another_time)
        for _ in range(2):
            result = run(backbone, root, paths[:1], max_failures=1)
            assert result.failures[0].reason == "changed while it was being read"
            assert result.recomputed == 1
    assert run(backbone, root, paths[:1]).ok.all()


def test_shards_are_of_whole_batches(backbone, root, paths, monkeypatch):
    monkeypatch.setattr(cache_files, "LEAST_SHARD_ROWS", 7)
    run(backbone, root, paths)
    (manifest,) = (root.parent / "cache").glob("*/manifest.json")
    assert sorted(shard["rows"] for shard in json.loads(manifest.read_text())["shards"]) == [5, 8, 8]


def test_shards_of_long_lists_are_larger_up_to_what_fits_into_memory():
    sizes = {n: cache_files.shard_rows(n, 128) for n in (1, 10**6, 10**7, 10**9)}
    assert sizes == {1: 512, 10**6: 1024, 10**7: 16384, 10**9: 16384}
    assert cache_files.shard_rows(10, 100) == 600


def test_a_batch_is_no_larger_than_the_list(backbone, root, paths, monkeypatch):
    encode, shapes = Backbone.encode_image, []
    monkeypatch.setattr(
        Backbone, "encode_image", lambda self, batch: (shapes.append(len(batch)), encode(self, batch))[1]
    )
    run(backbone, root, paths, batch_size=4096)
    assert shapes == [21]


def test_an_image_with_nan_features_is_named(backbone, root, paths, monkeypatch):
    def damaged(self, batch):
        raise NotFinite("the image tower gives NaN", 3)

    monkeypatch.setattr(Backbone, "encode_image", damaged)
    with pytest.raises(InputError, match=f"{root / paths[3]}: the image tower gives NaN"):
        run(backbone, root, paths)


def test_interrupted_runs_keep_their_shards(backbone, root, paths, monkeypatch):
    monkeypatch.setattr(cache_files, "LEAST_SHARD_ROWS", 4)
    expected = run(backbone, root, paths, cache_dir=root.parent / "whole").features
    encode, calls = Backbone.encode_image, iter(range(100))

    def interrupted(self, batch):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Backbone, "encode_image", interrupted)
        run(backbone, root, paths)
    result = run(backbone, root, paths)
    assert result.recomputed == 21 - 12
    np.testing.assert_array_equal(result.features, expected)
    assert files_in(root.parent / "cache") == files_in(root.parent / "whole")
