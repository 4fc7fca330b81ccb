"""`dbpt.audit` and ``dbpt audit``: whose predictions, which images, the verdict, the files."""

import json
import re
import shlex
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from tiny import ATTRIBUTES, CLASSES, options_of, rows_of

import dbpt
from dbpt import InputError
from dbpt.evaluation.audit_fields import AuditFigures
from dbpt.storage.typed_json import read_json, typed

MODEL = ("model", "pretrained", "embed_batch_size")
FILES = {"audit.html", "audit.json", "config.toml", "status.json", "figures"}
FILES |= {"groups.csv", "images.csv", "suspicious.csv"}


# --- whose predictions ------------------------------------------------------------------------------------------------


def test_zero_shot_figures_are_those_of_the_zero_shot_row_of_a_run(tiny, tiny_run, settings):
    found = dbpt.audit(tiny.table, **settings).figures
    row = json.loads((tiny_run / "metrics.json").read_text())["rows"][0]
    assert row["method"] == "zero-shot"
    assert without_confidence(found.metrics) == row["test"]
    assert found.group_kind == "true" and found.predictions_by == "zero-shot"


def without_confidence(metrics):
    """The metrics as those of a run, which stores no probabilities."""
    groups = tuple(replace(each, confidence=None) for each in metrics.groups)
    return json.loads(json.dumps(asdict(replace(metrics, groups=groups))))


@pytest.mark.parametrize("data", ["without validation", "no attributes"])
def test_a_run_its_evaluation_and_its_audit_have_the_same_metrics(data, tiny, settings, tmp_path):
    """The validation split is held out of the training rows; some attributes, or all, are unknown."""
    rows = [row | {"split": row["split"].replace("val", "train")} for row in tiny.rows()]
    for i, row in enumerate(rows):
        row["attribute"] *= i % 3 > 0 and data != "no attributes"
    table = tiny.write(f"agreeing-{data.replace(' ', '-')}", rows)
    run = dbpt.fit(table, out=tmp_path / "run", **settings, epochs=1, n_ctx=1)
    audited, (again,) = dbpt.audit(predictions=run.folder), dbpt.evaluate(run.folder).metrics.rows
    assert again.test == run.chosen.record.test and again.test.adjusted_average is not None
    assert without_confidence(audited.figures.metrics) == json.loads(json.dumps(asdict(again.test)))
    assert all(group.confidence is not None for group in audited.groups)


def test_the_audit_of_a_run_on_images_that_trained_it_says_so(tiny_run):
    told = "of the audited images were used to train the run"
    assert "74 " + told in " ".join(dbpt.audit(predictions=tiny_run, split="all").warnings)
    assert told not in " ".join(dbpt.audit(predictions=tiny_run, split="test").warnings)


def test_an_image_that_dbpt_predict_could_not_read_is_left_out(tiny, tiny_run, settings, tmp_path):
    rows = rows_of(tiny_run / "predictions.csv")
    failed = next(row for row in rows if row["split"] == "test")
    kept = [{**row, "error": ""} for row in rows if row is not failed]
    blank = dict.fromkeys(failed, "") | {"path": failed["path"], "error": "truncated"}
    file = tiny.write("with-errors", [blank, *kept])
    found = dbpt.audit(tiny.table, predictions=file, **settings)
    assert failed["path"] not in found.images["path"] and found.figures.data.n == 31
    assert found.warnings[0].endswith(f"{file} line 2: {failed['path']}: no prediction: truncated; left out")
    none = tiny.write("only-errors", [{**blank, "path": row["path"]} for row in rows])
    with pytest.raises(InputError, match="none of its images can be read, or none of these has a prediction"):
        dbpt.audit(tiny.table, predictions=none, **settings)


@pytest.mark.parametrize(("splits", "expected"), [("train val test", "train"), ("val test", "val"), ("test", "test")])
def test_the_probe_takes_the_images_that_a_classifier_would_be_trained_on(tiny, settings, splits, expected):
    pytest.importorskip("sklearn")
    table = tiny.write("some-splits", [row for row in tiny.rows() if row["split"] in splits.split()])
    found = dbpt.audit(table, predictions="probe", **settings)
    assert found.figures.data.split == expected
    assert dbpt.audit(table, **settings).figures.data.split == "test"


def test_arrays_are_predictions_too(tiny, settings):
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    names = [row["label"] for row in rows]
    codes = np.array([sorted(CLASSES).index(name) for name in names])  # the order of a table without --classes
    for predictions in (names, codes, np.eye(2)[codes]):
        found = dbpt.audit(tiny.table, predictions=predictions, **settings)
        assert found.average_accuracy == 1 and found.verdict.kind == "nothing to compare"
        assert ("overconf.: mean" in found.table()) is (predictions is not names and predictions.ndim == 2)
    assert found.figures.groups[0].confidence == 1


