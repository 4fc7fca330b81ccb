"""`Texts`: the texts of many rows, such as paths or the cells of a column, without a Python object for each."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import ne
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 8_192
MOST_CODED = 1 << 16
"""With more different texts in a column, further ones are stored without looking whether they are there already."""
T = TypeVar("T")


class Texts(Sequence[str]):
    """The texts of N rows. Indexing gives a string; a slice and `take` give `Texts`, which share the stored bytes.

    Args:
        data: K texts as UTF-8, one after another. Some may be equal.
        offsets: (K + 1,) int64, the start of each in ``data``, and the end of the last.
        codes: (N,) int32, which of them each row has.
    """

    def __init__(self, data: bytes, offsets: NDArray[np.int64], codes: NDArray[Any]) -> None:
        self._data, self._offsets, self._codes = data, offsets, codes
        self._num_stored = len(offsets) - 1

    @staticmethod
    def of(texts: Iterable[str]) -> "Texts":
        """Return strings as `Texts`."""
        if isinstance(texts, Texts):
            return texts
        builder = TextBuilder()
        builder.extend(texts)
        return builder.texts()

    @staticmethod
    def coded(values: Iterable[str], codes: NDArray[np.int64]) -> "Texts":
        """Return the one of the ``values`` (K,) for each code (N,); "" for -1."""
        return Texts.of(values).filled(codes)

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, at: Any) -> Any:
        return self.take(at) if isinstance(at, slice) else self._decoded(self._codes[[at]])[0]

    def __iter__(self) -> Iterator[str]:
        return self.map(str)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Texts({list(self[:3])}{f' and {len(self) - 3} more' if len(self) > 3 else ''})"

    def take(self, rows: NDArray[np.int64] | slice) -> "Texts":
        """Return the texts of ``rows`` (n,), in this order."""
        return Texts(self._data, self._offsets, self._codes[rows])

    def filled(self, rows: NDArray[np.int64]) -> "Texts":
        """Return the texts of ``rows`` (n,), in this order; "" where a row is -1."""
        offsets = np.append(self._offsets, self._offsets[-1])
        return Texts(self._data, offsets, np.append(self._codes, np.int32(self._num_stored))[rows])

    def map(self, function: Callable[[str], T]) -> Iterator[T]:
        """Yield the result of ``function`` for each row; it is called once for each stored text if these are few."""
        are_few = self._num_stored < min(len(self), MOST_CODED)
        results = list(map(function, self._decoded(np.arange(self._num_stored)))) if are_few else []
        for start in range(0, len(self), BLOCK_ROWS):
            codes = self._codes[start : start + BLOCK_ROWS]
            yield from map(results.__getitem__, codes.tolist()) if are_few else map(function, self._decoded(codes))

    def distinct(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return the texts that occur, and which of them each row has, (N,) int64. Of very many, some may be equal."""
        used = np.flatnonzero(np.bincount(self._codes))
        position_of = np.zeros(self._num_stored, np.int64)
        position_of[used] = np.arange(len(used))
        return self._decoded(used), position_of[self._codes]

    def hashes(self) -> NDArray[np.int64]:
        """Return the hash of each text, (N,). Texts that differ have the same one only by chance."""
        return np.fromiter(self.map(hash), np.int64, len(self))

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Yield each row whose text occurs in an earlier one, and the first such row."""
        hashes_N = self.hashes()
        ordered = np.sort(hashes_N)
        if not (twice := ordered[1:][ordered[1:] == ordered[:-1]]).size:
            return
        at = np.searchsorted(twice, hashes_N).clip(max=len(twice) - 1)
        rows, first = np.flatnonzero(twice[at] == hashes_N), dict[str, int]()
        for row, text in zip(rows.tolist(), self.take(rows), strict=True):
            if (earlier := first.setdefault(text, row)) != row:
                yield row, earlier

    def _decoded(self, codes: NDArray[Any]) -> list[str]:
        bounds = zip(self._offsets[codes].tolist(), self._offsets[1:][codes].tolist(), strict=True)
        # Surrogates are in the names of files in another encoding.
        return [self._data[start:stop].decode("utf-8", "surrogatepass") for start, stop in bounds]


def joined(texts: Sequence[str], separator: str) -> bytearray:
    """Return the texts as UTF-8 with a separator between them; names of files keep their bytes."""
    data = bytearray()
    for start in range(0, len(texts), BLOCK_ROWS):
        block = separator.join(texts[start : start + BLOCK_ROWS])
        data += f"{separator if start else ''}{block}".encode("utf-8", "surrogateescape")
    return data


class TextBuilder:
    """Collects the texts of rows, some rows at a time."""

    def __init__(self) -> None:
        self._data, self._ends, self._codes = io.BytesIO(), [np.zeros(1, np.int64)], list[NDArray[Any]]()
        self._code_of: dict[str, int] | None = {}
        self._num_rows = self._num_stored = 0

    def fill(self, number: int) -> None:
        """Add rows without text, so that there are ``number`` rows."""
        if missing := number - self._num_rows:
            self.add([""], np.zeros(missing, np.int64))

    def extend(self, texts: Iterable[str]) -> None:
        """Add a row for each of any number of ``texts``."""
        rest = iter(texts)
        while block := list(islice(rest, BLOCK_ROWS)):
            self.add(block)

    def add(self, texts: Sequence[str], codes: NDArray[np.integer[Any]] | None = None) -> None:
        """Add a row for each of a block of ``texts``, or one for each of ``codes`` (n,), which index them."""
        if self._code_of is None:
            stored = np.arange(self._num_stored, self._num_stored + len(texts), dtype=np.int32)
            self._store(texts)
        else:
            code_of, before = self._code_of, len(self._code_of)
            stored = np.array([code_of.setdefault(text, len(code_of)) for text in texts], np.int32)
            if len(code_of) > before:
                self._store(list(islice(code_of, before, None)))
            if len(code_of) > MOST_CODED:
                self._code_of = None
        self._codes.append(stored if codes is None else stored[codes])
        self._num_rows += len(self._codes[-1])

    def _store(self, texts: Sequence[str]) -> None:
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._ends.append(np.array([len(part) for part in parts], np.int64).cumsum() + self._data.tell())
        self._data.write(b"".join(parts))
        self._num_stored += len(texts)

    def texts(self) -> Texts:
        """Return the texts of all rows."""
        codes = np.concatenate([*self._codes, np.zeros(0, np.int32)])
        return Texts(self._data.getvalue(), np.concatenate(self._ends), codes)


class TextIndex:
    """The rows of N texts by text."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = Texts.of(texts)
        hashes_N = self._texts.hashes()
        self._rows = np.argsort(hashes_N, kind="stable")
        self._hashes = hashes_N[self._rows]

    def find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the first row of each text, (n,) int64; -1 where there is none."""
        sought = Texts.of(texts)
        hashes_n = sought.hashes()
        order = np.argsort(hashes_n)  # neighbours are found near each other
        left, right = np.zeros((2, len(sought)), np.int64)
        left[order] = np.searchsorted(self._hashes, hashes_n[order])
        right[order] = np.searchsorted(self._hashes, hashes_n[order], "right")
        rows_n = np.full(len(sought), -1)
        at = np.flatnonzero(left < right)
        rows_n[at] = self._rows[left[at]]
        differs = map(ne, self._texts.take(rows_n[at]), sought.take(at))
        for i in at[np.fromiter(differs, np.bool_, len(at))].tolist():
            equal = (row for row in self._rows[left[i] : right[i]].tolist() if self._texts[row] == sought[i])
            rows_n[i] = next(equal, -1)
        return rows_n
