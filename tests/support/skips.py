"""With ``DBPT_NO_SKIPS=1`` a skipped test fails unless `ALLOWED` has its reason, so that `.ci/run` tests everything.

Only on Linux: elsewhere whole files are skipped, because they test signals, pipes and file names of Linux.
"""

import os
import shutil
import sys

import pytest
from browser import NO_BROWSER

ALLOWED = {
    "cannot mount a small disk": True,  # most containers may not
    "before Python 3.11": sys.version_info < (3, 11),
    "needs pdflatex": shutil.which("pdflatex") is None,
    "no git": shutil.which("git") is None,
    "SCIPY_ARRAY_API is not set": True,  # dbpt.sklearn doesn't claim to take arrays of other libraries
    NO_BROWSER: hasattr(os, "geteuid") and os.geteuid() != 0,  # `.ci/run` installs one only as root
}
"""The beginning of a reason, and whether a test may be skipped for it on this machine."""


def failed_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> pytest.TestReport | pytest.CollectReport:
    if os.environ.get("DBPT_NO_SKIPS") != "1" or sys.platform != "linux":
        return report
    if not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if not any(allowed and reason.startswith(start) for start, allowed in ALLOWED.items()):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which DBPT_NO_SKIPS=1 forbids: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return failed_if_skipped((yield))
