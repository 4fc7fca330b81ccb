"""Which files of a list failed and why, and whether these are too many."""

from __future__ import annotations

from dbpt.errors import InputError


class TooManyFailures(InputError):
    """More files have failed than may. ``reasons`` are those by path that are known by then."""

    def __init__(self, line: str, reasons: dict[str, str]) -> None:
        super().__init__(line)
        self.reasons = reasons


class Ledger:
    """Reasons by path, for a list of ``num_files`` rows; a part of ``max_failures`` of them may fail."""

    def __init__(self, num_files: int, max_failures: float) -> None:
        self.reasons: dict[str, str] = {}
        self.num_files, self.max_failures = num_files, max_failures

    def add(self, path: str, reason: str) -> None:
        """Enter a file; once, however often it is named."""
        self.reasons[path] = reason

    def check(self) -> None:
        """Raise `TooManyFailures` if it is so."""
        if len(self.reasons) <= self.max_failures * self.num_files:
            return
        path, reason = next(iter(self.reasons.items()))
        raise TooManyFailures(
            f"{len(self.reasons)} of {self.num_files} images can't be read, more than --max-failures "
            f"{self.max_failures:g} allows; the first: {path}: {reason}",
            self.reasons,
        )
