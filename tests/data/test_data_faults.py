"""Files of data that can't be read: every reader gives one line with the true reason, and does not wait."""

import os
import sys
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from layouts import edit, touch, write_birds, write_pets
from saved_datasets import made
from table_files import refused, rows
from tar_files import write_tar
from unprivileged import unprivileged

import dbpt
from dbpt.data import load_dataset
from dbpt.data.features_from_file import open_rows
from dbpt.data.paths import find_member
from dbpt.errors import InputError

TABLE = "path,label,split,attribute\na.jpg,x,train,0\nb.jpg,y,train,1\n"


@pytest.fixture
def place(tmp_path):
    """A folder with a table and its images."""
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "rows.csv").write_text(TABLE)
    return tmp_path


READERS = {
    "table": ("rows.csv", lambda path: load_dataset(path)),
    "json": ("rows.jsonl", lambda path: load_dataset(path)),
    "parquet": ("rows.parquet", lambda path: load_dataset(path)),
    "shard": ("train.tar", lambda path: load_dataset(path)),
    "waterbirds": ("metadata.csv", lambda path: load_dataset("waterbirds", path.parent)),
    "metashift": ("metadata_metashift.csv", lambda path: load_dataset("metashift", write_pets(path.parent))),
    "celeba": ("list_attr_celeba.txt", lambda path: load_dataset("celeba", path.parent)),
    "merged": ("metadata_celeba.csv", lambda path: load_dataset("celeba", path.parent)),
    "saved": ("dataset_dict.json", lambda path: load_dataset(path.parent)),
    "npy": ("features.npy", open_rows),
    "safetensors": ("features.safetensors", open_rows),
}
FAULTS = {
    "a pipe": lambda file: os.mkfifo(file),
    "an endless device": lambda file: file.symlink_to("/dev/zero"),
    "a folder": lambda file: file.mkdir(),
    "a loop of links": lambda file: file.symlink_to(file.name),
    "a link to nothing": lambda file: file.symlink_to("gone"),
    "empty": lambda file: file.touch(),
    "unreadable": lambda file: file.touch(mode=0),
}


@pytest.mark.skipif(sys.platform != "linux", reason="pipes and devices")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_or_crashes(tmp_path, reader, fault):
    name, read = READERS[reader]
    FAULTS[fault](tmp_path / name)
    told = "Permission denied" if fault == "unreadable" else None  # not missing or damaged
    with unprivileged(), pytest.raises(InputError, match=told):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "data", ["closed/rows.csv", "closed/train.tar", "closed/train-*.tar", "closed", "closed/below"]
)
def test_data_in_a_folder_that_may_not_be_entered(tmp_path, data):
    (tmp_path / "closed/below").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    with unprivileged():
        message = refused(f"{tmp_path}/closed/{data}")
    assert "Permission denied" in message and "closed" in message


