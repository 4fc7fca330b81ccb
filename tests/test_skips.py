"""What `.ci/run` makes of skipped tests, and that a machine without a browser skips those that need one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).with_name("support")
HOOKS = "from skips import pytest_make_collect_report, pytest_runtest_makereport\n"
TESTS = {
    "module": 'import pytest\npytest.skip("whole file", allow_module_level=True)\n',
    "mark": 'import pytest\n@pytest.mark.skipif(True, reason="by a mark")\ndef test():\n    pass\n',
    "browser": 'from browser import title_of\ndef test(tmp_path):\n    title_of("<title>[1]</title>", tmp_path)\n',
    "disk": 'import pytest\ndef test():\n    pytest.skip("cannot mount a small disk: no right")\n',
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="skips are expected elsewhere")


def outcome(folder: Path, name: str, *options: str, **variables: str) -> tuple[int, str]:
    """Exit code and output of pytest on one of `TESTS`, on a machine without a browser."""
    (folder / "conftest.py").write_text(HOOKS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / f"test_{name}.py").write_text(TESTS[name])
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", *options, f"test_{name}.py"]
    environment = {"PATH": str(folder), "PYTHONPATH": str(SUPPORT), **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("name", "options", "reason"), [("module", (), "whole file"), ("mark", ("-n", "2"), "by a mark")]
)
def test_a_skip_fails_where_none_is_expected(tmp_path, name, options, reason):
    code, output = outcome(tmp_path, name, *options)
    assert code in (0, 5) and "skipped" in output, output  # 5: nothing else was collected
    code, output = outcome(tmp_path, name, *options, DBPT_NO_SKIPS="1")
    assert code in (1, 2), output
    assert f"test_{name}.py" in output and f"was skipped, which DBPT_NO_SKIPS=1 forbids: {reason}" in output


def test_a_skip_for_an_allowed_reason_passes(tmp_path):
    assert outcome(tmp_path, "disk", DBPT_NO_SKIPS="1")[0] == 0


def test_a_missing_browser_skips_and_says_how_to_install_one(tmp_path):
    code, output = outcome(tmp_path, "browser")
    assert code == 0 and "apt-get install chromium" in output, output
    code, output = outcome(tmp_path, "browser", DBPT_NO_SKIPS="1")
    assert code == (1 if os.geteuid() == 0 else 0), output  # `.ci/run` can install one only as root
