"""pyarrow, which not everybody needs, in a version that unpickles nothing."""

from pathlib import Path
from typing import Any

from dbpt.errors import InputError


def import_pyarrow(path: Path, extra: str) -> Any:
    """The module, for reading ``path``. Raises `InputError` if it is missing or unsafe; ``extra`` of dbpt has it."""
    try:
        import pyarrow
    except ImportError:
        raise InputError(f"{path}: reading it needs pyarrow; run pip install 'dbpt[{extra}]'") from None
    # Until 14.0.1 a file could ask for an extension type that was unpickled (CVE-2023-47248).
    if int(pyarrow.__version__.partition(".")[0]) < 15:
        raise InputError(
            f"{path}: pyarrow {pyarrow.__version__} may unpickle what a file holds; run pip install -U 'dbpt[{extra}]'"
        )
    return pyarrow
