"""`dbpt guess` and `guess_attributes`, and predictions.csv, in which a run writes the same guesses."""

import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from runs import metrics_of, pseudo_attributes
from tiny import ATTRIBUTES, CLASSES, options_of, rows_of

import dbpt
from dbpt.errors import InputError
from dbpt.guesses.apply_method import read_pseudo_attributes

COLUMNS = ["path", "label", "split", "pseudo_attribute", "confidence", "doubts", "group"]


@pytest.fixture
def options(settings) -> list[str]:
    return options_of(settings)


def test_every_image_gets_the_guess_that_a_run_trains_on(tiny, tiny_run, settings):
    found = dbpt.guess_attributes(tiny.table, **settings)
    columns, rows = found.columns, tiny.rows()
    assert list(columns) == COLUMNS
    assert [(columns["path"][i], columns["label"][i], columns["split"][i]) for i in range(len(rows))] == [
        (row["path"], row["label"], row["split"]) for row in rows
    ]
    guessed = {path: ATTRIBUTES[code] for path, code in pseudo_attributes(tiny_run).items()}
    assert dict(zip(columns["path"], columns["pseudo_attribute"], strict=True)) == guessed
    names = [(label, attribute) for label in sorted(CLASSES) for attribute in ATTRIBUTES]
    named = zip(columns["label"], columns["pseudo_attribute"], strict=True)
    assert columns["group"].tolist() == found.groups.tolist() == [names.index(pair) for pair in named]
    assert 0.5 <= min(columns["confidence"]) <= max(columns["confidence"]) <= 1
    assert repr(found).startswith("GuessedAttributes('squares', meadow 0.")


