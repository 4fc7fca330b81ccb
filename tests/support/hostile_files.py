"""Every command with the files that it treats in its own way, in every state that a file can be in.

`tests/cli/test_hostile_files.py` compares the cases with docs/reference/faults.md, which `page` writes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from dbpt.storage.tensors import write_tensors

NEWER = 99
Commands = Mapping[str, list[str]]
FEW = ["--head", "linear", "--epochs", "1", "--no-baselines", "--max-failures", "0.1"]

TABLE, IMAGE = {"table": "data/squares.csv"}, {"image": "data/val/00-00.png"}
MODEL, WEIGHTS = {"model config": "data/tiny.json"}, {"weights": "data/tiny.safetensors"}
SHARD, SENTENCES = {"cache: shard": "SHARD"}, {"cache: sentences": "SENTENCES"}
CACHE = {"cache: manifest": "MANIFEST", **SHARD}
CONFIG, MINE, OUT = {"`--config`": "settings.toml"}, {"`--predictions`": "mine.csv"}, {"`--out`": "new"}


def files(folder: str, *names: str) -> dict[str, str]:
    """Files of a folder that dbpt writes, by their names."""
    return {f"`{name}`": f"{folder}/{name}" for name in names}


SETTINGS, CLASSIFIER = files("run", "run.json", "config.toml"), files("run", "classifier.safetensors")
FILES: dict[str, dict[str, str]] = {
    "fit": TABLE | IMAGE | MODEL | WEIGHTS | CONFIG | CACHE | OUT,
    "audit": IMAGE | MINE | {"`--pseudo-attributes`": "attributes.csv"} | OUT,
    "audit --overwrite": files("audit", "status.json"),
    "discover": {"`--catalogue`": "catalogue.toml"} | OUT,
    "fit --resume": files("half", "run.json", "config.toml") | {"checkpoint": "half/checkpoints/erm.safetensors"},
    "fit --overwrite": files("half", "run.json"),
    "compare --resume": files("comparison", "plan.json", "config.toml")
    | {"cell": "comparison/cells/erm_linear_seed-0.safetensors"},
    "embed": TABLE | IMAGE | WEIGHTS | CACHE | {"`--failures`": "failed.csv"},
    "evaluate": TABLE | SETTINGS | CLASSIFIER | WEIGHTS | CACHE,
    "evaluate, with clusters": files("clustered", "clusters.safetensors"),
    "evaluate, with a probe": files("probed", "probe.safetensors"),
    "guess": SENTENCES | {"`--out`": "guessed.csv"},
    "predict": IMAGE | SETTINGS | CLASSIFIER | {"`--out`": "predicted.csv"},
    "label": files("run", "run.json", "pseudo_attributes.safetensors") | OUT,
    "label --labels": {"labels": "labels.csv", "`--table`": "labelled.csv"}
    | files("sample", "design.json", "sample.csv", "judged.json")
    | TABLE,
    "data check": TABLE | IMAGE,
    "cache list": CACHE | SENTENCES,
    "cache verify": CACHE | SENTENCES,
    "cache prune --dry-run": CACHE | SENTENCES,
    "demo": {"folder": "new"},
}
PATTERNS = {
    "MANIFEST": "cache/features/*/manifest.json",
    "SHARD": "cache/features/*/*.safetensors",
    "SENTENCES": "cache/texts/*.safetensors",
}
"""Of files whose names are digests."""
OUTPUTS = {"`--out`", "`--failures`", "`--table`", "folder", "`judged.json`"}
UNCHECKED = {"table", "image", "model config", "`--config`", "`config.toml`", "labels", "`--predictions`", *OUTPUTS}
UNCHECKED |= {"`--pseudo-attributes`", "`--catalogue`"}
"""Files of the user's, in which another value is as good as the first; and files that are written."""
MADE = ("new", "failed.csv", "guessed.csv", "predicted.csv", "labelled.csv")
WITHOUT_DIGEST = {"`run.json`", "`plan.json`", "`status.json`", "cache: manifest"}


