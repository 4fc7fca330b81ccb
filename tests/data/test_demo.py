"""The demo data sets: the real layouts, the promised counts, equal bytes from an equal seed, nothing half-written."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import dbpt.data.demo
from dbpt.data import load_dataset
from dbpt.data.demo import DEMO_NAMES, layouts, mini_clip_paths, write_demo
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig
from dbpt.settings.data import resolve_demo

SIZES = (40, 16, 20)


def small(name: str, directory: Path, seed: int = 0) -> Path:
    return dbpt.data.demo._write(name, directory, seed, SIZES)


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", DEMO_NAMES)
def test_the_seed_decides_every_byte(name: str, tmp_path: Path) -> None:
    first, second = contents(small(name, tmp_path / "d")), contents(small(name, tmp_path / "again" / "d"))
    (tmp_path / "d").rename(tmp_path / "first")
    same_place, other_seed = contents(small(name, tmp_path / "d")), contents(small(name, tmp_path / "other", seed=1))
    assert same_place == first
    images = {key: value for key, value in first.items() if key.endswith(".jpg")}
    assert len(images) == sum(SIZES)
    assert images == {key: value for key, value in second.items() if key.endswith(".jpg")}
    assert not set(images.values()) & set(other_seed.values())
    assert len(set(images.values())) == len(images)


@pytest.mark.parametrize("name", DEMO_NAMES)
def test_a_drawing_does_not_depend_on_the_others(name: str, tmp_path: Path) -> None:
    row = next(row for row in layouts.plan_rows(name, 0, SIZES) if row.index == 7)
    for folder, rows in (("alone", [row]), ("after", [*layouts.plan_rows(name, 0, SIZES)[:3], row])):
        layouts.WRITERS[name](tmp_path / folder, tmp_path / folder, rows, 0)
    alone, after = (
        next(v for k, v in contents(tmp_path / folder).items() if k.endswith("7.jpg")) for folder in ("alone", "after")
    )
    assert alone == after


@pytest.mark.parametrize(
    ("name", "train"),
    [
        ("demo-waterbirds", (1751, 92, 28, 529)),
        ("demo-celeba", (1056, 986, 337, 21)),
        ("demo-metashift", (827, 534, 207, 832)),
    ],
)
def test_group_shares_are_those_of_the_originals(name: str, train: tuple[int, ...]) -> None:
    rows = layouts.plan_rows(name, 0)
    groups = Counter((row.split, 2 * row.label + row.attribute) for row in rows)
    assert tuple(groups[0, g] for g in range(4)) == train
    for split, size in ((1, 600), (2, 1200)):
        dog, dog_too, cat, cat_too = (groups[split, g] for g in range(4))
        assert dog == dog_too
        assert cat == cat_too
        assert 2 * (dog + cat) == size
        assert cat / (dog + cat) == pytest.approx((train[2] + train[3]) / 2400, abs=0.01)
    assert [row.index for row in rows] == list(range(1, 4201))


def test_waterbirds_layout(tmp_path: Path) -> None:
    root = small("demo-waterbirds", tmp_path / "birds")
    rows = read_csv(root / "metadata.csv")
    assert list(rows[0]) == ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    assert [(int(r["split"]), int(r["y"]), int(r["place"])) for r in rows] == [
        (row.split, row.label, row.attribute) for row in layouts.plan_rows("demo-waterbirds", 0, SIZES)
    ]
    with Image.open(root / rows[0]["img_filename"]) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")
    assert {r["img_filename"] for r in rows} == {p.relative_to(root).as_posix() for p in root.rglob("*.jpg")}


def test_celeba_layout(tmp_path: Path) -> None:
    root = small("demo-celeba", tmp_path / "faces")
    count, names, *rows = (root / "list_attr_celeba.txt").read_text(encoding="utf-8").splitlines()
    assert int(count) == len(rows) == sum(SIZES)
    assert len(names.split()) == 40
    assert names.split() == sorted(names.split(), key=str.lower)
    partition = dict(line.split() for line in (root / "list_eval_partition.txt").read_text().splitlines())
    for line, planned in zip(rows, layouts.plan_rows("demo-celeba", 0, SIZES), strict=True):
        file, *values = line.split()
        assert set(values) <= {"1", "-1"}
        value = dict(zip(names.split(), values, strict=True))
        assert (value["Blond_Hair"] == "1", value["Male"] == "1") == (planned.label == 1, planned.attribute == 1)
        assert [value[hair] for hair in ("Blond_Hair", "Black_Hair", "Brown_Hair")].count("1") == 1
        assert partition[file] == str(planned.split)
        assert (root / "img_align_celeba" / file).is_file()


def test_metashift_layout(tmp_path: Path) -> None:
    final = tmp_path / "pets"
    folder = small("demo-metashift", final) / "MetaShift-Cat-Dog-indoor-outdoor"
    rows = read_csv(folder / "metadata_metashift.csv")
    assert list(rows[0]) == ["id", "filename", "split", "y", "a"]
    places = {
        ("1", "1"): "train/cat/cat(indoor)",
        ("0", "0"): "train/dog/dog(outdoor)",
        ("1", "0"): "test/cat/cat(outdoor)",
        ("0", "1"): "test/dog/dog(indoor)",
    }
    for row in rows:
        path = Path(row["filename"])
        assert path.is_absolute()
        assert path.is_file()
        assert path.parent == folder / places[row["y"], row["a"]]
    assert Counter(int(row["split"]) for row in rows) == Counter(dict(enumerate(SIZES)))


def test_a_misspelt_name_gets_the_nearest_and_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match=r"'demo-waterbird'.*did you mean 'demo-waterbirds'"):
        write_demo("demo-waterbird", "nowhere")
    with pytest.raises(InputError, match=r"'xyz'.*demo-celeba"):
        write_demo("xyz", "nowhere")
    with pytest.raises(InputError, match="--seed is -1"):
        write_demo("demo-celeba", "nowhere", seed=-1)
    assert not Path("nowhere").exists()


def test_refuses_what_exists_but_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for target in ("full", "file"):
        with pytest.raises(InputError, match="not an empty folder") as refusal:
            small("demo-celeba", tmp_path / target)
        assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="below: cannot create: .*file is not a folder"):
        small("demo-celeba", tmp_path / "file" / "below")
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep"
    (tmp_path / "empty").mkdir()
    assert (small("demo-celeba", tmp_path / "empty") / "list_attr_celeba.txt").is_file()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError])
def test_failing_midway_leaves_nothing(
    failure: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def draw_three(*arguments: object) -> Image.Image:
        drawn.append(arguments)
        assert not (tmp_path / "d").exists()
        if len(drawn) > 3:
            raise failure
        return Image.new("RGB", (64, 64))

    monkeypatch.setattr(layouts, "draw_bird", draw_three)
    with pytest.raises(failure):
        small("demo-waterbirds", tmp_path / "d")
    assert len(drawn) == 4
    assert list(tmp_path.iterdir()) == []


def test_small_clip_is_shipped() -> None:
    config, weights = mini_clip_paths()
    assert set(json.loads(config.read_text())) == {"embed_dim", "vision_cfg", "text_cfg"}
    assert 6e6 < weights.stat().st_size < 10e6


def test_a_demo_becomes_what_a_user_would_type_and_keeps_a_model_that_was_named(tmp_path, monkeypatch):
    monkeypatch.setattr("dbpt.settings.data.write_demo", lambda name, root: None)
    demo = FitConfig(data="demo", cache=str(tmp_path))
    config = resolve_demo(demo)
    assert config.data == "waterbirds"
    assert Path(config.root).is_relative_to(tmp_path)
    assert (Path(config.model).name, Path(config.pretrained).name) == ("mini_clip.json", "mini_clip.safetensors")
    mine = resolve_demo(replace(demo, pretrained="mine.safetensors"))
    assert (Path(mine.model).name, mine.pretrained) == ("mini_clip.json", "mine.safetensors")
    named = resolve_demo(replace(demo, data="demo-celeba", model="ViT-B-32"))
    assert (named.data, named.model, named.pretrained) == ("celeba", "ViT-B-32", None)


@pytest.mark.parametrize("data", ["waterbirds", "demographics.csv", "demo-faces.tsv", "folder/demo"])
def test_settings_that_name_no_demo_stay_as_they_are(data):
    config = FitConfig(data=data)
    assert resolve_demo(config) is config


@pytest.mark.parametrize("name", ["demo-waterbirds", "demo-celeba", "demo-metashift"])
def test_no_note_compares_a_drawing_with_the_published_counts(name, tmp_path):
    root = small(name, tmp_path / "demo")
    assert not any("published" in note for note in load_dataset(name.removeprefix("demo-"), root).notes)
    (root / "not-the-published-data.txt").unlink()
    assert any("published" in note for note in load_dataset(name.removeprefix("demo-"), root).notes)
