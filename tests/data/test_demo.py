"""The demo data sets: the real layouts, the promised counts, equal bytes from an equal seed, nothing half-written."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from folders import files_in
from PIL import Image

import dbpt.data.demo
from dbpt.data import demo as layouts
from dbpt.data import load_dataset
from dbpt.data.demo import DEMO_NAMES, write_demo
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig
from dbpt.study.data import resolve_demo

SIZES = (40, 16, 20)


def small(name: str, directory: Path, seed: int = 0) -> Path:
    return dbpt.data.demo._write(name, directory, seed, SIZES)


@pytest.mark.parametrize("name", DEMO_NAMES)
def test_the_seed_decides_every_byte(name: str, tmp_path: Path) -> None:
    first, second = files_in(small(name, tmp_path / "d")), files_in(small(name, tmp_path / "again" / "d"))
    (tmp_path / "d").rename(tmp_path / "first")
    same_place, other_seed = files_in(small(name, tmp_path / "d")), files_in(small(name, tmp_path / "other", seed=1))
    assert same_place == first
    images = {key: value for key, value in first.items() if key.endswith(".jpg")}
    assert len(images) == sum(SIZES)
    assert images == {key: value for key, value in second.items() if key.endswith(".jpg")}
    assert not set(images.values()) & set(other_seed.values())
    assert len(set(images.values())) == len(images)


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


@pytest.mark.parametrize("name", DEMO_NAMES)
def test_the_reader_of_the_original_finds_the_planned_rows(name: str, tmp_path: Path) -> None:
    root, rows = small(name, tmp_path / "demo"), sorted(layouts.plan_rows(name, 0, SIZES), key=lambda row: row.index)
    data = load_dataset(name.removeprefix("demo-"), root)
    by_number = np.argsort([int(re.findall(r"\d+", path)[-1]) for path in data.paths])
    found = zip(data.splits[by_number], data.labels[by_number], data.attributes[by_number], strict=True)
    assert list(found) == [(row.split, row.label, row.attribute) for row in rows]
    assert {str(data.root / path) for path in data.paths} == set(map(str, root.rglob("*.jpg")))
    with Image.open(data.root / data.paths[0]) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")
    assert not any("published" in note for note in data.notes)
    (root / "not-the-published-data.txt").unlink()
    assert any("published" in note for note in load_dataset(name.removeprefix("demo-"), root).notes)


def test_a_misspelt_name_gets_the_nearest_and_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match=r"'demo-waterbird'.*did you mean 'demo-waterbirds'"):
        write_demo("demo-waterbird", "nowhere")
    with pytest.raises(InputError, match=r"'xyz'.*demo-celeba"):
        write_demo("xyz", "nowhere")
    with pytest.raises(InputError, match="--seed is -1"):
        write_demo("demo-celeba", "nowhere", seed=-1)
    assert not Path("nowhere").exists()


def test_failing_midway_leaves_nothing(tmp_path, monkeypatch) -> None:
    drawn = []

    def draw_three(*arguments: object) -> Image.Image:
        drawn.append(arguments)
        assert not (tmp_path / "d").exists()
        if len(drawn) > 3:
            raise KeyboardInterrupt
        return Image.new("RGB", (64, 64))

    monkeypatch.setattr(layouts, "draw_bird", draw_three)
    with pytest.raises(KeyboardInterrupt):
        small("demo-waterbirds", tmp_path / "d")
    assert len(drawn) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_demo_becomes_what_a_user_would_type_and_keeps_a_model_that_was_named(tmp_path, monkeypatch):
    monkeypatch.setattr("dbpt.data.demo.write_demo", lambda name, root: None)
    demo = FitConfig(data="demo", cache=str(tmp_path))
    config = resolve_demo(demo)
    assert config.data == "waterbirds"
    assert Path(config.root).is_relative_to(tmp_path)
    assert (Path(config.model).name, Path(config.pretrained).name) == ("mini_clip.json", "mini_clip.safetensors")
    mine = resolve_demo(replace(demo, pretrained="mine.safetensors"))
    assert (Path(mine.model).name, mine.pretrained) == ("mini_clip.json", "mine.safetensors")
    named = resolve_demo(replace(demo, data="demo-celeba", model="ViT-B-32"))
    assert (named.data, named.model, named.pretrained) == ("celeba", "ViT-B-32", None)


def test_the_rows_of_a_demo_are_loaded_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("DBPT_CACHE", str(tmp_path))
    monkeypatch.setattr("dbpt.data.demo.SPLIT_SIZES", SIZES)
    data = load_dataset("demo")
    assert (data.name, len(data), data.root.is_relative_to(tmp_path)) == ("demo-waterbirds", sum(SIZES), True)
    with pytest.raises(InputError, match="--root folder: demo-celeba is drawn into --cache; leave --root out"):
        load_dataset("demo-celeba", root="folder")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="demo name: unknown value 'demo-photos'"):
        load_dataset("demo-photos")
    for split in ("train", "test"):  # a folder of one's own may have such a name
        for label in ("cat", "dog"):
            (folder := tmp_path / "demo-photos" / split / label).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "1.png")
    assert len(load_dataset("demo-photos")) == 4


@pytest.mark.parametrize("data", ["waterbirds", "demographics.csv", "demo-faces.tsv", "folder/demo"])
def test_settings_that_name_no_demo_stay_as_they_are(data):
    config = FitConfig(data=data)
    assert resolve_demo(config) is config
