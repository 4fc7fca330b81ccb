"""Saved Hugging Face data sets: which rows they have, what is refused, and that images are read where they lie."""

import builtins
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_datasets import made, of_splits, of_tiny
from table_files import refused, vocabulary

import dbpt
from dbpt.archives import find_member
from dbpt.data import load_dataset
from dbpt.errors import InputError
from dbpt.features import embed_images, open_image

ONE, TWO = "data-00000-of-00001.arrow", "data-00001-of-00002.arrow"


@pytest.fixture
def save(tmp_path):
    """Save a Dataset or DatasetDict as the folder ``pets``."""

    def save(data, **options):
        data.save_to_disk(tmp_path / "pets", **options)
        return tmp_path / "pets"

    return save


def change_json(file, **entries):
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def test_splits_of_a_dict(save):
    train = made([0, 1, 1], attribute=["in", "", "out"])
    folder = save(of_splits(train=train, validation=made([1]), test=made([0, 1])), num_shards={"train": 2})
    data = load_dataset(folder)
    assert data.paths[1:4] == (
        "train/data-00000-of-00002.arrow/image/1",
        f"train/{TWO}/image/0",
        f"validation/{ONE}/image/0",
    )
    assert (data.class_names, data.labels.tolist()) == (("dog", "cat"), [0, 1, 1, 1, 0, 1])
    assert (data.attribute_names, data.attributes.tolist()) == (("in", "out"), [0, -1, 1, -1, -1, -1])
    assert data.splits.tolist() == [0, 0, 0, 1, 2, 2]
    assert (data.name, data.root, data.source, data.notes) == ("pets", folder, folder, ())
    assert data.where(3) == f"validation/{ONE}/image/0"
    found = [find_member(folder / path).open().read() for path in data.paths]
    assert found == [b"0", b"1", b"2", b"0", b"0", b"1"]


def test_one_dataset_with_a_column_of_splits(save):
    data = load_dataset(save(made([0, 1, 0, 1], split=["train", "train", "validation", "test"])))
    assert data.splits.tolist() == [0, 0, 1, 2]
    assert data.paths[3] == f"{ONE}/image/3"


def test_one_split_with_such_a_column_as_csv_files_are_loaded(save):
    assert load_dataset(save(of_splits(train=made([0, 1, 0], split=["train", "train", "val"])))).splits.tolist() == [
        0,
        0,
        1,
    ]


def test_of_several_splits_the_folders_count_unless_the_column_is_named(save):
    fold = {"split": ["val", "test"]}
    folder = save(of_splits(train=made([0, 1], **fold), test=made([0, 1], **fold)))
    assert load_dataset(folder).splits.tolist() == [0, 0, 2, 2]
    assert load_dataset(folder, columns={"split": "split"}, training=False).splits.tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize(("name", "code"), [(None, 0), ("test[:50%]", 2), ("test", 2), ("validation", 1), ("all", 0)])
def test_one_dataset_of_one_split(save, name, code):
    folder = save(made([0, 1]))
    change_json(folder / "state.json", _split=name)
    assert load_dataset(folder, training=False).splits.tolist() == [code, code]


def test_names_of_splits_in_letters_of_any_case(save):
    folder = save(of_splits(Train=made([0, 1]), VALID=made([0, 1])))
    assert load_dataset(folder).splits.tolist() == [0, 0, 1, 1]


def test_one_split_of_a_dict(save):
    folder = save(of_splits(train=made([0, 1]), test=made([0, 1])))
    assert load_dataset(folder / "test", training=False).splits.tolist() == [2, 2]
    (folder / "dataset_dict.json").unlink()
    assert load_dataset(folder / "test").splits.tolist() == [0, 0]


def test_columns_of_other_names(save):
    rows = made([0, 1]).rename_columns({"image": "photo", "label": "y"})
    rows = rows.add_column("mask", [None, None]).cast_column("mask", datasets.Image())
    rows = rows.add_column("fold", ["test", "train"]).add_column("place", ["in", "out"])
    folder = save(rows)
    columns = {"path": "photo", "label": "y", "split": "fold", "attribute": "place"}
    data = load_dataset(folder, columns=columns, training=False)
    assert data.paths == (f"{ONE}/photo/0", f"{ONE}/photo/1")
    assert (data.labels.tolist(), data.splits.tolist(), data.attributes.tolist()) == ([0, 1], [2, 0], [0, 1])


