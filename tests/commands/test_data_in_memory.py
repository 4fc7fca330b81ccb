"""fit, evaluate, compare, embed and check_data take a DataFrame and a `Dataset` as the table of the same rows."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from runs import result_bytes

import dbpt
from dbpt.settings.config import read_config


@pytest.fixture
def frame(tiny):
    """The table's rows with other column names, and paths that lead to the images from anywhere."""
    rows = pd.read_csv(tiny.table, keep_default_na=False).rename(columns={"label": "y"})
    rows["path"] = [str(tiny.table.parent / path) for path in rows["path"]]
    return rows


@pytest.fixture
def settings(tiny, tmp_path):
    return tiny.settings | {"cache": str(tmp_path / "cache")}


def test_a_run_on_a_frame_is_that_on_its_table(tiny, tiny_run, frame, settings, tmp_path, caplog):
    caplog.set_level("INFO", logger="dbpt")
    settings |= {"columns": {"label": "y"}, "attributes": {name: [name] for name in settings["attributes"]}}
    run = dbpt.fit(frame, out=tmp_path / "run", **settings)
    assert result_bytes(run.folder) == result_bytes(tiny_run)
    config = read_config(run.folder / "config.toml")
    table = Path(config["data"])
    assert table.is_relative_to(tmp_path / "cache/datasets") and config["root"] == str(tiny.table.parent)
    assert "columns" not in config and f"saving {len(frame)} rows as {table}" in caplog.messages
    again = dbpt.fit(frame, out=run.folder, resume=True, **settings)
    assert again.metrics.rows[-1].test == run.metrics.rows[-1].test
    assert sum(line.startswith("saving") for line in caplog.messages) == 1
    expected = dbpt.evaluate(tiny_run, tiny.table, cache=settings["cache"]).metrics.rows
    assert dbpt.evaluate(run.folder, frame, columns=["label=y"], cache=settings["cache"]).metrics.rows == expected
    assert dbpt.evaluate(run.folder, config["data"], cache=settings["cache"]).metrics.rows == expected


def test_a_run_on_a_dataset_keeps_its_words_and_average(tiny, tiny_run, settings, tmp_path):
    data = dbpt.load_dataset(tiny.table, attributes=settings.pop("attributes"))
    run = dbpt.fit(data, out=tmp_path / "run", **settings)
    assert result_bytes(run.folder) == result_bytes(tiny_run)
    words = replace(data.words, classes={"box": ("cube",), "disc": ("disc",)})
    reworded = replace(data, average="adjusted", words=words)
    run = dbpt.fit(reworded, out=tmp_path / "other", **settings | {"epochs": 1})
    config = dbpt.load(run.folder).config
    assert (config.classes, config.average) == (("box=cube", "disc=disc"), "adjusted")
    found = dbpt.evaluate(run.folder, data, cache=settings["cache"])
    assert found.metrics.rows[0].test == run.metrics.rows[-1].test
    turned = replace(data.words, attributes={"lake": ("lake",), "meadow": ("meadow",)})
    with pytest.raises(dbpt.InputError, match="^data 'squares': its attributes are lake, meadow, the run's are "):
        dbpt.evaluate(run.folder, replace(data, words=turned))


def test_check_embed_and_compare(tiny, frame, settings, tmp_path):
    settings["columns"] = {"label": "y"}
    assert dbpt.check_data(frame.drop(index=0), **settings).problems == ()
    (problem,) = dbpt.check_data(frame.assign(split="val"), **settings).problems
    assert problem.startswith("DataFrame: no rows of split 'train'")
    data = dbpt.load_dataset(frame, columns=settings["columns"], attributes=settings["attributes"])
    assert dbpt.embed(frame, **settings).recomputed == len(frame)
    del settings["columns"]
    assert dbpt.embed(data, **settings).recomputed == 0
    assert not (tmp_path / "cache/datasets").exists()
    compared = dbpt.compare(data, out=tmp_path / "compared", methods="erm", seeds=1, **settings | {"epochs": 1})
    assert "ERM" in str(compared) and len(list((tmp_path / "cache/datasets").iterdir())) == 1


def test_rows_that_are_refused_are_not_saved(frame, settings, tmp_path):
    for changed, message in (
        (frame.assign(path="gone.png"), "DataFrame row 2: 'gone.png' is already at DataFrame row 1"),
        (frame.assign(y=None), "DataFrame: column 'y' has no value"),
        (frame.assign(split="test"), "DataFrame: no rows of split 'train'"),
    ):
        with pytest.raises(dbpt.InputError, match=message):
            dbpt.fit(changed, out=tmp_path / "run", columns=["label=y"], **settings)
    words = {"classes": {"box": "box", "disc": ["a disc", "a|b"]}, "attributes": settings.pop("attributes")}
    named = dbpt.load_dataset(frame, columns=["label=y"], **words)
    with pytest.raises(dbpt.InputError, match="^--classes: 'disc' can't be written"):
        dbpt.fit(named, out=tmp_path / "run", **settings)
    assert not (tmp_path / "cache").exists() and not (tmp_path / "run").exists()
