"""Columns of an Arrow stream file, mapped and checked: what is taken from it can't lead out of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dbpt.errors import InputError
from dbpt.safe_pyarrow import import_pyarrow

END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


class ArrowStream:
    """A file that is mapped while this lives.

    Attributes:
        address: where its first byte is in memory, so that buffers can be told by their place in the file.
        size: its bytes.
    """

    def __init__(self, file: Path) -> None:
        """Map it. Raises `InputError` if it can't be, or without pyarrow."""
        self._file, self._pyarrow = file, import_pyarrow(file, "datasets")
        try:
            self._mapped = self._pyarrow.memory_map(str(file)).read_buffer()
        except (self._pyarrow.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from None
        self.address: int = self._mapped.address
        self.size: int = self._mapped.size

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the named columns of each batch of rows, as pyarrow arrays; no other column is looked at.

        Raises:
            InputError: no Arrow stream, damaged, cut off, or without one of the columns.
        """
        ipc = self._pyarrow.ipc
        try:
            schema = ipc.open_stream(self._mapped).schema
            columns = [self._position(schema, name) for name in names]
            options = ipc.IpcReadOptions(included_fields=columns)
            for batch in ipc.open_stream(self._mapped, options=options):
                batch.validate(full=True)
                yield {name: batch.column(name) for name in names}
        except (self._pyarrow.ArrowException, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise self._unreadable(error) from None
        # Between two batches a reader takes the end of the file for the end of the stream.
        if self._mapped.slice(self.size - len(END_OF_STREAM)).to_pybytes() != END_OF_STREAM:
            raise InputError(f"{self._file}: is cut off; copy or save it again")

    def _position(self, schema: Any, name: str) -> int:
        found: list[int] = schema.get_all_field_indices(name)
        if len(found) != 1:
            raise InputError(f"{self._file}: has {len(found)} columns {name!r}, expected one; save it again")
        return found[0]

    def _unreadable(self, error: Exception) -> InputError:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        return InputError(f"{self._file}: cannot be read as an Arrow file ({reason}); copy or save it again")