def test_the_command_writes_what_python_returns(tiny, settings, options, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "guesses.csv"
    code, printed, errors = command("guess", tiny.table, *options, "--out", out)
    found = dbpt.guess_attributes(tiny.table, out=tmp_path / "same.csv", **settings)
    assert code == 0 and out.read_bytes() == (tmp_path / "same.csv").read_bytes()
    table, _, last = printed.rpartition("\nto see the images of each guess:\n  ")
    assert table == f"\n{found}\n" and last == f"{found.audit_command}\n"
    audit = shlex.split(last)
    assert command(*audit[1:])[0] == 0 and Path(audit[audit.index("--out") + 1], "audit.html").exists()
    assert f"106 guesses written to {out}" in errors
    assert rows_of(out) == [dict(zip(COLUMNS, map(str, row), strict=True)) for row in zip(*found.columns.values())]  # noqa: B905
    assert max(map(len, table.splitlines())) <= 80
    shares = [f"{name} {100 * share:.1f}" for name, share in zip(ATTRIBUTES, found.guesses.shares, strict=True)]
    assert f"shares: {', '.join(shares)}\n" in printed
    accuracy = np.mean(
        [g == row["attribute"] for g, row in zip(found.columns["pseudo_attribute"], tiny.rows(), strict=True)]
    )
    assert f"right for {100 * accuracy:.1f} % of 106 images with a true attribute" in printed


def test_guesses_are_written_as_parquet_and_read_again(tiny, settings, tmp_path):
    found = dbpt.guess_attributes(tiny.table, out=tmp_path / "guesses.parquet", **settings)
    table = pq.read_table(tmp_path / "guesses.parquet").to_pydict()
    assert table == {name: list(column) for name, column in found.columns.items()}
    again = read_pseudo_attributes(tmp_path / "guesses.parquet", found.dataset)
    assert again.pseudo_attributes.tolist() == found.pseudo.pseudo_attributes.tolist()


def test_rows_in_memory_and_features_without_images_are_guessed_like_files(tiny, settings, tiny_features):
    found = dbpt.guess_attributes(tiny.table, **settings)
    words = {name: value for name, value in settings.items() if name != "attributes"}
    dataset = dbpt.load_dataset(tiny.table, attributes=settings["attributes"])
    assert dbpt.guess_attributes(dataset, **words).to_pandas().equals(found.to_pandas())
    absent = tiny.write("guess-absent", [{**row, "path": f"gone/{row['path']}"} for row in tiny.rows()])
    of_features = dbpt.guess_attributes(absent, embeddings=tiny_features, **settings)
    assert of_features.audit_command is None
    assert of_features.columns["pseudo_attribute"] == found.columns["pseudo_attribute"]


def test_true_attributes_do_not_influence_the_guesses(annotated, settings, tmp_path):
    texts, found = [], None
    for number, table in enumerate(annotated):
        out = tmp_path / f"{number}.csv"
        found = dbpt.guess_attributes(table, out=out, **settings)
        texts.append((out.read_bytes(), found.guesses.doubts))
    assert texts[0] == texts[1] == texts[2]
    assert found.guesses.accuracy is None and "true attribute" not in str(found)


def test_guesses_that_can_not_be_trusted_are_written_with_a_warning(tiny, bare, command, tmp_path):
    out, words = tmp_path / "guesses.csv", ["--attributes", "tuesday", "honest"]
    code, _, errors = command("guess", bare, *options_of(tiny.backbone), *words, "--out", out)
    assert code == 0 and len(rows_of(out)) == 106
    assert errors.count("warning: CLIP's guesses of tuesday / honest can't be trusted: ") == 1


def test_images_below_the_least_confidence_have_no_guess(tiny, settings, tmp_path):
    everything = dbpt.guess_attributes(tiny.table, **settings)
    least = float(np.median(everything.columns["confidence"]))
    found = dbpt.guess_attributes(tiny.table, out=tmp_path / "guesses.csv", min_confidence=least, **settings)
    empty = [row for row in rows_of(tmp_path / "guesses.csv") if row["pseudo_attribute"] == ""]
    assert 0 < len(empty) == (found.groups < 0).sum() and {row["group"] for row in empty} == {"-1"}
    assert f"{len(empty)} images got no attribute" in str(found)


def test_unreadable_images_are_left_out(tiny, settings):
    for name in ("guess-broken.png", "guess-broken-too.png"):
        (tiny.table.parent / name).write_bytes(b"no picture")
    rows = tiny.rows()
    broken = tiny.write("guess-broken", [{**rows[-1], "path": "guess-broken.png"}, *rows])
    found = dbpt.guess_attributes(broken, max_failures=0.05, **settings)
    assert found.columns["path"] == [row["path"] for row in rows] and "guess-broken.png" in found.warnings[0]
    names = zip(("guess-broken.png", "guess-broken-too.png"), CLASSES, strict=True)
    alone = tiny.write("guess-alone", [{"path": path, "label": label} for path, label in names])
    with pytest.raises(InputError, match="none of its images can be read"):
        dbpt.guess_attributes(alone, max_failures=1.0, **settings)


def test_bad_arguments_get_one_line_and_write_nothing(tiny, bare, options, refusal, tmp_path):
    out, without_words = tmp_path / "out.csv", options_of(tiny.backbone)
    (tmp_path / "mine.csv").write_text("mine")
    cases = [
        (["guess", bare, *without_words, "--out", out], "no spurious attribute"),
        (["guess", bare, *without_words, "--attributes", "one", "--out", out], "at least two"),
        (["guess", tiny.table, *options, "--out", tmp_path / "mine.csv"], "mine.csv: exists; choose another name"),
        (["guess", tiny.table, *options, "--out", tmp_path / "mine.feather"], "choose a name that ends in .csv"),
        (["guess", tiny.table, *options, "--out", tiny.table, "--overwrite"], "is a file that this command reads"),
    ]
    before = tiny.table.read_bytes()
    for arguments, expected in cases:
        assert expected in refusal(*arguments)
    assert not out.exists() and (tmp_path / "mine.csv").read_text() == "mine" and tiny.table.read_bytes() == before
    with pytest.raises(InputError, match="^--epochs: nothing is trained here, so it is not read; leave it out$"):
        dbpt.guess_attributes(tiny.table, epochs=3)


# --- predictions.csv of a run -----------------------------------------------------------------------------------------


def test_a_run_writes_the_same_with_its_predictions(tiny, tiny_run, settings, tmp_path):
    dbpt.guess_attributes(tiny.table, out=tmp_path / "guesses.csv", **settings)
    written = rows_of(tiny_run / "predictions.csv")
    assert list(written[0]) == [*COLUMNS[:3], "prediction", *COLUMNS[3:], "p_box", "p_disc"]
    same = [name for name in COLUMNS if name != "doubts"]  # which are about other rows
    found = rows_of(tmp_path / "guesses.csv")
    assert [[row[name] for name in same] for row in written] == [[row[name] for name in same] for row in found]
    assert all((row["prediction"] == "box") == (float(row["p_box"]) > float(row["p_disc"])) for row in written)
    for split in ("val", "test"):
        right = np.mean([row["label"] == row["prediction"] for row in written if row["split"] == split])
        assert right == metrics_of(tiny_run)["rows"][-1][split]["average"]


def test_a_runs_predictions_are_audited_like_the_run(tiny, tiny_run, settings):
    for split in ("train", "test"):
        by_file = dbpt.audit(tiny.table, predictions=tiny_run / "predictions.csv", split=split, **settings)
        by_run = dbpt.audit(predictions=tiny_run, split=split)
        assert [(each.n, each.correct) for each in by_file.groups] == [(each.n, each.correct) for each in by_run.groups]
