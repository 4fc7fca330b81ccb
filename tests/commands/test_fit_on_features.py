"""A whole run on features that the user has: as one on their images, and plain where images would be needed."""

import json

import numpy as np
import pytest

import dbpt
from dbpt.cli import main
from dbpt.errors import InputError
from dbpt.features import embed_images


@pytest.fixture(scope="module")
def given(tiny, tiny_backbone, tmp_path_factory):
    """The tiny task's table in a folder without its images, and their features beside it, of other lengths."""
    folder = tmp_path_factory.mktemp("given")
    data = dbpt.load_dataset(tiny.table)
    found = embed_images(tiny_backbone, data.root, data.paths, cache_dir=tiny.cache / "features", batch_size=16)
    np.save(folder / "features.npy", found.features * np.linspace(0.5, 9, len(data), dtype=np.float32)[:, None])
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
    line = "The features came without images, so the mistakes cannot be shown."
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
