"""Test images and their labels: no bit of what is learnt, nor of another image's pseudo attribute, depends on them."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import dbpt
from dbpt.guesses import PSEUDO_METHODS


def other_tests(rows):
    """The table with the test rows' labels flipped, their order turned, some of them dropped, or all."""
    test = [row for row in rows if row["split"] == "test"]
    rest = [row for row in rows if row["split"] != "test"]
    names = sorted({row["label"] for row in rows})
    flipped = [row | {"label": names[1 - names.index(row["label"])]} for row in test]
    return {"flipped": rest + flipped, "turned": test[::-1] + rest, "some": rest + test[::3], "none": rest}


def learnt(run):
    """Return the classifier, the history without its seconds, and the pseudo attributes of the other rows."""
    tensors = load_file(run / "pseudo_attributes.safetensors")
    names = bytes(tensors["paths"]).decode().split("\0")
    rows = np.flatnonzero(tensors["splits"] < 2)
    columns = [tensors[name] for name in ("pseudo_attributes", "posterior", "confidence")]
    pseudo = {names[row]: [column[row].tobytes() for column in columns] for row in rows}
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    history = [{key: value for key, value in line.items() if "seconds" not in key} for line in history]
    return (run / "classifier.safetensors").read_bytes(), history, pseudo


@pytest.mark.parametrize("method", PSEUDO_METHODS)
def test_test_rows_change_no_byte_of_what_is_learnt(tiny, tmp_path, method):
    def run(name, table):
        out = tmp_path / name
        dbpt.fit(table, out=out, **tiny.settings, pseudo_method=method, head="linear", baselines=False)
        return learnt(out)

    rows = tiny.rows()
    expected = run("as-it-is", tiny.table)
    for name, changed in other_tests(rows).items():
        assert run(name, tiny.write(f"{method}-{name}", changed)) == expected
