"""The checkpoint file: what goes in comes out, and nothing else is taken for one."""

import json

import pytest
import torch
from safetensors.torch import save_file

from dbpt.errors import InputError
from dbpt.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

TENSORS = {
    "head.context": torch.arange(6.0).reshape(2, 3).T,
    "head.more.deep": torch.ones(1),
    "best.context": torch.ones(2),
}
PLAIN = {"a": torch.ones(1)}
PROGRESS = {"history": [{"epoch": 1, "loss": 0.1 + 0.2}], "selected_epoch": 1}


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", Checkpoint("same", TENSORS, PROGRESS))
    return tmp_path / "c.safetensors"


def refused(path, match: str, fingerprint: str = "same") -> None:
    with pytest.raises(InputError, match=match) as caught:
        load_checkpoint(path, fingerprint)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert "--overwrite" in str(caught.value)


def test_round_trip(path):
    loaded = load_checkpoint(path, "same")
    assert loaded.progress == PROGRESS
    assert loaded.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(loaded.tensors[name], tensor)
    assert set(loaded.part("head")) == {"context", "more.deep"}
    assert set(loaded.part("best")) == {"context"}


def test_the_same_checkpoint_is_the_same_bytes(path):
    first = path.read_bytes()
    for _ in range(10):
        save_checkpoint(path, Checkpoint("same", TENSORS, PROGRESS))
        assert path.read_bytes() == first


def test_none_yet(tmp_path):
    assert load_checkpoint(tmp_path / "none.safetensors", "same") is None


def test_of_another_run_is_refused(path):
    refused(path, "made with other settings or data", fingerprint="other")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_cut_off_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "not a readable checkpoint")


def test_other_files_are_refused(path):
    path.write_bytes(b"\x80\x04not a checkpoint")
    refused(path, "not a readable checkpoint")
    save_file(PLAIN, path)
    refused(path, "not a readable checkpoint")
    save_file(PLAIN, path, {"progress": "{", "schema_version": "1", "fingerprint": "same"})
    refused(path, "not a readable checkpoint")
    save_file(PLAIN, path, {"progress": json.dumps(PROGRESS), "schema_version": "1", "fingerprint": "same"})
    refused(path, "made with other settings")
    path.unlink()
    path.mkdir()
    refused(path, "not a readable checkpoint")
