"""`fit` takes only folders of runs, and never takes away what no run wrote; settings that were cut are refused."""

import gc
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from folders import files_in
from open_clip import CLIP
from runs import FILES, said
from tiny import CLASSES

import dbpt
from dbpt import InputError
from dbpt.commands.label.sample import read_design
from dbpt.runs.run_folder import RUN_FOLDER
from dbpt.settings.config import make_config


def test_a_path_that_is_no_run_gets_the_one_that_may_be_meant(copied):
    mistakes = {copied.parent: f"it holds 1; give one, such as {copied}", copied.parent / "copyed": "mean 'copied'"}
    for path, hint in mistakes.items():
        with pytest.raises(InputError, match=f"{'not a run' if path.exists() else 'no such'}.*{re.escape(hint)}"):
            dbpt.load(path)
    (copied / "run.json").rename(copied / "plan.json")
    with pytest.raises(InputError, match=r"not a run folder .*, but that of a comparison; .* --out in dbpt fit"):
        dbpt.load(copied)
    (copied / "plan.json").rename(copied / "run.json")
    with pytest.raises(InputError, match="run is a Result; expected the path of its folder, such as Result.folder"):
        dbpt.evaluate(dbpt.Result.read(copied))


@pytest.mark.parametrize("name", ["a.csv", "checkpoints/thesis.safetensors", "checkpoints/erm.safetensors.bak"])
def test_overwrite_takes_nothing_that_no_run_wrote(copied, name):
    (copied / name).write_text("mine")
    with pytest.raises(InputError, match=f"holds '{name}', which doesn't belong to a run"):
        RUN_FOLDER.check(copied, resume=False, overwrite=True)
    RUN_FOLDER.check(copied, resume=True, overwrite=False)  # continuing deletes nothing
    assert (copied / name).read_text() == "mine"


def test_overwrite_follows_no_link_to_a_folder(tiny, copied, tmp_path):
    elsewhere = shutil.move(copied / "checkpoints", tmp_path / "elsewhere")
    (copied / "checkpoints").symlink_to(elsewhere)
    before = sorted(path.name for path in elsewhere.iterdir())
    with pytest.raises(InputError, match="holds 'checkpoints', which doesn't belong to a run"):
        dbpt.fit(tiny.table, out=copied, overwrite=True, **tiny.settings)
    assert sorted(path.name for path in elsewhere.iterdir()) == before


@pytest.mark.parametrize("instead", ["nothing", "folder"])
def test_resume_drops_no_checkpoint_for_want_of_settings(tiny, copied, instead):
    (copied / "config.toml").unlink()
    if instead == "folder":
        (copied / "config.toml").mkdir()
    before = files_in(copied)
    with pytest.raises(InputError, match=r"config.toml is not there or not a file, .*put it back"):
        dbpt.fit(tiny.table, out=copied, resume=True, **tiny.settings)
    assert files_in(copied) == before


def test_overwrite_takes_all_that_a_run_wrote(copied):
    (copied / "checkpoints" / ".dbpt.safetensors.a1_b2c3d.tmp").write_text("of a run that was killed")
    with RUN_FOLDER.held(copied, resume=False, overwrite=True):
        RUN_FOLDER.start(copied, {"backbone": {}}, make_config({"data": "t"}), resume=False, overwrite=True)
    expected = {"run.json", "config.toml", "checkpoints", "figures"}
    assert {str(path.relative_to(copied)) for path in copied.rglob("*")} == expected


