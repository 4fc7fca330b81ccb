"""Every option that names an output file: nothing that exists is replaced without being asked, and only files ever."""

import os
import shutil
from pathlib import Path

import datasets
import pytest
from unprivileged import unprivileged

import dbpt
from dbpt.data.demo import write_demo
from dbpt.data.layouts.huggingface import materialize
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig
from dbpt.storage.files import check_output, read_regular, write_atomically


@pytest.fixture(params=["embed", "predict"])
def arguments(request, tiny, tiny_run) -> tuple:
    """A command that writes a file whose name comes next."""
    image = next(tiny.table.parent.glob("test/*.png"))
    embed = ("embed", tiny.table, "--model", tiny.model, "--pretrained", tiny.weights, "--cache", tiny.cache)
    return {"embed": (*embed, "--failures"), "predict": ("predict", tiny_run, image, "--out")}[request.param]


def test_a_file_is_replaced_only_with_overwrite(command, refusal, arguments, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("precious")
    line = refusal(*arguments, mine)
    assert line.endswith(f"{mine}: exists; choose another name, or replace it with --overwrite")
    assert mine.read_text() == "precious"
    assert command(*arguments, mine, "--overwrite")[0] == 0
    assert mine.read_text().startswith("path,")


def kept(path: Path) -> tuple:
    """What stays as it is if nobody writes; looking at a link may change its time of access."""
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_mtime_ns


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe", "link loop"])
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_only_regular_files_are_ever_replaced(refusal, arguments, tmp_path, kind, overwrite):
    target, out = tmp_path / "target.csv", tmp_path / "out.csv"
    target.write_text("precious")
    make = {
        "link": lambda: out.symlink_to(target),
        "dangling link": lambda: out.symlink_to(tmp_path / "none"),
        "folder": out.mkdir,
        "pipe": lambda: os.mkfifo(out),
        "link loop": lambda: out.symlink_to(out),
    }
    make[kind]()
    before = kept(out)
    line = refusal(*arguments, out, *overwrite)
    assert line.endswith(f"{out}: exists and is not a regular file; choose another name")
    assert kept(out) == before
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "target.csv"]


def test_a_name_that_cannot_be_is_told_before_the_work(refusal, arguments, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=0o555)
    for name in ("x" * 300 + ".csv", "x" * 245 + ".csv", "none/out.csv", "file/out.csv"):
        assert refusal(*arguments, tmp_path / name).startswith("--")
    with unprivileged():
        assert refusal(*arguments, tmp_path / "closed/out.csv").endswith("closed is not writable")


def test_a_file_that_appears_at_the_last_moment_stays(tmp_path, monkeypatch):
    out, fsync = tmp_path / "out.csv", os.fsync

    def appears(descriptor: int) -> None:
        fsync(descriptor)
        out.write_text("precious")

    monkeypatch.setattr(os, "fsync", appears)
    with pytest.raises(InputError, match="appeared while this was computed"):
        write_atomically(out, "x", overwrite=False)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "precious")]


@pytest.mark.parametrize("kind", ["link to an empty folder", "file", "full", "unreadable", "unwritable", "long"])
def test_a_demo_goes_into_a_new_folder_alone(refusal, tmp_path, kind):
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "closed/demo" if kind == "unwritable" else tmp_path / ("x" * 300 if kind == "long" else "demo")
    {
        "link to an empty folder": lambda: folder.symlink_to(tmp_path / "elsewhere"),
        "file": lambda: folder.write_text("precious"),
        "full": lambda: (folder.mkdir(), (folder / "mine").touch()),
        "unreadable": lambda: folder.mkdir(mode=0),
        "unwritable": lambda: folder.parent.mkdir(mode=0o555),
        "long": lambda: None,
    }[kind]()
    with unprivileged():
        assert str(folder) in refusal("demo", "demo-waterbirds", folder)
    with pytest.raises(InputError):
        write_demo("demo-waterbirds", "a\0b")


