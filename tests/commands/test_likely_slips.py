"""Likely slips of new users, and the one line that answers each."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from refusals import line_of
from sklearn.dummy import DummyClassifier
from tiny import ATTRIBUTES, CLASSES

import dbpt
from dbpt.features import list_images
from dbpt.runs.classifier import Prediction
from dbpt.settings.config import FitConfig
from dbpt.study.stages import load_and_embed


@pytest.fixture(scope="module")
def numbered(tiny):
    """The table of the tiny task with numbers for classes and attributes."""
    numbers = {name: str(code) for names in (CLASSES, ATTRIBUTES) for code, name in enumerate(names)}
    columns = ("label", "attribute")
    return tiny.write("numbered", (row | {name: numbers[row[name]] for name in columns} for row in tiny.rows()))


@pytest.mark.parametrize(("order", "are_swapped"), [(1, False), (-1, True)])
def test_names_in_another_order_than_the_numbers_are_named(tiny, numbered, order, are_swapped):
    words = {"classes": CLASSES[::order], "attributes": ATTRIBUTES[::order]}
    warnings = dbpt.guess_attributes(numbered, **tiny.backbone | words).warnings
    found = {line[: line.index(" look")]: option for option in words for line in warnings if f"(--{option})" in line}
    assert found == ({"'box' and 'disc'": "classes", "'lake' and 'meadow'": "attributes"} if are_swapped else {})


def test_names_and_numbers_that_a_run_lacks(tiny, tiny_run, numbered):
    cache = {"cache": str(tiny.cache)}
    for table, is_swapped in ((tiny.table, False), (numbered, True)):  # the run's classes are sorted
        results = dbpt.evaluate(tiny_run, table, **cache), dbpt.audit(table, predictions=tiny_run, **cache)
        for result in results:
            assert ("'flag': 'labels'" in str(result.to_dict()["warnings"])) == is_swapped
    line = line_of(dbpt.evaluate, tiny_run, tiny.write("cones", (row | {"label": "cone"} for row in tiny.rows())))
    assert line.endswith("'box', 'disc'; the run's classes are 'box', 'disc': rename the values of label")
    line = line_of(dbpt.evaluate, tiny_run, tiny.write("skies", (row | {"attribute": "sky"} for row in tiny.rows())))
    assert "--attributes" not in line
    line = line_of(dbpt.audit, tiny.table, predictions=dbpt.load(tiny_run), **tiny.guessing)
    assert line == "predictions is a Classifier; give the folder of its run"


def test_predictions_by_other_numbers_are_named(tiny):
    data = dbpt.load_dataset(tiny.table)
    for predictions in (data.labels, 1 - data.labels):
        warnings = dbpt.audit(tiny.table, predictions=predictions, **tiny.guessing).to_dict()["warnings"]
        assert ("order of predictions" in [each["kind"] for each in warnings]) == (predictions is not data.labels)


@pytest.mark.parametrize(
    ("label", "attribute", "given", "note"),
    [
        (["[1, 0]", "[0, 1]"], ["sky", "sea"], {}, "classes are named by numbers ("),
        (["a", "b"], ["NaN", "sea"], {}, "attributes: 'NaN' is read as a name; leave the cell empty where it is unk"),
        (
            ["a", "b"],
            ["", ""],
            {"attributes": ["sky: blue", "sea"]},
            "attributes: 'sky: blue' is one name; write NAME=",
        ),
        (["a", "b"], ["sky", "sea"], {}, None),
    ],
)
def test_names_that_say_nothing_are_noted(tmp_path, label, attribute, given, note):
    frame = pd.DataFrame({"path": ["0.png", "1.png"], "label": label, "attribute": attribute, "split": "train"})
    notes = dbpt.load_dataset(frame, root=tmp_path, images=False, **given).notes
    assert [each.startswith(note or "-") for each in notes if "numbers" in each or ";" in each] == [True] * bool(note)


def test_a_column_of_minus_one_and_one_is_answered_with_zero_and_one(tmp_path):
    frame = pd.DataFrame({"path": ["0.png", "1.png"], "label": ["a", "b"], "attribute": [-1, 1], "split": "train"})
    assert "write 0 and 1 if -1 and 1 are its" in line_of(dbpt.load_dataset, frame, root=tmp_path, images=False)


def test_attributes_that_are_words_for_classes_are_refused(tiny):
    words = {"classes": {"disc": ["ball", "ring"], "box": ["crate"]}, "attributes": ["Ball", "crate"]}
    words["columns"] = {"attribute": ""}
    assert "'Ball' and 'crate' are classes or words" in line_of(
        dbpt.guess_attributes, tiny.table, **tiny.backbone | words
    )


def test_a_forgotten_step_is_told_once():
    weights = dbpt.GroupWeights([1, 1], eta=1.0, momentum=0.5)
    for epoch in range(20):
        with pytest.warns(UserWarning, match="in step") if epoch == 10 else nullcontext():
            weights.observe([0, 1], [0.5, 0.5])


def test_copies_of_training_images_in_the_test_split_are_named(tiny, tiny_features, tmp_path):
    features, rows = np.load(tiny_features), tiny.rows()
    of_test, of_train = ([at for at, row in enumerate(rows) if row["split"] == split] for split in ("test", "train"))
    features[of_test[2:4]] = features[of_train[-1]]
    np.save(tmp_path / "copies.npy", features)
    for file, number in ((tiny_features, 0), (tmp_path / "copies.npy", 1)):
        config = FitConfig(data=str(tiny.table), embeddings=str(file), **tiny.settings)
        warnings = [each for each in load_and_embed([config]).warnings if each.kind == "test copies"]
        assert len(warnings) == number
    pair = {"first": rows[of_test[2]]["path"], "original": rows[of_train[-1]]["path"]}
    assert warnings[0].values == {"n": 2, "of": len(of_test), **pair}


@pytest.mark.parametrize(
    ("predictions", "hint"),
    [
        (lambda rows: rows[rows.split == "train"].assign(prediction="disc"), "; it has all images of --split train"),
        (lambda rows: ["disc"] * 50, "; as many images are in --split train"),
        (
            lambda rows: dict(zip(rows.path, rows.label, strict=True)),
            "a dict; give pandas.Series(predictions), read by",
        ),
        (lambda rows: DummyClassifier(), "predictions is a DummyClassifier; give what its predict returns"),
        (
            lambda rows: [Prediction("a.png", "disc")] * 74,
            "a class name; give [each.prediction for each in predictions]",
        ),
        (lambda rows: rows[["label", "split"]], "predictions are a table with the columns path and prediction"),
    ],
)
def test_predictions_that_are_others_say_what_is_expected(tiny, predictions, hint):
    given = predictions(pd.DataFrame(tiny.rows()))
    assert hint in line_of(dbpt.audit, tiny.table, predictions=given, **tiny.guessing)


def test_other_slips(tiny):
    rows = tiny.rows()
    sure = tiny.write("per-cent", ({"path": row["path"], "attribute": "lake", "confidence": "87.5"} for row in rows))
    line = line_of(dbpt.audit, tiny.table, pseudo_attributes=str(sure), **tiny.guessing)
    assert line.endswith("expected a probability from 0 to 1; 87.5 per cent are 0.875")
    assert "or --attributes 'column:place' for a" in line_of(dbpt.audit, tiny.table, attributes=["place"])
    urls = tiny.write("urls", (row | {"path": f"https://a.org/{row['path']}"} for row in rows))
    for line in (line_of(dbpt.load_dataset, urls), line_of(list_images, ["https://a.org/a.png"])):
        assert "a URL: download the images first" in line
    assert "not on this machine; download it, and" in line_of(dbpt.load_dataset, "https://a.org/a-{0..3}.tar")
    assert "(did you mean 'lr'?)" in line_of(dbpt.fit, tiny.table, out="run", learning_rate=0.1)
    assert "Backbone, which dbpt.load_backbone makes" in line_of(dbpt.audit, tiny.table, model=DummyClassifier())
    data = dbpt.load_dataset(tiny.table, classes={"disc": ["disc", "a photo of a ring"], "box": "box"})
    assert "classes: 'a photo of a ring' repeats the start of the template; give names without it" in data.notes


def test_data_in_memory_need_no_training_split_where_nothing_is_trained(tiny):
    data = dbpt.load_dataset(tiny.table)
    others = data.take(np.flatnonzero(~data.in_split("train")))
    assert len(dbpt.guess_attributes(others, **tiny.guessing).groups) == 56
    assert dbpt.audit(others, **tiny.guessing).figures.data.n == 32