@pytest.mark.parametrize(
    ("labels", "classes", "names"),
    [
        (["b", "a", "b"], None, ("a", "b")),
        ([10, 9, 10], None, ("9", "10")),
        ([True, False, True], {"classes": vocabulary("no", "yes")}, ("no", "yes")),
        (["b", "a", "b"], {"classes": vocabulary("a", "b")}, ("a", "b")),
    ],
)
def test_labels_that_are_no_class_labels(save, labels, classes, names):
    data = load_dataset(save(made(labels, names=())), **(classes or {}))
    assert (data.class_names, data.labels.tolist()) == (names, [1, 0, 1])


def test_class_labels_under_given_classes_and_names_without_rows(save):
    folder = save(made([2, 0, 2], names=("dog ", "cow", "7")))
    data = load_dataset(folder)
    assert (data.class_names, data.labels.tolist()) == (("dog", "7"), [1, 0, 1])
    assert data.notes == ("no row has 1 of the names of 'label', which are left out: 'cow'",)
    given = load_dataset(folder, classes=vocabulary("7", "dog"))
    assert (given.labels.tolist(), given.notes) == ([0, 1, 0], ())


def test_attributes_with_class_labels(save):
    kinds = made([0, 1, 0]).add_column("attribute", [1, -1, 0])
    kinds = kinds.cast_column("attribute", datasets.ClassLabel(names=["sea", "land"]))
    data = load_dataset(save(kinds))
    assert (data.attribute_names, data.attributes.tolist()) == (("sea", "land"), [1, -1, 0])


def test_a_split_without_labels_is_left_out(save):
    folder = save(of_splits(test=made([-1, -1]), train=made([0, 1])))
    data = load_dataset(folder)
    assert data.splits.tolist() == [0, 0]
    assert data.notes == ("split 'test' is left out: its 2 rows have no label (-1 or empty)",)


@pytest.mark.parametrize("kind", ["class label", "integer", "text"])
def test_rows_without_a_label(save, kind):
    labels = {"class label": [0, 1, -1], "integer": [0, 1, -1], "text": ["a", "b", " "]}[kind]
    message = refused(save(of_splits(train=made(labels, names=("a", "b") if kind == "class label" else ()))))
    value = "empty" if kind == "text" else "-1"
    assert f"pets/train[2]: label is {value}, no label (1 of 3 rows); leave such rows out" in message


def test_splits_without_rows(save):
    folder = save(of_splits(train=made([0, 1]), test=made([0, 1])))
    change_json(folder / "test/state.json", _data_files=[])
    data = load_dataset(folder)
    assert (data.splits.tolist(), data.notes) == ([0, 0], ())
    change_json(folder / "train/state.json", _data_files=[])
    assert "pets: no row has a label" in refused(folder)


def test_no_labels_at_all(save):
    assert "pets: no row has a label; save rows" in refused(save(made([-1, -1])))


def test_images_that_are_missing(save):
    folder = save(of_splits(train=made([0, 1, 0], [b"", None, None])))
    message = refused(folder)
    assert f"image 'train/{ONE}/image/1' is not in {folder} (2 of 3 images are missing)" in message
    found = dbpt.check_data(folder)
    assert len([line for line in found.problems if "is not in" in line]) == 2


def rewrite(file, change, max_chunksize=None, **options):
    """Write what ``change`` makes of the table in an Arrow file."""
    table = change(pa.ipc.open_stream(file.read_bytes()).read_all())
    options = pa.ipc.IpcWriteOptions(**options)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize)


def with_images(folder, images):
    """Let an array be the column of images: save_to_disk of today makes bytes of paths."""
    rewrite(folder / ONE, lambda table: table.set_column(table.schema.get_field_index("image"), "image", images))
    return folder


def with_paths(folder, paths):
    return with_images(
        folder, pa.StructArray.from_arrays([pa.nulls(len(paths), pa.binary()), pa.array(paths)], ["bytes", "path"])
    )


def test_an_image_is_none_where_the_whole_struct_is(save):
    parts = [pa.array([b"0", b"1"]), pa.array(["", ""])]
    images = pa.StructArray.from_arrays(parts, ["bytes", "path"], mask=pa.array([False, True]))
    assert "(1 of 2 images are missing)" in refused(with_images(save(made([0, 1])), images))


def test_a_column_that_is_there_twice(save):
    folder = save(made([0, 1]))
    rewrite(folder / ONE, lambda table: table.append_column("label", table.column("label")))
    assert f"{ONE}: has 2 columns 'label', expected one" in refused(folder)


