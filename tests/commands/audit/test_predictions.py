"""The user's predictions: what is read, in which order, and the one line that every bad file gets."""

import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import line_of
from runs import said
from table_files import rows, written
from traced_memory import traced

from dbpt.data import load_dataset
from dbpt.data.writing import csv_text
from dbpt.errors import InputError
from dbpt.evaluation.audited_predictions import user_predictions

NAMES = ("img/a.jpg", "img/b.jpg", "c.jpg", "=d.jpg")
GOOD = "path,prediction\nimg/a.jpg,dog\nimg/b.jpg,dog\nc.jpg,cat\n=d.jpg,cat\n"
WITH_P = (
    "path,prediction,p_cat,p_dog\nimg/a.jpg,dog,0.5,0.5\nimg/b.jpg,dog,0.1,0.9\nc.jpg,cat,1,0\n=d.jpg,cat,0.2,0.8\n"
)
PROBABILITIES = np.array([[0.5, 0.5], [0.1, 0.9], [1, 0], [0.2, 0.8]])


@pytest.fixture
def dataset(tmp_path):
    """Two dogs, then two cats, in a folder by the name of a link."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    table = tmp_path / "link/pets.csv"
    labels = ("dog", "dog", "cat", "cat")
    table.write_text(rows(*(f"{name},{label},train" for name, label in zip(NAMES, labels, strict=True))))
    return load_dataset(table, images=False)


@pytest.fixture
def read(tmp_path, dataset):
    """Write a file of text or bytes, or an array, and read its predictions."""
    return lambda content, name="mine.csv", **options: user_predictions(
        written(tmp_path / name, content), dataset, **options
    )


def replaced(old, new, text=GOOD):
    assert old in text
    return text.replace(old, new, 1)


# --- what is read


def test_rows_are_found_by_path_in_any_order(read):
    header, *lines = GOOD.splitlines(keepends=True)
    for order in (lines, lines[::-1], lines[2:] + lines[:2]):
        found = read(header + "".join(order))
        assert found.predictions.tolist() == [1, 1, 0, 0] and found.predictions.dtype == np.int64
        assert found.probabilities is None and found.warnings == ()


@pytest.mark.parametrize("spelling", ["./{}", "{root}/{}", "img/../{}", "{real}/{}", "{root}/../link//{}"])
def test_a_path_may_be_absolute_or_relative_to_the_root(read, dataset, tmp_path, spelling, monkeypatch):
    places = {"root": dataset.root, "real": os.path.realpath(dataset.root)}
    cells = [[spelling.format(name, **places), "dog"] for name in NAMES]
    assert read(csv_text([["path", "prediction"], *cells])).predictions.tolist() == [1] * 4
    monkeypatch.chdir(tmp_path)  # a relative one may start there
    cells = [[f"link/{name}", "cat"] for name in NAMES]
    assert read(csv_text([["path", "prediction"], *cells])).predictions.tolist() == [0] * 4


def test_formats_give_the_same(read, tmp_path, dataset):
    lines = [line.split(",") for line in WITH_P.splitlines()]
    columns = {name: [line[i] for line in lines[1:]] for i, name in enumerate(lines[0])}
    columns |= {name: [float(x) for x in columns[name]] for name in ("p_cat", "p_dog")}
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    for found in (
        read(WITH_P),
        read(WITH_P.replace(",", "\t"), "mine.tsv"),
        user_predictions(tmp_path / "mine.parquet", dataset),
    ):
        assert found.predictions.tolist() == [1, 1, 0, 0]
        np.testing.assert_array_equal(found.probabilities, PROBABILITIES)


@pytest.mark.parametrize("dtype", ["int64", "U3"])
def test_a_long_array_is_read_without_an_object_for_each_row(tmp_path, dtype):
    n = 50_000
    (tmp_path / "long.csv").write_text("label\n" + "cat\ndog\n" * (n // 2))
    dataset, codes = load_dataset(tmp_path / "long.csv", images=False), np.arange(n) % 2
    np.save(tmp_path / "mine.npy", codes if dtype == "int64" else np.array(["cat", "dog"])[codes])
    found, _, most = traced(lambda: user_predictions(tmp_path / "mine.npy", dataset))
    assert np.array_equal(found.predictions, codes) and most < 60 * n


@pytest.mark.parametrize("cells", [("1", "1", "0", "0"), ("1.0", "1.0", "0.0", "0.0"), (" dog", "dog", "cat ", "cat")])
def test_a_class_is_a_name_or_an_index(read, cells):
    lines = [f"{name},{cell},{cell}" for name, cell in zip(NAMES, cells, strict=True)]
    assert read(rows(*lines, header="path,label,prediction")).predictions.tolist() == [1, 1, 0, 0]


def test_arrays_are_in_the_order_of_the_data(read):
    for array in (np.array([1, 0, 1, 0]), np.array([1, 0, 1, 0], ">u2"), np.array(["dog", "cat", "dog", "cat"])):
        found = read(array, "mine.npy")
        assert found.predictions.tolist() == [1, 0, 1, 0] and found.probabilities is None
        assert read(array, "mine.npy", rows=np.array([1, 2])).predictions.tolist() == [0, 1]
        assert read(array[:2], "mine.npy", rows=np.array([2, 3])).predictions.tolist() == [1, 0]
    for dtype, close in (("float64", 1e-15), ("float16", 1e-3)):
        found = read(PROBABILITIES.astype(dtype), "mine.npy")
        assert found.predictions.tolist() == [0, 1, 0, 1]
        np.testing.assert_allclose(found.probabilities, PROBABILITIES, atol=close)
        assert found.probabilities.dtype == np.float64 and found.probabilities.sum(axis=1) == pytest.approx(1)


def test_only_the_audited_rows_must_be_there_and_other_images_are_counted(read):
    found = read(GOOD + "gone.jpg,zebra\nalso/gone.jpg,cat\n")
    assert found.predictions.tolist() == [1, 1, 0, 0]
    assert len(found.warnings) == 1 and "2 of 6 rows are ignored" in str(found.warnings[0])
    assert str(found.warnings[0]).endswith("the first is 'gone.jpg' in line 6")
    audited = read("path,prediction\nc.jpg,dog\n=d.jpg,cat\n", rows=np.array([3, 2]))
    assert audited.predictions.tolist() == [0, 1] and audited.warnings == ()


def test_the_output_of_dbpt_predict_is_read_as_it_is(read, dataset):
    """Rounded probabilities, columns more, an apostrophe before a formula, and images that could not be read."""
    table = [["path", "prediction", "p_cat", "p_dog", "pseudo_attribute", "confidence", "error"]]
    table += [[name, "dog", "0.333333", "0.666666", "-x", "0.9", ""] for name in NAMES]
    table.append(["broken.jpg", "", "", "", "", "", "not an image"])
    text = csv_text(table)
    assert "'=d.jpg" in text
    found = read(text)
    assert found.predictions.tolist() == [1] * 4 and found.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-15)
    table[2][1:] = ["", "", "", "", "", "truncated"]
    found = read(csv_text(table), rows=np.array([3, 1, 0]))
    assert found.predictions.tolist() == [1, -1, 1] and found.probabilities[0] == pytest.approx([1 / 3, 2 / 3])
    assert str(found.warnings[1]).endswith("mine.csv line 3: img/b.jpg: no prediction: truncated; left out")


def test_a_series_in_another_order_than_the_data_is_refused(dataset):
    names = pd.Series(["dog", "cat", "dog", "cat"])
    assert user_predictions(names, dataset, np.arange(4)).predictions.tolist() == [1, 0, 1, 0]
    assert user_predictions(names.iloc[1:], dataset, np.arange(1, 4)).predictions.tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="predictions: its index has integers out of order; sort it by sort_index"):
        user_predictions(names.set_axis([7, 9, 4, 5]), dataset, np.arange(4))
    by_path = names.set_axis([*NAMES]).iloc[::-1]
    assert user_predictions(by_path, dataset, np.arange(4)).predictions.tolist() == [1, 0, 1, 0]


def test_probabilities_that_mostly_contradict_the_predictions_are_pointed_out(read):
    agreeing = replaced("cat,0.2,0.8", "cat,0.8,0.2", WITH_P)
    (warning,) = read(replaced("p_cat,p_dog", "p_dog,p_cat", agreeing)).warnings
    assert warning.kind == "less likely" and warning.values["n"] == 3 and "line 3" in str(warning)
    assert read(WITH_P).warnings == ()


def test_a_class_like_a_formula_is_found_with_its_apostrophe(tmp_path):
    (tmp_path / "pets.csv").write_text(rows("a.jpg,-x,train", "b.jpg,+y,train"))
    (tmp_path / "mine.csv").write_text(csv_text([["path", "prediction"], ["a.jpg", "+y"], ["b.jpg", "-x"]]))
    found = user_predictions(tmp_path / "mine.csv", load_dataset(tmp_path / "pets.csv", images=False))
    assert found.predictions.tolist() == [0, 1]  # "+y" before "-x"


# --- what is refused


BAD_TABLES = [
    (
        replaced("c.jpg,cat\n", ""),
        "1 of 4 images have no prediction, the first is 'c.jpg' (pets.csv line 4); add a row",
    ),
    (
        replaced("c.jpg,cat", "C.jpg,cat"),
        "or leave these images out; write paths as there: 'C.jpg' in this file is none of the data",
    ),
    (replaced("jpg,cat", "jpg,cta"), "line 4: prediction is 'cta', expected one of 'cat', 'dog' (did you mean 'cat'?)"),
    (replaced("c.jpg,cat", "c.jpg,0"), "line 4: prediction is '0', expected one of 'cat', 'dog'"),
    (GOOD.replace("dog", "2").replace("cat", "0"), "'1'; write names of the data, or numbers from 0 for 'cat', 'dog'"),
    (replaced("path,", "file,"), "line 1: no column 'path'; columns found: 'file', 'prediction'; predictions are a"),
    ("path,prediction,label\n" + "".join(f"{name},dog,\n" for name in NAMES), "line 2: label is '', expected one of"),
    (WITH_P.replace("p_cat", "p_Cat"), "line 1: column 'p_Cat' would not be read, but 'p_cat' would; rename it"),
    (replaced("0.1,0.9", "-0.1,1.1", WITH_P), "line 3: p_cat is -0.1, expected a probability from 0 to 1; scipy"),
    (replaced("0.1,0.9", ",0.9", WITH_P), "line 3: p_cat is '', expected a number; correct this row"),
    (replaced("0.1,0.9", "0,0", WITH_P), "line 3: the probabilities sum to 0, expected 1; scipy.special.softmax"),
]
BAD_ARRAYS = [
    (np.array([1, 0, 2, 0]), "mine.npy row 3: prediction is '2', expected one of '0', '1'"),
    (np.array([1, 0, -1, 0]), "row 3: prediction is '-1'"),
    (np.array(["dog", "cat", "dgo", "cat"]), "row 3: prediction is 'dgo', expected one of 'cat', 'dog' (did you mean"),
    (np.array([1.0, 0, 1, 0]), "holds float64 of shape (4,), expected (N,) class names or integers, or (N, 2) prob"),
    (np.array(["dog", "cat", "dog", "cat"], "S"), "holds |S3 of shape (4,)"),
    (np.array(0), "holds int64 of shape ()"),
    (np.array([0.2, 0.7, 0.1, 0.4]), "p of 'dog': numpy.stack([1 - p, p], axis=1)"),
    (np.array([[3.2, -1], [1, 2], [0, 1], [0, 1]]), "row 1: the probability of 'cat' is 3.2, expected a probability"),
    (np.array([[20, 80], [50, 50], [0, 100], [0, 100]], float), "a probability from 0 to 1; divide per cent by 100"),
    (np.array([[0.5, 0.5], [0.4, 0.5], [0, 1], [0, 1]]), "row 2: the probabilities sum to 0.9, expected 1; scipy"),
    (np.full((4, 2), 0.4985), "row 1: the probabilities sum to 0.997, expected 1; divide each row by its sum"),
    (np.array([0x110000] * 4, "u4").view("U1"), "mine.npy row 1: holds bytes that are no text; write the file again"),
    (np.array([0x64, 0, 0xFFFFFFFF, 0x64], "u4").byteswap().view(">U1"), "row 3: holds bytes that are no text"),
    (b"\x80\x04K\x01.", "is not a .npy file"),
    (b"\x93NUMPY\x01\x00v\x00{'descr'", "is not a whole .npy file"),
    (b"path,prediction\n", "is not a .npy file; write it with np.save(FILE, predictions)"),
]


@pytest.mark.parametrize(("content", "says"), BAD_TABLES + BAD_ARRAYS)
def test_a_bad_file_gets_one_line(read, content, says):
    name = "mine.csv" if any(content is bad for bad, _ in BAD_TABLES) else "mine.npy"
    line = line_of(read, content, name)
    assert says in line and name in line


def test_names_in_memory_may_be_objects_as_pandas_holds_text(dataset):
    names = np.array(["dog", "cat", "dog", "cat"], object)
    assert user_predictions(names, dataset, np.arange(4)).predictions.tolist() == [1, 0, 1, 0]
    for strange in (None, float("nan"), 1):
        names[2] = strange
        with pytest.raises(InputError, match=f"predictions row 3: holds {strange!r}, expected a class name"):
            user_predictions(names, dataset, np.arange(4))


def test_an_array_that_may_be_of_another_split_gets_a_warning(tmp_path):
    splits = ("train", "train", "val", "val", "test", "test")
    table = tmp_path / "pets.csv"
    table.write_text(rows(*(f"{i}.jpg,{'cat' if i % 2 else 'dog'},{split}" for i, split in enumerate(splits))))
    pets = load_dataset(table, images=False)
    np.save(tmp_path / "mine.npy", np.arange(2))
    (warning,) = said(user_predictions(tmp_path / "mine.npy", pets, np.array([4, 5])).warnings)
    assert "read as the test images" in warning and warning.endswith("in split train and in split val")
    assert user_predictions(np.eye(2), pets, np.array([2, 3])).warnings
    assert user_predictions(np.arange(6) % 2, pets, np.array([2, 3])).warnings == ()


@pytest.mark.parametrize("name", ["missing.npy", "missing", "folder.parquet", "pipe", "a\0b", "a\0b.csv"])
def test_what_is_no_file_gets_one_line(dataset, tmp_path, name):
    (tmp_path / "folder.parquet").mkdir()
    os.mkfifo(tmp_path / "pipe")
    line = line_of(user_predictions, tmp_path / name, dataset)
    assert "\0" in name or name in line


def test_a_table_names_the_line_of_the_file_whatever_the_order_of_the_data(read):
    """The last image of the data stands in line 2."""
    with pytest.raises(InputError, match=r"mine.csv line 2: label is 'dog', but 'cat' in pets.csv line 5; correct one"):
        read("path,prediction,label\n=d.jpg,cat,dog\nc.jpg,cat,cat\nimg/b.jpg,cat,dog\nimg/a.jpg,dog,dog\n")


# --- data frames and names of columns


class Polars:
    """The part of a data frame of polars that is read."""

    def __init__(self, frame):
        self._frame, self.columns = frame, list(frame.columns)

    def __len__(self):
        return len(self._frame)

    def __getitem__(self, name):
        values = [None if pd.isna(value) else value for value in self._frame[name].tolist()]
        return SimpleNamespace(to_list=lambda: values)


@pytest.mark.parametrize("kind", [pd.DataFrame, Polars])
def test_a_data_frame_is_a_table(dataset, kind):
    lines = [line.split(",") for line in WITH_P.splitlines()]
    frame = pd.DataFrame(lines[1:], columns=lines[0]).astype({"p_cat": float, "p_dog": float})[::-1]
    found = user_predictions(kind(frame), dataset, np.arange(4))
    assert found.predictions.tolist() == [1, 1, 0, 0] and found.warnings == ()
    np.testing.assert_array_equal(found.probabilities, PROBABILITIES)
    numbers = frame.assign(prediction=[0, 0, 1, 1])
    assert user_predictions(kind(numbers), dataset, np.arange(4)).predictions.tolist() == [1, 1, 0, 0]
    frame.iloc[1, 1] = None
    with pytest.raises(InputError, match="predictions row 2: prediction is '', expected one of 'cat', 'dog'"):
        user_predictions(kind(frame), dataset, np.arange(4))
    with pytest.raises(InputError, match="predictions: no column 'path'; columns found: 'prediction'"):
        user_predictions(kind(frame[["prediction"]]), dataset, np.arange(4))


def test_a_data_frame_of_probabilities_alone_is_an_array(dataset):
    found = user_predictions(pd.DataFrame(PROBABILITIES, columns=["cat", "dog"]), dataset, np.arange(4))
    np.testing.assert_array_equal(found.probabilities, PROBABILITIES)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("path,guess", {"prediction": "guess"}),
        ("file,guess", {"prediction": "guess", "prediction_path": "file"}),
        ("file,guess", {"prediction": "guess", "path": "file"}),  # as the data call it
        ("path,prediction", {"path": "file"}),  # which is a column of the data alone
    ],
)
def test_columns_may_have_other_names(read, header, columns):
    found = read(replaced("path,prediction", header), columns=columns)
    assert found.predictions.tolist() == [1, 1, 0, 0]
    with pytest.raises(InputError, match=f"{header.split(',')[1]} is 'dgo', expected one of"):
        read(replaced("dog", "dgo", replaced("path,prediction", header)), columns=columns)


def test_a_column_that_is_named_but_not_there_is_refused(read):
    for columns, name in (({"prediction": "guess"}, "guess"), ({"prediction_path": "file"}, "file")):
        with pytest.raises(InputError, match=f"no column '{name}'; columns found: 'path', 'prediction'"):
            read(GOOD, columns=columns)


# --- names that are numbers


@pytest.fixture
def numbered(tmp_path):
    """Six images of the classes "1", "2" and "3"."""
    (tmp_path / "digits.csv").write_text(rows(*(f"{row}.jpg,{row % 3 + 1},test" for row in range(6))))
    return load_dataset(tmp_path / "digits.csv", images=False, training=False)


def of_digits(path, numbered, predictions, more=""):
    header, *rest = (more or "\n" * 6).split("\n")
    lines = [f"{row}.jpg,{value}{p}" for row, (value, p) in enumerate(zip(predictions, rest, strict=True))]
    path.write_text("\n".join([f"path,prediction{header}", *lines]) + "\n")
    return user_predictions(path, numbered)


def test_integers_of_an_array_are_indices_whatever_the_names_are(tmp_path, numbered):
    """Without a 0 they were read as the names "1" and "2", so that each class was the one before."""
    indices = np.array([1, 1, 2, 1, 1, 2])
    found = user_predictions(indices, numbered, np.arange(6))
    assert found.predictions.tolist() == indices.tolist()
    (warning,) = said(found.warnings)
    assert "its integers are read as indices, so 0 means the class '1'; to give names, write them as text" in warning
    np.save(tmp_path / "mine.npy", indices)
    assert user_predictions(tmp_path / "mine.npy", numbered).predictions.tolist() == indices.tolist()
    names = user_predictions(np.array(["2", "2", "1"] * 2), numbered, np.arange(6))
    assert names.predictions.tolist() == [1, 1, 0] * 2 and names.warnings == ()
    with pytest.raises(InputError, match="row 3: prediction is '3', expected one of '0', '1', '2'"):
        user_predictions(np.array([1, 2, 3] * 2), numbered, np.arange(6))


@pytest.mark.parametrize("one", ["1", "1.0"])
def test_a_table_of_integers_that_are_names_and_indices_is_refused(tmp_path, numbered, one):
    line = line_of(of_digits, tmp_path / "mine.csv", numbered, [one, one, one.replace("1", "2")] * 2)
    assert "mine.csv line 2: prediction is 1, the name of a class but also the index of class '2'; " in line
    found = of_digits(tmp_path / "mine.csv", numbered, ["1", "2", "3"] * 2)  # 3 is no index
    assert found.predictions.tolist() == [0, 1, 2] * 2


def test_probabilities_tell_names_from_indices(tmp_path, numbered):
    p = ",p_1,p_2,p_3\n" + "\n".join([",0.8,0.1,0.1", ",0.1,0.8,0.1"] * 3)
    found = of_digits(tmp_path / "mine.csv", numbered, ["1", "2"] * 3, p)
    assert found.predictions.tolist() == [0, 1] * 3
    with pytest.raises(InputError, match="also the index of class"):
        of_digits(tmp_path / "mine.csv", numbered, ["1", "2"] * 3, p.replace("0.8,0.1,0.1", "0.1,0.8,0.1"))


def test_integers_that_are_their_own_indices_are_not_ambiguous(tmp_path):
    (tmp_path / "digits.csv").write_text(rows(*(f"{row}.jpg,{row % 3},test" for row in range(6))))
    numbered = load_dataset(tmp_path / "digits.csv", images=False, training=False)
    assert of_digits(tmp_path / "mine.csv", numbered, ["1", "2"] * 3).predictions.tolist() == [1, 2] * 3
    assert user_predictions(np.array([1, 2] * 3), numbered, np.arange(6)).warnings == ()
