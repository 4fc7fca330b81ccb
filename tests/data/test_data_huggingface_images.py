"""The images of saved Hugging Face data sets: read where they lie, missing, or kept as paths."""

import os

import numpy as np
import pyarrow as pa
import pytest
from saved_datasets import made, of_splits, saver, with_images
from table_files import refused

import dbpt
from dbpt.data import load_dataset
from dbpt.data.archives import find_member
from dbpt.features import embed_images, open_image

ONE, TWO = "data-00000-of-00001.arrow", "data-00001-of-00002.arrow"


@pytest.fixture
def save(tmp_path):
    return saver(tmp_path / "pets")


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


def test_images_that_are_kept_as_paths_are_missing(save):
    """save_to_disk copies images that are files into its own."""
    images = pa.StructArray.from_arrays([pa.nulls(2, pa.binary()), pa.array(["a.jpg", "b.jpg"])], ["bytes", "path"])
    assert "(2 of 2 images cannot be found)" in refused(with_images(save(made([0, 1])), images))


def test_root_and_embeddings_mean_nothing_to_images_inside(save, tmp_path):
    folder = save(made([0, 1]))
    assert f"--root {tmp_path}: {folder} has its images inside; drop it" in refused(folder, tmp_path)
    assert f"--embeddings with the folder {folder}" in refused(folder, images=False)


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
    with pytest.raises(OSError, match=f"{TWO} changed while it was being read"):
        member.open()


def test_a_bad_image_is_left_out(tiny, tiny_backbone, save, tmp_path):
    good = [(tiny.table.parent / row["path"]).read_bytes() for row in tiny.rows()[:3]]
    folder = save(of_splits(train=made([0, 1, 0, 1], [*good, b"<html>Not found</html>"])))
    data = load_dataset(folder)
    found = embed_images(tiny_backbone, data.root, data.paths, cache_dir=tmp_path / "cache", max_failures=0.3)
    assert found.ok.tolist() == [True, True, True, False]
    (failure,) = found.failures
    assert failure.path == f"train/{ONE}/image/3" and "not a JPEG" in failure.reason
    assert np.array_equal(open_image(folder / data.paths[0]), open_image(tiny.table.parent / tiny.rows()[0]["path"]))
