"""Files, settings and ``--out`` are checked before torch, open_clip and other slow packages are imported."""

import json
import subprocess
import sys

import pytest

MISTAKES = {
    "fit missing.csv --out new": "missing.csv: does not exist",
    "fit nolabel.csv --out new": "label",
    "fit badsplit.csv --out new": "badsplit.csv line 3",
    "fit good.csv --out other": "other: exists and is not a run folder",
    "fit good.csv --out new --head nonsense": "nonsense",
    "fit good.csv --out new --epochs -3": "epochs",
    "fit good.csv --out new --embeddings missing.npy": "missing.npy: cannot read the features",
    "fit good.csv --out new --model missing.json": "missing.json: cannot read the model config",
    "fit good.csv --out new --pretrained missing.safetensors": "missing.safetensors: cannot read the weights file",
    "fit good.csv --out new --tokenizer missing": "missing: cannot read the tokenizer",
    "fit good.csv --out new --label-model local-dir:missing": "open_clip_config.json: cannot read the model config",
    "fit good.csv --out new --start-from missing": "missing: ",
    "fit good.csv --out new --attributes a b --pseudo-attributes missing.csv": "missing.csv: ",
    "fit good.csv --out new": "no spurious attribute is named",
    "compare missing.csv --out new": "missing.csv: does not exist",
    "compare good.csv --out other": "other: exists and is not a comparison folder",
    "compare good.csv --out new --methods nonsense": "nonsense",
    "audit missing.csv": "missing.csv: does not exist",
    "audit good.csv --attributes a b --out other": "other: exists and is not an audit folder",
    "audit good.csv --attributes a b --predictions missing.csv": "missing.csv: ",
    "discover missing.csv": "missing.csv: does not exist",
    "guess missing.csv": "missing.csv: does not exist",
    "guess good.csv --attributes a b --out good.csv": "good.csv",
    "embed missing.csv": "missing.csv: does not exist",
    "data check missing.csv": "missing.csv: does not exist",
    "evaluate other": "other: ",
    "evaluate RUN missing.csv": "missing.csv: does not exist",
    "evaluate RUN nolabel.csv": "label",
    "audit nolabel.csv --predictions RUN": "label",
    "predict other a.png": "other: ",
    "predict a.png RUN": "a.png: is not the folder of a run, but RUN is; write it first: dbpt predict RUN a.png",
    "evaluate good.csv RUN": "write it first: dbpt evaluate RUN good.csv",
    "export RUN --onnx a.txt": "a.txt: is written as ONNX; choose a name that ends in .onnx",
    "label other --out new": "other: ",
    "label other --labels labels.csv": "other: ",
}

SCRIPT = """
import contextlib, io, json, sys
import dbpt.cli
SLOW = {"torch", "open_clip", "matplotlib", "sklearn", "huggingface_hub", "transformers", "pandas"}
for mistake in json.load(sys.stdin):
    before, lines = SLOW & set(sys.modules), io.StringIO()
    with contextlib.redirect_stderr(lines):
        try:
            dbpt.cli.main(mistake.split())
        except SystemExit as end:
            print(json.dumps([end.code, lines.getvalue(), sorted(SLOW & set(sys.modules) - before)]))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory, tiny_run):
    """The exit code, the line and the slow packages that each mistake is the first to import."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "other").mkdir()
    (folder / "other" / "a.jpg").touch()
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    tables = {"good": "path,label,split\na.png,x,train\nb.png,y,train\n", "nolabel": "path,split\na.png,train\n"}
    tables["badsplit"] = "path,label,split\na.png,x,train\nb.png,y,trian\n"
    for name, content in tables.items():
        (folder / f"{name}.csv").write_text(content)
    command, typed = [sys.executable, "-c", SCRIPT], [mistake.replace("RUN", str(tiny_run)) for mistake in MISTAKES]
    done = subprocess.run(command, input=json.dumps(typed), capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(zip(MISTAKES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_without_slow_packages(answers, tiny_run, mistake):
    code, line, slow = answers[mistake]
    assert code == 2 and MISTAKES[mistake] in line.replace(str(tiny_run), "RUN")
    assert slow == []
