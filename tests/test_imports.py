"""What a quick command pays for, and that every public name is there."""

import subprocess
import sys

import pytest

import dbpt

SLOW = "{'torch', 'open_clip', 'torchvision', 'timm'}"


def loaded_after(statements: str) -> str:
    code = f"import sys\n{statements}\nprint('SLOW:', *sorted({SLOW} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("SLOW:")[2].strip()


def quietly(*arguments: str) -> str:
    return f"import dbpt.cli\ntry:\n    dbpt.cli.main({list(arguments)})\nexcept SystemExit:\n    pass"


@pytest.mark.parametrize(
    "statements",
    [
        "import dbpt; dbpt.InputError; dbpt.GroupWeights; dbpt.FitConfig; dbpt.label_attributes; dbpt.group_metrics",
        "import dbpt.data, dbpt.words, dbpt.metrics, dbpt.report, dbpt.demo; dbpt.write_demo; dbpt.load_dataset",
        "import dbpt, dbpt.human_check.table; dbpt.judge_labels; dbpt.draw_label_sample",
        quietly("--help") + "\n" + quietly("fit", "--help") + "\n" + quietly("label", "--help"),
        quietly("fit", "demo", "--out", "never", "--epoch", "3")
        + "\n"
        + quietly("demo", "demo-nothing", "never")
        + "\n"
        + quietly("--version"),
    ],
)
def test_quick_things_do_not_import_torch(statements):
    assert loaded_after(statements) == ""


def test_the_check_above_would_see_torch():
    assert loaded_after("import sys, types; sys.modules['torch'] = types.ModuleType('torch')") == "torch"


def test_every_public_name_resolves_and_is_documented():
    assert set(dbpt.__all__) > {"fit", "evaluate", "load", "write_demo", "label_attributes", "GroupWeights"}
    for name in dbpt.__all__:
        value = getattr(dbpt, name)
        assert value.__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'fti'"):
        _ = dbpt.fti


def test_python_dash_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "dbpt", "--version"], capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == f"dbpt, version {dbpt.__version__}"
