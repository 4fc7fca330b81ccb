"""`dbpt embed`: the features that it computes, and the lines that it prints."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from small_images import CONFIG, TOWER, noise, write_images, write_list
from unprivileged import unprivileged

import dbpt
from dbpt.errors import InputError
from dbpt.features import verify_cache
from dbpt.features.embedding import EmbeddedFiles

COUNT = 9


@pytest.fixture
def task(tmp_path) -> Path:
    """A folder with ``list.csv``, its images, and ``tiny.json``."""
    return write_images(tmp_path, COUNT)


def arguments(task: Path, *more: object) -> list[object]:
    model = ["--model", task / "tiny.json", "--pretrained", "random", "--cache", task / "cache"]
    return ["embed", task / "list.csv", *model, *more]


def settings(task: Path) -> dict:
    return {"model": str(task / "tiny.json"), "pretrained": "random", "cache": str(task / "cache")}


def test_cold_warm_grown_and_changed(command, task):
    write_list(task, COUNT - 2)
    code, out, err = command(*arguments(task))
    assert code == 0
    assert err.splitlines()[1:] == ["features in float32: none in the cache; 7 images to embed"]
    folder = next((task / "cache/features").glob("*/"))
    assert out == f"7 of 7 images have features in {folder}; decoded by this process: 7\n"

    code, out, err = command(*arguments(task))
    assert err.splitlines()[1:] == ["features in float32: all 7 images are in the cache as they are"]
    assert out == f"7 of 7 images have features in {folder}; decoded by this process: 0\n"

    write_list(task, COUNT)
    noise(20, 20, 99).save(task / "images/3.png")
    code, out, err = command(*arguments(task))
    assert err.splitlines()[1:] == ["features in float32: 3 of 9 images to embed"]
    assert out.endswith("; decoded by this process: 3\n")
    assert verify_cache(task / "cache/features") == []


def test_what_another_process_has_finished_since_the_look_up_is_not_computed_again(task):
    backbone, paths = dbpt.load_backbone(task / "tiny.json", "random"), [f"images/{n}.png" for n in range(COUNT)]
    found = EmbeddedFiles(backbone, task, paths, task / "cache", max_failures=0.0)
    dbpt.embed_images(backbone, task, paths, cache_dir=task / "cache")
    assert found.complete(batch_size=4) == 0


def test_a_device_is_checked_though_nothing_is_computed(command, refusal, task):
    command(*arguments(task))
    assert refusal(*arguments(task, "--device", "gpu")).startswith("--device 'gpu': not usable here")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"preprocess": {"resize_mode": "shortest"}}, "preprocess.resize_mode squash instead of shortest"),
        ({"vision_cfg": TOWER | {"head_width": 4}}, "backbone.vision_cfg.head_width 8 instead of 4"),
    ],
)
def test_another_encoder_is_named_by_what_differs_and_computes_all(command, task, change, field):
    command(*arguments(task))
    (task / "tiny.json").write_text(json.dumps(CONFIG | change))
    code, out, err = command(*arguments(task))
    assert code == 0
    expected = f"features in float32: none in the cache; another cache has {field}; 9 images to embed"
    assert err.splitlines()[-1] == expected
    assert out.endswith("; decoded by this process: 9\n")


def test_another_precision_is_named_beside_unreadable_caches(command, task):
    command(*arguments(task))
    for number, content in enumerate(["{", '{"schema_version": 1}', ""]):
        (task / f"cache/features/{number:020}").mkdir()
        (task / f"cache/features/{number:020}/manifest.json").write_text(content)
    (task / "cache/features/ffffffffffffffffffff").mkdir()
    _, _, err = command(*arguments(task, "--image-precision", "bf16"))
    expected = "features in bf16: none in the cache; another cache has dtype float32 instead of bf16; 9 images to embed"
    assert err.splitlines()[-1] == expected


def test_a_root_that_has_moved_is_named(command, task):
    command(*arguments(task))
    moved = task.with_name("moved")
    task.rename(moved)
    _, _, err = command(*arguments(moved))
    assert f"; another cache has root {task} instead of {moved}; 9 images to embed" in err


def test_what_failed_is_summed_up_and_written(command, task):
    (task / "images/2.png").write_bytes(b"")
    (task / "images/4.png").write_text("<html>404</html>")
    (task / "images/6.png").write_bytes(b"")
    (task / "images/8.png").unlink()
    code, out, _ = command(*arguments(task, "--max-failures", "0.5", "--failures", task / "failed.csv"))
    assert code == 0
    assert re.match("5 of 9 images have features in .*; decoded by this process: 8\n", out)
    assert "  2 failed: the file is empty (first: images/2.png)\n" in out
    assert "  1 failed: No such file or directory (first: images/8.png)\n" in out
    with (task / "failed.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason"]
    assert [row[0] for row in rows[1:]] == [f"images/{number}.png" for number in (2, 4, 6, 8)]
    assert rows[2][1].startswith("not a JPEG, PNG")
    _, out, err = command(*arguments(task, "--max-failures", "0.5"))
    assert out.count("failed:") == 3
    assert err.splitlines()[-1] == "features in float32: all 8 images are in the cache as they are; not there: 1"


def test_many_reasons_are_cut_short():
    failures = [dbpt.features.Failure(row, f"{row}.png", f"reason {max(row, 2)}") for row in range(9)]
    found = dbpt.commands.embed.EmbeddedImages(list("abcdefghi"), None, tuple(failures), 9, Path("cache"))
    assert str(found).splitlines()[1] == "  3 failed: reason 2 (first: 0.png)"
    assert str(found).splitlines()[-1] == "  and 2 failed for other reasons"


def test_too_many_failures_are_an_error(refusal, task):
    (task / "images/2.png").write_bytes(b"")
    line = refusal(*arguments(task, "--failures", task / "failed.csv"))
    assert line.startswith("1 of 9 images can't be read, more than --max-failures 0.01 allows")
    assert (task / "failed.csv").read_text() == "path,reason\nimages/2.png,the file is empty\n"
    (task / "images").rename(task / "pictures")
    assert "the paths are relative to another folder, name it with --root" in refusal(*arguments(task))


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--failures", "nowhere/failed.csv"], "there is no folder nowhere"),
        (["--embed-batch-size", "0"], "--embed-batch-size: must be at least 1"),
        (["--epochs", "3"], "No such option"),
    ],
)
def test_wrong_arguments_are_one_line(refusal, task, more, line):
    assert line in refusal(*arguments(task, *more))


def test_given_features_are_refused(task):
    with pytest.raises(InputError, match="--embeddings are features already"):
        dbpt.embed(task / "list.csv", embeddings="features.npy", **settings(task))


@pytest.mark.parametrize("kind", ["long", "link loop", "file", "pipe", "unreadable", "unwritable"])
def test_a_cache_folder_that_cannot_be_is_one_line(command, refusal, task, kind):
    cache = task / ("x" * 300 if kind == "long" else "bad")
    {
        "long": lambda: None,
        "link loop": lambda: cache.symlink_to(cache),
        "file": lambda: cache.write_text("precious"),
        "pipe": lambda: os.mkfifo(cache),
        "unreadable": lambda: cache.mkdir(mode=0),
        "unwritable": lambda: cache.mkdir(mode=0o555),
    }[kind]()
    with unprivileged():
        refusal(*arguments(task), "--cache", cache)
        code, _, _ = command("cache", "verify", "--cache", cache)
        assert code == (0 if kind == "unwritable" else 2)  # it is empty
        for verb in (["list"], ["prune", "--dry-run"], ["prune"]):
            code, _, err = command("cache", *verb, "--cache", cache)
            assert code in (0, 2)
            assert err.count("\n") == (code == 2)


def test_the_features_are_given_with_paths_and_failures_and_read_in_parts(task, monkeypatch):
    write_list(task, COUNT)
    (task / "images/3.png").write_bytes(b"no image")
    found = dbpt.embed(task / "list.csv", **settings(task), max_failures=0.5)
    backbone = dbpt.load_backbone(task / "tiny.json", "random")
    named = {"cache_dir": task / "cache/features", "max_failures": 0.5}
    expected = dbpt.embed_images(backbone, task, list(found.paths), **named)
    assert expected.recomputed == 0 and found.features.dtype == np.float32
    assert found.features.tobytes() == expected.features.tobytes() and found.features is found.features
    assert found.ok.tolist() == expected.ok.tolist() == [n != 3 for n in range(COUNT)]
    assert [(failure.row, failure.path) for failure in found.failures] == [(3, found.paths[3])]
    assert not found.features[3].any() and np.linalg.norm(found.features[found.ok], axis=1) == pytest.approx(1)
    assert found.stored[2:5].tobytes() == expected.features[2:5].tobytes()
    assert (found.num_images, found.recomputed) == (COUNT, COUNT)
    assert (
        repr(found) == f"EmbeddedImages(features ({COUNT}, {found.features.shape[1]}), 1 failures, recomputed={COUNT})"
    )
    monkeypatch.setattr("dbpt.data.stored_features.MOST_BYTES", 100)
    again = dbpt.embed(task / "list.csv", **settings(task), max_failures=0.5)
    with pytest.raises(InputError, match=r"^features: needs all 9 rows .*, so read blocks of them, such as stored\["):
        _ = again.features
    assert len(again.stored[:2]) == 2


def test_a_cache_folder_that_no_system_has_is_refused(task):
    with pytest.raises(InputError):
        dbpt.embed(task / "list.csv", **settings(task) | {"cache": str(task / "a\0b")})
