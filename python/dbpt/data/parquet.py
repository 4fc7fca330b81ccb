"""Parquet tables, by pyarrow, which not everybody needs: it comes with ``dbpt[parquet]``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dbpt.data.cell_text import cell_text
from dbpt.data.rows import Columns, column_position
from dbpt.errors import InputError
from dbpt.safe_pyarrow import import_pyarrow


def read_parquet(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Columns:
    """Read the named columns; no other column is decoded.

    Raises:
        InputError: no pyarrow, or a version whose reader could be made to unpickle; not a Parquet file; a required
            column missing or there twice; a column of another type than text, integer, float or boolean; no rows.
    """
    pyarrow, parquet = _pyarrow(path)
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            names = [name for name in (*required, *optional) if name in required or name in schema.names]
            for name in names:
                _check_type(
                    pyarrow.types, path, name, schema.field(column_position(str(path), schema.names, name)).type
                )
            table = file.read(columns=names)
            values = {name: _cells(path, name, table.column(name).to_pylist()) for name in names}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: cannot be read as Parquet ({reason}); write it again") from None
    if not table.num_rows:
        raise InputError(f"{path}: has columns but no rows; expected one row per image")
    return Columns(path, list(range(1, table.num_rows + 1)), values, unit="row")


def _pyarrow(path: Path) -> tuple[Any, Any]:
    pyarrow = import_pyarrow(path, "parquet")
    import pyarrow.parquet as parquet

    return pyarrow, parquet


def _check_type(types: Any, path: Path, name: str, kind: Any) -> None:
    value_type = kind.value_type if types.is_dictionary(kind) else kind
    tests = ("is_string", "is_large_string", "is_integer", "is_floating", "is_boolean", "is_null")
    if not any(getattr(types, test)(value_type) for test in tests):
        raise InputError(
            f"{path}: column {name!r} holds {' '.join(str(kind).split())[:80]}, expected text, integers or booleans; "
            "a path column names image files, pictures inside the table are not read"
        )


def _cells(path: Path, name: str, values: Sequence[object]) -> list[str]:
    cells = {value: text for value in set(values) if (text := cell_text(value)) is not None}
    row = next((row for row, value in enumerate(values) if value not in cells), None)
    if row is not None:
        raise InputError(f"{path} row {row + 1}: {name} is {values[row]!a}, expected text or an integer")
    return [cells[value] for value in values]
