"""Run every command on small data and keep all that a user sees, to compare two versions of dbpt.

    python tools/outputs.py before && git switch my-change && python tools/outputs.py after && diff -r before after

OUT gets one folder per case: a text file with the commands, exit codes and printed lines, and each file that they
wrote. Tensors and pictures become digests, HTML one tag a line; times, temporary paths and versions are left out.
`--only NAME` runs the cases whose names contain NAME.
"""

import argparse
import contextlib
import csv
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
SIZES = (300, 100, 160)
DEMOS = ("waterbirds", "celeba", "metashift")
WORDS = '--attributes "meadow=a green lawn" lake'
FEW = "--epochs 8 --no-baselines"
LINEAR = f"{FEW} --head linear"
FACTORS = '--columns ground=attribute --factors "ground: meadow, lake" "light: bright, dark"'
VERBS = [
    "fit",
    "compare",
    "evaluate",
    "predict",
    "export",
    "guess",
    "audit",
    "discover",
    "label",
    "embed",
    "data",
    "demo",
    "cache",
]

CASES: dict[str, list[str]] = {
    "help": ["--version", *(f"{verb} --help" for verb in ("", *VERBS)), "label x --bad", "data check --help"],
    **{
        f"demo-{name}": [
            f"fit {name} --root DATA/{name} --out run DEMO --epochs 12",
            f"compare {name} --root DATA/{name} --out compared DEMO --methods zero-shot group-prompts erm dbpt"
            f" --heads linear --resample 3 --epochs 12",
            f"audit {name} --root DATA/{name} --out audited DEMO",
            f"discover {name} --root DATA/{name} --out searched DEMO",
            f"guess {name} --root DATA/{name} --out guesses.csv DEMO",
        ]
        for name in DEMOS
    },
    "tiny-run": [
        f"fit TABLE --out run TINY TRAIN {WORDS} --epochs 8",
        "evaluate run",
        "evaluate run TABLE --json",
        "predict run DATA/tiny/val --out predicted.csv --with-attribute",
        "label run --out sample --n 12",
        f"audit TABLE --predictions run --out audited {WORDS}",
        f"fit TABLE --out run TINY TRAIN {WORDS} --epochs 8",
        f"fit TABLE --out run TINY TRAIN {WORDS} --epochs 9 --resume",
    ],
    **{
        f"head-{head}": [f"fit TABLE --out run TINY TRAIN {WORDS} --epochs 8 --head {head}"]
        for head in ("linear", "adapter")
    },
    **{
        f"objective-{objective}": [f"fit TABLE --out run TINY TRAIN {WORDS} {LINEAR} --objective {objective}"]
        for objective in ["erm", "balanced", "groupdro", "subg", "suby", "jtt", "afr", "dfr", "class-balanced"]
    },
    "near-zero-shot": [
        f"fit TABLE --out run TINY TRAIN {WORDS} {FEW} --objective prograd",
        f"fit TABLE --out run2 TINY TRAIN {WORDS} {FEW} --objective kgcoop",
        f"fit TABLE --out run3 TINY TRAIN {WORDS} {FEW} --objective contrastive-adapter --head adapter",
    ],
    "group-prompts": [
        f"fit TABLE --out run TINY TRAIN {WORDS} {FEW} --prompts group --group-template '{{attribute}} {{class}}'",
        "evaluate run",
        "predict run DATA/tiny/val --out predicted.csv --with-attribute",
        f"fit TABLE --out run2 TINY TRAIN {WORDS} {LINEAR} --prompts auto",
        f"fit TABLE --out run3 TINY TRAIN {LINEAR} --columns attribute= --group-source ppa --prompts group",
        f"fit TABLE --out run4 TINY TRAIN {WORDS} {LINEAR} --prompts group --group-template 'a {{}}.'",
        f"compare TABLE --out compared TINY TRAIN {WORDS} --methods gla gla:ppa --heads linear --epochs 8",
    ],
    "oracle": [f"fit TABLE --out run TINY TRAIN {LINEAR} --attributes meadow lake --group-source true"],
    "small-batches": [f"fit TABLE --out run TINY TRAIN {WORDS} {LINEAR} --batch-size 16 --apply sampling"],
    "factors": [
        f"fit TABLE --out run TINY TRAIN {FACTORS} --epochs 8",
        f"compare TABLE --out compared TINY TRAIN {FACTORS} --methods erm dbpt --heads linear --epochs 8 --seeds 2",
        f"audit TABLE --out audited TINY {FACTORS}",
        f"guess TABLE --out guesses.csv TINY {FACTORS}",
        f"fit TABLE --out again TINY TRAIN {FACTORS} {LINEAR} --pseudo-attributes guesses.csv",
    ],
    "clusters": [
        f"fit TABLE --out run TINY TRAIN --attributes clusters {FEW} --head linear",
        "evaluate run",
        "audit TABLE --out audited TINY --attributes clusters",
    ],
    "auto": [
        f"fit TABLE --out run TINY TRAIN --attributes auto {LINEAR}",
        "audit TABLE --out audited TINY --attributes auto",
    ],
    "probe": [
        f"fit TABLE --out run TINY TRAIN --attributes meadow lake {LINEAR} --pseudo-method probe --probe-rows 20",
        "guess UNKNOWN --out guesses.csv TINY --attributes meadow lake --pseudo-method probe",
    ],
    **{
        f"guess-{method}": [f"guess TABLE --out guesses.csv TINY {WORDS} --pseudo-method {method}"]
        for method in ("argmax", "kmeans", "proportional")
    },
    "shots": [f"fit TABLE --out run TINY TRAIN {WORDS} {LINEAR} --shots 4"],
    "unknown-attributes": [
        f"fit UNKNOWN --out run TINY TRAIN {WORDS} --epochs 8 --guess-only-unknown",
        f"audit UNKNOWN --out audited TINY {WORDS}",
    ],
    "no-attribute": [
        f"fit PLAIN --out run TINY TRAIN {LINEAR} --objective erm",
        "evaluate run",
        "audit PLAIN --out a TINY",
    ],
    "embeddings": [
        f"fit TABLE --out run TINY TRAIN {WORDS} {LINEAR} --embeddings DATA/features.npy",
        f"audit TABLE --out audited TINY {WORDS} --embeddings DATA/features.npy",
        f"guess TABLE --out guesses.csv TINY {WORDS} --embeddings DATA/features.npy",
    ],
    "predictions": [
        f"audit TABLE --out audited TINY {WORDS} --predictions DATA/predictions.csv",
        "discover TABLE --out searched TINY --predictions DATA/predictions.csv",
    ],
    "compare-seeds": [
        f"compare TABLE --out compared TINY TRAIN {WORDS} --methods zero-shot erm dbpt groupdro:true"
        " --heads prompt linear --seeds 2 --epochs 6"
    ],
    "files": [
        "data check TABLE",
        "data check BROKEN",
        "embed TABLE TINY",
        "embed BROKEN TINY --failures failed.csv",
        "cache list --cache DATA/tiny/cache",
        "cache verify --cache DATA/tiny/cache",
    ],
    "wrong": [
        f"fit TABLE --out run1 TINY TRAIN --attributes meadow {LINEAR}",
        f"fit TABLE --out run2 TINY TRAIN {WORDS} --objective dbtp",
        f"fit TABLE --out run3 TINY TRAIN {WORDS} --lr nan",
        f"fit TABLE --out run4 TINY TRAIN {WORDS} --group-source true",
        f"fit TABLE --out run5 TINY TRAIN {WORDS} --objective prograd --head linear",
        f"fit missing.csv --out run6 TINY TRAIN {WORDS}",
        f"fit BROKEN --out run7 TINY TRAIN {WORDS} {LINEAR}",
        f"fit PLAIN --out run8 TINY TRAIN {LINEAR}",
        f"fit TABLE --out DATA TINY TRAIN {WORDS}",
        f"fit TABLE --out run9 TINY TRAIN {WORDS} --embeddings DATA/short.npy",
        f"audit TABLE --out audited TINY {WORDS} --predictions DATA/short.csv",
        f"compare TABLE --out compared TINY TRAIN {WORDS} --methods nothing",
        "evaluate missing",
        "predict missing x.jpg",
        "label missing --out sample",
        "guess TABLE TINY",
        "discover TABLE TINY --predictions missing.csv --out searched",
        "cache verify --cache missing",
    ],
}


