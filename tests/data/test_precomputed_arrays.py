"""Files of features: what is mapped, and one line for what can't be or must not be."""

import io
import json
import os
import pickle

import numpy as np
import pytest
from refusals import line_of
from safetensors.numpy import save, save_file

from dbpt.data.features_from_file import open_rows
from dbpt.data.stored_features import StoredFeatures

ARRAY = np.arange(6, dtype=np.float32).reshape(3, 2)


class Trap:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def refused(path):
    message = line_of(open_rows, path)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_of_both_kinds_of_file_are_read(tmp_path, dtype):
    array = ARRAY.astype(dtype)
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "f.NPY", np.asfortranarray(array))
    (tmp_path / "f.NPY.npy").rename(tmp_path / "f.NPY")
    save_file({"x": array}, tmp_path / "one.safetensors")
    tensors = {"labels": np.arange(3), "features": array, "z": np.zeros(5)}
    save_file(tensors, tmp_path / "named.safetensors", {"by": "me"})
    for name in ("a.npy", "f.NPY", "one.safetensors", "named.safetensors"):
        rows = open_rows(tmp_path / name)
        found = StoredFeatures([rows], np.array([2, 0, 1]), 2)[:]
        assert rows.dtype == dtype and np.array_equal(found, array[[2, 0, 1]])


def test_pickled_arrays_are_refused_unread(tmp_path):
    trap = Trap(tmp_path / "trace")
    np.save(tmp_path / "objects.npy", np.array([trap], dtype=object), allow_pickle=True)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(trap))
    (tmp_path / "features.pt").write_bytes(pickle.dumps(trap))
    assert refused(tmp_path / "objects.npy").startswith("holds pickled objects, which are never loaded; save numbers")
    assert "is not a .npy file" in refused(tmp_path / "raw.npy")
    assert "safetensors.torch.save_file" in refused(tmp_path / "features.pt")
    assert not (tmp_path / "trace").exists()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.npz", b"PK\x03\x04", "expected a .npy, .safetensors or .parquet file, or a folder of"),
        ("a.npy", b"", "is not a .npy file"),
        ("a.npy", npy(ARRAY)[:-1], "is not a whole .npy file"),
        ("a.npy", npy(ARRAY)[:20], "is not a whole .npy file"),
        ("a.npy", npy(ARRAY).replace(b"(3, 2)", b"(3,-2)"), "is not a whole .npy file"),
        ("a.npy", npy(ARRAY).replace(b"'<f4'", b"'<f9'"), "is not a whole .npy file"),
        ("a.npy", npy(ARRAY.astype(">f4")), "holds >f4, expected float16, float32 or float64; convert it with"),
        ("a.npy", npy(ARRAY.astype(int)), "holds int64, expected"),
        ("a.safetensors", b"", "cannot read the features: "),
        ("a.safetensors", b"\xff" * 16, "cannot read the features: "),
        ("a.safetensors", save({"x": ARRAY})[:-1], "cannot read the features: "),
        ("a.safetensors", save({"x": ARRAY, "y": ARRAY}), "which tensor has the features? Call it 'features'; found: "),
        ("a.safetensors", save({}), "which tensor has the features? Call it 'features'; found: none"),
        ("a.safetensors", save({"x": ARRAY[0]}), "has the shape (2,), expected (rows, width)"),
    ],
)
def test_one_line_for_a_bad_file(tmp_path, name, content, part):
    (tmp_path / name).write_bytes(content)
    assert part in refused(tmp_path / name)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    assert "cannot read the features: not a regular file" in refused(tmp_path / "pipe.npy")
    assert "cannot read the features: No such file or directory" in refused(tmp_path / "none.npy")
    assert "cannot read the features: File name too long" in refused(tmp_path / ("x" * 300 + ".npy"))


def test_bfloat16_is_refused(tmp_path):
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    message = refused(tmp_path / "b.safetensors")
    assert "tensor 'x' holds BF16, expected F16, F32 or F64; convert it with features.float()" in message
