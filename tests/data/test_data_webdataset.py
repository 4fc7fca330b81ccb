"""WebDataset's shards: patterns, samples, what is refused, and that images are read where they lie."""

import os

import numpy as np
import pytest
from layouts import touch
from table_files import refused, rows, vocabulary
from tar_files import write_tar

from dbpt.data import load_dataset
from dbpt.data.layouts.webdataset import shards_of
from dbpt.data.paths import find_member
from dbpt.features import open_image

FILES = [("a.jpg", b"1"), ("a.cls", b"dog"), ("b.JPEG", b"22"), ("b.json", {"label": "cat", "attribute": "in"})]


def test_samples_of_several_shards(tmp_path):
    write_tar(tmp_path / "s/train-0.tar", [*FILES, ("deep/a.b.png", b""), ("c.txt", b"no image"), ("c.cls", b"dog")])
    write_tar(tmp_path / "s/val-0.tar", [("x.webp", b""), ("x.json", {"label": "dog", "attribute": "out", "split": 2})])
    data = load_dataset(tmp_path / "s/{train,val}-*.tar")
    assert data.paths == ("train-0.tar/a.jpg", "train-0.tar/b.JPEG", "val-0.tar/x.webp")
    assert (data.class_names, data.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
    assert (data.attribute_names, data.attributes.tolist()) == (("in", "out"), [-1, 0, 1])
    assert data.splits.tolist() == [0, 0, 2]
    assert data.root == tmp_path / "s" and data.where(1) == "train-0.tar/b.JPEG"
    assert data.notes == ("2 samples have no image and are left out: 'train-0.tar/deep/a', 'train-0.tar/c'",)
    one = load_dataset(tmp_path / "s/train-0.tar", attributes=vocabulary("out", "in"))
    assert (one.name, one.attributes.tolist()) == ("train-0", [-1, 1])


def test_numbers_and_keys_of_other_names(tmp_path):
    files = [("a.jpg", b""), ("a.json", {"y": True, "fold": "test"}), ("a.cls", b"9")]
    write_tar(tmp_path / "train.tar", [*files, ("b.jpg", b""), ("b.json", {"y": 0})])
    options = {"classes": vocabulary("cat", "dog"), "columns": {"label": "y", "split": "fold"}}
    data = load_dataset(tmp_path / "train.tar", training=False, **options)
    assert (data.labels.tolist(), data.splits.tolist()) == ([1, 0], [2, 0])


def test_patterns_in_their_order(tmp_path):
    touch(tmp_path, "b-08.tar", "b-09.tar", "b-10.tar", "a-1.tar")
    nested = [path.name for path in shards_of(f"{tmp_path}/{{b-{{08..10}},a-1}}.tar")]
    assert sorted(nested) == ["a-1.tar", "b-08.tar", "b-09.tar", "b-10.tar"]
    assert [path.name for path in shards_of(f"{tmp_path}/b-{{08..10}}.tar")] == ["b-08.tar", "b-09.tar", "b-10.tar"]
    assert [path.name for path in shards_of(f"{tmp_path}/{{b-1*,a-?}}.tar")] == ["b-10.tar", "a-1.tar"]
    assert [path.name for path in shards_of(f"{tmp_path}/[ab]-1*.tar")] == ["a-1.tar", "b-10.tar"]


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("no.tar", "no file"),
        ("no-*.tar", "no file"),
        ("train-{0..1}.tar", "no file"),
        ("train-{1..0}.tar", "is not an ascending range"),
        ("train-0.tar.gz", "compressed shard can't be read one by one; unpack"),
    ],
)
def test_a_pattern_that_no_file_has(tmp_path, pattern, part):
    write_tar(tmp_path / "train-0.tar", FILES)
    assert part in refused(tmp_path / pattern)


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ([("a.cls", b"0")], "no sample with an image (.jpg, .jpeg"),
        ([("a.jpg", b"")], "train.tar/a: no .cls, and no 'label' in a .json; each image needs its class: name"),
        ([*FILES, ("a.png", b"")], "train.tar/a: has 2 images ('a.jpg', 'a.png'); keep one"),
        ([*FILES, ("./a.jpg", b"")], "train.tar: 'a.jpg' occurs twice; keep one"),
        ([*FILES, ("../c.jpg", b"")], "train.tar: '../c.jpg' leaves the archive"),
        ([*FILES, ("/c.jpg", b"")], "train.tar: '/c.jpg' leaves the archive"),
        ([*FILES, ("c.jpg", b""), ("c.json", b"[]")], "train.tar/c.json: is a list, expected an object"),
        ([*FILES, ("c.jpg", b""), ("c.json", b"<html>")], "train.tar/c.json: is not JSON"),
        ([*FILES, ("c.jpg", b""), ("c.json", {"label": [1]})], "train.tar/c.json: label is neither text nor a number"),
        ([*FILES, ("c.jpg", b""), ("c.cls", b"caf\xe9")], "train.tar/c.cls: byte 3 is not UTF-8"),
        ([*FILES, ("c.jpg", b""), ("c.cls", b"x" * (1 << 21))], "c.cls: has 2097152 bytes, more than a label"),
    ],
)
def test_one_line_for_a_bad_shard(tmp_path, files, part):
    assert part in refused(write_tar(tmp_path / "train.tar", files))


