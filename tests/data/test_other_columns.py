"""Columns without a role, and captions: what is read, what is left out, and that cells stay with their images."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import datasets
import numpy as np
import pandas as pd
import pytest
from layouts import touch
from saved_datasets import made
from tar_files import write_tar

from dbpt.data import load_dataset
from dbpt.data.captions import captions_of
from dbpt.data.other_columns import MOST_COLUMNS, text_of
from dbpt.data.validation_split import few_shots
from dbpt.errors import InputError
from dbpt.settings.config import make_config
from dbpt.study.data import configured_dataset, with_data

N = 24
TABLE = pd.DataFrame(
    {
        "path": [f"{k}.jpg" for k in range(N)],
        "label": ["cat", "dog"] * (N // 2),
        "split": ["train"] * 16 + ["val"] * 4 + ["test"] * 4,
        "camera": [f"=SUM({k})" for k in range(N)],
        "day, <b>": [f"2019-05-{k + 1:02}" for k in range(N)],
        "weight": [0.5, None] * (N // 2),
        "is_new": [True, False] * (N // 2),
    }
)
WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True, date_format="iso"),
    "parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    touch(tmp_path, *TABLE["path"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DBPT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def cells_of(data):
    return {name: list(cells) for name, cells in data.other_columns.cells.items()}


def reasons_of(data):
    return {column.name: column.reason for column in data.other_columns.left_out}


EXPECTED = {
    "camera": TABLE["camera"].tolist(),
    "day, <b>": TABLE["day, <b>"].tolist(),
    "weight": ["0.5", ""] * (N // 2),
    "is_new": ["True", "False"] * (N // 2),
}


@pytest.mark.parametrize("kind", [*WRITERS, "frame"])
def test_columns_without_a_role_are_read_only_if_they_are_asked_for(folder, kind):
    if kind != "frame":
        WRITERS[kind](TABLE, folder / f"rows.{kind}")
    data = TABLE if kind == "frame" else f"rows.{kind}"
    assert cells_of(load_dataset(data, other_columns=True)) == EXPECTED
    assert cells_of(load_dataset(data)) == {}


@pytest.mark.parametrize("take", ["rows", "shots", "words", "truth"])
def test_cells_stay_with_their_images(folder, take):
    data = load_dataset(TABLE, other_columns=True)
    part = {
        "rows": lambda: data.take(np.array([5, 3, 20])),
        "shots": lambda: few_shots(data, 2, val_fraction=0.2, seed=0),
        "words": lambda: load_dataset(data, classes=["cat=kitten", "dog=puppy"]),
        "truth": lambda: data.without_attributes().without_truth(),
    }[take]()
    assert part.other_columns.cells["camera"] == [f"=SUM({path[:-4]})" for path in part.paths]
    with pytest.raises(AssertionError):
        replace(part, other_columns=data.take(np.arange(2)).other_columns)


def test_a_data_frame_is_saved_with_its_columns(folder):
    """Also one that is called like a role: it is no role in the saved table."""
    frame = TABLE.rename(columns={"label": "y", "camera": "label"}).assign(split='a\rb,\n"c"')
    settings = {"columns": ["label=y", "split=fold"]}
    frame = frame.assign(fold=TABLE["split"])
    config = with_data(make_config(settings), frame, other_columns=True)
    saved, direct = configured_dataset(config, other_columns=True), load_dataset(frame, **settings, other_columns=True)
    assert cells_of(saved) == cells_of(direct)
    assert cells_of(saved)["label"] == EXPECTED["camera"] and set(cells_of(saved)["split"]) == {'a\rb,\n"c"'}
    assert saved.splits.tolist() == load_dataset(TABLE).splits.tolist()
    assert cells_of(configured_dataset(with_data(make_config(settings), frame), other_columns=True)) == {}


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ([], {"place", "attribute2"}),
        (["attribute=place"], {"attribute", "attribute2"}),
        (["attribute="], {"place", "attribute2"}),
        (["prediction=attribute2"], {"place", "prediction"}),
    ],
)
def test_a_role_here_or_in_predictions_is_no_other_column(folder, columns, names):
    added = {name: ["in", "out"] * (N // 2) for name in ("place", "attribute", "attribute2", "prediction", "error")}
    frame = TABLE[["path", "label", "split"]].assign(**added, p_cat=0.2, p_dog=0.8)
    assert set(cells_of(load_dataset(frame, columns=columns, other_columns=True))) == names


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "frame"])
def test_what_can_be_no_cell_is_left_out_with_its_reason(folder, kind):
    frame = TABLE[["path", "label"]].assign(box=[[1, 2]] * N, day=pd.Timestamp("2019-05-01 12:00"), **{"a\tb": "x"})
    if kind != "frame":
        WRITERS[kind](frame, folder / f"rows.{kind}")
    data = load_dataset(frame if kind == "frame" else f"rows.{kind}", other_columns=True)
    assert reasons_of(data) == {"box": "type", "a\tb": "name"}
    assert cells_of(data)["day"][0][:16].replace("T", " ") == "2019-05-01 12:00"


def test_columns_of_one_name_and_too_many(folder):
    names = [f"f{k}" for k in range(MOST_COLUMNS)]
    rows = [[*TABLE.loc[k, ["path", "label"]], "1", "2", *(["0"] * MOST_COLUMNS), "x"] for k in range(N)]
    lines = [",".join(row) for row in (["path", "label", "twice", "twice", *names, "last"], *rows)]
    (folder / "wide.csv").write_text("\n".join(lines))
    data = load_dataset("wide.csv", other_columns=True)
    assert reasons_of(data) == {"twice": "repeated", "last": "too many columns"} and list(cells_of(data)) == names


def test_keys_that_some_rows_lack(folder):
    """In JSON lines and in WebDataset's JSON; a sample without an image is no row."""
    lines = ['{"path": "0.jpg", "label": 0}', '{"path": "1.jpg", "label": 1, "b": 2, "a": "x"}']
    lines += ['{"path": "2.jpg", "label": 1, "a": null, "b": 1.5}', '{"path": "3.jpg", "label": 0}']
    (folder / "rows.jsonl").write_text("\n".join(lines))
    expected = {"b": ["", "2", "1.5", ""], "a": ["", "x", "", ""]}
    assert cells_of(load_dataset("rows.jsonl", other_columns=True)) == expected
    rows = [{"label": 0}, {"label": 1, "b": 2, "a": "x"}, {"label": 1, "a": None, "b": 1.5}, {"label": 0}]
    files = [("none.json", {"label": 0, "a": "of no image"})]
    files += [file for k, row in enumerate(rows) for file in ((f"{k}.jpg", b""), (f"{k}.json", row))]
    write_tar(folder / "train.tar", files)
    assert cells_of(load_dataset("train.tar", other_columns=True)) == expected


