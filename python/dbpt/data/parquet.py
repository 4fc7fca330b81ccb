"""Parquet tables, by pyarrow, which not everybody needs: it comes with ``dbpt[parquet]``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dbpt.data.cell_text import cell_text
from dbpt.data.rows import Columns, check_number, column_position
from dbpt.data.safe_pyarrow import import_pyarrow
from dbpt.errors import InputError
from dbpt.files.disk import open_regular, reason_of


def read_parquet(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Columns:
    """Read the named columns; no other column is decoded.

    Raises:
        InputError: no pyarrow, or a version whose reader could be made to unpickle; not a Parquet file; a required
            column missing or there twice; a column of another type than text, integer, float or boolean; no rows.
    """
    pyarrow, parquet = _pyarrow(path)
    try:
        open_regular(path).close()
        schema = parquet.read_schema(path)
        # Text stays in the file's own dictionaries: a few KB can stand for gigabytes of repeated text.
        texts = [field.name for field in schema if str(field.type) in ("string", "large_string")]
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            check_number(path, file.metadata.num_rows)
            names = [name for name in (*required, *optional) if name in required or name in schema.names]
            for name in names:
                _check_type(
                    pyarrow.types, path, name, schema.field(column_position(str(path), schema.names, name)).type
                )
            table = file.read(columns=names)
            values = {name: _cells(path, name, table.column(name)) for name in names}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = reason_of(error)[:200]
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


def _cells(path: Path, name: str, column: Any) -> list[str]:
    """The cells of a column as text; each distinct value is converted once, however often it occurs."""
    cells: list[str] = []
    for chunk in column.chunks:
        chunk.validate(full=True)
        encoded = chunk if hasattr(chunk, "dictionary") else _floats_of_half(chunk).dictionary_encode()
        values = encoded.dictionary.to_pylist()
        texts = [cell_text(value) for value in values]
        codes = encoded.indices.fill_null(len(texts)).to_numpy()
        if None in texts:
            for row, code in enumerate(codes.tolist(), start=len(cells) + 1):
                if code < len(texts) and texts[code] is None:
                    raise InputError(f"{path} row {row}: {name} is {values[code]!a:.80}, expected text or an integer")
        cells += np.array([*texts, ""], dtype=object)[codes].tolist()
    return cells


def _floats_of_half(chunk: Any) -> Any:
    return chunk.cast("float32") if str(chunk.type) == "halffloat" else chunk
