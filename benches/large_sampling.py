"""GroupSampler on 10⁸ rows or more: time per row, memory beyond the caller's array, new shares.

Run by hand: python benches/large_sampling.py [--rows 1000000000] [--num-groups 1000] [--peer]
Groups are uint8 up to 256 groups, int16 above. 10⁹ rows need 1 GB for the groups and 4 GB for the index. A whole epoch
of draws would need 8 GB, so it is drawn in pieces. torch.multinomial refuses more than 2²⁴ rows, so the peer is NumPy's
exact quotas and shuffle, which takes 24 bytes per row.
"""

import argparse
import threading
import time
from pathlib import Path

import numpy as np

from dbpt.sampling import GroupSampler

PIECE = 10_000_000  # draws


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Peak:
    """Measure the peak memory within a ``with`` block, beyond that before it, in a thread that polls."""

    def __enter__(self):
        self.before = self.most = resident()
        self.running = True
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while self.running:
            self.most = max(self.most, resident())
            time.sleep(0.002)

    def __exit__(self, *_):
        self.running = False
        self.thread.join()
        self.bytes = self.most - self.before


def draw_groups(rows: int, num_groups: int) -> np.ndarray:
    """Return random groups of different sizes, drawn in pieces to save memory."""
    rng = np.random.default_rng(0)
    groups = np.empty(rows, np.uint8 if num_groups <= 256 else np.int16)
    for start in range(0, rows, PIECE):
        part = groups[start : start + PIECE]
        part[:] = rng.random(len(part), np.float32) ** 2 * num_groups
    return groups


def time_numpy_epoch(groups: np.ndarray, num_groups: int) -> float:
    """Return the seconds for the same draws by NumPy, with the rows of each group found beforehand."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(groups == group) for group in range(num_groups)]
    begin = time.perf_counter()
    draws = np.concatenate([np.resize(rows, len(groups) // num_groups) for rows in members])
    rng.shuffle(draws)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10**8)
    parser.add_argument("--num-groups", type=int, default=4)
    parser.add_argument("--peer", action="store_true", help="time NumPy's quotas and shuffle too")
    arguments = parser.parse_args()
    rows = arguments.rows
    groups = draw_groups(rows, arguments.num_groups)
    with Peak() as peak:
        begin = time.perf_counter()
        sampler = GroupSampler(groups)
        seconds = time.perf_counter() - begin
    print(f"index: {seconds * 1e9 / rows:.2f} ns and {peak.bytes / rows:.2f} bytes a row, {seconds:.2f} s")
    sampler.indices(0, PIECE)
    with Peak() as peak:
        begin = time.perf_counter()
        for start in range(0, rows, PIECE):
            sampler.indices(start, min(rows, start + PIECE))
        seconds = time.perf_counter() - begin
    print(f"an epoch: {seconds * 1e9 / rows:.2f} ns a draw, {seconds:.2f} s; {peak.bytes / 1e6:.0f} MB, of draws")
    if arguments.peer:
        theirs = time_numpy_epoch(groups, arguments.num_groups)
        print(f"an epoch of NumPy: {theirs * 1e9 / rows:.2f} ns a draw, {theirs:.2f} s: {theirs / seconds:.1f}x")
    times = []
    for shares in np.random.default_rng(1).random((50, sampler.num_groups)) + 0.1:
        begin = time.perf_counter()
        sampler.set_shares(shares)
        sampler.indices(rows - 1, rows)
        times.append(time.perf_counter() - begin)
    print(f"new shares for {sampler.num_groups} groups and the last draw: {np.median(times) * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