def test_a_folder_whose_overwriting_is_killed_is_still_a_runs(tiny_run, tmp_path, monkeypatch):
    run, unlink = shutil.copytree(tiny_run, tmp_path / "run"), Path.unlink

    def die_behind(path: Path) -> None:
        unlink(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", die_behind)
    for _ in FILES:
        with pytest.raises(KeyboardInterrupt):
            RUN_FOLDER.start(run, {}, make_config({"data": "t"}), resume=False, overwrite=True)
    assert {path.name for path in run.rglob("*")} == {"checkpoints", "figures"}


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}])
def test_a_file_that_comes_while_images_are_embedded_stays(tiny, tmp_path, flags, logged):
    out = tmp_path / "run"
    logged.handler.addFilter(lambda _: (out / "thesis.tex").write_text("precious"))
    with pytest.raises(InputError, match=f"--out {out}: exists"):
        dbpt.fit(tiny.table, out=out, **flags, **tiny.settings)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_a_folder_in_which_another_process_writes_is_refused(copied):
    flags = {"resume": True, "overwrite": False}
    script = f"""
import sys
from pathlib import Path
from dbpt.runs.run_folder import RUN_FOLDER
with RUN_FOLDER.held(Path({str(copied)!r}), **{flags}):
    print('held', flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    refusal = f"copied: process {other.pid} of .* is writing there; wait until it has ended, or"
    with pytest.raises(InputError, match=refusal), RUN_FOLDER.held(copied, **flags):
        pass
    other.kill()
    other.communicate()
    with RUN_FOLDER.held(copied, **flags):  # the lock of the dead is free
        pass
    assert not (copied / "dbpt.lock").exists()


def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path):
    run = tmp_path / "new" / "run"
    with pytest.raises(KeyboardInterrupt), RUN_FOLDER.held(run, resume=False, overwrite=False):
        assert run.is_dir()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_the_disk_refuses_is_told_with_a_way_out(tiny, tmp_path, monkeypatch):
    config = make_config({"data": str(tiny.table)})
    monkeypatch.setattr(Path, "mkdir", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="run: cannot create: No space left on device; free space or choose another"):
        RUN_FOLDER.start(tmp_path / "run", {}, config, resume=False, overwrite=False)


@pytest.mark.parametrize(
    ("labelled", "kind"),
    [
        (lambda row: row["split"] == "test", "true"),
        (lambda row: row["split"] == "train", "pseudo"),
        (lambda row: row["path"] == "test/00-00.png", "pseudo"),
    ],
)
def test_true_groups_need_labels_where_it_is_judged(tiny, tmp_path, labelled, kind):
    rows = [row | {"attribute": row["attribute"] if labelled(row) else ""} for row in tiny.rows()]
    run = dbpt.fit(tiny.write(f"partly-{kind}", rows), out=tmp_path / "run", **tiny.settings | {"epochs": 2})
    assert run.to_dict()["group_kind"] == kind
    assert all(row["test"]["worst_group_accuracy"] is not None for row in run.to_dict()["rows"])
    told = [warning for warning in said(run.to_dict()["warnings"]) if "have a true attribute" in warning]
    assert bool(told) == (kind == "pseudo")


@pytest.mark.skipif(sys.platform != "linux", reason="names are not bytes elsewhere")
def test_a_run_folder_whose_name_is_not_utf8_can_be_used(tiny, tmp_path):
    out = tmp_path / os.fsdecode(b"caf\xe9")
    dbpt.fit(tiny.table, out=out, **tiny.settings)
    dbpt.fit(tiny.table, out=out, resume=True, **tiny.settings)
    design = dbpt.draw_label_sample(out, out=tmp_path / "sample", cache=str(tiny.cache))
    assert design.run == str(out)
    assert read_design(tmp_path / "sample").sample == design.sample
    with pytest.raises(InputError, match=r"--cache: '.*\\udce9' is not UTF-8, so config.toml could not hold it"):
        dbpt.fit(tiny.table, out=tmp_path / "other", **tiny.settings | {"cache": str(out)})


@pytest.mark.parametrize(("content", "name"), [("", "data"), ("lr = 0.005\n", "data"), ('data = "t"\n', "baselines")])
def test_a_config_that_was_emptied_or_cut_is_refused_in_one_line(tiny, copied, command, content, name):
    (copied / "config.toml").write_text(content)
    expected = f"Error: {copied / 'config.toml'}: lacks {name}; the file was changed, fit again\n"
    image = tiny.table.parent / tiny.rows()[0]["path"]
    assert command("evaluate", copied, tiny.table, "--cache", tiny.cache) == (2, "", expected)
    assert command("predict", copied, image) == (2, "", expected)
    with pytest.raises(InputError, match=rf"config\.toml: lacks {name}"):
        dbpt.fit(tiny.table, out=copied, resume=True, **tiny.settings)


def test_a_loaded_classifier_holds_one_clip(tiny_run):
    def count():
        gc.collect()
        return sum(type(found) is CLIP for found in gc.get_objects())

    before = count()
    classifier = dbpt.load(tiny_run)
    assert count() == before + 1 and classifier.backbone.model is not None


def test_a_classifier_is_short_in_a_notebook(tiny_run):
    shown = repr(dbpt.load(tiny_run))
    assert all(name in shown for name in CLASSES) and len(shown) < 500
