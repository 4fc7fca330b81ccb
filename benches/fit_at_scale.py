"""Time and memory of `dbpt` commands on a file of features, and of an epoch against plain torch.

    python benches/fit_at_scale.py [--rows 1000000] [--folder FOLDER] [--only fit audit discover guess compare epoch]

Rows in four planted groups: text directions of class and attribute plus noise, (N, 512) float16 in a ``.npy`` file, and
a tiny CLIP with random weights. `dbpt fit` trains the linear head for 20 epochs with ``--prompts class``, ERM and dbpt.
Memory is `RssAnon`, sampled from outside every 20 ms, above that of an interpreter with torch: pages of the file that
the system keeps don't count. The peers of an epoch, in one process and with one thread of torch, are the loop that a
researcher writes, over the float32 array in memory, and scikit-learn's ``SGDClassifier.partial_fit`` in blocks of the
file; both sides compute the gradient of one whole epoch of two classes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from audit_at_scale import TINY, directions, write_model
from sklearn.linear_model import SGDClassifier

from dbpt import load_backbone
from dbpt.clip.backbone import zero_shot_weights
from dbpt.data.features_from_file import open_rows
from dbpt.data.stored_features import BLOCK_ROWS, StoredFeatures
from dbpt.heads.base import LinearHead
from dbpt.objectives import TrainingGroups
from dbpt.objectives.base import Erm
from dbpt.training.device_features import DeviceFeatures
from dbpt.training.gradients import Batch, Gradients
from dbpt.training.ranks import ALONE

BLOCK = 65_536
SHARES = (0.38, 0.02, 0.06, 0.54)
COMPARED = [
    "--methods",
    *["erm", "class-balanced", "balanced", "dbpt", "groupdro", "jtt", "afr", "subg", "suby", "zero-shot"],
]
COMPARED += ["--resample", "20", "--epochs", "20"]
WORDS = ["--attributes", "land=land|land background", "water=water|water background"]


def write_rows(folder: Path, model: list[str], rows: int) -> tuple[Path, Path]:
    """Write the table and the features of ``rows`` images."""
    table, path = folder / f"rows-{rows}.csv", folder / f"features-{rows}.npy"
    if path.exists() and table.exists():
        return table, path
    rng, backbone = np.random.default_rng(0), load_backbone(model[1], model[3])
    texts = [f"a photo of a {name}." for name in ("landbird", "waterbird", "land", "water")]
    weights = zero_shot_weights(backbone, texts, np.arange(4))
    classes, attributes = directions(weights[:2]), directions(weights[2:])
    features = np.lib.format.open_memmap(path, "w+", np.float16, (rows, backbone.embed_dim))
    with table.open("w") as file:
        file.write("path,label,split,attribute\n")
        for start in range(0, rows, BLOCK):
            n = min(BLOCK, rows - start)
            groups = rng.choice(4, n, p=SHARES)
            splits = rng.choice(["train", "val", "test"], n, p=(0.7, 0.1, 0.2))
            block = rng.standard_normal((n, backbone.embed_dim), dtype=np.float32) / 22
            block += 0.3 * classes[groups // 2] + 0.5 * attributes[groups % 2]
            features[start : start + n] = block / np.linalg.norm(block, axis=1, keepdims=True)
            lines = zip(range(start, start + n), groups.tolist(), splits.tolist(), strict=True)
            file.writelines(
                f"images/{i // 1000:05d}/{i % 1000:03d}.jpg,{('landbird', 'waterbird')[g // 2]},{split},"
                f"{('land', 'water')[g % 2]}\n"
                for i, g, split in lines
            )
    features.flush()
    return table, path


def anonymous_mb(pid: int) -> float:
    """Return the anonymous memory of a process and its children."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
    return own / 1024 + sum(anonymous_mb(int(child)) for child in children)