# --- the verdict ------------------------------------------------------------------------------------------------------


def test_the_table_of_predictions_may_be_a_data_frame_or_have_other_columns(tiny, tiny_run, settings):
    frame = pd.read_csv(tiny_run / "predictions.csv")[["path", "prediction"]]
    file = tiny.write("frame", frame.to_dict("records"))
    by_file = dbpt.audit(tiny.table, predictions=file, split="all", **settings)
    by_frame = dbpt.audit(tiny.table, predictions=frame, split="all", **settings)
    assert by_frame.groups == by_file.groups and by_frame.figures.predictions_from == "a data frame"
    renamed = tiny.write("frame-renamed", [{"file": p, "guess": y} for p, y in frame.itertuples(index=False)])
    columns = {"prediction": "guess", "prediction_path": "file"}
    table = pd.read_csv(tiny.table).drop(columns="split")
    found = dbpt.audit(table, root=tiny.table.parent, predictions=renamed, columns=columns, **settings)
    assert found.groups == by_file.groups
    assert "--columns prediction=guess prediction_path=file" in found.figures.command


def test_the_seed_is_that_of_the_permutations_and_of_the_probe(tiny, settings):
    probes = [dbpt.audit(tiny.table, predictions="probe", split="train", seed=n, **settings) for n in (0, 7)]
    assert (probes[0].images["p_box"] != probes[1].images["p_box"]).any()
    wrong = [n % (2 if row["attribute"] == "lake" else 3) == 0 for n, row in enumerate(tiny.rows())]
    mine = [CLASSES[(row["label"] == CLASSES[0]) == bad] for row, bad in zip(tiny.rows(), wrong, strict=True)]
    audits = [dbpt.audit(tiny.table, predictions=mine, split="all", seed=n, **settings) for n in (0, 7)]
    one, other = (audit.figures.explained for audit in audits)
    assert one.p_value != other.p_value == pytest.approx(one.p_value, abs=0.03)


def test_guesses_by_names_that_clip_does_not_know_are_not_trusted(tiny, bare, settings):
    found = dbpt.audit(bare, **settings | {"attributes": ["tuesday", "honest"]})
    assert found.verdict.kind == "untrusted" and found.figures.guesses.doubts
    assert "guessed by CLIP, which can't be trusted here" in str(found)
    assert found.verdict.sentence.startswith("CLIP can't tell tuesday / honest apart in these images")
    assert found.figures.next_step.commands == []
    known = dbpt.audit(tiny.table, columns={"attribute": "attribute"}, **settings)
    assert known.figures.guesses.n_known == 32 and known.verdict.kind != "untrusted"  # true attributes need no guesses


# --- which images -----------------------------------------------------------------------------------------------------


def test_the_association_in_the_training_images_is_told_beside_that_in_the_audited_ones(tiny, settings):
    """A balanced test split hides how class and attribute go together where a classifier is trained."""
    test, train = (dbpt.audit(tiny.table, split=split, **settings) for split in ("test", "train"))
    assert test.figures.cramers_v == 0 < train.figures.cramers_v == test.figures.training_cramers_v
    told = f"; in the training images: {train.figures.cramers_v:.2f}"
    assert told in " ".join(test.table().split()) and "in the training images" not in train.table()


def test_a_table_needs_no_splits_and_no_training_images(tiny, settings):
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    bare = tiny.write("test-bare", [{name: row[name] for name in ("path", "label")} for row in rows])
    found = dbpt.audit(bare, **settings).figures
    assert found.data.n == 32 and found.average == "plain" and found.group_kind == "pseudo"
    with pytest.raises(InputError, match="--average adjusted"):
        dbpt.audit(tiny.write("test-alone", rows), average="adjusted", **settings)


def test_unreadable_images_are_left_out_with_their_predictions(tiny, settings):
    rows = tiny.rows()
    (tiny.table.parent / "broken.png").write_bytes(b"no picture")
    broken = tiny.write("broken", [{**rows[-1], "path": "broken.png"}, *rows])
    names = [row["label"] for row in (rows[-1], *rows)]
    found = dbpt.audit(broken, predictions=names, max_failures=0.05, split="all", **settings)
    assert found.figures.data.n == len(rows) and found.figures.data.failed_images == 1
    assert found.average_accuracy == 1 and "broken.png" in found.warnings[0]


def test_copies_of_images_are_counted_and_named(tiny, settings):
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    for name in ("copy-1.png", "copy-2.png"):
        (tiny.table.parent / name).write_bytes((tiny.table.parent / rows[0]["path"]).read_bytes())
    copied = tiny.write("copied", [*rows, *({**rows[0], "path": name} for name in ("copy-1.png", "copy-2.png"))])
    found = dbpt.audit(copied, **settings)
    assert found.warnings[0].startswith(f"2 copies among {len(rows) + 2} images (equal features): accuracies count ")
    assert found.warnings[0].endswith(f"; the first is 'copy-1.png', of {rows[0]['path']!r}")
    assert not any("copies" in text for text in dbpt.audit(tiny.table, **settings).warnings)


