"""`Command`: a command that dbpt tells people to run, as a line for a shell and as a call in Python."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dbpt.settings.fields import flag_of

FUNCTIONS = {"guess": "guess_attributes"}
"""The functions of `dbpt` that have another name than their verb."""


@dataclass(frozen=True)
class Command:
    """A verb of dbpt, its data or folder, and other arguments by name. ``str()`` is a line for a shell.

    Arguments are settings and other options, such as ``out``. Those that are None are left out.
    """

    verb: str
    data: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return shlex.join(["dbpt", self.verb, *([] if self.data is None else [self.data]), *options_of(self.arguments)])

    @property
    def call(self) -> str:
        """The call in Python; ``...`` stands for an argument that has no text, such as an array."""
        arguments = [] if self.data is None else [repr(self.data)]
        given = {name: value for name, value in self.arguments.items() if value is not None}
        arguments += [f"{name}={'...' if value is ... else repr(value)}" for name, value in given.items()]
        return f"dbpt.{FUNCTIONS.get(self.verb, self.verb)}({', '.join(arguments)})"


def options_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return the options of the command line for arguments by name, without those that are None.

    >>> options_of({"seed": 3, "attributes": ("land", "water"), "baselines": False, "out": None})
    ['--seed', '3', '--attributes', 'land', 'water', '--no-baselines']
    """
    options = list[str]()
    for name, value in arguments.items():
        if isinstance(value, bool):
            options.append(flag_of(name) if value else f"--no-{flag_of(name)[2:]}")
        elif value is not None:
            options += [flag_of(name), *(map(str, value) if isinstance(value, tuple | list) else [str(value)])]
    return options
