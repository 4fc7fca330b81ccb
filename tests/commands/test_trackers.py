"""``--report-to``: the trackers' own readers find what history.jsonl has, the table and the page."""

import json
import math
import struct
import sys
from unittest.mock import Mock

import numpy as np
import pytest
from comparisons import compare
from runs import StopAfter, fit, history_of

import dbpt
from dbpt.cli import main
from dbpt.commands.callbacks import TRACKERS, TensorBoard, Watch, _unique
from dbpt.errors import InputError
from dbpt.settings import all_settings

GROUPS = ("box - meadow", "box - lake", "disc - meadow", "disc - lake")
FAST = {"head": "linear", "epochs": 3}


def expected_scalars(run):
    """All numbers of history.jsonl: step and value by the name that the trackers give them."""
    found = {}
    for line in history_of(run):
        for name, value in line.items():
            if name in ("row", "epoch", "best") or value is None:
                continue
            of_groups = isinstance(value, list)
            for group, each in zip(GROUPS, value, strict=False) if of_groups else [(None, value)]:
                if each is not None:
                    named = f"{line['row']}/{name}" + (f"/{group}" if of_groups else "")
                    found.setdefault(named, []).append((line["epoch"], each))
    return found


def is_same(found, expected):
    assert found.keys() >= expected.keys(), expected.keys() - found.keys()
    for name, steps in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in steps], name
        assert all(math.isclose(a, b, rel_tol=1e-5) for (_, a), (_, b) in zip(found[name], steps, strict=True)), name


