"""Saved Hugging Face data sets that are damaged, cut off or half-written: one line, and no crash."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from folders import change_json
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_datasets import made, of_splits, rewrite, with_images
from table_files import refused

import dbpt
from dbpt.data import load_dataset
from dbpt.data.paths import find_member
from dbpt.errors import InputError

ONE, TWO = "data-00000-of-00001.arrow", "data-00001-of-00002.arrow"


def test_a_column_that_is_there_twice(save):
    folder = save(made([0, 1]))
    rewrite(folder / ONE, lambda table: table.append_column("label", table.column("label")))
    assert 'datasets cannot load it (KeyError: \'Field "label" exists 2 times' in refused(folder)


STATE, INFO = "train/state.json", "train/dataset_info.json"
IMAGE = {"_type": "Image"}


@pytest.mark.parametrize(
    ("file", "damage", "part"),
    [
        ("dataset_dict.json", "{", "dataset_dict.json: is not JSON"),
        ("dataset_dict.json", {"splits": []}, "dict.json: its 'splits' are not names"),
        ("dataset_dict.json", {"splits": ["../pets/train"]}, "split '../pets/train' is none"),
        (STATE, None, "pets/train: has no state.json, so saving was interrupted; save it again"),
        (INFO, None, "pets/train: has no dataset_info.json"),
        (STATE, "<html>no", "train/state.json: is a web page"),
        (STATE, "[]", "train/state.json: is a list, expected an object"),
        (STATE, {"_data_files": 7}, "state.json: None is not an Arrow file of this folder; save it again"),
        (STATE, {"_data_files": [{"filename": f"../train/{ONE}"}]}, f"'../train/{ONE}' is not an Arrow file of this"),
        (STATE, {"_indices_data_files": [{"filename": "i.arrow"}]}, "an old datasets saved a selection of rows here"),
        (INFO, {"features": {"label": {"_type": "ClassLabel"}}}, "(ValueError: Please provide either num_classes"),
        (INFO, {"features": {"x": IMAGE, "label": {}}}, "pets/train: datasets cannot load it"),
        (
            INFO,
            {"features": {"image": IMAGE, "label": {"_type": "ClassLabel", "names": ["a"]}}},
            f"pets/train/{ONE}/image/1: label is 1, expected a number from 0 to 0",
        ),
    ],
)
def test_one_line_for_a_damaged_folder(save, file, damage, part):
    folder = save(of_splits(train=made([0, 1])))
    if damage is None:
        (folder / file).unlink()
    elif isinstance(damage, str):
        (folder / file).write_text(damage)
    else:
        change_json(folder / file, **damage)
    assert part in refused(folder)


def test_a_file_that_is_cut_off_anywhere(save):
    folder = save(made([0, 1] * 4), num_shards=1)
    file = folder / ONE
    rewrite(file, lambda table: table, max_chunksize=4)  # two batches, so that one can be whole
    whole = file.read_bytes()
    assert len(load_dataset(folder)) == 8
    for end in range(0, len(whole), 40):
        file.write_bytes(whole[:end])
        os.utime(file, ns=(0, end))
        message = refused(folder)
        assert f"{ONE}: is cut off" in message or "pets: datasets cannot load it" in message
    file.write_bytes(b"<html>Not found</html>")
    assert "pets: datasets cannot load it" in refused(folder)
    with pytest.raises(InputError, match=f"{ONE}: cannot be read as an Arrow file"):
        find_member(file / "image/0")


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
    assert [find_member(folder / path).open().read() for path in load_dataset(folder).paths] == [b"0" * 99, b"1" * 99]


@given(st.data())
@settings(max_examples=60)
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


def test_images_that_are_missing(save):
    folder = save(of_splits(train=made([0, 1, 0], [b"", None, None])))
    message = refused(folder)
    assert f"image 'train/{ONE}/image/1' is not in {folder} (2 of 3 images cannot be found)" in message
    found = dbpt.check_data(folder)
    assert len([line for line in found.problems if "is not in" in line]) == 2


def test_an_image_is_none_where_the_whole_struct_is(save):
    parts = [pa.array([b"0", b"1"]), pa.array(["", ""])]
    images = pa.StructArray.from_arrays(parts, ["bytes", "path"], mask=pa.array([False, True]))
    assert "(1 of 2 images cannot be found)" in refused(with_images(save(made([0, 1])), images))


def test_rows_by_path(save):
    contents = [bytes([row % 251]) * row for row in range(2500)]
    contents[7] = None
    folder = save(made([0, 1] * 1250, contents), num_shards=2)
    data = load_dataset(folder, check=False)
    for path, content in zip(data.paths, contents, strict=True):
        member = find_member(folder / path)
        assert (member and member.open().read()) == content
    file = folder / TWO
    member = find_member(file / "image/3")
    assert (member.size, member.mtime_ns) == (1253, file.stat().st_mtime_ns)
    for name in ("image/1250", "image/03", "image/-1", "image/x", "image/٣", "image/" + "9" * 30, "image", "3"):
        assert find_member(file / name) is None
    os.utime(file, ns=(1, 1))
    with pytest.raises(OSError, match=f"{TWO} changed while"):
        member.open()
