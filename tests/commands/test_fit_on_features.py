"""A whole run on features that the user has: as one on their images, and plain where images would be needed."""

import json
import os

import numpy as np
import pytest
from runs import StopAfter, contents

import dbpt
from dbpt.cli import main
from dbpt.data import StoredFeatures, stored_features
from dbpt.errors import InputError
from dbpt.training import gradients, loop


@pytest.fixture(scope="module")
def given(tiny, tiny_features, tmp_path_factory):
    """The tiny task's table in a folder without its images, and their features beside it, of other lengths."""
    folder = tmp_path_factory.mktemp("given")
    features = np.load(tiny_features)
    np.save(folder / "features.npy", features * np.linspace(0.5, 9, len(features), dtype=np.float32)[:, None])
    (folder / "table.csv").write_bytes(tiny.table.read_bytes())
    return folder


@pytest.fixture(scope="module")
def run(tiny, given, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = [str(given / "table.csv"), "--embeddings", str(given / "features.npy"), "--out", str(out)]
    main(["fit", *arguments, *tiny.arguments])
    return out


def figures(metrics):
    return [{split: row[split] for split in ("val", "test")} for row in metrics["rows"]]


def test_the_figures_are_those_of_the_images(run, tiny_run):
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (run, tiny_run))
    assert figures(ours) == figures(theirs)


def test_the_report_says_that_there_are_no_images(run, tiny_run):
    line = "The features came without images, so there are no pictures."
    assert line in (run / "report.html").read_text()
    assert line not in (tiny_run / "report.html").read_text()


def test_a_resume_with_other_features_is_refused(tiny, given, run):
    features = np.load(given / "features.npy")
    features[0] = -features[0]
    np.save(given / "other.npy", features)
    again = {"out": run, "resume": True, **tiny.settings}
    assert dbpt.fit(given / "table.csv", embeddings=given / "features.npy", **again).folder == run
    with pytest.raises(InputError, match="checkpoint"):
        dbpt.fit(given / "table.csv", embeddings=given / "other.npy", **again)


@pytest.fixture
def on_disk(tiny, given, monkeypatch):
    """Settings of a run whose features stay in their file, and whose batches are divided into blocks."""
    monkeypatch.setattr(stored_features, "KEPT_BYTES", 0)
    monkeypatch.setattr(gradients, "LARGE_BATCH", 20)
    monkeypatch.setattr(gradients, "BLOCK_ROWS", 7)
    return {**tiny.settings, "embeddings": given / "features.npy", "head": "linear", "batch_size": 0}


@pytest.mark.parametrize("method", [{"objective": "dbpt"}, {"objective": "groupdro", "apply": "sampling"}])
def test_a_run_on_features_in_a_file_goes_on_to_the_same_bytes(method, given, on_disk, tmp_path):
    settings = on_disk | method
    dbpt.fit(given / "table.csv", out=tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        dbpt.fit(given / "table.csv", out=tmp_path / "again", callbacks=[StopAfter(5)], **settings)
    dbpt.fit(given / "table.csv", out=tmp_path / "again", resume=True, **settings)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_few_validation_rows_are_read_once(given, on_disk, tmp_path, monkeypatch):
    """They are scattered over the file, all of which would be read in each epoch."""
    monkeypatch.setattr(stored_features, "KEPT_BYTES", 4 * np.load(given / "features.npy").size // 6)
    epoch, kept = loop._Run.epoch, []

    def watched(run):
        kept.append([rows.features.is_in_memory for rows in (run.training, run.validation)])
        return epoch(run)

    monkeypatch.setattr(loop._Run, "epoch", watched)
    dbpt.fit(given / "table.csv", out=tmp_path / "run", **on_disk)
    assert kept[0] == [False, True]


def test_a_file_that_changes_during_a_run_ends_it_with_one_line(given, on_disk, tmp_path):
    class Touch:
        def on_epoch_end(self, *epoch):
            os.utime(given / "features.npy")

    with pytest.raises(InputError, match=r"features\.npy: was changed or replaced while it was in use"):
        dbpt.fit(given / "table.csv", out=tmp_path / "run", callbacks=[Touch()], **on_disk)
    assert dbpt.fit(given / "table.csv", out=tmp_path / "run", resume=True, **on_disk).folder.exists()


@pytest.mark.parametrize("option", [{"objective": "dfr"}, {"group_source": "ppa"}, {"attributes": "clusters"}])
def test_what_needs_all_features_in_memory_says_how_many_are_too_many(option, given, on_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_features, "MOST_BYTES", 100)
    monkeypatch.setattr(StoredFeatures, "read", None)  # refused before any feature is read
    with pytest.raises(InputError, match=rf"^--.*{next(iter(option.values()))}: needs all \d+ rows .* in memory"):
        dbpt.fit(given / "table.csv", out=tmp_path / "run", **on_disk | option)


def test_evaluate_takes_the_runs_features_for_its_own_data_or_others_or_images(tiny, given, run):
    expected = json.loads((run / "metrics.json").read_text())["rows"][-1]["test"]
    copy = given / "copy.csv"
    copy.write_bytes((given / "table.csv").read_bytes())
    ours, of_images = {"embeddings": given / "features.npy"}, {"cache": str(tiny.cache)}
    for data, options in ((given / "table.csv", {}), (copy, ours), (tiny.table, of_images)):
        assert dbpt.evaluate(run, data, **options).to_dict()["rows"][0]["test"] == expected
    with pytest.raises(InputError, match="of 106 images cannot be found"):
        dbpt.evaluate(run, copy)


def test_label_has_nothing_to_show(run, tmp_path):
    with pytest.raises(InputError, match="was fitted on --embeddings, without images; there is nothing to show"):
        dbpt.draw_label_sample(run, out=tmp_path / "sample")
    assert not (tmp_path / "sample").exists()
