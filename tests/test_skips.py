"""What `.ci/run` makes of skipped tests, and that a machine without a browser skips those that need one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import NO_BROWSER

SUPPORT = Path(__file__).with_name("support")
HOOKS = "from skips import pytest_make_collect_report, pytest_runtest_makereport\n"
TESTS = {
    "module": 'import pytest\npytest.skip("whole file", allow_module_level=True)\n',
    "mark": 'import pytest\n@pytest.mark.skipif(True, reason="by a mark")\ndef test():\n    pass\n',
    "browser": 'from browser import title_of\ndef test(tmp_path):\n    title_of("<title>[1]</title>", tmp_path)\n',
    "disk": 'import pytest\ndef test():\n    pytest.skip("cannot mount a small disk: no right")\n',
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="skips are expected elsewhere")


def outcome(folder: Path, **variables: str) -> tuple[int, str]:
    """Exit code and output of pytest with two processes on `TESTS`, on a machine without a browser."""
    (folder / "conftest.py").write_text(HOOKS)
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = -ra -n 2 -p no:cacheprovider --continue-on-collection-errors\n"
    )
    for name, text in TESTS.items():
        (folder / f"test_{name}.py").write_text(text)
    environment = {"PATH": str(folder), "PYTHONPATH": str(SUPPORT), **variables}
    options = {"capture_output": True, "text": True, "timeout": 600}
    done = subprocess.run([sys.executable, "-m", "pytest"], cwd=folder, env=environment, **options)
    return done.returncode, done.stdout


def test_a_skip_fails_where_none_is_expected_and_its_reason_is_not_allowed(tmp_path):
    code, output = outcome(tmp_path)
    assert code == 0 and "4 skipped" in output and "apt-get install chromium" in output, output
    code, output = outcome(tmp_path, DBPT_NO_SKIPS="1")
    forbidden = dict(re.findall(r"test_(\w+)\.py\S* was skipped, which DBPT_NO_SKIPS=1 forbids: (.+)", output))
    root = {"browser": NO_BROWSER} if os.geteuid() == 0 else {}  # `.ci/run` can install one only as root
    assert code == 1 and forbidden == {"module": "whole file", "mark": "by a mark", **root}, output
