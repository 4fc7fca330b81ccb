"""Features instead of images: how rows are aligned, checked and made unit length; files, folders and Parquet."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import line_of
from table_files import rows
from traced_memory import traced

from dbpt.data import load_dataset
from dbpt.data import stored_features as precomputed
from dbpt.data.features_from_file import FeaturesByPath, check_precomputed_file, open_precomputed_features
from dbpt.errors import InputError

BACKBONE = 3, "small-clip"
FEATURES = np.array([[3, 4, 0], [0, 0, 2], [1e-3, 0, 0], [0, -5, 0]], dtype=np.float32)
UNIT = np.array([[0.6, 0.8, 0], [0, 0, 1], [1, 0, 0], [0, -1, 0]], dtype=np.float32)


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "pets.csv"
    path.write_text(rows(*(f"/far/{name}.jpg,{label},train" for name, label in zip("abcd", "xyxy", strict=True))))
    return load_dataset(path, images=False)


def refused_array(features, dataset):
    np.save(dataset.root / "f.npy", features)
    return refused(dataset.root / "f.npy", dataset)


def refused(path, dataset):
    return line_of(open_precomputed_features, path, dataset, *BACKBONE)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("block", [2, 65_536])
def test_rows_are_made_unit_length_block_by_block(tmp_path, dataset, monkeypatch, dtype, block):
    monkeypatch.setattr(precomputed, "BLOCK_ROWS", block)
    np.save(tmp_path / "f.npy", FEATURES.astype(dtype))
    found = open_precomputed_features(tmp_path / "f.npy", dataset, *BACKBONE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, UNIT, atol=1e-6)


def test_float64_beyond_float32_is_infinite(dataset):
    line = refused_array(FEATURES.astype("float64") * 1e50, dataset)
    assert "the features of row 1 (pets.csv line 2) contain NaN" in line


def test_lengths_that_float32_cannot_hold_squared(tmp_path, dataset):
    scales = np.array([[1e30], [1e-30], [1], [1]], dtype=np.float32)
    np.save(tmp_path / "f.npy", UNIT * scales)
    np.testing.assert_allclose(open_precomputed_features(tmp_path / "f.npy", dataset, *BACKBONE), UNIT, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0])
def test_a_row_that_has_no_direction_is_named(dataset, monkeypatch, value):
    monkeypatch.setattr(precomputed, "BLOCK_ROWS", 2)
    features = FEATURES.copy()
    features[2] = value
    problem = "are all zero" if value == 0 else "contain NaN or an infinity"
    line = f"f.npy: the features of row 3 (pets.csv line 4) {problem}; take the row out"
    assert line in refused_array(features, dataset)


def test_another_number_of_rows_and_another_width(dataset):
    line = f"f.npy: has 3 rows, {dataset.source} has 4; row i must be the same in both"
    assert line in refused_array(FEATURES[:3], dataset)
    line = "f.npy: rows of 2 numbers, but small-clip gives 3; make them with small-clip or, without a run, name"
    assert line in refused_array(FEATURES[:, :2], dataset)


def test_an_array_that_is_stored_by_columns_is_checked_without_a_copy(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr("dbpt.storage.row_files.CopiedRows", None)
    np.save(tmp_path / "f.npy", np.asfortranarray(FEATURES))
    check_precomputed_file(tmp_path / "f.npy")
    check_precomputed_file(tmp_path / "f.npy", dataset)
    np.save(tmp_path / "f.npy", np.asfortranarray(FEATURES[:3]))
    with pytest.raises(InputError, match="has 3 rows"):
        check_precomputed_file(tmp_path / "f.npy", dataset)


def test_a_table_without_paths_and_one_with_an_empty_one(tmp_path):
    path = tmp_path / "pets.csv"
    path.write_text("label,split\nx,train\ny,train\n")
    assert load_dataset(path, images=False).paths == ("row 1", "row 2")
    path.write_text(rows("../a,x,train", ",y,train"))
    with pytest.raises(InputError, match="line 3: path is empty; name every row, or drop the column"):
        load_dataset(path, images=False)
    path.write_text(rows("../a,x,train", "../a,y,train"))
    with pytest.raises(InputError, match="line 3: '../a' is already at"):
        load_dataset(path, images=False)
    with pytest.raises(InputError, match="no column 'file'"):
        load_dataset(path, images=False, columns={"path": "file"})


def test_a_folder_of_images_has_no_order_to_go_by(tmp_path):
    with pytest.raises(InputError, match="--embeddings with the folder .*; give a table"):
        load_dataset(tmp_path, images=False)


# --- clip-retrieval's folder


@pytest.fixture
def folder(tmp_path):
    """Rows d, e, b in part 0; c, a in part 10."""
    by_name = dict(zip("abcd", FEATURES, strict=True)) | {"e": np.zeros(3)}
    for number, names in (("0", "deb"), ("010", "ca")):
        write_part(tmp_path / "clip", number, [f"/far/{name}.jpg" for name in names], [by_name[name] for name in names])
    return tmp_path / "clip"


def write_part(folder, number, names, features):
    for kind in ("img_emb", "metadata"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    np.save(folder / f"img_emb/img_emb_{number}.npy", np.array(features, dtype=np.float16))
    pq.write_table(pa.table({"image_path": names, "caption": names}), folder / f"metadata/metadata_{number}.parquet")


def test_rows_are_found_by_their_image_paths(folder, dataset, tmp_path):
    (folder / "img_emb/notes.txt").touch()
    np.testing.assert_allclose(open_precomputed_features(folder, dataset, *BACKBONE), UNIT, atol=1e-3)
    (tmp_path / "relative.csv").write_text(rows("d.jpg,x,train", "../far/b.jpg,y,train"))
    relative = load_dataset(tmp_path / "relative.csv", images=False)
    object.__setattr__(relative, "root", dataset.root.__class__("/far"))
    np.testing.assert_allclose(open_precomputed_features(folder, relative, *BACKBONE), UNIT[[3, 1]], atol=1e-3)


def test_names_of_the_folder_that_clip_retrieval_was_started_in(folder, tmp_path):
    (tmp_path / "pets.csv").write_text(rows("d.jpg,x,train", "b.jpg,y,train"))
    dataset = load_dataset(tmp_path / "pets.csv", images=False)
    np.testing.assert_allclose(open_precomputed_features(folder, dataset, *BACKBONE), UNIT[[3, 1]], atol=1e-3)
    write_part(folder, "11", ["/near/d.jpg"], FEATURES[:1])  # which of the two?
    assert f"pets.csv line 2: image 'd.jpg' is not in {folder / 'metadata'} (2 of 2" in refused(folder, dataset)


def test_an_image_that_is_not_there_or_twice(folder, dataset, tmp_path):
    (tmp_path / "more.csv").write_text(rows("/far/a.jpg,x,train", "a.jpg,y,train", "b.jpg,y,train"))
    message = refused(folder, load_dataset(tmp_path / "more.csv", images=False))
    assert f"more.csv line 3: image 'a.jpg' is not in {folder / 'metadata'} (2 of 3 images are missing)" in message
    assert "; write paths as its column image_path does, for example '/far/d.jpg'" in message
    write_part(folder, "11", ["/far/b.jpg"], FEATURES[:1])
    assert "'/far/b.jpg' occurs in more than one row; keep one" in refused(folder, dataset)


def test_parts_that_do_not_belong_together(folder, dataset):
    write_part(folder, "11", ["/far/x.jpg"], FEATURES[:2])
    assert "img_emb_11.npy: has 2 rows, metadata_11.parquet has 1; copy both again" in refused(folder, dataset)
    write_part(folder, "11", ["/far/x.jpg"], FEATURES[:1, :2])
    assert "img_emb_11.npy: its rows have 2 numbers, expected 3" in refused(folder, dataset)
    (folder / "metadata/metadata_11.parquet").rename(folder / "metadata/metadata_12.parquet")
    assert "img_emb_11.npy: no file of number 11" in refused(folder, dataset)


def test_another_folder(tmp_path, dataset):
    expected = "holds no features, expected img_emb/img_emb_0.npy of clip-retrieval or a .parquet file"
    assert expected in refused(tmp_path, dataset)


# --- Parquet

NAMES = [f"/far/{name}.jpg" for name in "dbca"]
LISTS = FEATURES[[3, 1, 2, 0]].tolist()


def parquet(path, features, names=NAMES, column="features"):
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"path": names, column: features}), path, row_group_size=3)
    return path


KINDS = {
    "lists": pa.list_(pa.float32()),
    "long lists of float64": pa.large_list(pa.float64()),
    "lists of one length": pa.list_(pa.float16(), 3),
}


@pytest.mark.parametrize("kind", [*KINDS, "tensors"])
def test_rows_of_parquet_are_found_by_their_paths(tmp_path, dataset, kind):
    if kind == "tensors":
        arrays = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(LISTS, dtype=np.float32))
    else:
        values = np.array(LISTS, dtype=np.float16) if kind == "lists of one length" else LISTS
        arrays = pa.array([list(row) for row in values], KINDS[kind])
    file = parquet(tmp_path / "f.parquet", arrays)
    np.testing.assert_allclose(open_precomputed_features(file, dataset, *BACKBONE), UNIT, atol=1e-3)
    in_parts = tmp_path / "parts"
    parquet(in_parts / "1.parquet", arrays[:1], NAMES[:1], "embeddings")
    parquet(in_parts / "0.parquet", arrays[1:], NAMES[1:])
    (in_parts / "notes.txt").touch()
    np.testing.assert_allclose(open_precomputed_features(in_parts, dataset, *BACKBONE), UNIT, atol=1e-3)


@pytest.mark.parametrize(
    ("features", "column", "line"),
    [
        (LISTS, "vectors", "f.parquet: which column has the features? Call it 'features'; found: path, vectors"),
        ([1.0, 2.0, 3.0, 4.0], "features", "f.parquet: column 'features' holds double, expected lists of float16 to"),
        ([[1, 2, 3]] * 4, "features", "f.parquet: column 'features' holds list<element: int64>, expected lists of"),
        ([*LISTS[:3], [1.0]], "features", "f.parquet row 4: features has 1 numbers, expected 3"),
        ([LISTS[0], None, *LISTS[2:]], "features", "f.parquet row 2: features has 0 numbers, expected 3"),
        (pa.array([LISTS[0], None, *LISTS[2:]], pa.list_(pa.float32(), 3)), "features", "row 2: features has 0"),
        ([[]] * 4, "features", "f.parquet: column 'features' holds list<element: null>, expected lists of float16"),
        (pa.array([[]] * 4, pa.list_(pa.float32())), "features", "f.parquet row 1: features has 0 numbers"),
        ([LISTS[0], [1.0, None, 0.0], *LISTS[2:]], "features", "the features of row 2 (pets.csv line 3) contain NaN"),
        ([row[:2] for row in LISTS], "features", "f.parquet: rows of 2 numbers, but small-clip gives 3"),
    ],
)
def test_one_line_for_a_bad_parquet_file(tmp_path, dataset, features, column, line):
    assert line in refused(parquet(tmp_path / "f.parquet", features, column=column), dataset)


def test_parquet_files_that_do_not_fit(tmp_path, dataset):
    file = parquet(tmp_path / "f.parquet", LISTS[:3], NAMES[:3])
    assert f"line 2: image '/far/a.jpg' is not in {file} (1 of 4" in refused(file, dataset)
    parquet(file, LISTS, [NAMES[0], *NAMES[:3]])
    assert f"{file}: '/far/d.jpg' occurs in more than one row; keep one" in refused(file, dataset)
    table = pq.read_table(parquet(file, LISTS))
    pq.write_table(table.append_column("features", table["features"]), file)
    assert f"{file}: column 'features' occurs 2 times; keep one" in refused(file, dataset)
    file.write_bytes(b"PAR1")
    assert f"{file}: cannot be read as Parquet (" in refused(file, dataset)
    assert f"{tmp_path / 'no.parquet'}: " in refused(tmp_path / "no.parquet", dataset)
    parquet(file, [], [])
    assert f"{file}: " in refused(file, dataset)


def test_names_of_many_rows_are_held_as_bytes(tmp_path, monkeypatch):
    n = 2_000
    names = [f"/far/{row:09}.jpg" for row in range(n)]
    (tmp_path / "many.csv").write_text(rows(*(f"{name},{'xy'[row % 2]},train" for row, name in enumerate(names))))
    dataset = load_dataset(tmp_path / "many.csv", images=False)
    file = parquet(tmp_path / "f.parquet", [[1.0, 0.0, 0.0]] * n, names[::-1])
    FeaturesByPath(file)  # imports pyarrow
    folder, held, _ = traced(lambda: FeaturesByPath(file))
    with monkeypatch.context() as patch:
        patch.setattr("os.path.normpath", None)  # no path is spelt in another way
        assert np.array_equal(folder.rows_of(dataset), np.arange(n)[::-1])
    assert held < 60 * n
