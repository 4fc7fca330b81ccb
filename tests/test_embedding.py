"""`dbpt embed`: what it computes, what it says, and that a warm cache needs no torch."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dbpt
from dbpt.errors import InputError
from dbpt.features import known_encoders, verify_cache

TOWER = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 32}
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": TOWER,
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
COUNT = 9


@pytest.fixture
def task(tmp_path) -> Path:
    """A folder with ``list.csv``, its images, and ``tiny.json``."""
    (tmp_path / "tiny.json").write_text(json.dumps(CONFIG))
    (tmp_path / "images").mkdir()
    for number in range(COUNT):
        draw(tmp_path / f"images/{number}.png", number)
    write_list(tmp_path, COUNT)
    return tmp_path


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_list(folder: Path, count: int) -> None:
    rows = [f"images/{number}.png,{'ab'[number % 2]},train\n" for number in range(count)]
    (folder / "list.csv").write_text("path,label,split\n" + "".join(rows))


def arguments(task: Path, *more: object) -> list[object]:
    model = ["--model", task / "tiny.json", "--pretrained", "random", "--cache", task / "cache"]
    return ["embed", task / "list.csv", *model, *more]


def settings(task: Path) -> dict:
    return {"model": str(task / "tiny.json"), "pretrained": "random", "cache": str(task / "cache"), "progress": False}


def test_cold_warm_grown_and_changed(command, task):
    write_list(task, COUNT - 2)
    code, out, err = command(*arguments(task))
    assert code == 0
    assert err.splitlines()[1:] == ["features: none in the cache; 7 images to embed"]
    folder = next((task / "cache/features").glob("*/"))
    assert out == f"7 of 7 images have features in {folder}; decoded by this process: 7\n"

    code, out, err = command(*arguments(task))
    assert err.splitlines()[1:] == ["features: all 7 images are in the cache as they are"]
    assert out == f"7 of 7 images have features in {folder}; decoded by this process: 0\n"

    write_list(task, COUNT)
    draw(task / "images/3.png", 99)
    code, out, err = command(*arguments(task))
    assert err.splitlines()[1:] == ["features: 3 of 9 images to embed: 2 new, 1 changed"]
    assert out.endswith("; decoded by this process: 3\n")
    assert verify_cache(task / "cache/features") == []


def test_features_are_those_that_embed_images_gives(task):
    found = dbpt.embed(task / "list.csv", **settings(task))
    assert (found.num_images, found.recomputed, found.failures) == (COUNT, COUNT, ())
    backbone = dbpt.load_backbone(task / "tiny.json", "random")
    paths = [f"images/{number}.png" for number in range(COUNT)]
    again = dbpt.embed_images(backbone, task, paths, cache_dir=task / "cache/features")
    assert again.recomputed == 0
    alone = dbpt.embed_images(backbone, task, paths, cache_dir=task / "other")
    np.testing.assert_array_equal(again.features, alone.features)


def test_a_warm_cache_needs_no_torch(task):
    dbpt.embed(task / "list.csv", **settings(task))
    code = (
        "import sys, dbpt\n"
        f"found = dbpt.embed({str(task / 'list.csv')!r}, **{settings(task)!r})\n"
        "sys.exit(bool(found.recomputed) or bool({'torch', 'open_clip'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"preprocess": {"resize_mode": "shortest"}}, "preprocess.resize_mode squash -> shortest"),
        ({"vision_cfg": TOWER | {"head_width": 4}}, "backbone.vision_cfg.head_width 8 -> 4"),
    ],
)
def test_another_encoder_is_named_by_what_differs_and_computes_all(command, task, change, field):
    command(*arguments(task))
    (task / "tiny.json").write_text(json.dumps(CONFIG | change))
    code, out, err = command(*arguments(task))
    assert code == 0
    line = err.splitlines()[-1]
    assert line.startswith(f"features: none in the cache; it has those of another key: {field}")
    assert line.endswith("; 9 images to embed")
    assert out.endswith("; decoded by this process: 9\n")


def test_a_root_that_has_moved_is_named(command, task):
    command(*arguments(task))
    moved = task.with_name("moved")
    task.rename(moved)
    _, _, err = command(*arguments(moved))
    assert f"it has those of another key: root {task} -> {moved}; 9 images to embed" in err


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
    assert err.splitlines()[-1] == "features: all 8 images are in the cache as they are; not there: 1"


def test_many_reasons_are_cut_short():
    failures = [dbpt.features.Failure(row, f"{row}.png", f"reason {max(row, 2)}") for row in range(9)]
    found = dbpt.embedding.EmbeddedImages(9, 9, tuple(failures), Path("cache"))
    assert str(found).splitlines()[1] == "  3 failed: reason 2 (first: 0.png)"
    assert str(found).splitlines()[-1] == "  and 2 failed for other reasons"


def test_too_many_failures_are_an_error(command, task):
    (task / "images/2.png").write_bytes(b"")
    code, out, err = command(*arguments(task))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("Error: 1 of 9 images can't be read, more than --max-failures 0.01 allows")
    assert command(*arguments(task, "--failures", task / "failed.csv"))[0] == 2
    assert (task / "failed.csv").read_text() == "path,reason\nimages/2.png,the file is empty\n"


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--failures", "nowhere/failed.csv"], "there is no folder nowhere"),
        (["--embed-batch-size", "0"], "--embed-batch-size: must be at least 1"),
        (["--device", "abacus"], "--device 'abacus': not usable here"),
        (["--epochs", "3"], "No such option"),
    ],
)
def test_wrong_arguments_are_one_line(command, task, more, line):
    code, out, err = command(*arguments(task, *more))
    assert (code, out) == (2, "")
    assert line in err.splitlines()[-1]


def test_given_features_are_refused(task):
    with pytest.raises(InputError, match="--embeddings are features already"):
        dbpt.embed(task / "list.csv", embeddings="features.npy", **settings(task))


# --- which encoder it was the last time ----------------------------------------------------------------------------


def recalled(task: Path, model: str | None = None, pretrained: str | None = "random"):
    return known_encoders.recall_encoder(
        task / "cache/features", model or str(task / "tiny.json"), pretrained, "float32"
    )


def test_an_encoder_is_remembered_until_its_files_change(task):
    assert recalled(task) is None
    dbpt.embed(task / "list.csv", **settings(task))
    backbone = dbpt.load_backbone(task / "tiny.json", "random")
    assert recalled(task) == (backbone.encoder_key, 16)
    assert recalled(task, pretrained="other.safetensors") is None
    (task / "tiny.json").write_text(json.dumps(CONFIG) + " ")
    assert recalled(task) is None


def test_weights_of_the_same_name_are_told_apart(task, tiny):
    weights = task / "weights.safetensors"
    weights.write_bytes(tiny.weights.read_bytes())
    found = known_encoders.KnownEncoder({"weights": "abc", "dtype": "float32"}, 16)
    known_encoders.remember_encoder(task / "cache/features", "ViT-B-32", str(weights), "float32", found)
    assert recalled(task, "ViT-B-32", str(weights)) == found
    weights.write_bytes(weights.read_bytes() + b" ")
    assert recalled(task, "ViT-B-32", str(weights)) is None


@pytest.mark.parametrize("name", ["tiny.JSON", "tiny.Safetensors"])
def test_files_are_known_by_endings_of_any_case(task, name):
    """As `load_backbone` takes them."""
    file, found = task / name, known_encoders.KnownEncoder({"weights": "abc", "dtype": "float32"}, 16)
    file.write_text("{}")
    known_encoders.remember_encoder(task / "cache/features", str(file), None, "float32", found)
    assert recalled(task, str(file), None) == found
    file.write_text("{} ")
    assert recalled(task, str(file), None) is None


def test_models_of_a_hub_are_not_remembered(task):
    found = known_encoders.KnownEncoder({"weights": "abc", "dtype": "float32"}, 16)
    known_encoders.remember_encoder(task / "cache/features", "hf-hub:a/b", None, "float32", found)
    assert recalled(task, "hf-hub:a/b", None) is None
    assert not (task / "cache").exists()


def test_other_versions_of_the_libraries_may_be_another_encoder(task, monkeypatch):
    dbpt.embed(task / "list.csv", **settings(task))
    assert recalled(task) is not None
    for name, other in (("version", lambda name: "0"), ("__version__", "0.0.0")):
        with monkeypatch.context() as patched:
            patched.setattr(known_encoders, name, other)
            assert recalled(task) is None
    assert recalled(task) is not None


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"request": 3}]', "[" * 100_000, "\xff"])
def test_a_damaged_memory_is_made_anew(task, content):
    dbpt.embed(task / "list.csv", **settings(task))
    (task / "cache/features/encoders.json").write_bytes(content.encode("latin-1"))
    assert recalled(task) is None
    assert dbpt.embed(task / "list.csv", **settings(task)).recomputed == 0
    assert recalled(task) is not None


def test_a_memory_that_is_wrong_is_told_before_anything_is_stored(task):
    dbpt.embed(task / "list.csv", **settings(task))
    memory = task / "cache/features/encoders.json"
    memory.write_text(memory.read_text().replace('"weights": "', '"weights": "0'))
    with pytest.raises(InputError, match=r"another than its files' sizes and times say; delete .*encoders.json"):
        dbpt.embed(task / "list.csv", **settings(task))