def test_the_test_of_the_attribute_counts_each_image_once_however_many_copies_it_has(tiny):
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    mine = [row["label"] if n % 4 else CLASSES[row["label"] == CLASSES[0]] for n, row in enumerate(rows)]
    copies = [row | {"path": f"{copy}-{row['path'].replace('/', '-')}"} for copy in (1, 2) for row in rows]
    for row, copy in zip(rows * 2, copies, strict=True):
        (tiny.table.parent / copy["path"]).symlink_to(tiny.table.parent / row["path"])
    factors = {"factors": ("ground: meadow, lake", "light: day, night"), "columns": {"ground": "attribute"}}
    found, once = (
        dbpt.audit(tiny.write(f"{len(table)}-rows", table), predictions=answers, **tiny.backbone | factors).figures
        for table, answers in ((rows + copies, mine * 3), (rows, mine))
    )
    assert (found.data.n, found.explained.n) == (3 * once.data.n, once.data.n)
    tests = [[each.explained, *(factor.explained for factor in each.factors)] for each in (found, once)]
    assert [(each.n, each.errors) for each in tests[0]] == [(each.n, each.errors) for each in tests[1]]
    beyond = [[test.n for factor in each.factors if (test := factor.explained_beyond)] for each in (found, once)]
    assert beyond[0] == beyond[1] and once.explained.p_value is not None


# --- tables and files -------------------------------------------------------------------------------------------------


def test_the_files_hold_what_the_audit_returns(tiny, settings, tmp_path):
    out = tmp_path / "audit"
    found = dbpt.audit(tiny.table, out=out, **settings)
    assert {path.name for path in out.iterdir()} == FILES and found.folder == out
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["accuracy.png", "accuracy.svg"]
    stored = read_json(out / "audit.json", "audit")
    assert stored == found.to_dict() and typed(stored, AuditFigures, out / "audit.json", "audit again") == found.figures
    groups, images = rows_of(out / "groups.csv"), rows_of(out / "images.csv")
    assert [(g["class"], g["attribute"], int(g["n"])) for g in groups] == [
        (each.class_name, each.attribute, each.n) for each in found.groups
    ]
    tests = [row for row in tiny.rows() if row["split"] == "test"]
    assert [(i["path"], i["label"], i["attribute"]) for i in images] == [
        (row["path"], row["label"], row["attribute"]) for row in tests
    ]
    right = sum(row["label"] == row["prediction"] for row in images)
    assert right / len(images) == found.figures.metrics.average
    assert found.verdict.sentence[:40] in (out / "audit.html").read_text()


def test_the_page_shows_the_mistakes_in_the_groups_of_the_true_attributes(tiny, settings, tmp_path):
    other = {ATTRIBUTES[0]: ATTRIBUTES[1], ATTRIBUTES[1]: ATTRIBUTES[0]}  # than CLIP guesses
    table = tiny.write("swapped", [{**row, "attribute": other[row["attribute"]]} for row in tiny.rows()])
    draws = np.random.default_rng(0).uniform(0.51, 0.9, 32)  # the second class is never predicted
    predictions = np.stack([draws, 1 - draws], axis=1)
    dbpt.audit(table, predictions=predictions, out=tmp_path / "audit", **settings)
    html = (tmp_path / "audit/audit.html").read_text()
    images = [image | {"p": float(image[f"p_{image['label']}"])} for image in rows_of(tmp_path / "audit/images.csv")]
    sheets = re.findall(
        r'<details class="sheet"[^>]*>\n<summary><strong>(.*?)</strong>(.*?)</details>', html, re.DOTALL
    )
    sheets = [(name, sheet) for name, sheet in sheets if " wrong. Here: " in sheet]
    assert len(sheets) == 4
    for name, sheet in sheets:
        members = [image for image in images if f"{image['label']} · {image['attribute']}" == name]
        wrong = sorted((each for each in members if each["label"] != each["prediction"]), key=lambda each: each["p"])
        paths = re.findall('<span class="path">(.*?)</span>', sheet.replace("<wbr>", ""))
        assert paths[: len(wrong)] == [each["path"] for each in wrong] and len(paths) == 8
        assert {each["path"] for each in members} >= set(paths)
        links = re.findall('<a href="([^#"]*)">original', sheet)
        assert [(tmp_path / "audit" / link).is_file() for link in links] == [True] * 8


