"""The surroundings of dbpt: ranks that torchrun started, the terminal, and what ``dbpt env`` prints about them.

A package that is missing or broken never fails ``dbpt env``; ``python -m dbpt.environment`` needs NumPy alone.
"""

import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from dbpt._core import __version__
from dbpt.arguments import available_cpus, expanded
from dbpt.errors import InputError

DELAY = 1.0  # seconds, so that what is quick shows no bar
VARIABLES = ("CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_OFFLINE", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;.*extra == ['\"]([\w-]+)['\"])?")
DEVELOPMENT = ("bench", "docs", "test")


def launched() -> bool:
    """Return whether a launcher started this process as one of several. Refuses impossible variables."""
    size = _variable("WORLD_SIZE", 1, 2**31) if "WORLD_SIZE" in os.environ else 0
    if "RANK" in os.environ:
        _variable("RANK", 0, (size or 2**31) - 1)
    if size < 2 or "RANK" not in os.environ:  # containers and batch systems may set only one of them
        return False
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        dist = sys.modules.get("torch.distributed")
        if dist is not None and dist.is_available() and dist.is_initialized():  # the caller did it
            return False
        hint = "where the processes meet: start with torchrun, or unset WORLD_SIZE to run alone"
        raise InputError(f"$WORLD_SIZE is {size} and $RANK is set, but not ${' and $'.join(missing)}, {hint}")
    limits = {"MASTER_PORT": (0, 2**16 - 1), "LOCAL_RANK": (0, size - 1), "LOCAL_WORLD_SIZE": (1, size)}
    for name in [name for name in limits if name in os.environ]:
        _variable(name, *limits[name])
    return True


def _variable(name: str, low: int, high: int) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        hint = "start with torchrun, or unset RANK and WORLD_SIZE to run alone"
        raise InputError(f"${name} is {text!r}; expected a number from {low} to {high}: {hint}")
    return int(text)


def launched_rank() -> int:
    """Return the rank of this process among those launched together; 0 if it was launched alone."""
    return int(os.environ["RANK"]) if launched() else 0


def launched_size() -> int:
    """Return how many processes were launched together; 1 if this one was launched alone."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def local_rank() -> int:
    """Return the rank of this process on its machine; 0 if it was launched alone."""
    return int(os.environ.get("LOCAL_RANK", launched_rank())) if launched() else 0


def local_size() -> int:
    """Return how many processes were launched together on this machine; 1 if unknown."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if launched() else 1


def take_own_gpu(device: str) -> bool:
    """Make this process's GPU the current one, which ``cuda`` and ``auto`` then mean, if several were launched.

    Return whether it computes on a GPU. Raises `InputError` if there are too few GPUs or ``device`` names one of them.
    """
    import torch

    if not launched():
        return device != "cpu" and torch.cuda.is_available()
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not on_gpu and device not in ("auto", "cpu"):
        problem = f"--device {device} with several processes: each takes a device of its own"
        raise InputError(f"{problem}; use auto, cuda or cpu")
    if on_gpu:
        number, gpus = local_rank(), torch.cuda.device_count()
        processes = max(local_size(), number + 1)
        if processes > gpus:
            hint = "start one for each GPU (--nproc-per-node), or use --device cpu"
            raise InputError(f"{processes} processes on this machine, and {gpus} GPUs: {hint}")
        torch.cuda.set_device(number)
    return on_gpu


def progress_bar(
    title: str, unit: str, items: Iterable[Any] | None = None, *, hidden: bool = False, **keywords: Any
) -> Any:
    """Return a tqdm bar over ``items``, or with ``keywords`` such as ``total``; closing it removes it.

    It is shown on a terminal and in a notebook, unless it is ``hidden`` or the level of the logger ``dbpt`` is above
    INFO.
    """
    from tqdm.auto import tqdm

    disable = hidden or logging.getLogger("dbpt").level > logging.INFO or None  # None: without a terminal
    return tqdm(items, desc=title, unit=unit, disable=disable, leave=False, delay=DELAY, **keywords)


def cache_folder(given: str | Path | None = None) -> Path:
    """Return the cache folder: ``given``, else ``$DBPT_CACHE``, ``$XDG_CACHE_HOME/dbpt`` or ``~/.cache/dbpt``."""
    if given:
        return Path(expanded(given))
    folder = os.environ.get("DBPT_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "dbpt")  # noqa: PTH118
    return Path(expanded(folder, "name a folder with --cache or $DBPT_CACHE"))


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
        yield "cache", str(cache_folder())
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
