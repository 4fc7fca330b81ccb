"""Names of a package that are imported on first use, so that torch is imported only where something is computed."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def on_first_use(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: its name.
        homes: the names in each of its modules.

    Returns:
        A function that imports the module of a name and keeps its value in the package.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def value_of(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return value_of