def test_a_bad_value_is_named_by_its_row_in_the_split(save):
    rows = made([0, 1] * 6, y=[1.0] * 11 + [float("inf")])
    folder = save(rows, num_shards=2)
    for file in (folder / "data-00000-of-00002.arrow", folder / TWO):
        rewrite(file, lambda table: table, max_chunksize=4)
    assert "pets[11]: y is inf, expected text or a number" in refused(folder, columns={"label": "y"})


def test_images_that_are_kept_as_paths(save, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"a")
    (tmp_path / "photos/b.jpg").write_bytes(b"b")
    folder = with_paths(save(made([0, 1])), [str(tmp_path / "photos/a.jpg"), "b.jpg"])
    data = load_dataset(folder, tmp_path / "photos")
    assert (data.root, data.paths) == (tmp_path / "photos", ("a.jpg", "b.jpg"))
    message = refused(folder)
    assert f"pets[0]: image is the file '{tmp_path}/photos/a.jpg', not bytes; give the folder" in message
    assert f"--root {tmp_path}/photos" in message
    assert f"path '{tmp_path}/photos/a.jpg' is outside the root {folder}" in refused(folder, folder)
    assert "is not a folder; expected" in refused(folder, tmp_path / "photos/a.jpg")


def test_paths_below_the_saved_folder_need_no_root(save):
    folder = with_paths(save(made([0, 1])), ["a.jpg", "deep/../b.jpg"])
    for name in ("a.jpg", "b.jpg"):
        (folder / name).touch()
    assert load_dataset(folder).paths == ("a.jpg", "b.jpg")
    with_paths(folder, ["a.jpg", "../b.jpg"])
    assert "pets[1]: path '../b.jpg' leaves the root" in refused(folder)
    with_paths(folder, [None, "b.jpg"])
    assert "pets[0]: path '' names no file" in refused(folder)


def test_root_and_embeddings_mean_nothing_to_images_inside(save, tmp_path):
    folder = save(made([0, 1]))
    assert f"--root {tmp_path}: {folder} has its images inside; drop it" in refused(folder, tmp_path)
    assert f"--embeddings with the folder {folder}" in refused(folder, images=False)


@pytest.mark.parametrize(
    ("data", "columns", "part"),
    [
        (lambda: made([0, 1]).remove_columns("image"), {}, "pets: no column has the feature Image (columns: 'label')"),
        (
            lambda: made([0, 1]).add_column("mask", [None, None]).cast_column("mask", datasets.Image()),
            {},
            "pets: 'image', 'mask' all hold images; say which: --columns path=image",
        ),
        (
            lambda: made([0, 1], file=["a", "b"]),
            {"path": "file"},
            "column 'file' has the feature Value, expected",
        ),
        (
            lambda: made([0, 1]),
            {"path": "imag"},
            "pets: no column 'imag'; columns found: 'image', 'label' (did",
        ),
        (lambda: made([0, 1]), {"label": "labels"}, "pets: no column 'labels'; columns found: 'image', 'label' (did"),
        (lambda: made([0, 1]), {"attribute": "place"}, "pets: no column 'place'"),
        (lambda: of_splits(train=made([0, 1]), dev=made([0, 1])), {}, "pets: split 'dev' is none of train, val, valid"),
        (
            lambda: of_splits(train=made([0, 1]), test=made([0, 1]).remove_columns("label")),
            {},
            "pets/test: no column 'label'",
        ),
        (
            lambda: of_splits(train=made([0, 1]), test=made([0, 1]).rename_column("image", "photo")),
            {},
            "pets/test: no column 'image'; columns found: 'photo'",
        ),
        (lambda: made([0, 1], split=["train", "dev"]), {}, "pets[1]: split is 'dev', expected one of 'train', 'val'"),
        (lambda: made([0, 0]), {}, "pets: column 'label' has only the value 'dog'"),
        (lambda: made([0, 1]).add_column("y", [["a"], ["b"]]), {"label": "y"}, "pets[0]: y is ['a'], expected text or"),
    ],
)
def test_one_line_for_bad_rows(save, data, columns, part):
    assert part in refused(save(data()), columns=columns)


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda pets: (pets / "dataset_dict.json").write_text("{"), "dataset_dict.json: is not JSON"),
        (
            lambda pets: change_json(pets / "dataset_dict.json", splits=[]),
            "dict.json: its 'splits' are no names",
        ),
        (lambda pets: change_json(pets / "dataset_dict.json", splits=["../pets/train"]), "its 'splits' are no names"),
        (
            lambda pets: (pets / "train/state.json").unlink(),
            "pets/train: has no state.json, so it was not",
        ),
        (
            lambda pets: (pets / "train/dataset_info.json").unlink(),
            "pets/train: has no dataset_info.json",
        ),
        (lambda pets: (pets / "train/state.json").write_text("<html>no"), "train/state.json: is a web page"),
        (lambda pets: (pets / "train/state.json").write_text("[]"), "train/state.json: is a list, expected an object"),
        (
            lambda pets: change_json(pets / "train/state.json", _data_files=7),
            "state.json: does not list",
        ),
        (lambda pets: change_json(pets / "train/state.json", _data_files=[7]), "state.json: does not list the Arrow"),
        (
            lambda pets: change_json(pets / "train/state.json", _data_files=[{"filename": f"../train/{ONE}"}]),
            "state.json: does not list the Arrow files of this folder",
        ),
        (
            lambda pets: change_json(pets / "train/state.json", _indices_data_files=[{"filename": "i.arrow"}]),
            "state.json: does not list the Arrow files of this folder",
        ),
        (
            lambda pets: change_json(pets / "train/state.json", _data_files=[{"filename": "state.json"}]),
            "train/state.json: is no Arrow file, though state.json names it",
        ),
        (lambda pets: (pets / "train" / ONE).unlink(), f"train/{ONE}: is no Arrow file, though state.json names it"),
        (lambda pets: change_json(pets / "train/dataset_info.json", features=None), "its 'features' are not those of"),
        (
            lambda pets: change_json(pets / "train/dataset_info.json", features={"label": {"_type": "ClassLabel"}}),
            "its 'features' are not those of columns",
        ),
        (
            lambda pets: change_json(
                pets / "train/dataset_info.json",
                features={"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a"]}},
            ),
            "pets/train[1]: label is 1, expected a number from 0 to 0",
        ),
        (
            lambda pets: change_json(pets / "train/dataset_info.json", features={"x": {"_type": "Image"}, "label": {}}),
            f"train/{ONE}: has 0 columns 'x', expected one",
        ),
    ],
)
def test_one_line_for_a_damaged_folder(save, damage, part):
    folder = save(of_splits(train=made([0, 1])))
    damage(folder)
    assert part in refused(folder)