def test_a_known_root_that_may_not_be_entered(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    for name in ("waterbirds", "celeba", "metashift"):
        with unprivileged():
            assert "Permission denied" in refused(name, tmp_path / "closed")


def test_an_image_that_may_not_be_looked_at_is_not_called_missing(place):
    (place / "closed").mkdir()
    touch(place, "closed/b.jpg")
    (place / "b.jpg").unlink()
    (place / "b.jpg").symlink_to("closed/b.jpg")
    (place / "closed").chmod(0)
    with unprivileged():
        assert load_dataset(place / "rows.csv").paths == ("a.jpg", "b.jpg")
        found = dbpt.check_data(str(place / "rows.csv"))
    assert any("image 'b.jpg': Permission denied" in line for line in (*found.warnings, *found.problems))


@pytest.mark.parametrize(("zero", "one"), [("0.0", "1.0"), ("0.000000000000000000e+00", "1.000000000000000000e+00")])
def test_unknown_attributes_as_pandas_and_numpy_write_them(place, zero, one):
    values = [zero, one, "-1", "-1.0", "", "-1.00", "nan", "NaN", "-1e0", "-1.000000000000000000e+00"]
    names = [f"{number}.jpg" for number in range(len(values))]
    touch(place, *names)
    table = (f"{name},{'xy'[len(value) % 2]},train,{value}" for name, value in zip(names, values, strict=True))
    (place / "rows.csv").write_text(rows(*table, header="path,label,split,attribute"))
    expected = [0, 1] + [-1] * 8
    data = load_dataset(place / "rows.csv")
    assert (data.attribute_names, data.attributes.tolist()) == (("0", "1"), expected)
    given = load_dataset(place / "rows.csv", attributes={"in": ("in",), "out": ("out",)})
    assert given.attributes.tolist() == expected


def test_nan_among_names_is_a_name(place):
    edit(place / "rows.csv", "x,train,0", "x,train,nan")
    edit(place / "rows.csv", "y,train,1", "y,train,pizza")
    assert load_dataset(place / "rows.csv").attribute_names == ("nan", "pizza")
    edit(place / "rows.csv", "pizza", "-1")
    breads = {"nan": ("nan",), "pita": ("pita",)}
    assert load_dataset(place / "rows.csv", attributes=breads).attributes.tolist() == [0, -1]


@pytest.mark.parametrize("value", ["-2", "-0.5", "-3e0"])
def test_negative_attributes_are_refused(place, value):
    edit(place / "rows.csv", "y,train,1", f"y,train,{value}")
    message = refused(place / "rows.csv")
    assert f"rows.csv line 3: attribute is '{value}', a negative number; write -1 or nothing where it is" in message


@pytest.mark.parametrize(("label", "others"), [("-1", ("0", "1")), ("-1.0", ("0.0", "0.0")), ("-2", ("2", "2"))])
def test_a_negative_label_among_others_is_no_class(place, label, others):
    """WILDS, Hugging Face and others write -1 for images without a label."""
    lines = [f"{name}.jpg,{value},train" for name, value in zip("abc", (*others, label), strict=True)]
    touch(place, "c.jpg")
    (place / "rows.csv").write_text(rows(*lines))
    message = refused(place / "rows.csv")
    assert f"rows.csv line 4: label is '{label}', a negative number; leave out images without a label" in message


def test_a_label_that_is_nan_is_refused_and_one_of_minus_1_and_1_is_a_name(place):
    edit(place / "rows.csv", "a.jpg,x", "c.jpg,1.0,train,1\na.jpg,-1.0")
    edit(place / "rows.csv", "b.jpg,y", "b.jpg,1.0")
    touch(place, "c.jpg")
    data = load_dataset(place / "rows.csv")
    assert (data.class_names, data.labels.tolist()) == (("-1", "1"), [1, 0, 1])
    edit(place / "rows.csv", "c.jpg,1.0", "c.jpg,nan")
    assert "rows.csv line 2: label is 'nan', expected one of '-1', '1'" in refused(place / "rows.csv")


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_that_are_not_utf8(tmp_path):
    bad = os.fsdecode(b"d\xe9.jpg")
    touch(tmp_path, "pets/cat/a.jpg", f"pets/dog/{bad}")
    assert r"the name of image 'dog/d\udce9.jpg' (row 2) is not UTF-8; rename it" in refused(tmp_path / "pets")
    files = [(bad, b""), (bad.replace("jpg", "cls"), b"1"), ("b.jpg", b""), ("b.cls", b"0")]
    write_tar(tmp_path / "train.tar", files)
    assert "(row 1) is not UTF-8; rename it" in refused(tmp_path / "train.tar")
    with pytest.raises(InputError, match="is not UTF-8"):
        dbpt.check_data(str(tmp_path / "pets"))


def test_more_rows_than_there_may_be(place, monkeypatch):
    monkeypatch.setattr("dbpt.data.columns.MOST_ROWS_OF_TABLE", 1)
    made([0, 1]).save_to_disk(place / "pets")
    parquet.write_table(pa.table({"path": ["a", "b"], "label": ["x", "y"], "split": ["0"] * 2}), place / "rows.parquet")
    (place / "rows.jsonl").write_text('{"path":"a","label":1,"split":0}\n{"path":"b","label":0,"split":0}\n')
    for name in ("rows.csv", "rows.parquet", "rows.jsonl", "pets"):
        assert "has 2 rows, more than 1; split it" in refused(place / name)


def test_repeated_rows_of_a_small_file_are_read_from_its_dictionary(place):
    """A text of 1 MB in each of so many rows would take 50 GB."""
    number = 50_000
    columns = {"path": "a.jpg", "label": "x" * 1_000_000, "split": "train"}
    repeated = np.zeros(number, dtype=np.int8)
    table = pa.table({name: pa.DictionaryArray.from_arrays(repeated, [value]) for name, value in columns.items()})
    parquet.write_table(table, place / "rows.parquet", store_schema=False)
    assert (place / "rows.parquet").stat().st_size < 3_000_000
    assert "column 'label' has only the value" in refused(place / "rows.parquet")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_extended_headers_of_a_terabyte(tmp_path, kind):
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, 1 << 40
    (tmp_path / "train.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    message = refused(tmp_path / "train.tar")
    assert "train.tar: is damaged: a header claims more bytes than the file has; copy it again" in message


def test_links_in_circles(tmp_path):
    touch(tmp_path, "pets/cat/a.jpg", "pets/dog/b.jpg")
    (tmp_path / "pets/cow").symlink_to("cow")
    (tmp_path / "pets/cat/all").symlink_to("..")
    (tmp_path / "pets/cat/me").symlink_to("me")
    assert load_dataset(tmp_path / "pets").paths == ("cat/a.jpg", "dog/b.jpg")
    birds = write_birds(tmp_path)
    (birds / "loop").symlink_to("loop")
    edit(birds / "metadata.csv", "001.A/x.jpg", "loop/x.jpg")
    assert "loop" in refused("waterbirds", birds)
    edit(birds / "metadata.csv", "loop/x.jpg", f"{birds}/loop/x.jpg")
    assert "loop" in refused("waterbirds", birds)
    edit(birds / "metadata.csv", f"{birds}/loop/x.jpg", "/elsewhere/loop/x.jpg")
    (tmp_path / "me").symlink_to("me")
    assert "Too many levels of symbolic links" in refused("waterbirds", tmp_path / "me")
    assert find_member(tmp_path / "me/shard.tar/a.jpg") is None
