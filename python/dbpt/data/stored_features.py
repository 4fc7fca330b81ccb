"""Features that stay in their files, or in memory if they are few, and are read by rows and in blocks."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property, partial
from itertools import cycle, zip_longest
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.storage.row_files import Rows, RowsInMemory

BLOCK_ROWS = 4_096
"""Rows that are converted and computed with while they are in the processor's cache."""
KEPT_BYTES = 1 << 27
"""Features that are smaller as float32 are held in memory."""
MOST_BYTES = 1 << 32
"""The most that `StoredFeatures.whole` takes into memory."""


class StoredFeatures:
    """The features (N, D) float32 of N images. ``features[rows]`` reads rows by a slice or by numbers (n,) int64.

    Functions that index a NumPy array by blocks of rows take these features too. NumPy itself reads all of them, as
    ``features[:]`` does.

    Args:
        parts: the files, or arrays, that hold rows of D numbers.
        rows: (N,) int64, the row of each image, counted through all parts; -1 for an image whose features are 0.
        lengths: (N,) float32 that the rows are divided by; None if their length is 1.
        digest: what identifies the features, or returns it; None if it is computed from them.
    """

    ndim, dtype = 2, np.dtype(np.float32)

    def __init__(
        self,
        parts: Sequence[Rows],
        rows: NDArray[np.int64],
        width: int,
        *,
        lengths: NDArray[np.float32] | None = None,
        digest: str | Callable[[], str] | None = None,
    ) -> None:
        self._parts, self._rows, self._lengths, self._digest = parts, rows, lengths, digest
        self._ends = np.cumsum([part.shape[0] for part in parts], dtype=np.int64)
        self.shape = (len(rows), width)

    @classmethod
    def of(cls, array: NDArray[np.float32]) -> "StoredFeatures":
        """Return features that are in memory, (N, D)."""
        return cls([RowsInMemory(array)], np.arange(len(array)), array.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        numbers = np.arange(len(self))[rows]
        if numbers.ndim != 1:
            raise IndexError(f"features[{rows!r:.80}]: expected a slice of rows, their numbers or a mask (N,)")
        features = np.empty((len(numbers), self.shape[1]), np.float32)
        self.read(numbers, features)
        return features

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def take(self, rows: NDArray[np.int64]) -> "StoredFeatures":
        """Return the features of ``rows`` (n,), in this order, without reading them."""
        lengths = None if self._lengths is None else self._lengths[rows]

        def digest() -> str:
            return hashlib.sha256(self.digest.encode() + np.ascontiguousarray(rows).tobytes()).hexdigest()

        return StoredFeatures(self._parts, self._rows[rows], self.shape[1], lengths=lengths, digest=digest)

    @cached_property
    def digest(self) -> str:
        """The identity of the features: a hash of them, or of those that they were taken from and of the rows."""
        if self._digest is None:
            return digest_of(self)
        return self._digest if isinstance(self._digest, str) else self._digest()

    @property
    def is_in_memory(self) -> bool:
        """True if no file is read."""
        return all(isinstance(part, RowsInMemory) for part in self._parts)

    def kept(self, times: int = 1) -> "StoredFeatures":
        """Return features that are in memory if they are few, so that training doesn't read them again and again.

        Few are those that take ``times`` `KEPT_BYTES` at most.
        """
        if self.is_in_memory or 4 * len(self) * self.shape[1] > times * KEPT_BYTES:
            return self
        return StoredFeatures.of(self[:])

    def for_other_processes(self) -> "StoredFeatures":
        """Return features that can be pickled, for processes that see the same files."""
        parts = [part.for_other_processes() for part in self._parts]
        return StoredFeatures(parts, self._rows, self.shape[1], lengths=self._lengths, digest=self.digest)

    def whole(self, purpose: str) -> NDArray[np.float32]:
        """Return all features as an array (N, D). Refuses more than memory should hold for the ``purpose``."""
        check_whole(len(self), self.shape[1], purpose)
        return self[:]

    def read(self, rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Read ``rows`` (n,) into ``out`` (n, D)."""
        for start in range(0, len(rows), BLOCK_ROWS):
            self._read_block(rows[start : start + BLOCK_ROWS], out[start : start + BLOCK_ROWS])

    def _read_block(self, rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Read rows into ``out`` in the order of the files; those without a row are 0."""
        import torch  # converts and divides several times as fast as NumPy

        stored, order = self._rows[rows], None
        if (np.diff(stored) < 0).any():
            order = np.argsort(stored, kind="stable")
            stored = stored[order]
        ordered = out if order is None else np.empty_like(out)
        bounds = np.searchsorted(stored, np.append(0, self._ends))
        ordered[: bounds[0]] = 0
        for part, first, start, stop in zip(self._parts, [0, *self._ends], bounds, bounds[1:], strict=False):
            if start < stop:
                raw = np.empty((stop - start, self.shape[1]), part.dtype)
                part.read(stored[start:stop] - first, raw)
                torch.from_numpy(ordered[start:stop]).copy_(torch.from_numpy(raw))  # a float64 may become infinite
        if order is not None:
            out[order] = ordered
        if self._lengths is not None:
            torch.from_numpy(out).div_(torch.from_numpy(self._lengths[rows, None]))


Features = NDArray[np.float32] | StoredFeatures


IN_BLOCKS = "give fewer rows, or choose another value, which reads them in blocks"


def check_whole(rows: int, width: int, purpose: str, way_out: str = IN_BLOCKS) -> None:
    """Refuse to hold so many features in memory for a ``purpose``: a setting with its value."""
    if (size := 4 * rows * width) > MOST_BYTES:
        problem = f"needs all {rows} rows of features in memory, {size / 2**30:.1f} GiB as float32"
        raise InputError(f"{purpose}: {problem}; the most is {MOST_BYTES >> 30} GiB, so {way_out}")


def digest_of(features: StoredFeatures) -> str:
    """Return a hash of the features, whatever they were taken from."""
    digest = hashlib.sha256(str(features.shape).encode())
    for _, block in read_blocks(features):
        digest.update(block.data)
    return digest.hexdigest()


def stored(features: Features) -> StoredFeatures:
    """Return features (N, D) that may be an array as `StoredFeatures`."""
    return features if isinstance(features, StoredFeatures) else StoredFeatures.of(features)


def read_blocks(
    features: NDArray[Any] | StoredFeatures,
    rows: NDArray[np.int64] | None = None,
    size: int | None = None,
    make: Callable[[tuple[int, int]], NDArray[np.float32]] = lambda shape: np.empty(shape, np.float32),
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield the features of each block of ``rows`` (n,), by default all, with the positions of the block.

    A thread reads the next block of stored features meanwhile. The array (b, D) of a block is overwritten once the next
    is there.

    Args:
        features: (N, D).
        rows: those to read, in this order.
        size: rows of a block, by default `BLOCK_ROWS`.
        make: makes the two arrays of blocks.
    """
    number, size = len(features) if rows is None else len(rows), size or BLOCK_ROWS
    blocks = [slice(start, min(start + size, number)) for start in range(0, number, size)]
    if not isinstance(features, StoredFeatures):
        for block in blocks:
            yield block, features[block if rows is None else rows[block]]
        return
    arrays = cycle([make((min(size, number), features.shape[1])) for _ in blocks[:2]])

    def read(block: slice) -> NDArray[np.float32]:
        array = next(arrays)[: block.stop - block.start]
        features.read(np.arange(block.start, block.stop) if rows is None else rows[block], array)
        return array

    ahead: Future[NDArray[np.float32]] | None = None
    for block, following in zip_longest(blocks, blocks[1:]):
        array = read(block) if ahead is None else ahead.result()
        ahead = None if following is None else _in_a_thread(partial(read, following))
        yield block, array


def _in_a_thread(work: Callable[[], NDArray[np.float32]]) -> Future[NDArray[np.float32]]:
    """Begin ``work`` in a daemon, so that Ctrl-C doesn't wait for a stalled drive."""
    future = Future[NDArray[np.float32]]()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised by the thread that asks for the result
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def map_blocks(
    features: NDArray[Any] | StoredFeatures,
    compute: Callable[[NDArray[Any]], NDArray[Any]],
    rows: NDArray[np.int64] | None = None,
) -> NDArray[Any]:
    """Return what ``compute`` returns for each block of ``features`` (N, D), one below the other, (n, ...).

    Only a block or two at a time are in memory, and ``compute`` must not keep them. ``rows`` (n,) are taken in their
    order, by default all.
    """
    number = len(features) if rows is None else len(rows)
    results: NDArray[Any] | None = None
    for block, of_block in read_blocks(features, rows):
        result = compute(of_block)
        if results is None:
            results = np.empty((number, *result.shape[1:]), result.dtype)
        results[block] = result
    return compute(features[:0]) if results is None else results


def first_copies(features: Features) -> NDArray[np.int64]:
    """Return for each row of the ``features`` (N, D) the first row with the same ones, (N,) int64.

    Features are compared by a product with odd 64-bit numbers, which differs for different features but for chance.
    """
    # np.unique(axis=0) would sort whole rows, and need all of them in memory.
    odd_D = np.random.default_rng(0).integers(0, 1 << 63, features.shape[1], np.uint64) * 2 + 1
    products_N = map_blocks(features, lambda block: np.ascontiguousarray(block).view(np.uint32) @ odd_D)
    _, first, same = np.unique(products_N, return_index=True, return_inverse=True)
    return np.asarray(first[same])
