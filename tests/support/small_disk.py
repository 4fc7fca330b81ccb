"""File systems of some KiB, which are soon full."""

import gc
import shutil
import subprocess
from pathlib import Path

import pytest


class SmallDisk:
    """Mounts empty ones below ``folder``; a test that may not do so is skipped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted: list[Path] = []

    def __call__(self, kilobytes: int) -> Path:
        """The folder of a new one."""
        disk = self._folder / f"disk-{kilobytes}"
        disk.mkdir()
        if shutil.which("mount") is None or shutil.which("umount") is None:
            pytest.skip("no mount command: cannot make a small disk")
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
        self._mounted.append(disk)
        return disk

    def grow(self, disk: Path) -> None:
        """Make room on one."""
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)

    def close(self) -> None:
        """Take them away."""
        gc.collect()  # what is still mapped from them
        for disk in self._mounted:
            subprocess.run(["umount", str(disk)], check=True)
