"""What the command line passes to a function of dbpt, which doesn't run."""

from typing import Any

import click
import pytest

from dbpt.cli import main


def passed_on(monkeypatch: pytest.MonkeyPatch, verb: str, *arguments: object) -> dict[str, Any]:
    """The arguments of ``dbpt.VERB`` without ``out``."""
    seen: dict[str, Any] = {}

    def stand_in(data: str | None, out: object, **values: Any) -> None:
        seen.update(values, data=data)
        raise click.Abort

    monkeypatch.setattr(f"dbpt.commands.{verb}.{verb}.{verb}", stand_in)
    with pytest.raises(SystemExit):
        main([verb, "--out", "o", *map(str, arguments)])
    return seen
