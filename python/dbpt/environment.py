"""Versions, devices and folders for a bug report, as ``dbpt env`` prints them.

A package that is missing or broken never fails it; ``python -m dbpt.environment`` needs NumPy alone.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from dbpt._core import __version__
from dbpt.arguments import available_cpus
from dbpt.data.paths import default_cache_dir
from dbpt.errors import InputError

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_OFFLINE", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;.*extra == ['\"]([\w-]+)['\"])?")
DEVELOPMENT = ("bench", "docs", "test")


def entries() -> Iterator[tuple[str, str]]:
    """Yield the lines of the report as (name, value)."""
    revision = git_revision(Path(__file__).parent)
    yield "dbpt", __version__ + (f", git revision {revision}" if revision else "")
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})"
    yield "platform", platform.platform()
    yield "processors", f"{available_cpus()} of {os.cpu_count()}"
    extras: dict[str, list[str]] = {}
    for package, extra in _requirements():
        if not extra:
            yield package, _version(package) or "missing"
        elif extra not in DEVELOPMENT:
            extras.setdefault(extra, []).append(package)
    yield "extras", ", ".join(extra for extra, packages in extras.items() if all(map(_version, packages))) or "none"
    yield "devices", _devices()
    try:
        yield "cache", str(default_cache_dir())
    except InputError as error:
        yield "cache", f"unknown: {error}"
    chosen = [name for name in sorted(os.environ) if name in VARIABLES or name.startswith("DBPT_")]
    yield "settings", ", ".join(f"{name}={os.environ[name]}" for name in chosen) or "none"


def git_revision(package: Path) -> str:
    """Return the git revision of a checkout of dbpt; empty for an installed package, also one within other checkouts.

    Args:
        package: the folder of the package.
    """
    for arguments in (["ls-files", "--error-unmatch", "__init__.py"], ["describe", "--always", "--dirty"]):
        try:
            done = subprocess.run(["git", "-C", package, *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return ""
        if done.returncode:
            return ""
    return done.stdout.strip()


def _requirements() -> Iterator[tuple[str, str]]:
    """Yield the (package, extra) that the metadata of dbpt name; extra is empty for what dbpt always needs."""
    try:
        lines = metadata.requires("dbpt") or []
    except metadata.PackageNotFoundError:  # run from its sources
        lines = []
    for line in lines:
        match = REQUIREMENT.match(line)
        if match and (match[2] or ";" not in line or sys.version_info < (3, 11)):  # tomli is for Python 3.10 alone
            yield match[1], match[2] or ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _devices() -> str:
    try:
        import torch

        devices = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
        devices += ["mps"] * torch.backends.mps.is_available()
        cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        return f"{', '.join(['cpu', *devices])}; {cuda}; {torch.get_num_threads()} threads"
    except Exception as error:  # a broken installation raises anything
        return f"unknown: {error}"


if __name__ == "__main__":
    for name, value in entries():
        print(f"{name}: {value}")
