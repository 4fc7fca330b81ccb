"""The ``dbpt`` command: each verb is a thin wrapper over the public function of the same name."""

from dbpt.cli.main import main

__all__ = ["main"]