@dataclass(frozen=True)
class World:
    """A folder with everything that the commands read, which is put back as it was after each case."""

    folder: Path
    snapshot: Path

    def file(self, name: str) -> Path:
        """The path of one of `FILES`."""
        pattern = PATTERNS.get(name)
        return self.folder / name if pattern is None else sorted(self.folder.glob(pattern))[0]

    def put_back(self, file: Path, *, everything: bool) -> None:
        """The file, or all of it, as it was."""
        if everything:
            shutil.rmtree(self.folder)
            shutil.copytree(self.snapshot, self.folder)
            return
        for made in (file, *(self.folder / name for name in MADE)):
            if made.is_dir() and not made.is_symlink():
                shutil.rmtree(made)
            made.unlink(missing_ok=True)
        if (before := self.snapshot / file.relative_to(self.folder)).exists():
            shutil.copy2(before, file)

    def arguments(self, command: str) -> list[str]:
        """The whole command line."""
        at = self.folder
        table, run, image = str(at / "data/squares.csv"), str(at / "run"), str(at / "data/val/00-00.png")
        cache = ["--cache", str(at / "cache")]
        model = ["--model", str(at / "data/tiny.json"), "--pretrained", str(at / "data/tiny.safetensors"), *cache]
        trained = [table, *model, "--config", str(at / "settings.toml")]
        fit, half = ["fit", *trained, *FEW], ["--objective", "erm", "--out", str(at / "half")]
        rows = ["--methods", "erm", "--heads", "linear", "--seeds", "1", "--epochs", "1"]
        audit = ["audit", *trained, "--attributes", "meadow", "lake", "--predictions", str(at / "mine.csv")]
        audit += ["--pseudo-attributes", str(at / "attributes.csv"), "--max-failures", "0.1"]
        search = ["--catalogue", str(at / "catalogue.toml"), "--predictions", str(at / "mine.csv")]
        judge = ["label", str(at / "sample"), "--labels", str(at / "labels.csv")]
        failures, words = ["--max-failures", "0.1"], ["--attributes", "meadow", "lake"]
        wordings = ["--attributes", "meadow=meadow|grass|field|lawn", "lake=lake|pond|river|sea"]  # enough to be kept
        lines: Commands = {
            "fit": [*fit, "--out", str(at / "new")],
            "audit": [*audit, "--out", str(at / "new")],
            "audit --overwrite": [*audit, "--out", str(at / "audit"), "--overwrite"],
            "discover": ["discover", table, *model, *search, *failures, "--out", str(at / "new")],
            "fit --resume": [*fit, *half, "--resume"],
            "fit --overwrite": [*fit, *half, "--overwrite"],
            "compare --resume": ["compare", *trained, *rows, "--out", str(at / "comparison"), "--resume"],
            "embed": ["embed", table, *model, *words, *failures, "--failures", str(at / "failed.csv")],
            "evaluate": ["evaluate", run, table, *cache, *failures],
            "evaluate, with clusters": ["evaluate", str(at / "clustered"), table, *cache, *failures],
            "evaluate, with a probe": ["evaluate", str(at / "probed"), table, *cache, *failures],
            "guess": ["guess", *trained, *wordings, *failures, "--out", str(at / "guessed.csv")],
            "predict": ["predict", run, image, str(at / "data/val/11-00.png"), "--out", str(at / "predicted.csv")],
            "label": ["label", run, "--out", str(at / "new"), "--n", "20", *cache],
            "label --labels": [*judge, "--table", str(at / "labelled.csv")],
            "data check": ["data", "check", table, *words],
            "cache list": ["cache", "list", *cache],
            "cache verify": ["cache", "verify", *cache],
            "cache prune --dry-run": ["cache", "prune", "--dry-run", *cache],
            "demo": ["demo", "demo-waterbirds", str(at / "new")],
        }
        return lines[command]