def events_of(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    scalars = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    return scalars, texts


def hparams_of(folder):
    """The settings and the names of the metrics that the dashboard HParams shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    plugin = EventAccumulator(str(folder)).Reload().summary_metadata
    contents = {tag: each.plugin_data.content for tag, each in plugin.items()}
    experiment = metadata.parse_experiment_plugin_data(contents["_hparams_/experiment"])
    start = metadata.parse_session_start_info_plugin_data(contents["_hparams_/session_start_info"])
    settings = {name: value.string_value or value.number_value for name, value in start.hparams.items()}
    return settings, [info.name.tag for info in experiment.metric_infos]


def final(name, run):
    row = next(row for row in dbpt.Result.read(run).rows if row.method == name)
    return row.worst_group_accuracy


def test_each_name_of_the_setting_is_a_tracker():
    assert tuple(TRACKERS) == all_settings.TRACKERS


def test_tensorboard_reads_a_fit_a_resumed_one_and_the_next_one(tiny, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(tiny, run, **FAST, report_to=["tensorboard", "tensorboard"], callbacks=[StopAfter(5)])  # of dbpt two
    assert len([*run.glob("events.out.tfevents.*")]) == 1
    main(["fit", "--resume", "--out", str(run)])  # with the same trackers
    scalars, texts = events_of(run)
    is_same(scalars, expected_scalars(run))
    assert math.isclose(scalars["final/dbpt/linear/worst_group_accuracy"][0][1], final("dbpt", run), rel_tol=1e-6)
    assert "final/zero-shot/worst_group_accuracy" in scalars and "final/dbpt/linear/accuracy of box - lake" in scalars
    assert texts["page/text_summary"] == str(run / "report.html")
    assert all(f"    {line}" in texts["table/text_summary"] for line in dbpt.Result.read(run).table().splitlines())
    assert "epochs = 3" in texts["settings/text_summary"]
    correct = {name: steps for name, steps in scalars.items() if name.startswith("dbpt/val_accuracy/")}
    assert set(correct) == {f"dbpt/val_accuracy/{group}" for group in GROUPS}
    worst = np.min([[value for _, value in steps] for steps in correct.values()], axis=0)
    assert worst == pytest.approx([value for _, value in scalars["dbpt/val_wga"]])
    assert not [path for path in run.iterdir() if path.is_dir() and [*path.glob("events*")]]  # no run of hparams alone
    settings, metrics = hparams_of(run)
    assert (settings["epochs"], settings["head"]) == (3.0, "linear")
    assert metrics == ["hparam/worst_group_accuracy", "hparam/average_accuracy", "hparam/gap"]
    assert scalars["hparam/worst_group_accuracy"][0][1] == pytest.approx(final("dbpt", run))
    fit(tiny, run, **FAST, overwrite=True)
    assert not [*run.glob("events.out.tfevents.*")]


@pytest.mark.usefixtures("quick_jobs")
def test_tensorboard_reads_a_comparison(tiny, tmp_path):
    folder = compare(tiny, tmp_path / "out", methods="zero-shot,dbpt", report_to=["tensorboard"], jobs=2).folder
    scalars, texts = events_of(folder)
    for seed in (0, 1):
        assert [step for step, _ in scalars[f"dbpt_linear_seed-{seed}/group_weights/box - lake"]] == [1, 2, 3]
    assert "final/dbpt/linear/worst_group_accuracy_mean" in scalars
    assert texts["page/text_summary"] == str(folder / "compare.html")


@pytest.mark.parametrize("verb", ["fit", "compare"])
def test_an_unknown_or_missing_tracker_gets_one_line_before_training(tiny, tmp_path, refusal, monkeypatch, verb):
    monkeypatch.setitem(sys.modules, "wandb", None)
    out = tmp_path / "out"
    for names, expected in {
        ("tensorboard", "wandb"): "--report-to wandb needs wandb; run pip install wandb",
        ("tensorbord",): "'tensorbord' is not one of 'tensorboard', 'wandb', 'mlflow', 'trackio'",
    }.items():
        assert expected in refusal(verb, tiny.table, *tiny.arguments, "--out", out, "--report-to", *names)
        assert not out.exists()
    with pytest.raises(InputError, match=r"--report-to: 'mlfow' is none of .* \(did you mean 'mlflow'\?\)"):
        fit(tiny, out, report_to=("tensorboard", "mlfow"))


def test_a_folder_of_the_name_is_no_package(tiny, tmp_path, monkeypatch):
    (tmp_path / "trackio").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.path", [str(tmp_path), *(each for each in sys.path if "site-packages" not in each)])
    monkeypatch.setitem(sys.modules, "trackio", None)  # which monkeypatch takes back, and the folder's module with it
    monkeypatch.delitem(sys.modules, "trackio")
    with pytest.raises(InputError, match="--report-to trackio needs trackio; run pip"):
        fit(tiny, tmp_path / "run", report_to=["trackio"])


def leveldb_records(data):
    """Yield the records of a file of Weights & Biases, which has the format of LevelDB's logs."""
    at, whole = 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole, at = whole + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield whole
            whole = b""


@pytest.fixture
def reported(tiny, tmp_path, monkeypatch):
    """Train in an empty folder, and report to one tracker."""

    def train(name, **settings):
        pytest.importorskip(name, reason=f"{name} is not installed")
        monkeypatch.chdir(tmp_path)
        return fit(tiny, tmp_path / "run", **FAST, report_to=[name], **settings)

    return train


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_has_the_epochs_the_table_and_the_page(reported, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = reported("wandb")
    from wandb.proto import wandb_internal_pb2

    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    found, summary, files = {}, {}, []
    for content in leveldb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        items = {"/".join(each.nested_key) or each.key: json.loads(each.value_json) for each in record.history.item}
        for name, value in items.items():
            if (epoch := items.get(f"{name.partition('/')[0]}/epoch")) is not None:
                found.setdefault(name, []).append((epoch, value))
        summary |= {"/".join(each.nested_key) or each.key: each.value_json for each in record.summary.update}
        files += [entry.path for entry in record.artifact.manifest.contents]
    is_same(found, expected_scalars(run))
    assert json.loads(summary["final/dbpt/linear/worst_group_accuracy"]) == final("dbpt", run)
    assert "report.html" in files and any("table" in name for name in (*summary, *files))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_a_folder_has_the_epochs_the_table_and_the_page(reported, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run = reported("mlflow")
    import mlflow

    client = mlflow.MlflowClient()
    (tracked,) = client.search_runs(["0"])
    names = expected_scalars(run)
    found = {
        name: [(each.step, each.value) for each in client.get_metric_history(tracked.info.run_id, name)]
        for name in names
    }
    is_same({name: sorted(steps) for name, steps in found.items()}, names)
    assert tracked.info.run_name == "run" and tracked.info.status == "FINISHED" and tracked.data.params["epochs"] == "3"
    assert tracked.data.metrics["final/dbpt/linear/worst_group_accuracy"] == final("dbpt", run)
    assert {each.path for each in client.list_artifacts(tracked.info.run_id)} == {"report.html", "table.json"}
    with pytest.raises(ZeroDivisionError):
        reported("mlflow", overwrite=True, callbacks=[type("Stop", (), {"on_fit_end": lambda *_: 1 / 0})()])
    assert mlflow.active_run() is None


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_trackio_has_the_epochs_the_table_and_the_page(reported, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio-store"))
    run = reported("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    found, table = {}, None
    for line in SQLiteStorage.get_logs("dbpt", "run"):
        table = line.pop("table", table)
        for name in line.keys() - {"timestamp", "step"}:
            found.setdefault(name, []).append((line["step"], line[name]))
    is_same(found, expected_scalars(run))
    assert found["final/dbpt/linear/worst_group_accuracy"][0][1] == final("dbpt", run)
    assert [row["method"] for row in table["_value"]] == ["zero-shot", "erm", "dbpt"]
    stored = [file.read_bytes() for file in tmp_path.glob("trackio-store/artifacts/dbpt/blobs/sha256/*/*")]
    assert (run / "report.html").read_bytes() in stored


def test_a_tracker_that_fails_in_training_is_left_out_and_the_others_go_on(logged):
    def tracker(name, error=None):
        calls = {each: Mock(side_effect=error) for each in ("on_epoch_end", "close")}
        return type(name, (TensorBoard,), calls)(None)

    counting = tracker("Counting")
    with Watch([], [tracker("Failing", ConnectionError("no route")), counting]) as watch:
        for epoch in (1, 2):
            watch.tell("on_epoch_end", "dbpt", epoch, {})
    assert counting.on_epoch_end.call_count == 2 and counting.close.call_count == 1 and watch.error is None
    left_out, not_closed = logged.messages
    assert left_out.startswith("--report-to failing: left out from here on (ConnectionError: no route")
    assert not_closed.startswith("--report-to failing: could not be closed (ConnectionError: no route")


def test_a_tracker_that_cannot_begin_gets_one_line_and_is_closed(tiny, tmp_path, monkeypatch, logged):
    closed = []

    class HalfOpen(TRACKERS["tensorboard"]):
        def _open(self, folder, settings):
            raise PermissionError("no\n%d entry")

        def _close(self, failed):
            closed.append(failed)
            raise AttributeError("_writer")

    monkeypatch.setitem(TRACKERS, "tensorboard", HalfOpen)
    with pytest.raises(InputError, match=r"^--report-to halfopen: cannot begin \(PermissionError: no %d entry\)"):
        fit(tiny, tmp_path / "run", report_to=["tensorboard"], **FAST)
    assert closed == [True] and not [message for message in logged.messages if "could not be closed" in message]


def test_groups_that_trackers_would_take_for_one_get_numbers():
    assert _unique(["a/b", "a:b", "c", "a b"]) == ["a-b", "a-b-2", "c", "a b"]