def run(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its seconds, those of processors, and its peak of anonymous memory in MB."""
    begun, peak = time.perf_counter(), 0.0
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, anonymous_mb(process.pid))
        time.sleep(0.02)
    if status:
        sys.exit(f"{command}\nended with {status}")
    return time.perf_counter() - begun, used.ru_utime + used.ru_stime, peak


def epochs(features: Path, rows: int) -> None:
    """Print the time and memory of an epoch by dbpt and by its peers."""
    torch.set_num_threads(1)
    labels = np.random.default_rng(0).integers(0, 2, rows)
    groups, everyone = 2 * labels, np.arange(rows)
    stored = StoredFeatures([open_rows(features)], everyone, 512, lengths=np.ones(rows, np.float32))
    head = LinearHead(torch.randn(2, 512), logit_scale=1.0)
    batch = Batch(torch.from_numpy(everyone), torch.from_numpy(labels), torch.from_numpy(groups))
    read = DeviceFeatures(stored, torch.device("cpu"))
    step = Gradients(head, Erm(TrainingGroups(groups, labels, 2, 4)), ALONE, lambda losses, batch: None)

    def ours() -> None:
        step.set(batch, lambda: read.blocks(everyone, batch.block_rows))

    def sgd() -> None:
        mapped, classifier = np.load(features, mmap_mode="r"), SGDClassifier(loss="log_loss")
        for start in range(0, rows, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            classifier.partial_fit(mapped[block].astype(np.float32), labels[block], classes=[0, 1])

    weights, bias = torch.randn(2, 512, requires_grad=True), torch.zeros(2, requires_grad=True)
    in_memory: list[torch.Tensor] = []

    def plain() -> None:
        if not in_memory:
            in_memory.append(torch.from_numpy(stored[:]))
        weights.grad = bias.grad = None
        torch.nn.functional.cross_entropy(in_memory[0] @ weights.T + bias, batch.labels).backward()

    least = {}
    for name, run_epoch in (("dbpt", ours), ("SGDClassifier", sgd), ("torch", plain)):
        least[name], peak = timed(run_epoch)
        print(
            f"epoch by {name}: {least[name]:.2f} s, {peak:.0f} MB; dbpt takes {least['dbpt'] / least[name]:.2f} times "
            "as long",
            flush=True,
        )


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return the shortest time of five, and the peak of anonymous memory above that before, in MB."""
    seconds, ended = list[float](), threading.Event()
    peak = before = anonymous_mb(os.getpid())

    def look() -> None:
        nonlocal peak
        while not ended.wait(0.01):
            peak = max(peak, anonymous_mb(os.getpid()))

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(5):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    ended.set()
    thread.join()
    return min(seconds), peak - before


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="+", default=["fit", "audit", "epoch"])
    given, options = parser.parse_known_args()
    torch.manual_seed(0)
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    model = write_model(folder, TINY)
    table, features = write_rows(folder, model, given.rows)
    _, _, least = run(["-c", "import torch, time; torch.ones(1); time.sleep(0.5)"])
    common = ["--cache", str(folder / "cache"), "--device", "cpu", "--embeddings", str(features), "--overwrite"]
    commands = {"fit": [*WORDS, "--head", "linear", "--prompts", "class", "--epochs", "20"], "audit": WORDS}
    for verb, own in (commands | {"discover": [], "guess": WORDS}).items():
        if verb in given.only:
            out = folder / ("guess.csv" if verb == "guess" else verb)
            command = ["-m", "dbpt", verb, str(table), "--out", str(out), *model, *common, *own]
            seconds, used, peak = run([*command, *options])
            print(
                f"dbpt {verb}, {given.rows} rows: {seconds:.1f} s, {used:.1f} s of processors' time, "
                f"{peak - least:.0f} MB above {least:.0f} MB",
                flush=True,
            )
    if "compare" in given.only:
        peaks = []
        for jobs in ("1", "2"):
            command = ["-m", "dbpt", "compare", str(table), "--out", str(folder / "compare"), *model, *common, *WORDS]
            seconds, used, peak = run([*command, "--heads", "linear", *COMPARED, "--jobs", jobs, *options])
            peaks.append(peak)
            print(
                f"dbpt compare --jobs {jobs}, {given.rows} rows: {seconds:.1f} s, {used:.1f} s of processors' time, "
                f"{peak:.0f} MB in all its processes, {peak / peaks[0]:.2f} times those of one job",
                flush=True,
            )
    if "epoch" in given.only:
        epochs(features, given.rows)


if __name__ == "__main__":
    main()