# --- the states of a file ---------------------------------------------------------------------------------------------


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.unlink(missing_ok=True)
        make(file)

    return change


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    file.write_bytes(content)


def _newer(file: Path) -> None:
    if file.suffix == ".json":
        text = json.loads(file.read_text())
        file.write_text(json.dumps(text | {"schema_version": NEWER}))
    else:
        write_tensors(file, load_file(file), version=NEWER)


STATES: dict[str, Callable[[Path], None]] = {
    "missing": _replaced(lambda file: None),
    "unreadable": lambda file: file.chmod(0),
    "in an unreadable folder": lambda file: file.parent.chmod(0),
    "a folder": _replaced(lambda file: (file.mkdir(), (file / "mine").write_text("precious"))),
    "a pipe": _replaced(os.mkfifo),
    "empty": lambda file: file.write_bytes(b""),
    "cut in half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "one bit changed": _flip,
    "of a newer version": _newer,
}
OUTPUT_STATES = {
    "in an unwritable folder": lambda file: file.parent.chmod(0o555),
    "a folder": STATES["a folder"],
    "a pipe": STATES["a pipe"],
    "somebody's file": lambda file: file.write_text("precious"),
    "a link to somebody's file": lambda file: file.symlink_to(file.parent / "settings.toml"),
}


def states_of(label: str) -> list[str]:
    """Return the states that mean something for a file."""
    if label in OUTPUTS - {"`judged.json`"}:
        return list(OUTPUT_STATES)
    if label == "`judged.json`":
        return ["a folder", "a pipe"]
    left_out = {"one bit changed", "of a newer version"} if label in UNCHECKED else set()
    if label in WITHOUT_DIGEST:  # it depends on which bit
        left_out = {"one bit changed"}
    if label == "`sample.csv`":  # the same, and it has no version
        left_out = {"one bit changed", "of a newer version"}
    if label in ("weights", "cache: shard"):
        left_out = {"of a newer version"}
    return [state for state in STATES if state not in left_out]


@contextmanager
def in_state(file: Path, state: str) -> Iterator[None]:
    """The file, or the folder around it, in another state; modes are put back, contents are the world's to put back."""
    modes = {path: path.stat().st_mode for path in (file.parent, file) if path.exists()}
    (STATES.get(state) or OUTPUT_STATES[state])(file)
    try:
        yield
    finally:
        for path, mode in modes.items():
            if path.exists() and not path.is_symlink():
                path.chmod(mode)


def page(outcomes: Mapping[tuple[str, str, str], str]) -> str:
    """Return the text of docs/reference/faults.md, with one row for commands that treat a file alike."""
    parts = [HEAD]
    for title, columns in (("Files that are read", list(STATES)), ("Files that are written", list(OUTPUT_STATES))):
        is_output = title == "Files that are written"
        parts += [f"\n## {title}\n\n| file | command | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 2)}\n"]
        commands: dict[tuple[str, ...], list[str]] = {}
        for command, files in FILES.items():
            for label in files:
                if (label in OUTPUTS) == is_output:
                    cells = [outcomes.get((command, label, state), "") for state in columns]
                    commands.setdefault((label, *cells), []).append(f"`{command}`")
        for label, *cells in sorted(commands, key=lambda row: row[0].strip("`-")):
            parts.append(f"| {label} | {', '.join(commands[(label, *cells)])} | {' | '.join(cells)} |\n")
    return "".join(parts)


HEAD = """# Behaviour with broken files

<!-- written by DBPT_WRITE_FAULTS=1 pytest tests/cli/test_hostile_files.py, which then tests every cell -->

How commands react to files that are missing, unreadable or damaged; a file that many read in the same way stands with
some of them. *Refused*: exit code 2 and one line that names the file or its folder; no traceback, and the user's files
stay as they are. *Goes on*: exit code 0. An unreadable image counts as one failed image. A cell is empty where the case
makes no sense.
"""
