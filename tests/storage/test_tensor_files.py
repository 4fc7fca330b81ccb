"""Files of tensors: equal content is equal bytes, and what has changed since is not read."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from dbpt.errors import InputError
from dbpt.storage.tensors import read_tensors, write_tensors

TENSORS = {"flipped": np.arange(6.0).reshape(2, 3).T, "scalar": np.array(2.5, np.float32)}
METADATA = {f"key {n} ö": "x" * n for n in range(10)}


def read(path, version=1):
    return read_tensors(path, "result", version=version, hint="make it again")


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "a", TENSORS, METADATA, version=1)
    return tmp_path / "a"


def test_what_goes_in_comes_out(path):
    tensors, metadata = read(path)
    assert metadata == {"schema_version": "1", **METADATA}
    with safe_open(path, framework="numpy") as file:
        assert set(file.metadata()) == {*metadata, "sha256"}
        for name, array in TENSORS.items():
            np.testing.assert_array_equal(file.get_tensor(name), array, strict=True)
            np.testing.assert_array_equal(tensors[name], array, strict=True)


def test_equal_tensors_and_metadata_are_equal_bytes(path, tmp_path):
    """The library alone orders the metadata anew each time: ten keys agree once in 3.6 million."""
    write_tensors(tmp_path / "b", TENSORS, dict(reversed(METADATA.items())), version=1)
    assert path.read_bytes() == (tmp_path / "b").read_bytes()


def test_each_flipped_bit_is_told(path):
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(InputError, match=f"{path}: .*(make it again|schema version)"):
            read(path)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_file_that_was_cut_off_is_told(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=f"{path}: not a readable result .*; make it again"):
        read(path)


def test_a_tensor_that_is_needed_and_not_there_is_told(path):
    needs = {"version": 1, "hint": "make it again", "needs": ("scalar", "labels")}
    with pytest.raises(InputError, match=f"{path}: has no 'labels'; make it again"):
        read_tensors(path, "result", **needs)


def test_other_versions_and_other_files_are_told(path):
    with pytest.raises(InputError, match=r"a: written by an older dbpt .*; make it again"):
        read(path, version=2)
    save_file(TENSORS, path)
    with pytest.raises(InputError, match="not a readable result .*; make it again"):
        read(path)
    save_file(TENSORS, path, {"schema_version": "1", "sha256": json.dumps(None)})
    with pytest.raises(InputError, match="damaged: .* written into this result; make it again"):
        read(path)
