"""`dbpt fit` in several processes: one run, written once, and an end for all where one cannot go on."""

import itertools
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from launched import Launched, command, launch, wait_until
from runs import FILES, best_epochs, contents, fit, history_of, metrics_of
from safetensors.numpy import load_file
from tiny import Tiny

import dbpt
import dbpt.data.demo
from dbpt.data import stored_features
from dbpt.errors import InputError
from dbpt.storage.row_files import RowsFile
from dbpt.training import checkpoints, gradients
from dbpt.training.live_images import LiveImages
from dbpt.training.process_group import joined_ranks

LINEAR = ("--head", "linear", "--no-baselines")


@pytest.fixture
def fit_arguments(tiny):
    return ["fit", str(tiny.table), *tiny.arguments]


def same_to_rounding(run: Path, of_one: Path) -> None:
    for found, expected in zip(history_of(run), history_of(of_one), strict=True):
        assert found["row"] == expected["row"]
        for name in ("loss", "val_wgp", "val_wga", "val_average", "group_weights"):
            if expected[name] is not None:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, err_msg=name)
    assert best_epochs(run) == best_epochs(of_one)
    for name, value in load_file(of_one / "classifier.safetensors").items():
        np.testing.assert_allclose(load_file(run / "classifier.safetensors")[name], value, rtol=1e-4, atol=1e-5)


def error_of(launched: Launched) -> str:
    """The one line that the ranks end with, on the first one's standard error."""
    assert launched.codes() == [2, 2]
    first, second = launched.printed("err")
    assert second == ""
    assert launched.printed("out") == ["", ""]
    steps = (" ", "squares", "features", "warning", "CLIP's guesses")
    lines = [line for line in first.splitlines() if not line.startswith(steps)]
    assert len(lines) == 1, first
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_two_ranks_make_the_run_of_one_and_the_first_alone_reads_writes_and_prints(tiny, tiny_run, tmp_path):
    """The other one's table, cache and run folder lie where there is nothing, as on another machine."""
    (tmp_path / "cache").write_text("no folder")
    elsewhere = [str(tmp_path / "no.csv"), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "elsewhere")]
    run = tmp_path / "run"
    of_rank = {0: [str(tiny.table), "--out", str(run)], 1: elsewhere}
    launched = launch(tmp_path, 2, command, ["fit", *tiny.arguments], of_rank).finished()
    same_to_rounding(run, tiny_run)
    assert {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} == FILES
    assert not (tmp_path / "elsewhere").exists()
    out, err = launched.printed("out"), launched.printed("err")
    assert out[0].count("report: ") == 1
    assert err[0].count("dbpt: best epoch") == 1
    assert (out[1], err[1]) == ("", "")


def in_blocks(rank, arguments):
    gradients.LARGE_BATCH, gradients.BLOCK_ROWS, stored_features.KEPT_BYTES = 20, 7, 0
    command(rank, arguments)


@pytest.mark.parametrize(
    ("choice", "of_two"),
    [
        ("--batch-size 0", in_blocks),
        # of a batch, one rank has 14 rows and the other 15: two blocks and three
        ("--objective groupdro --features live --batch-size 29 --epochs 1", in_blocks),
        # 50 rows in batches of 49: the first rank has nothing of the last one
        ("--features live --batch-size 49 --epochs 1", command),
    ],
)
def test_two_ranks_read_features_in_blocks_and_draw_live_images_as_one(fit_arguments, tmp_path, choice, of_two):
    for name, count, target in (("one", 1, command), ("two", 2, of_two)):
        arguments = [*fit_arguments, *LINEAR, *choice.split(), "--out", str(tmp_path / name / "run")]
        launch(tmp_path / name, count, target, arguments).finished()
    same_to_rounding(tmp_path / "two" / "run", tmp_path / "one" / "run")


def lose_a_file(rank, arguments):
    if rank == 1:
        read, reads = RowsFile._opened, []

        def lost(rows):
            reads.append(1)
            if len(reads) > 9:
                raise FileNotFoundError(2, "No such file or directory")
            return read(rows)

        RowsFile._opened = lost
    in_blocks(rank, arguments)


def test_a_file_that_only_another_rank_loses_ends_both(fit_arguments, tmp_path):
    launched = launch(tmp_path, 2, lose_a_file, [*fit_arguments, *LINEAR, "--out", str(tmp_path / "run")])
    assert launched.codes() == [2, 2]
    first, second = launched.printed("err")
    assert first.endswith("--resume continues from the last checkpoint\n")
    assert "cannot be read: No such file or directory; put the file back, and --resume" in second


def fit_small_demo(rank, arguments, of_rank=None):
    dbpt.data.demo.SPLIT_SIZES = (60, 24, 24)
    command(rank, arguments, of_rank)


def test_ranks_that_draw_a_demo_at_once_leave_one(tmp_path):
    choice = [*LINEAR, "--epochs", "1", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "run")]
    launch(tmp_path, 2, fit_small_demo, ["fit", "demo", *choice]).finished()
    (drawn,) = (tmp_path / "cache/demo").iterdir()
    assert len(list(drawn.rglob("*.jpg"))) == 108


def stay(rank, arguments):
    """Wait for the end at the first checkpoint."""
    checkpoints.SECONDS_BETWEEN, save = 0, checkpoints.save_checkpoint
    checkpoints.save_checkpoint = lambda *of_run: (save(*of_run), any(map(time.sleep, itertools.repeat(0.1, 6000))))
    command(rank, arguments)


