"""Which pictures a contact sheet shows, and how many bytes all sheets have."""

import io

import numpy as np
import pytest
from PIL import Image

from dbpt.report import page_size
from dbpt.report.group_pictures import contact_sheets
from dbpt.report.thumbnails import ImageFiles

NAMES = [("cat", "day"), ("cat", "night"), ("dog", "day"), ("dog", "night")]


def sheets_of(reds, groups, confidence=None, names=NAMES, **options):
    groups = np.array(groups)
    confidence = np.linspace(0.5, 1, len(groups)) if confidence is None else np.array(confidence)
    paths = [f"{row % 100}.png" for row in range(len(groups))]
    return contact_sheets(ImageFiles(paths, reds), groups, confidence.astype(np.float32), group_names=names, **options)


def paths_of(sheet):
    return {strip.title: [picture.path for picture in strip.pictures] for strip in sheet.strips}


def test_surest_least_sure_and_random_images_with_counts_and_shares(reds):
    cat_day, cat_night, dog_day, dog_night = sheets_of(reds, [0] * 60 + [1] * 20 + [2] * 5 + [-1] * 15)
    assert [sheet.n for sheet in (cat_day, cat_night, dog_day, dog_night)] == [60, 20, 5, 0]
    assert [sheet.share for sheet in (cat_day, cat_night, dog_day, dog_night)] == [0.75, 0.25, 1, 0]
    strips = paths_of(cat_day)
    assert strips["The 8 surest"] == [f"{row}.png" for row in range(59, 51, -1)]
    assert strips["The 8 least sure"] == [f"{row}.png" for row in range(8)]
    assert len(set(strips["8 at random"])) == 8
    assert strips["8 at random"] not in (strips["The 8 surest"], strips["The 8 least sure"])
    assert paths_of(cat_night) == {"All 20 images, surest first": [f"{row}.png" for row in range(79, 59, -1)]}
    assert cat_night.strips[0].pictures[0].probability == pytest.approx(0.5 + 0.5 * 79 / 99)
    assert dog_night.strips == ()


def test_a_seed_gives_the_same_sheets_and_another_seed_others(reds):
    groups = [0] * 60
    assert sheets_of(reds, groups) == sheets_of(reds, groups)
    one, other = (paths_of(sheets_of(reds, groups, seed=seed)[0]) for seed in (0, 1))
    assert one["8 at random"] != other["8 at random"]
    assert one["The 8 surest"] == other["The 8 surest"]
    equal, again = (paths_of(sheets_of(reds, groups, [0.9] * 60, seed=seed)[0]) for seed in (0, 1))
    assert equal["The 8 surest"] != again["The 8 surest"]  # ties are not broken by the order of the table


def test_unreadable_images_are_replaced_by_the_next(reds, tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes((reds / f"{number}.png").read_bytes())
    for number in (29, 27, 0):
        (tmp_path / f"{number}.png").write_text("text")
    groups = [0] * 30 + [1]
    sheets = sheets_of(tmp_path, groups)
    assert paths_of(sheets[0])["The 8 surest"] == [f"{n}.png" for n in (28, 26, 25, 24, 23, 22, 21, 20)]
    assert sheets[1].n == 1
    assert sheets[1].strips == ()  # 30.png doesn't exist
    few = sheets_of(tmp_path, [0] * 10)[0]
    assert list(paths_of(few)) == ["9 of 10 images"]


def test_more_groups_have_fewer_pictures_and_the_last_ones_none(reds, monkeypatch):
    monkeypatch.setattr(page_size, "MOST_ON_SHEETS", 24)
    short = sheets_of(reds, [0, 1] * 50)
    assert [list(paths_of(sheet)) for sheet in short[:2]] == [["The 4 surest", "The 4 least sure", "4 at random"]] * 2
    names = [(f"class {number}", "day") for number in range(10)]
    sheets = sheets_of(reds, np.repeat(range(10), 10), names=names)
    assert [bool(sheet.strips) for sheet in sheets] == [True] * 8 + [False] * 2
    assert {sheet.n for sheet in sheets} == {10}


@pytest.mark.parametrize("groups", [4, pytest.param(28, marks=pytest.mark.full), 60])
def test_pictures_of_noise_keep_within_the_budget(tmp_path, groups):
    noise = np.random.default_rng(0).integers(0, 255, (400, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    names = [(f"class {number}", "day") for number in range(groups)]
    paths, rows = ["noise.png"] * 30 * groups, np.repeat(range(groups), 30)
    confidence = np.ones(len(rows), dtype=np.float32)
    sheets = contact_sheets(ImageFiles(paths, tmp_path), rows, confidence, group_names=names)
    jpegs = [picture.image for sheet in sheets for strip in sheet.strips for picture in strip.pictures]
    assert len(jpegs) == groups * 3 * min(8, 768 // (3 * groups))
    assert sum(map(len, jpegs)) < page_size.SHEETS_BUDGET
    assert max(Image.open(io.BytesIO(jpegs[0])).size) >= 64
