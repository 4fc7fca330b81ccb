"""Lines of the log on standard error, `-q` and `-v`; progress bars and where they are shown."""

import io
import logging
import subprocess
import sys

import pytest
from comparisons import compare
from runs import fit

import dbpt
from dbpt.cli.click_group import Lines
from dbpt.environment import progress_bar
from dbpt.features import verify_cache

LINES = {"DEBUG": "a detail", "INFO": "a step", "WARNING": "warning: an oddity"}


def test_importing_the_package_leaves_handlers_to_whoever_imports_it():
    """Python then prints warnings, and nothing else."""
    code = "import logging, dbpt; log = logging.getLogger('dbpt.x'); log.info('a step'); log.warning('an oddity')"
    code += "; print(logging.root.handlers, logging.getLogger('dbpt').handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == ("[] []\n", "an oddity\n")


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ((), (), ("INFO", "WARNING")),
        (("-q",), (), ("WARNING",)),
        ((), ("--quiet",), ("WARNING",)),
        (("--verbose",), (), LINES),
        ((), ("-v",), LINES),
    ],
)
def test_each_level_is_shown_as_asked_and_other_libraries_are_not(command, monkeypatch, before, after, shown):
    def stand_in(name, folder, seed):
        logging.warning("of another library")
        logger = logging.getLogger("dbpt.data.demo")
        for level, line in LINES.items():
            logger.log(getattr(logging, level), line.removeprefix("warning: "))
        return folder

    monkeypatch.setattr("dbpt.data.demo.write_demo", stand_in)
    outside = logging.getLogger("dbpt").level, logging.getLogger("dbpt").handlers[:], logging.root.handlers[:]
    code, _, stderr = command(*before, "demo", "demo-celeba", "folder", *after)
    assert (code, stderr.splitlines()) == (0, [LINES[level] for level in shown])
    assert (logging.getLogger("dbpt").level, logging.getLogger("dbpt").handlers, logging.root.handlers) == outside


def test_verbose_names_the_backbone_and_each_epoch(command, tiny, tmp_path):
    code, _, stderr = command("fit", tiny.table, *tiny.arguments, "--epochs", "2", "-v", "--out", tmp_path / "run")
    assert code == 0, stderr
    assert f"backbone: {tiny.model}, {tiny.weights}, on cpu" in stderr
    assert "\ndbpt: epoch 2 of 2: loss " in stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def put_on_terminal(monkeypatch) -> Terminal:
    """Called in the test, because pytest sets ``sys.stderr`` after fixtures."""
    monkeypatch.setattr("dbpt.environment.DELAY", 0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    return terminal


def test_warnings_wrap_to_a_terminal_at_spaces(monkeypatch):
    terminal = put_on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")
    text = "a few images decide; choose --model-selection"
    Lines().emit(logging.LogRecord("dbpt", logging.WARNING, "", 0, text, (), None))
    assert terminal.getvalue() == "warning: a few images decide; choose\n  --model-selection\n"


def test_a_bar_is_on_terminals_unless_it_is_hidden_or_the_log_is_quiet(monkeypatch, caplog):
    terminal = put_on_terminal(monkeypatch)
    assert list(progress_bar("shown", "img", "abc")) == ["a", "b", "c"]
    list(progress_bar("hidden", "img", "abc", hidden=True))
    caplog.set_level("WARNING", "dbpt")
    list(progress_bar("quiet", "img", "abc"))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    caplog.set_level("INFO", "dbpt")
    list(progress_bar("in a pipe", "img", "abc"))
    assert sys.stderr.getvalue() == ""
    assert "shown: " in terminal.getvalue()
    assert not any(title in terminal.getvalue() for title in ("hidden", "quiet"))


def test_a_notebook_without_ipywidgets_has_no_bars_and_no_warning():
    kernel = "SimpleNamespace(get_ipython=lambda: SimpleNamespace(config={'IPKernelApp': {}}))"
    modules = f"{{'ipykernel.zmqshell': None, 'ipywidgets': None, 'IPython': {kernel}}}"  # as tqdm looks for a kernel
    code = f"import sys; from types import SimpleNamespace; sys.modules |= {modules}"
    code += "; import dbpt, huggingface_hub.utils"  # which imports tqdm itself, as open_clip does
    code += "; from dbpt.environment import progress_bar; progress_bar('embedding', 'img')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")


def test_whatever_takes_long_has_a_bar(tiny, tmp_path, monkeypatch):
    terminal = put_on_terminal(monkeypatch)
    monkeypatch.setattr("dbpt.data.demo.SPLIT_SIZES", (8, 8, 8))
    dbpt.write_demo("demo-celeba", tmp_path / "demo")
    dbpt.check_data(tiny.table, root=tiny.table.parent)
    run = fit(tiny, tmp_path / "run", epochs=1, cache=str(tmp_path / "cache"))
    compare(tiny, tmp_path / "compare", epochs=1)
    list(dbpt.load(run).predict(tiny.table.parent))
    verify_cache(tmp_path / "cache/features")
    titles = ["verifying", "drawing demo-celeba", "decoding", "embedding", "dbpt", "comparison", "predicting"]
    assert [title for title in titles if f"\r{title}" not in terminal.getvalue()] == []
