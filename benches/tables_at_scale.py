"""Memory and processor time of reading a table of many rows, with its checks, and of rows found by path.

    python benches/tables_at_scale.py [--rows 10000000] [--folder /tmp/somewhere]

A CSV and a Parquet file of path, label, split and attribute. Each reader is a process of its own, whose anonymous
memory is sampled from outside, so that pages of files don't count. The peers read the same file into lists of strings,
as Python's csv module gives them, and into a data frame of pandas.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

READERS = {
    "dbpt, checked": "import dbpt; dbpt.load_dataset(file, images=False)",
    "dbpt, checked, then each row found by path": (
        "import dbpt; from dbpt.data.text_array import TextIndex; data = dbpt.load_dataset(file, images=False); "
        "assert TextIndex(data.paths).find(data.paths)[-1] == len(data) - 1"
    ),
    "lists of strings": "import csv; columns = list(zip(*csv.reader(open(file, newline=''))))",
    "pandas": "import pandas; pandas.read_csv(file) if file.endswith('csv') else pandas.read_parquet(file)",
    "nothing": "import dbpt.data.tables",
}


def write_tables(folder: Path, rows: int) -> list[Path]:
    """Write both files in batches."""
    rng, files = np.random.default_rng(0), [folder / f"rows-{rows}.csv", folder / f"rows-{rows}.parquet"]
    names = {"label": ["dog", "cat"], "split": ["train", "val", "test"], "attribute": ["indoors", "outdoors"]}
    schema = pa.schema([(name, pa.string()) for name in ("path", *names)])
    with pyarrow.csv.CSVWriter(files[0], schema) as as_csv, pq.ParquetWriter(files[1], schema) as as_parquet:
        for start in range(0, rows, 1 << 20):
            numbers = range(start, min(start + (1 << 20), rows))
            paths = [f"images/{number // 1000:05d}/{number % 1000:03d}.jpg" for number in numbers]
            others = [rng.choice(values, len(paths)) for values in names.values()]
            batch = pa.table([pa.array(paths), *map(pa.array, others)], schema)
            as_csv.write_table(batch)
            as_parquet.write_table(batch)
    return files


def measured(code: str, file: Path) -> tuple[float, float, float]:
    """Run ``code``; return its seconds, those of processors, and the peak of its anonymous memory in MB."""
    before, begun, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    process = subprocess.Popen([sys.executable, "-c", f"import sys; file = sys.argv[1]; {code}", str(file)])
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max(peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{code} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, used, peak / 1024


def main() -> None:
    """Print a line for each reader and file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    for file in write_tables(folder, given.rows):
        for name, code in READERS.items():
            if name == "lists of strings" and file.suffix != ".csv":
                continue
            seconds, used, peak = measured(code, file)
            print(f"{file.name}, {name}: {seconds:.1f} s, {used:.1f} s of processors' time, {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