def make_data(folder: Path) -> dict[str, str]:
    """Write the demos and the tests' tiny data set below ``folder``; return what the words of a case stand for."""
    import numpy as np

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from tiny import make_tiny

    import dbpt
    import dbpt.data.demo

    dbpt.data.demo.SPLIT_SIZES = SIZES
    for name in DEMOS:
        dbpt.write_demo(f"demo-{name}", folder / name)
    tiny = make_tiny(folder / "tiny")
    rows = tiny.rows()
    unknown = tiny.write("unknown", [row | {"attribute": row["attribute"] * (i % 3 > 0)} for i, row in enumerate(rows)])
    plain = tiny.write("plain", [{name: row[name] for name in ("path", "label", "split")} for row in rows])
    broken = tiny.write("broken", [row | {"path": row["path"].replace("-01", "-99")} for row in rows])
    features = np.random.default_rng(0).normal(size=(len(rows), 16)).astype(np.float32)
    np.save(folder / "features.npy", features)
    np.save(folder / "short.npy", features[1:])
    for name, some in (("predictions", rows), ("short", rows[9:])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            lines = [(row["path"], row["label"] if i % 4 else "box") for i, row in enumerate(some)]
            csv.writer(file).writerows([("path", "prediction"), *lines])
    model, weights = dbpt.data.demo.mini_clip_paths()
    train = "--lr 0.005 --n-ctx 3 --min-group-count 0"
    return {
        "TABLE": str(tiny.table),
        "UNKNOWN": str(unknown),
        "PLAIN": str(plain),
        "BROKEN": str(broken),
        "TINY": f"--model {tiny.model} --pretrained {tiny.weights} --cache {tiny.cache} --embed-batch-size 16",
        "TRAIN": train,
        "DEMO": f"--model {model} --pretrained {weights} --cache {folder}/cache",
        "DATA": str(folder),
    }


def run_case(commands: list[str], names: dict[str, str], folder: Path, temporary: Path) -> None:
    """Run the commands of a case in ``folder``, and write all that they printed to commands.txt."""
    from dbpt.cli import main

    printed = io.StringIO()
    with contextlib.chdir(folder):
        for command in commands:
            arguments = shlex.split(re.sub(r"\b[A-Z]{4,}\b", lambda word: names.get(word[0], word[0]), command))
            code: object = 0
            printed.write(f"$ dbpt {command}\n")
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                try:
                    main(arguments)
                except SystemExit as end:
                    code = end.code
                except Exception as error:
                    code = f"bug: {error!r}"
            printed.write(f"[exit {code}]\n\n")
    (folder / "commands.txt").write_text(plain(printed.getvalue(), temporary))
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "commands.txt":
            keep(path, temporary)


def keep(path: Path, temporary: Path) -> None:
    """Replace a file by text that can be compared."""
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        tensors = sorted(load_file(path).items())
        lines = [f"{name} {value.shape} {value.dtype} {digest(value.tobytes())}" for name, value in tensors]
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".png":
        path.write_text(digest(path.read_bytes()) + "\n")
    elif path.suffix == ".json":
        path.write_text(plain(json.dumps(json.loads(path.read_text(), object_hook=without_times), indent=1), temporary))
    elif path.suffix == ".html":
        path.write_text(plain(path.read_text(), temporary).replace("><", ">\n<"))
    else:
        path.write_text(plain(path.read_text(), temporary))


def plain(text: str, temporary: Path) -> str:
    """Return the text without what differs between two runs of the same code."""
    text = text.replace(str(temporary), "TEMPORARY")
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", lambda data: f"base64,{digest(data[0].encode())}", text)
    text = re.sub(r"[^\n]*\r", "", text)  # progress bars
    text = re.sub(r"about \d+:\d+ left", "about # left", text)
    return re.sub(r"\b\d+(\.\d+)? (s|ms|img/s|images/s|seconds)\b", r"# \2", text)


def without_times(found: dict[str, object]) -> dict[str, object]:
    """Return an object of a JSON file without its times."""
    return {name: None if name in ("seconds", "timings") else value for name, value in found.items()}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    out = options.out.absolute()
    out.mkdir()
    temporary = Path(tempfile.gettempdir()) / "dbpt-outputs"  # the same in both runs: wherever a path decides an order
    shutil.rmtree(temporary, ignore_errors=True)
    os.environ["DBPT_CACHE"] = str(temporary / "cache")
    try:
        names = make_data(temporary / "data")
        for name, commands in CASES.items():
            if options.only in name:
                folder = temporary / name
                folder.mkdir()
                print(name, flush=True)
                run_case(commands, names, folder, temporary)
                shutil.copytree(folder, out / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main()