def test_a_column_that_holds_no_images_after_all(save):
    folder = save(made([0, 1], y=["a", "b"]))
    change_json(folder / "dataset_info.json", features={"label": {"_type": "Image"}, "y": {"_type": "Value"}})
    assert f"{ONE}: column 'label' is int64, expected images" in refused(folder, columns={"label": "y"})


def test_names_that_are_none(save):
    folder = save(made([0, 1]))
    for name in ("\0", "", 7):
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["dog", name]}}
        change_json(folder / "dataset_info.json", features=features)
        assert "its 'features' are not those of columns" in refused(folder)


def test_a_folder_that_cannot_be_listed(save, monkeypatch):
    folder = save(made([0, 1]))

    def forbidden(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", forbidden)
    assert f"{folder}: cannot be listed (Permission denied)" in refused(folder)


def test_a_folder_that_was_never_finished(save):
    folder = save(made([0, 1]))
    (folder / "state.json").unlink()
    (folder / "dataset_info.json").unlink()
    assert "pets: has no state.json, so it was not saved to its end; save it again" in refused(folder)


def test_a_file_that_is_cut_off_anywhere(save):
    folder = save(made([0, 1] * 4), num_shards=1)
    file = folder / ONE
    rewrite(file, lambda table: table, max_chunksize=4)  # two batches, so that one can be whole
    whole = file.read_bytes()
    assert len(load_dataset(folder)) == 8
    for end in range(0, len(whole), 8):
        file.write_bytes(whole[:end])
        os.utime(file, ns=(0, end))
        assert f"{ONE}: " in refused(folder)
    file.write_bytes(b"<html>Not found</html>")
    assert f"{ONE}: cannot be read as an Arrow file" in refused(folder)


def test_offsets_that_lead_elsewhere(save):
    folder = save(made([0, 1, 0]))
    bounds, far = (np.array([0, 1, 2, end], dtype=np.int32).tobytes() for end in (3, 9000))
    whole = (folder / ONE).read_bytes()
    assert whole.count(bounds) == 1
    (folder / ONE).write_bytes(whole.replace(bounds, far))
    assert f"{ONE}: cannot be read as an Arrow file" in refused(folder)


def test_compressed_files(save):
    folder = save(made([0, 1], [b"0" * 99, b"1" * 99]))
    rewrite(folder / ONE, lambda table: table, compression="zstd")
    assert f"{ONE}: is compressed inside; save it with save_to_disk of datasets" in refused(folder)


def test_rows_by_path(save):
    contents = [bytes([row % 251]) * row for row in range(2500)]
    contents[7] = None
    folder = save(made([0, 1] * 1250, contents), num_shards=2)
    data = load_dataset(folder, check=False)
    for path, content in zip(data.paths, contents, strict=True):
        member = find_member(folder / path)
        assert (member and member.open().read()) == content
    if sys.platform == "linux":  # a map of a file that is cut off under it would end the process
        assert TWO not in Path("/proc/self/maps").read_text()
    file = folder / TWO
    member = find_member(file / "image/3")
    assert (member.size, member.mtime_ns) == (1253, file.stat().st_mtime_ns)
    for name in ("image/1250", "image/03", "image/-1", "image/x", "image/٣", "image/" + "9" * 30, "image", "3"):
        assert find_member(file / name) is None
    os.utime(file, ns=(1, 1))
    with pytest.raises(OSError, match=f"{TWO} changed while it was being read"):
        member.open()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_a_data_set_or_one_line(data):
    with tempfile.TemporaryDirectory() as folder:
        made([0, 1, 0], attribute=["in", "out", "in"]).save_to_disk(folder)
        file = Path(folder, data.draw(st.sampled_from([ONE, ONE, ONE, "state.json", "dataset_info.json"])))
        whole = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(whole) - 1))
            new = data.draw(st.one_of(st.binary(max_size=12), st.just(b"\xff" * 8), st.just(b"\0" * 8)))
            whole[start : start + len(new)] = new
        file.write_bytes(whole)
        try:
            found = load_dataset(folder, check=False)
            assert all(find_member(found.root / path).open() for path in found.paths if ".arrow/" in path)
        except InputError as error:
            assert "\n" not in str(error)


