"""The scripts of examples/ run as a user runs them, and print what they claim."""

import contextlib
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from launched import launch

import dbpt
from dbpt.features import embed_images
from dbpt.sampling import GroupSampler

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run_script(rank, file, *arguments):
    """As torchrun does."""
    sys.argv = [str(file), *map(str, arguments)]
    runpy.run_path(str(file), run_name="__main__")


def lines_of(folder: Path, file: Path) -> list[str]:
    """The lines that a script writes to standard output in a process that is forked from one with torch."""
    return launch(folder / "launched", 1, run_script, file).finished().printed("out")[0].splitlines()


def printed(folder: Path, *command: object, returncode: int = 0) -> list[str]:
    """The lines that a Python command writes to standard output; its errors are shown if it ends otherwise."""
    out, errors = folder / "out.txt", folder / "errors.txt"
    with out.open("w") as out_file, errors.open("w") as errors_file:  # pipes would wait for orphaned workers
        options = {"stdout": out_file, "stderr": errors_file, "env": ENVIRONMENT, "timeout": 600}
        done = subprocess.run([sys.executable, *map(str, command)], **options)
    assert done.returncode == returncode, errors.read_text()
    return out.read_text().splitlines()


def epochs(groups: torch.Tensor, num_epochs: int, **settings: int) -> list[list[int]]:
    """The global order of each epoch."""
    sampler = GroupSampler(groups, **settings)
    orders = []
    for epoch in range(num_epochs):
        sampler.set_epoch(epoch)
        orders.append(sampler.indices().tolist())
    return orders


