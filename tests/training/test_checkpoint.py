"""Checkpoints: a resumed training equals an uninterrupted one, and no other file or training is taken for its own."""

import json
import re
from dataclasses import asdict, replace

import pytest
import torch
from refusals import line_of
from toy_training import RUNS, SETTINGS, TRAIN, VAL, content, interrupted_after, run

from dbpt.errors import InputError
from dbpt.storage.tensors import write_tensors
from dbpt.training import checkpoints
from dbpt.training.checkpoints import (
    SCHEMA_VERSION,
    Checkpoint,
    CheckpointWriter,
    LoopState,
    load_checkpoint,
    save_checkpoint,
)
from dbpt.training.model_selection import EpochRecord

TENSORS = {"head.context": torch.arange(6.0).reshape(2, 3).T, "head.more.deep": torch.ones(1)}
TENSORS["best.context"] = torch.ones(2)
EPOCH = EpochRecord(1, 0.5, 0.1 + 0.2, [1.0, None], None, [3, 4], None, None, 0.75)
SAME = {"words": "a", "data": "b", "code": "c"}
PROGRESS = LoopState([EPOCH], (-float("inf"), 0.25), 1, 0, [(1, 0.5)])


@pytest.mark.parametrize(("choice", "stop_after"), [(choice, 1 + n % 5) for n, choice in enumerate(RUNS)])
def test_resumed_from_any_epoch_equals_uninterrupted(tmp_path, choice, stop_after):
    expected = content(run(**choice))
    num_epochs = len(expected[2])
    path = tmp_path / "c.safetensors"

    if stop_after < num_epochs:
        interrupted_after(stop_after, path, **choice)
    else:
        run(**choice, checkpoint_path=path)
    (tmp_path / ".c.safetensors.abc.tmp").write_bytes(path.read_bytes()[:50])  # the next write was killed
    epochs = []
    resumed = run(**choice, checkpoint_path=path, on_epoch=lambda record: epochs.append(record.epoch))
    assert epochs == list(range(stop_after + 1, num_epochs + 1))
    assert content(resumed) == expected


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    run(checkpoint_path=tmp_path / "c")
    changes = {"batch_size": 8, "seed": 3, "model_selection": "last", "epochs": 6, "sgd_momentum": 0.8}
    for name, value in (changes | {"weight_decay": 0.0}).items():
        with pytest.raises(InputError, match="other settings"):
            run(replace(SETTINGS, **{name: value}), checkpoint_path=tmp_path / "c")


@pytest.mark.parametrize("name", ["TRAIN", "VAL"])
@pytest.mark.parametrize("changed", ["features", "labels", "groups"])
def test_a_checkpoint_of_other_rows_or_another_caller_is_refused_by_name(tmp_path, monkeypatch, name, changed):
    run(checkpoint_path=tmp_path / "c", determined_by={"words": "mine"})
    with pytest.raises(InputError, match="made with other words than this run's"):
        run(checkpoint_path=tmp_path / "c", determined_by={"words": "yours"})
    rows = {"TRAIN": TRAIN, "VAL": VAL}[name]
    values = getattr(rows, changed).copy()
    values[3] = values[3] * 2 if changed == "features" else 1 - values[3].clip(0, 1)
    monkeypatch.setattr(f"toy_training.{name}", replace(rows, **{changed: values}))
    with pytest.raises(InputError, match=f"made with other {changed} than this run's"):
        run(checkpoint_path=tmp_path / "c", determined_by={"words": "mine"})


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", Checkpoint(SAME, TENSORS, PROGRESS))
    return tmp_path / "c.safetensors"


def refused(path, match: str, fingerprints: dict[str, str] = SAME) -> None:
    line = line_of(load_checkpoint, path, fingerprints)
    assert re.search(match, line) and str(path) in line and "--overwrite" in line


def test_round_trip(path):
    loaded = load_checkpoint(path, SAME)
    assert loaded.progress == PROGRESS
    assert loaded.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(loaded.tensors[name], tensor)
    assert set(loaded.part("head")) == {"context", "more.deep"}
    assert set(loaded.part("best")) == {"context"}


def test_none_yet(tmp_path):
    assert load_checkpoint(tmp_path / "none.safetensors", SAME) is None


def test_of_another_run_is_refused(path):
    refused(path, "made with other data and code than this run", {**SAME, "data": "z", "code": "z"})


def test_other_files_are_refused(path):
    path.write_bytes(b"\x80\x04not a checkpoint")
    refused(path, "not a readable checkpoint")
    path.unlink()
    path.symlink_to("none")
    with pytest.raises(InputError, match="cannot read the checkpoint: No such file or directory"):
        load_checkpoint(path, SAME)


def test_progress_of_another_kind_is_told(path):
    changes = {"history": [{"epoch": "1"}], "best_epoch": -1, "peak_rates": [[1]], "best_score": None}
    for name, value in changes.items():
        metadata = {"fingerprints": json.dumps(SAME), "progress": json.dumps({**asdict(PROGRESS), name: value})}
        write_tensors(path, {}, metadata, version=SCHEMA_VERSION)
        refused(path, rf"xpected `.* at `\$\.{name}.*; the file was changed, start again with --overwrite")


def test_a_save_comes_seconds_after_the_last_one_and_has_the_latest_state(tmp_path, monkeypatch):
    now, path = [100.0], tmp_path / "c.safetensors"
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    writer, weights = CheckpointWriter(path), torch.zeros(2)

    def step(seconds: float) -> None:
        now[0] += seconds
        weights.add_(1)
        writer.offer(Checkpoint(SAME, {"head.weights": weights}, PROGRESS))

    def saved() -> list[float]:
        return load_checkpoint(path, SAME).tensors["head.weights"].tolist()

    step(1)
    assert not path.exists()
    step(checkpoints.SECONDS_BETWEEN)
    assert saved() == [2, 2]
    step(1)
    weights.add_(10)  # half of the next step, before it fails
    assert saved() == [2, 2]
    writer.save()
    assert saved() == [3, 3]
    path.unlink()
    writer.save()
    assert not path.exists()