@pytest.mark.parametrize(
    "call",
    [
        lambda: dbpt.fit("demo", out=3),
        lambda: dbpt.compare("demo", out=3),
        lambda: dbpt.audit("demo", out=3),
        lambda: dbpt.guess_attributes("demo", out=3),
        lambda: dbpt.Result.read(3),
        lambda: write_demo("demo-celeba", 3),
        lambda: dbpt.draw_label_sample(3, out=3),
        lambda: dbpt.judge_labels(3, "labels.csv"),
    ],
)
def test_what_is_no_path_is_refused(call):
    with pytest.raises(InputError, match=r"is 3; expected a path, as text or pathlib\.Path"):
        call()


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_regular_file_is_read_up_to_a_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"0123456789")
    assert read_regular(tmp_path / "a", "table", 10) == b"0123456789"
    with pytest.raises(InputError, match="more than 9 bytes, too large for a table"):
        read_regular(tmp_path / "a", "table", 9)


A_FILE = "is a file that this command reads; choose another name"
IN_A_FOLDER = "is in the folder {} that this command reads; choose another folder"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("table", A_FILE),
        ("table of the root", IN_A_FOLDER),
        ("image", "is written as CSV; choose a name that ends in .csv"),
    ],
)
def test_embed_replaces_nothing_that_it_reads(refusal, tiny, tmp_path, what, reason):
    data = shutil.copytree(tiny.table.parent, tmp_path / "data")
    model = shutil.copy(tiny.model, tmp_path / "model.json")
    table, image = data / tiny.table.name, next(data.glob("test/*.png"))
    out = image if what == "image" else table
    before = out.read_bytes()
    named = ["waterbirds", "--root", data] if what == "table of the root" else [table]
    options = ["--model", model, "--pretrained", tiny.weights, "--cache", tmp_path / "cache"]
    line = refusal("embed", *named, *options, "--failures", out, "--overwrite")
    assert line == f"--failures {out}: {reason.format(data)}"
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("what", "reason"),
    [("0.png", "is written as CSV; choose a name that ends in .csv"), ("run/groups.csv", IN_A_FOLDER)],
)
def test_predict_replaces_nothing_that_it_reads(refusal, tiny, tiny_run, tmp_path, what, reason):
    shutil.copy(next(tiny.table.parent.glob("test/*.png")), tmp_path / "0.png")
    run, out = shutil.copytree(tiny_run, tmp_path / "run"), tmp_path / what
    before = out.read_bytes()
    line = refusal("predict", run, tmp_path / "0.png", "--out", out, "--overwrite")
    assert line == f"--out {out}: {reason.format(run)}"
    assert out.read_bytes() == before


def test_a_folder_that_is_read_is_known_through_links_and_files_beside_it_are_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    for name in ("data/a.csv", "data.csv"):
        (tmp_path / name).write_text("")
    for path, read in (("link/a.csv", "data"), ("data/a.csv", "link")):
        with pytest.raises(InputError, match=f"is in the folder {tmp_path / read} that"):
            check_output("--out", tmp_path / path, overwrite=True, reads=[tmp_path / read])
    check_output("--out", tmp_path / "data.csv", overwrite=True, reads=[tmp_path / "data", "no such file", "a\0b"])


def test_a_folder_that_is_gone_is_not_a_full_disk(tmp_path):
    with pytest.raises(InputError, match="cannot write: No such file or directory; choose another folder$"):
        write_atomically(tmp_path / "gone/x.csv", "x")


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "~nobody-of-that-name"])
def test_an_unknown_home_folder_is_one_line(refusal, tiny, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    told = f"{path}: ~nobody-of-that-name is not a home folder here; "
    for verb in (["embed", tiny.table], ["cache", "list"]):
        assert refusal(*verb, "--cache", path).startswith(told)
    with pytest.raises(InputError, match=told):
        _ = FitConfig(cache=path).cache_dir
    with pytest.raises(InputError, match=told):
        materialize(datasets.Dataset.from_dict({"a": ["b"]}), cache=path)
    assert list(tmp_path.iterdir()) == []