@pytest.mark.parametrize(
    ("sizes", "gain"), [((60, 8, 40), -100), pytest.param((800, 20, 400), 10, marks=pytest.mark.full)]
)
def test_a_resnet_is_debiased_by_clips_guesses(monkeypatch, capsys, sizes, gain):
    """On fewer drawings than the demo has; with very few it only runs."""
    monkeypatch.setattr("dbpt.data.demo.SPLIT_SIZES", sizes)
    monkeypatch.setattr(sys, "argv", ["resnet.py"])
    runpy.run_path(str(EXAMPLES / "resnet.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    figures = dict(re.fullmatch(r"(.+): worst group (.+)%, average .+%", line).groups() for line in lines)
    assert list(figures) == ["shuffled", "groups balanced"]
    assert float(figures["groups balanced"]) > float(figures["shuffled"]) + gain


def rows_of_ranks(lines: list[str]) -> dict[int, list[list[int]]]:
    """Return the rows that each of two ranks says it has seen, in order, by epoch."""
    seen: dict[int, list[list[int]]] = {}
    for line in lines:
        epoch, rank, rows = re.fullmatch(r"epoch (\d+) rank ([01]) rows ([\d ]+)", line).groups()
        seen.setdefault(int(epoch), [[], []])[int(rank)] += map(int, rows.split())
    return seen


def together(ranks: list[list[int]], chunk: int) -> list[int]:
    """One order of what two ranks have seen by turns, ``chunk`` rows at a time."""
    first, second = ranks
    assert len(first) == len(second)
    starts = range(0, len(first), chunk)
    return [row for start in starts for rows in (first, second) for row in rows[start : start + chunk]]


def test_accelerate_deals_out_the_global_order_and_resumes(tmp_path):
    """Batch by batch; the third epoch is left after three batches on each rank, and gone on with."""
    lines = lines_of(tmp_path, EXAMPLES / "accelerate_two_processes.py")
    seen = rows_of_ranks(lines)
    assert [len(line.split()) - 5 for line in lines] == [40, 40, 40, 40, 12, 12, 28, 28]
    orders = epochs(torch.arange(240) % 6 // 5, 3, num_samples=80)
    assert {epoch: together(ranks, 4) for epoch, ranks in seen.items()} == dict(enumerate(orders))
    assert all(set(first).isdisjoint(second) for first, second in seen.values())


def test_lightning_leaves_the_ranks_to_the_sampler(tmp_path):
    """Row by row."""
    seen = rows_of_ranks(lines_of(tmp_path, EXAMPLES / "lightning_two_processes.py"))
    orders = epochs(torch.arange(240) % 6 // 5, 2, num_samples=80)
    assert {epoch: together(ranks, 1) for epoch, ranks in seen.items()} == dict(enumerate(orders))
    assert all(set(first).isdisjoint(second) for first, second in seen.values())


def test_a_killed_stateful_dataloader_loses_and_repeats_nothing(tmp_path):
    """Killed after 7 of an epoch's 10 batches, then after the last one, then not at all."""
    lines = []
    for batches, returncode in ((7, -signal.SIGKILL), (3, -signal.SIGKILL), (None, 0)):
        command = [EXAMPLES / "stateful_dataloader.py", tmp_path / "checkpoint.pt", *filter(None, [batches])]
        new = printed(tmp_path, *command, returncode=returncode)
        assert len(new) == (batches or 10)
        lines += new
    rows = [int(row) for line in lines for row in line.split()]
    first, second = epochs(torch.arange(60) % 6 // 5, 2)
    assert rows == first + second


def test_the_hugging_face_trainer_gets_the_global_order_and_resumes_in_mid_epoch(tmp_path):
    orders = epochs(torch.arange(240) % 6 // 5, 2, num_samples=80)
    expected = [
        f"epoch {epoch} rows {' '.join(map(str, order[start : start + 8]))}"
        for epoch, order in enumerate(orders)
        for start in range(0, 80, 8)
    ]
    for begin in (0, 12):
        launched = launch(tmp_path / "ranks", 2, run_script, EXAMPLES / "huggingface_trainer.py", tmp_path / "run")
        assert launched.codes() == [0, 0], launched.printed("err")
        lines = launched.printed("out")[0].splitlines()
        assert [line for line in lines if line.startswith("epoch")] == expected[begin:]
        shutil.rmtree(tmp_path / "run/checkpoint-20")  # as if it had been killed


def test_the_commands_of_the_workflow_run(monkeypatch, tmp_path, command):
    monkeypatch.setattr("dbpt.data.demo.SPLIT_SIZES", (160, 40, 200))
    monkeypatch.setenv("DBPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    workflow = yaml.safe_load((EXAMPLES / "audit_gate.yml").read_text())
    steps = workflow["jobs"]["audit"]["steps"]
    (audit,) = [step["run"] for step in steps if step.get("run", "").startswith("dbpt ")]
    code, out, _ = command(*shlex.split(audit)[1:])
    assert code == 0 and out.count("\ngate passed: ") == 2
    assert all((tmp_path / path).exists() for path in steps[-1]["with"]["path"].split())


RAY = """
import csv, os, runpy, signal, sys
from pathlib import Path
import ray
folder = Path(sys.argv[1])
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[2])
example = runpy.run_path({example!r}, run_name="embed_with_ray")

class Dying(example["Embed"]):
    def __call__(self, batch):
        if "0100.png" in batch["path"] and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)

example["main"](sys.argv[3:], Dying)
"""


@pytest.mark.full
def test_ray_embeds_every_row_once_though_a_worker_is_killed(tiny, tiny_backbone, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    (root := tmp_path / "images").mkdir()
    images = tiny.images(50)
    paths = [f"{number:04d}.png" for number in range(200)]
    for number, path in enumerate(paths):
        shutil.copy(images[number % len(images)], root / path)
    (root / "broken.png").write_text("no image")
    table = tmp_path / "rows.csv"
    table.write_text("path,label\n" + "".join(f"{path},{int(path[:4]) % 2}\n" for path in paths) + "broken.png,0\n")
    script, out = tmp_path / "job.py", tmp_path / "out"
    script.write_text(RAY.format(example=str(EXAMPLES / "embed_with_ray.py")))
    options = ["--model", tiny.model, "--pretrained", tiny.weights, "--actors", 2, "--batch", 16, "--rows", 64]
    with tempfile.TemporaryDirectory(prefix="ray-") as of_ray:  # the path of a socket has to be short
        printed(tmp_path, script, tmp_path, of_ray, table, f"file://{root}", out, *options)
    assert (tmp_path / "died").exists()
    files = [pq.read_table(file) for file in sorted(out.glob("*.parquet"))]
    names = [name for file in files for name in file["path"].to_pylist()]
    assert sorted(names) == paths and len(files) > 1
    found = np.concatenate([file["features"].to_pylist() for file in files])
    whole = embed_images(tiny_backbone, root, names, cache_dir=tmp_path / "cache").features
    np.testing.assert_allclose(found, whole, atol=1e-5)
    table.write_text(table.read_text().replace("broken.png,0\n", ""))
    settings = {**tiny.settings, "embeddings": out, "head": "linear", "epochs": 2, "attributes": None}
    assert dbpt.fit(table, out=tmp_path / "run", objective="erm", **settings).metrics.dataset.counts


class Sample(dict):
    """A sample as FiftyOne's: fields by name, and tags."""

    def __init__(self, *, filepath: str, tags: list[str]):
        super().__init__()
        self.filepath, self.tags = filepath, tags


class FiftyOne:
    """The part of FiftyOne that the example calls; FiftyOne itself needs a database server.

    A data set has a new name: with ``overwrite`` FiftyOne would delete the user's own of that name.
    """

    Sample = Sample

    def Classification(self, *, label: str, confidence: float | None = None) -> tuple[str, float | None]:
        assert type(label) is str and type(confidence) in (float, type(None))
        return label, confidence

    def Dataset(self, name: str, *, persistent: bool):
        assert (name, persistent) == ("mine", True)
        self.samples = []
        return SimpleNamespace(add_samples=self.samples.extend)

    def dataset_exists(self, name: str) -> bool:
        return name == "taken"

    def launch_app(self, dataset: SimpleNamespace) -> SimpleNamespace:
        return SimpleNamespace(wait=lambda: None)


def test_fiftyone_from_the_command_line(tiny, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fiftyone", fiftyone := FiftyOne())
    options = f"--model {tiny.model} --pretrained {tiny.weights} --attributes meadow lake".split()
    for name, more, says in (("taken", "", "another name"), ("mine", "--classes x y", "is 'box'"), ("mine", "", "")):
        monkeypatch.setattr(sys, "argv", ["", name, str(tiny.table), "zero-shot", *options, *more.split()])
        with pytest.raises(SystemExit, match="2") if says else contextlib.nullcontext():
            runpy.run_path(str(EXAMPLES / "fiftyone_dataset.py"), run_name="__main__")
        assert says in capsys.readouterr().err
    assert len(fiftyone.samples) == 32


@pytest.mark.parametrize("predictions", ["zero-shot", "run", "names"])
def test_fiftyone_gets_labels_predictions_guesses_and_suspicious_images(predictions, tiny, tiny_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "fiftyone", fiftyone := FiftyOne())
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    given = {"run": tiny_run, "names": [row["label"] for row in rows]}.get(predictions, predictions)
    settings = {"predictions": given, **({} if predictions == "run" else tiny.guessing)}
    audited = dbpt.audit(tiny.table, **settings)
    runpy.run_path(str(EXAMPLES / "fiftyone_dataset.py"))["dataset"]("mine", audited)
    assert [sample.filepath for sample in fiftyone.samples] == [str(tiny.table.parent / row["path"]) for row in rows]
    suspicious = dict(zip(audited.suspicious["path"], audited.suspicious["looks_like"], strict=True))
    assert predictions == "names" or suspicious
    for i, (row, sample) in enumerate(zip(rows, fiftyone.samples, strict=True)):
        assert sample["ground_truth"] == (row["label"], None)
        assert sample["group"] == f"{row['label']} · {row['attribute']}"
        prediction = audited.images["prediction"][i]
        assert sample["prediction"][0] == prediction
        if predictions != "names":
            assert sample["prediction"][1] == pytest.approx(audited.images[f"p_{prediction}"][i])
        assert sample["guess"][0] == audited.images["pseudo_attribute"][i] and sample["guess"][1] > 0
        assert sample.tags == ["test", *([suspicious[row["path"]] or "error"] if row["path"] in suspicious else [])]
        assert ("label_quality" in sample) == (row["path"] in suspicious)
