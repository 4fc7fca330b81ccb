"""Names of a package that are imported on first use, so that torch is imported only where something is computed."""

import gc
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def on_first_use(package: str, **homes: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        package: its name.
        homes: the names in each of its modules, with spaces between.

    Returns:
        A function that imports the module of a name and keeps its value in the package, and one that lists the names.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}

    def value_of(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        collects = gc.isenabled()
        gc.disable()  # torch's modules are a million objects that stay: looking through them takes a sixth of the time
        try:
            value = getattr(import_module(f"{package}.{home[name]}"), name)
        finally:
            (gc.enable if collects else gc.disable)()
        setattr(sys.modules[package], name, value)
        return value

    return value_of, lambda: sorted({*vars(sys.modules[package]), *home})
