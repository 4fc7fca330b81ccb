"""A Dataset or DatasetDict as DATA: saved once below the cache folder, again when it or its images change."""

import json
import os
from pathlib import Path

import datasets
import pytest
from saved_datasets import made, of_splits, of_tiny
from table_files import refused

import dbpt
from dbpt.data import load_dataset
from dbpt.data.layouts.huggingface import materialize
from dbpt.data.paths import find_member


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DBPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def contents(data):
    return [find_member(data.root / path).open().read() for path in data.paths]


def test_it_is_read_as_its_folder_would_be(cache, tmp_path):
    pets = of_splits(train=made([0, 1, 1], attribute=["in", "out", "in"]), test=made([1, 0]).select([1, 0, 1]))
    pets.save_to_disk(tmp_path / "pets")
    found, expected = load_dataset(pets), load_dataset(tmp_path / "pets")
    assert found.paths == expected.paths and contents(found) == contents(expected)
    assert found.describe().split("\n")[1:] == expected.describe().split("\n")[1:]
    assert found.root.is_relative_to(cache / "datasets") and found.name == "dataset"
    assert load_dataset(made([0, 1, 0])).splits.tolist() == [0, 0, 0]


def test_one_copy_as_long_as_nothing_changes(cache, tmp_path, monkeypatch, logged):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(fsync(file)))
    first = materialize(made([0, 1]))
    assert len(synced) == len(list(Path(first).iterdir()))
    assert logged.messages == [f"saving 2 rows as {first}"]
    assert materialize(made([0, 1])) == first and len(logged.messages) == 1
    assert materialize(made([1, 0])) != first and len(logged.messages) == 2
    assert materialize(of_splits(train=made([0, 1]))) != materialize(of_splits(test=made([0, 1]))) != first
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(materialize(made([0, 1]), "~/other")).is_relative_to(tmp_path / "other/datasets")
    assert not [path for path in (cache / "datasets").iterdir() if path.name.startswith(".")]


def test_images_that_are_files(tmp_path):
    files = [tmp_path / f"{name}.jpg" for name in "ab"]
    for file in files:
        file.write_bytes(file.name.encode())
    rows = made([0, 1], [str(file) for file in files])
    first = load_dataset(rows)
    assert contents(first) == [b"a.jpg", b"b.jpg"]
    os.utime(files[1], ns=(1, 1))
    assert load_dataset(made([0, 1], [str(file) for file in files])).root != first.root
    files[1].unlink()
    assert contents(first) == [b"a.jpg", b"b.jpg"]
    assert f"image '{files[1]}' is not a file here: No such file or directory; download" in refused(rows)


def test_the_network_is_not_asked(monkeypatch):
    asked = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *where, **_: asked.append(where))
    far = "https://example.org/a.jpg"
    assert f"image '{far}' is not a file here" in refused(made([0, 1], [far, far]))
    views = made([0, 1]).add_column("views", [[{"bytes": None, "path": far}]] * 2)
    assert len(load_dataset(views.cast_column("views", datasets.Sequence(datasets.Image())))) == 2
    assert asked == []


def test_formats_transforms_and_columns_that_nobody_reads_stay_behind(cache):
    rows = made([0, 1]).add_column("boxes", [[1, 2], [3]])
    rows.set_transform(lambda batch: pytest.fail("transformed"))
    data = load_dataset(rows)
    assert contents(data) == [b"0", b"1"]
    assert set(json.loads((data.root / "dataset_info.json").read_text())["features"]) == {"image", "label"}


def test_it_is_called_as_its_builder_was(cache):
    rows = made([0, 1])
    rows.info.dataset_name = "my pets/2"
    assert load_dataset(rows).name == "my_pets_2"


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (lambda: made([0, 1]).to_iterable_dataset(), "data is a IterableDataset, which is streamed"),
        (lambda: datasets.IterableDatasetDict({"train": made([0, 1]).to_iterable_dataset()}), "which is streamed"),
        (lambda: of_splits(train=made([0, 1]), dev=made([0, 1])), "data: split 'dev' is none of train, training"),
        (lambda: of_splits(), "data is a DatasetDict without a split"),
        (lambda: [made([0, 1])], "data is a builtins.list; expected a name, a path, a DataFrame, or a Dataset"),
        (lambda: made([0, 1]).remove_columns("image"), "no column has the feature Image"),
    ],
)
def test_what_is_refused(data, part):
    assert part in refused(data())


def test_a_copy_that_fails_leaves_nothing(cache, monkeypatch):
    def full(self, folder):
        Path(folder).mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets.Dataset, "save_to_disk", full)
    assert "cannot save the data set there: No space left on device" in refused(made([0, 1]))
    assert list((cache / "datasets").iterdir()) == []


def test_a_copy_that_another_process_has_made_meanwhile(cache, monkeypatch):
    real, found = datasets.Dataset.save_to_disk, []

    def slowly(self, folder):
        monkeypatch.undo()
        monkeypatch.setenv("DBPT_CACHE", str(cache))
        found.append(materialize(made([0, 1])))
        real(self, folder)

    monkeypatch.setattr(datasets.Dataset, "save_to_disk", slowly)
    assert [materialize(made([0, 1]))] == found
    assert len(list((cache / "datasets").iterdir())) == 1


def test_fit_resume_evaluate_check_data_and_compare_take_the_object(tiny, tmp_path):
    pets = of_tiny(tiny, as_paths=True)
    settings = tiny.settings | {"cache": str(tmp_path / "cache")}
    run = dbpt.fit(pets, out=tmp_path / "run", **settings)
    again = dbpt.fit(pets, out=tmp_path / "run", resume=True, **settings)
    assert again.to_dict()["rows"][-1]["test"] == run.to_dict()["rows"][-1]["test"]
    folder = dbpt.load(run.folder).config.data
    assert Path(folder).is_relative_to(tmp_path / "cache/datasets")
    by_object = dbpt.evaluate(run.folder, pets, cache=settings["cache"]).to_dict()
    by_path = dbpt.evaluate(run.folder, folder, cache=settings["cache"]).to_dict()
    assert dbpt.check_data(pets, attributes=settings["attributes"]).problems == ()
    compared = dbpt.compare(pets, out=tmp_path / "compared", methods=["erm"], seeds=1, **settings | {"epochs": 1})
    assert "ERM" in str(compared)
    assert by_object == by_path and by_path["rows"][0]["test"]["n"] == run.to_dict()["rows"][-1]["test"]["n"]


def test_wrong_settings_are_told_before_anything_is_saved(tmp_path, cache):
    for verb in (dbpt.fit, dbpt.compare):
        with pytest.raises(dbpt.InputError, match="unknown argument 'epoch'"):
            verb(made([0, 1]), out=tmp_path / "run", epoch=3)
    with pytest.raises(dbpt.InputError, match="unknown argument 'clases'"):
        dbpt.check_data(made([0, 1]), clases=["a", "b"])
    assert not cache.exists()