def test_killed_and_resumed_two_ranks_end_with_the_same_bytes(tiny, fit_arguments, tmp_path):
    arguments = [*fit_arguments, "--no-baselines", "--out"]
    launch(tmp_path, 2, command, [*arguments, str(tmp_path / "whole")]).finished()
    killed = launch(tmp_path, 2, stay, [*arguments, str(tmp_path / "run")])
    wait_until((tmp_path / "run/checkpoints/dbpt.safetensors").exists)
    killed.kill()
    codes = set(killed.codes())
    assert -signal.SIGKILL in codes
    assert codes <= {-signal.SIGKILL, 2}  # a rank may notice that the other is gone before its own signal comes
    assert not (tmp_path / "run/metrics.json").exists()

    launch(tmp_path, 2, command, [*arguments, str(tmp_path / "run"), "--resume"]).finished()
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    (tmp_path / "run/metrics.json").unlink()
    fit(tiny, tmp_path / "run", baselines=False, resume=True)  # by one process
    assert history_of(tmp_path / "run") == history_of(tmp_path / "whole")


def test_what_only_the_first_rank_meets_ends_both_with_one_line(fit_arguments, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("")
    launched = launch(tmp_path, 2, command, [*fit_arguments, "--out", str(tmp_path / "run")])
    assert error_of(launched).endswith("exists and is not a run folder; choose another name")


def test_so_does_what_only_another_rank_meets(tiny, fit_arguments, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(tiny.weights.read_bytes()[:-2] + b"\0\0")
    arguments = [*fit_arguments, "--out", str(tmp_path / "run")]
    launched = launch(tmp_path, 2, command, arguments, {1: ["--pretrained", str(other)]})
    assert error_of(launched).startswith(f"Error: rank 1 on {socket.gethostname()}: {other}: ")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_blows_up(fit_arguments, tmp_path):
    arguments = [*fit_arguments, "--lr", "1e30", "--weight-decay", "10", "--out", str(tmp_path / "run")]
    assert "lower --lr" in error_of(launch(tmp_path, 2, command, arguments))


def end_suddenly(rank, arguments, how):
    if rank == 1:
        LiveImages.features = lambda *arguments, **keywords: how()
    command(rank, arguments)


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def meet_a_bug():
    raise ZeroDivisionError


@pytest.mark.parametrize(("how", "code"), [(be_killed, -signal.SIGKILL), (meet_a_bug, 1)])
def test_a_rank_that_ends_without_a_word_ends_the_other(fit_arguments, tmp_path, how, code):
    arguments = [*fit_arguments, *LINEAR, "--features", "live", "--out", str(tmp_path / "run")]
    launched = launch(tmp_path, 2, end_suddenly, arguments, how)
    assert launched.codes() == [2, code]
    line = launched.printed("err")[0].splitlines()[-1]
    assert re.match(r"Error: the other processes are out of reach \([A-Z]\w+ ", line)  # the reason, not whose code
    assert line.endswith("its own message says why; --resume continues from the last checkpoint")


def join(rank, together):
    with joined_ranks("cpu") as ranks:
        ranks.together(lambda: None)
        if not together:
            be_killed()


def test_processes_that_torchrun_restarts_find_each_other(tmp_path):
    """torchrun keeps the store, with the addresses of those that have ended, and counts its restarts."""
    store = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    variables = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_PORT": store.port}
    for attempt, codes in enumerate([[-signal.SIGKILL] * 2, [0, 0]]):
        restarts = {"TORCHELASTIC_RESTART_COUNT": attempt}
        launched = launch(tmp_path, 2, join, attempt == 1, of_all=variables | restarts)
        assert launched.codes() == codes, launched.printed("err")


def fit_in_a_group_of_its_own(rank, table, settings, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    run = dbpt.fit(table, out=folder / "run", **settings)
    assert torch.distributed.is_initialized()
    with pytest.raises(InputError, match="exists; continue it with --resume"):
        dbpt.fit(table, out=folder / "run", **settings)
    (folder / f"metrics{rank}").write_text(json.dumps(run.to_dict()))
    torch.distributed.destroy_process_group()


def test_a_process_group_that_is_there_is_used_and_left(tiny: Tiny, tmp_path):
    settings = {**tiny.settings, "head": "linear", "objective": "dfr", "baselines": False}
    launch(tmp_path, 2, fit_in_a_group_of_its_own, tiny.table, settings, tmp_path).finished()
    assert json.loads((tmp_path / "metrics0").read_text()) == metrics_of(tmp_path / "run")
    assert (tmp_path / "metrics0").read_text() == (tmp_path / "metrics1").read_text()


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("auto", "2 processes on this machine, and 1 GPUs: start one for each GPU"),
        ("cuda:0", "--device cuda:0 with several processes: each takes a device of its own"),
    ],
)
def test_processes_without_a_device_of_their_own_are_refused(monkeypatch, device, message):
    for setting in ["RANK=0", "WORLD_SIZE=2", "LOCAL_WORLD_SIZE=2", "MASTER_ADDR=x", "MASTER_PORT=1"]:
        monkeypatch.setenv(*setting.split("="))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=message), joined_ranks(device):
        pass