def test_columns_of_a_saved_data_set(folder):
    pets = made([0, 1, 1], camera=["x", None, "z"]).add_column("boxes", [[1], [2], [3]])
    pets = pets.add_column("place", [1, 0, -1]).cast_column("place", datasets.ClassLabel(names=["in", "out"]))
    pets.save_to_disk("pets")
    for source, reasons in ((pets, {}), ("pets", {"boxes": "type"})):  # an object is copied without its lists
        data = load_dataset(source, other_columns=True)
        assert cells_of(data) == {"camera": ["x", "", "z"], "place": ["out", "in", ""]} and reasons_of(data) == reasons


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (pd.NaT, ""),
        (float("inf"), "inf"),
        (np.float32(0.5), "0.5"),
        (True, "True"),
        (Decimal("1.50"), "1.50"),
        (datetime(2019, 5, 1, 12), "2019-05-01 12:00:00"),
        ("a\0\ud800", "a??"),
        ([1], None),
        (b"x", None),
        (np.zeros(3), None),
    ],
)
def test_cells_as_text(value, text):
    assert text_of(value) == text


# --- captions


def test_captions_of_half_of_the_images(folder):
    half = pd.DataFrame({"path": TABLE["path"][::-2], "text": [f"a dog {k}" for k in range(N // 2)]})
    half.loc[len(half) + N] = ["elsewhere.jpg", "no"]
    half.to_csv("captions.csv", index=False)
    captions, warnings = captions_of("captions.csv", load_dataset(TABLE))
    assert captions == [f"a dog {(N - 1 - k) // 2}" if k % 2 else "" for k in range(N)]
    assert [warning.kind for warning in warnings] == ["ignored rows"]
    assert captions_of("camera", load_dataset(TABLE, other_columns=True))[0] == EXPECTED["camera"]


@pytest.mark.parametrize(
    ("source", "content", "part"),
    [
        ("kamera", None, "did you mean 'camera'"),
        ("gone.csv", None, "no table"),
        ("x.csv", "path,label\n0.jpg,1\n", "none of the columns caption"),
        ("x.csv", "path,caption\nelse.jpg,a dog\n", "'0.jpg'"),
        ("x.csv", "path,caption\n0.jpg,a dog\n0.jpg,a cat\n", "keep one"),
    ],
)
def test_captions_that_are_not_there(folder, source, content, part):
    if content:
        (folder / source).write_text(content)
    with pytest.raises(InputError, match=part):
        captions_of(source, load_dataset(TABLE, other_columns=True))