def test_a_bad_image_is_left_out(tiny, tiny_backbone, save, tmp_path):
    good = [(tiny.table.parent / row["path"]).read_bytes() for row in tiny.rows()[:3]]
    folder = save(of_splits(train=made([0, 1, 0, 1], [*good, b"<html>Not found</html>"])))
    data = load_dataset(folder)
    found = embed_images(tiny_backbone, data.root, data.paths, cache_dir=tmp_path / "cache", max_failures=0.3)
    assert found.ok.tolist() == [True, True, True, False]
    (failure,) = found.failures
    assert failure.path == f"train/{ONE}/image/3" and "not a JPEG" in failure.reason
    assert np.array_equal(open_image(folder / data.paths[0]), open_image(tiny.table.parent / tiny.rows()[0]["path"]))


def test_the_figures_are_those_of_the_images_and_nothing_is_unpacked(tiny, tiny_run, save):
    folder = save(of_tiny(tiny), num_shards={"train": 2})
    before = sorted(folder.rglob("*"))
    out = folder.parent / "run"
    run = dbpt.fit(folder, out=out, **tiny.settings)
    theirs = json.loads((tiny_run / "metrics.json").read_text())
    zero_shot, expected = run.metrics["rows"][0], theirs["rows"][0]
    assert (zero_shot["val"], zero_shot["test"]) == (expected["val"], expected["test"])
    assert [row["test"]["n"] for row in run.metrics["rows"]] == [row["test"]["n"] for row in theirs["rows"]]
    assert "data:image/jpeg" in (out / "report.html").read_text()
    assert sorted(folder.rglob("*")) == before
    said = []
    dbpt.evaluate(out, folder, cache=str(tiny.cache), log=said.append)
    assert any("0 embedded now, 0 unreadable" in line for line in said)
    (prediction,) = dbpt.load(out).predict([folder / "test" / ONE / "image/0"])
    assert prediction.error is None


def test_reading_imports_neither_datasets_nor_torch(save):
    code = (
        "import sys; from dbpt.data import load_dataset; load_dataset(sys.argv[1]); "
        "print(*{'datasets', 'torch', 'pyarrow'} & set(sys.modules))"
    )
    folder = save(made([0, 1]))
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("pyarrow", "")


def test_pyarrow_is_asked_for_where_it_is_missing(save, monkeypatch):
    folder, real = save(made([0, 1])), builtins.__import__

    def without(name, *args, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert f"{ONE}: reading it needs pyarrow; run pip install 'dbpt[datasets]'" in refused(folder)
