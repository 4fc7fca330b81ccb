"""The commands and snippets of docs/how_to/data.md, on the tiny task under the names that the page gives its files.

Of an option that is given twice the last one counts, so that the tiny model takes the place of the page's.
"""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documentation import blocks
from safetensors.numpy import save_file
from saved_datasets import of_tiny
from table_files import link_as_folder
from tar_files import write_shards
from test_docs import run
from tiny import SIZES

import dbpt

COLUMNS = {"path": "file", "label": "y", "split": "fold", "attribute": "place"}


@pytest.fixture
def workplace(tiny, tmp_path, monkeypatch):
    """An empty working directory in which the paths of the tiny task lead to its images."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val", "test"):
        Path(split).symlink_to(tiny.table.parent / split)
    monkeypatch.setenv("DBPT_CACHE", str(tiny.cache))
    return tmp_path


def commands(section: str) -> list[str]:
    """The commands of the page that name one of the section's files."""
    text = "".join(text for _, text in blocks("docs/how_to/data.md", "bash")).replace("\\\n", " ")
    return [line for line in text.splitlines() if section in line]


def fit_tiny(command: str, tiny) -> None:
    """A command of the page, as far as it goes, with the model and the settings of the tiny task."""
    arguments = tiny.arguments
    if "--attributes" in command:
        start = arguments.index("--attributes")
        del arguments[start : start + 3]
    run(f"{command} {shlex.join(arguments)}")


def evaluated(fit: str, evaluate: str, tiny, capsys) -> dict:
    """The figures of the test split that the second command prints after the first."""
    fit_tiny(fit, tiny)
    capsys.readouterr()
    run(f"{evaluate} --json")
    return json.loads(capsys.readouterr().out)["rows"][0]["test"]


def names_of_snippet(word: str) -> dict:
    """What the page's Python that has this word defines."""
    (snippet,) = (text for _, text in blocks("docs/how_to/data.md", "python") if word in text)
    namespace: dict = {}
    exec(compile(snippet, "docs/how_to/data.md", "exec"), namespace)
    return namespace


def check_figures(run: str, tiny_run: Path) -> None:
    """They are those of the images in files; the report shows images."""
    ours, theirs = (json.loads((folder / "metrics.json").read_text())["rows"] for folder in (Path(run), tiny_run))
    assert (ours[0]["val"], ours[0]["test"]) == (theirs[0]["val"], theirs[0]["test"])
    assert [row["test"]["n"] for row in ours] == [row["test"]["n"] for row in theirs]
    assert "data:image/jpeg" in Path(run, "report.html").read_text()


def test_tables_with_columns_of_other_names(workplace, tiny, capsys):
    rows = [{COLUMNS[role]: value for role, value in row.items()} for row in tiny.rows()]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    Path("shop.csv").write_text("\n".join(lines))
    Path("shop.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), "shop.parquet")
    found = evaluated(*commands("shop"), tiny, capsys)
    assert found == json.loads(Path("runs/shop/metrics.json").read_text())["rows"][-1]["test"]
    assert dbpt.evaluate("runs/shop").to_dict()["rows"][0]["test"] == found
    Path("copy.csv").write_text("\n".join(lines))
    with pytest.raises(dbpt.InputError, match="no column 'path'"):
        dbpt.evaluate("runs/shop", "copy.csv")
    assert dbpt.draw_label_sample("runs/shop", out="sample", n=8).dataset == "shop"
    assert names_of_snippet("shop")["data"].paths == dbpt.load_dataset(tiny.table).paths


def test_a_folder_of_images(workplace, tiny):
    link_as_folder(tiny, Path("squares"))
    (fit,) = commands("squares")
    fit_tiny(fit, tiny)
    assert dbpt.load("runs/squares").class_names == ("box", "disc")


def test_tar_shards(workplace, tiny, tiny_run):
    write_shards(tiny, Path("shards"), shards_a_split=2)
    before = sorted(Path("shards").rglob("*"))
    (fit,) = commands("shards")
    fit_tiny(fit, tiny)
    assert sorted(Path("shards").rglob("*")) == before  # nothing is unpacked
    settings = {name: tiny.settings[name] for name in ("model", "pretrained", "embed_batch_size")}
    assert dbpt.embed("shards/{train,val,test}-*.tar", **settings).recomputed == 0
    check_figures("runs/shards", tiny_run)
    (prediction,) = dbpt.load("runs/shards").predict(["shards/test-000.tar/0000.png"])
    assert prediction.error is None


def test_saved_data_sets_and_objects(workplace, tiny, tiny_run, capsys):
    of_tiny(tiny).save_to_disk("pets", num_shards={"train": 2, "val": 1, "test": 1})
    before = sorted(Path("pets").rglob("*"))
    check, fit, evaluate = commands("pets")
    run(check)
    assert "no problems found" in capsys.readouterr().out
    found = evaluated(fit, evaluate, tiny, capsys)
    assert sorted(Path("pets").rglob("*")) == before
    check_figures("runs/pets", tiny_run)
    expected = json.loads(Path("runs/pets/metrics.json").read_text())["rows"][-1]["test"]
    assert found == expected
    Path("pets.csv").write_text(tiny.table.read_text().replace("label", "y", 1))
    names = names_of_snippet("pets")
    assert len(names["data"]) == 40 and names["found"].problems == ()


def test_features_instead_of_images(workplace, tiny, tiny_features):
    shutil.copy(tiny_features, "features.npy")
    save_file({"features": np.load(tiny_features)[:9]}, "others.safetensors")
    lines = tiny.table.read_text().splitlines(keepends=True)
    Path("rows.csv").write_text("".join(lines))
    Path("others.csv").write_text("".join(lines[:10]))
    Path("images").symlink_to(tiny.table.parent / "test")
    fit, evaluate, predict = commands("rows")
    fit_tiny(fit, tiny)
    run(evaluate)
    run(predict)
    assert len(Path("predictions.csv").read_text().splitlines()) == 1 + sum(SIZES["test"])