def test_of_many_classes_and_attributes_only_groups_with_images_are_kept(tiny, settings, tmp_path):
    """100 x 25. Of 2000 x 50 the table had 100,000 rows, and audit.json 45 MB, half of them zeros of the confusions."""
    classes = (*CLASSES, *(f"class {n}" for n in range(98)))
    attributes = (*ATTRIBUTES, *(f"attribute {n}" for n in range(23)))
    test = [row for row in tiny.rows() if row["split"] == "test"]
    mine = [{"path": row["path"], "prediction": classes[n % 7]} for n, row in enumerate(test)]
    table, predictions = tiny.write("many-groups", test), tiny.write("many-groups-mine", mine)
    many = settings | {"classes": classes, "attributes": attributes}
    found = dbpt.audit(table, predictions=predictions, out=tmp_path / "audit", **many)
    assert [(each.index, each.n) for each in found.groups] == [(0, 8), (1, 8), (25, 8), (26, 8)]
    assert len(found.table().splitlines()) < 40 and len(rows_of(tmp_path / "audit/groups.csv")) == 4
    assert (tmp_path / "audit/audit.json").stat().st_size < 60_000
    assert (tmp_path / "audit/audit.html").stat().st_size < 200_000
    taken = {name: sum(each.values()) for name, each in found.figures.confusion.items()}
    assert taken == dict.fromkeys(CLASSES, 16) and found.figures.worst_group in found.groups


def test_tables_for_pandas_and_fairlearn(tiny, settings):
    found = dbpt.audit(tiny.table, **settings)
    groups = found.to_pandas()
    assert groups["n"].tolist() == [8, 8, 8, 8] and groups["true_positive_rate"].min() == found.worst_group_accuracy
    table = found.to_metric_frame_table()
    right = (table["label"] == table["prediction"]).groupby([table["label"], table["attribute"]], sort=False).mean()
    assert right.min() == found.worst_group_accuracy


@pytest.mark.parametrize("function", [dbpt.audit, dbpt.discover])
def test_an_existing_folder_is_replaced_only_if_asked(tiny, tmp_path, function):
    words = {"attributes": ATTRIBUTES} if function is dbpt.audit else {"search": "pixels"}
    out, settings = tmp_path / "out", tiny.backbone | words
    function(tiny.table, out=out, **settings)
    with pytest.raises(InputError, match="exists; replace it with --overwrite"):
        function(tiny.table, out=out, **settings)
    function(tiny.table, out=out, overwrite=True, split="val", **settings)
    assert json.loads((out / f"{function.__name__}.json").read_text())["data"]["split"] == "val"


def test_an_audit_that_fails_leaves_no_folder(tiny, settings, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dbpt.commands.audit.audit.render_audit", fail)
    with pytest.raises(KeyboardInterrupt):
        dbpt.audit(tiny.table, out=tmp_path / "audit", **settings)
    assert not (tmp_path / "audit").exists()


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_prints_the_table_within_80_columns_and_names_the_report(tiny, settings, printed, tmp_path):
    out = printed("audit", tiny.table, "--out", tmp_path / "audit", *options_of(settings))
    assert f"report: {tmp_path / 'audit' / 'audit.html'}" in out
    assert max(map(len, out.replace(str(tmp_path), "").splitlines())) <= 80
    assert "worst group" in out and "Cramér's V" in out


@pytest.mark.parametrize("whose", ["zero-shot CLIP", "a run"])
def test_the_command_in_the_report_repeats_the_audit(tiny, tiny_run, settings, command, tmp_path, whose):
    out = tmp_path / "one"
    dbpt.audit(
        **{"predictions": tiny_run} if whose == "a run" else {"data": tiny.table, **settings}, split="val", out=out
    )
    first = json.loads((out / "audit.json").read_text())
    program, *arguments = shlex.split(first["command"])
    assert program == "dbpt" and arguments[-2:] == ["--out", str(out)]
    assert command(*arguments, "--overwrite")[0] == 0
    assert json.loads((out / "audit.json").read_text()) == first


@pytest.mark.parametrize(
    ("arguments", "without", "message"),
    [
        ("", (), "Missing argument 'DATA'"),
        ("{table} --predictions Prob", (), r"no such file or folder \(did you mean 'probe'\?\); expected"),
        ("{table} --predictions {run} --classes a b", MODEL, "--classes.*has its own"),
        ("{bare}", ("attributes",), "no spurious attribute"),
        ("{table} --out {run}", MODEL, "exists and is not an audit folder"),
        ("{table} --weights moved.safetensors", (), "--weights.*only the audit of a run.*--pretrained"),
    ],
)
def test_bad_arguments_get_one_line(tiny, tiny_run, bare, settings, refusal, arguments, without, message):
    words = [text.format(table=tiny.table, run=tiny_run, bare=bare) for text in arguments.split()]
    kept = {name: value for name, value in settings.items() if name not in without}
    assert re.search(message, refusal("audit", *words, *options_of(kept)))