def test_a_split_that_nothing_says(tmp_path):
    for name in ("shard.tar", "train-val.tar", "constrained.tar"):
        message = refused(write_tar(tmp_path / name, FILES))
        assert "no 'split' in a .json, and neither the shard's name nor its folder's contains train, val" in message


def test_the_folder_says_the_split_where_the_shard_does_not(tmp_path):
    for name in ("train/000.tar", "val/test-000.tar"):
        write_tar(tmp_path / name, [*FILES[:3], ("b.cls", b"cat")])
    assert load_dataset(tmp_path / "{train/000,val/test-000}.tar").splits.tolist() == [0, 0, 2, 2]


def test_a_table_gives_the_classes_of_images_in_shards(tmp_path):
    write_tar(tmp_path / "s/0.tar", [("a.jpg", b""), ("b/c.jpg", b"")])
    (tmp_path / "rows.csv").write_text(rows("s/0.tar/a.jpg,x,train", "s/0.tar/b/c.jpg,y,train"))
    assert load_dataset(tmp_path / "rows.csv").labels.tolist() == [0, 1]
    (tmp_path / "rows.csv").write_text(rows("s/0.tar/a.jpg,x,train", "s/0.tar/b/d.jpg,y,train"))
    assert "line 3: image 's/0.tar/b/d.jpg' is not in" in refused(tmp_path / "rows.csv")


def test_a_damaged_header_does_not_end_the_archive_in_silence(tmp_path):
    path = write_tar(tmp_path / "train.tar", [*FILES, ("c.jpg", b""), ("c.cls", b"dog")])
    whole = bytearray(path.read_bytes())
    whole[512 * 8 + 148] ^= 1  # a checksum
    for content, position in ((whole, 512 * 8), (path.read_bytes()[: 512 * 8], 512 * 8)):
        path.write_bytes(content)
        assert f"train.tar: is damaged or cut off at byte {position}; copy it again" in refused(path)


def test_root_and_embeddings_mean_nothing_to_shards(tmp_path):
    path = write_tar(tmp_path / "train.tar", FILES)
    assert f"--root {tmp_path}: {path} contains its images" in refused(path, tmp_path)
    assert f"--embeddings: {path} contains its images" in refused(path, images=False)


def test_what_leads_to_no_file_in_an_archive(tmp_path):
    write_tar(tmp_path / "a.tar/B.TAR", [("x.tar/c.png", b"c")])
    assert find_member(tmp_path / "a.tar/B.TAR/x.tar/c.png").open().read() == b"c"
    for path in ("a.tar/B.TAR/c.png", "a.tar/B.TAR", "a.tar/c.png", "no.tar/c.png", f"{'n' * 300}.tar/c.png"):
        assert find_member(tmp_path / path) is None


def test_a_bad_image_in_a_shard_is_left_out_and_a_changed_shard_is_read_anew(tiny, tmp_path):
    row = tiny.rows()[0]
    good = (tiny.table.parent / row["path"]).read_bytes()
    path = write_tar(tmp_path / "train.tar", [("a.png", good), ("b.jpg", b"<html>")])
    assert np.array_equal(open_image(path / "a.png"), open_image(tiny.table.parent / row["path"]))
    with pytest.raises(ValueError, match="not a JPEG"):
        open_image(path / "b.jpg")
    with pytest.raises(ValueError, match="Not a directory"):
        open_image(path / "c.jpg")
    old = find_member(path / "a.png")
    write_tar(path, [("z.png", good), ("a.png", good)])
    os.utime(path, ns=(1, 1))
    with pytest.raises(OSError, match=r"train.tar changed while"):
        old.open()
    assert find_member(path / "a.png").offset > old.offset
