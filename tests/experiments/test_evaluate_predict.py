"""Using a finished run: `evaluate` on other data, `predict` on images, in Python and on the command line."""

import csv
import io
import json
import os
import shutil
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from runs import fit, metrics_of, without
from safetensors.numpy import load_file
from tiny import ATTRIBUTES

import dbpt
from dbpt import InputError
from dbpt.cli import main
from dbpt.clip import Backbone
from dbpt.data import DATASETS
from dbpt.data.words import Words
from dbpt.features import images as images_module
from dbpt.files.tensors import write_tensors


@pytest.fixture(scope="module")
def test_only(tiny):
    return tiny.write("test-only", [row for row in tiny.rows() if row["split"] == "test"])


@pytest.fixture
def copied(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "copied")


def images_of(tiny, count: int = 5) -> list:
    return [tiny.table.parent / row["path"] for row in tiny.rows()[:count]]


def test_evaluate_on_the_runs_own_data_gives_its_metrics_and_does_not_change_the_run(tiny, tiny_run):
    before = {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file()}
    result = dbpt.evaluate(tiny_run, tiny.table, cache=str(tiny.cache)).to_dict()
    row, expected = result["rows"][0], metrics_of(tiny_run)["rows"][-1]
    for split in ("val", "test"):
        for name in ("n", "worst_group_accuracy", "average", "adjusted_average", "groups"):
            assert row[split][name] == expected[split][name], (split, name)
    assert row["train"]["n"] == 50
    assert result["group_kind"] == "true"
    assert result["pseudo_quality"]["accuracy"] == metrics_of(tiny_run)["pseudo_quality"]["accuracy"]
    assert result["dataset"]["counts"] == metrics_of(tiny_run)["dataset"]["counts"]
    assert {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file()} == before


def test_evaluate_on_a_table_with_nothing_but_a_test_split(tiny, tiny_run, test_only):
    result = dbpt.evaluate(tiny_run, test_only, cache=str(tiny.cache)).to_dict()
    row = result["rows"][0]
    assert row["train"] is None
    assert row["val"] is None
    assert row["test"]["n"] == 32
    expected = metrics_of(tiny_run)["rows"][-1]["test"]["adjusted_average"]  # by the run's training images
    assert row["test"]["adjusted_average"] == expected
    assert row["test"]["average"] == metrics_of(tiny_run)["rows"][-1]["test"]["average"]
    assert result["dataset"]["counts"]["train"] == [0, 0, 0, 0]
    assert result["pseudo_quality"]["split"] == "all"


def test_the_adjusted_average_needs_training_rows_of_the_data_or_the_run(tiny, tiny_run, copied, test_only, command):
    cache = ("--cache", tiny.cache)
    code, out, _ = command("evaluate", tiny_run, test_only, *cache, "--average", "adjusted")
    assert code == 0
    assert "average and gap: adjusted, each group weighted by its share of the training images" in " ".join(out.split())
    unknown = {"dataset": {"counts": {"train": [1, 2, -3]}}}
    (copied / "metrics.json").write_text(json.dumps(metrics_of(tiny_run) | unknown))
    code, out, _ = command("evaluate", copied, test_only, *cache)
    assert "average and gap: plain, over all images" in out
    code, _, err = command("evaluate", copied, test_only, *cache, "--average", "adjusted")
    assert code == 2
    assert "--average adjusted: " in err and "choose --average plain" in err


def test_evaluate_labels_as_the_run_did(tiny, tiny_run, test_only, copied):
    config = (copied / "config.toml").read_text()
    (copied / "config.toml").write_text(config.replace("min_confidence = 0.0", "min_confidence = 0.999999"))
    found = [dbpt.evaluate(run, test_only, cache=str(tiny.cache)).metrics for run in (tiny_run, copied)]
    assert found[0].pseudo_quality.n_unlabelled == 0 < found[1].pseudo_quality.n_unlabelled


def test_evaluate_without_attributes_uses_pseudo_groups_and_says_so(tiny, tiny_run, command):
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    table = tiny.write("test-no-attribute", without(rows, "attribute"))
    result = dbpt.evaluate(tiny_run, table, cache=str(tiny.cache)).to_dict()
    assert result["group_kind"] == "pseudo"
    assert result["pseudo_quality"] is None
    tensors = load_file(tiny_run / "pseudo_attributes.safetensors")
    labels = np.array([["box", "disc"].index(row["label"]) for row in tiny.rows()])
    groups = (labels * 2 + tensors["pseudo_attributes"])[tensors["splits"] == 2]
    assert [g["n"] for g in result["rows"][0]["test"]["groups"]] == np.bincount(groups, minlength=4).tolist()
    code, out, _ = command("evaluate", tiny_run, table, "--cache", tiny.cache)
    assert code == 0
    assert "pseudo" in out


def test_evaluate_command_prints_a_table_or_json(tiny, tiny_run, test_only, command):
    code, out, err = command("evaluate", tiny_run, test_only, "--cache", tiny.cache)
    assert code == 0
    assert "worst" in out
    assert "test-only: 32 images" in err
    code, out, _ = command("evaluate", tiny_run, test_only, "--cache", tiny.cache, "--json")
    assert code == 0
    assert json.loads(out) == dbpt.evaluate(tiny_run, test_only, cache=str(tiny.cache)).to_dict()


def test_evaluate_reads_the_table_with_the_runs_words(tiny, tiny_run):
    other = tiny.write("other-words", [row | {"label": "cone"} for row in tiny.rows()])
    with pytest.raises(InputError, match=r"other-words.csv line 2: label is 'cone', expected one of 'box', 'disc'"):
        dbpt.evaluate(tiny_run, other, cache=str(tiny.cache))
    one_class = tiny.write("one-class", [row for row in tiny.rows() if row["label"] == "disc"])
    assert dbpt.evaluate(tiny_run, one_class, cache=str(tiny.cache)).to_dict()["rows"][0]["test"]["n"] == 16


def test_evaluate_refuses_known_data_sets_of_other_classes(tiny_run, copied, tmp_path, command, monkeypatch):
    code, out, err = command("evaluate", tiny_run, "celeba", "--root", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "data 'celeba': its classes are dark hair, blond hair, the run's are box, disc; evaluate on a table" in err
    config = (copied / "config.toml").read_text().splitlines()
    lines = ['data = "celeba"' if line.startswith("data = ") else line for line in config]
    (copied / "config.toml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="list_attr_celeba"):  # goes on to read it
        dbpt.evaluate(copied, "celeba", root=tmp_path)
    with pytest.raises(InputError, match="evaluate on celeba or a table of the run's classes"):
        dbpt.evaluate(copied, "waterbirds", root=tmp_path)
    known = Words({"box": ("box",), "disc": ("disc",)}, {"meadow": ("m",), "lake": ("l",)}, ("{}",), ("{}",))
    with monkeypatch.context() as patch, pytest.raises(InputError, match="list_attr_celeba"):
        patch.setattr(DATASETS["celeba"], "words", known)
        dbpt.evaluate(tiny_run, "celeba", root=tmp_path)


def test_evaluate_takes_the_runs_own_data_or_a_demo(tiny, tiny_run, tmp_path, command, monkeypatch):
    code, own, _ = command("evaluate", tiny_run, "--json")
    assert code == 0
    assert json.loads(own) == dbpt.evaluate(tiny_run).to_dict() == dbpt.evaluate(tiny_run, tiny.table).to_dict()
    refused = "Error: data 'waterbirds': its classes are landbird, waterbird, the run's are box, disc; evaluate on a "
    monkeypatch.setattr("dbpt.settings.data.write_demo", lambda name, root: root.mkdir(parents=True))
    code, _, said = command("evaluate", tiny_run, "demo", "--cache", tmp_path)
    assert (code, said.splitlines()[-1]) == (2, refused + "table of the run's classes")
    assert list(tmp_path.glob("demo/demo-waterbirds-*"))


def test_evaluate_takes_the_runs_own_root_and_another_cache(tiny, tmp_path):
    table = shutil.copy(tiny.table, tmp_path)
    run = dbpt.fit(table, root=tiny.table.parent, out=tmp_path / "run", **tiny.settings | {"epochs": 1})
    found = dbpt.evaluate(run.folder, cache=str(tmp_path / "cache"))
    assert found.metrics.rows[0].test == run.metrics.rows[-1].test
    assert list((tmp_path / "cache").iterdir())


def test_evaluate_takes_the_option_that_its_error_advises(tiny, tiny_run, command):
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    (tiny.table.parent / "no-image.png").write_text("no image")
    table = tiny.write("one-bad", [*rows, rows[0] | {"path": "no-image.png"}])
    code, _, err = command("evaluate", tiny_run, table, "--cache", tiny.cache)
    assert code == 2
    assert "more than --max-failures 0.01 allows" in err
    code, out, _ = command("evaluate", tiny_run, table, "--cache", tiny.cache, "--max-failures", "0.1", "--json")
    assert code == 0
    assert json.loads(out)["failed_images"] == 1


def test_evaluate_misses_a_tokenizer_before_it_embeds(tiny, copied, test_only, monkeypatch):
    description = json.loads((copied / "run.json").read_text())
    description["backbone"]["tokenizer"] = {"kind": "file", "path": "gone.json", "sha256": "0"}
    (copied / "run.json").write_text(json.dumps(description))
    monkeypatch.setattr("dbpt.experiments.evaluate.readable_rows", None)
    with pytest.raises(InputError, match=r"gone\.json: cannot read the tokenizer: No such file"):
        dbpt.evaluate(copied, test_only, cache=str(tiny.cache))
    assert next(dbpt.load(copied).predict(images_of(tiny, 1))).error is None


def test_evaluate_shows_training_rows_where_there_are_no_others(tiny, tiny_run, command):
    table = tiny.write("train-only", [row for row in tiny.rows() if row["split"] == "train"])
    code, out, _ = command("evaluate", tiny_run, table, "--cache", tiny.cache)
    assert code == 0
    assert out.startswith("train-only: training split, 50 images (no other split;")


def test_predict_gives_what_the_metrics_say(tiny, tiny_run):
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    predictions = list(dbpt.load(tiny_run).predict([tiny.table.parent / row["path"] for row in rows]))
    right = [prediction.prediction == row["label"] for prediction, row in zip(predictions, rows, strict=True)]
    assert np.mean(right) == metrics_of(tiny_run)["rows"][-1]["test"]["average"]
    assert all(prediction.error is None for prediction in predictions)
    probabilities = np.stack([prediction.probabilities for prediction in predictions])
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert [["box", "disc"][i] for i in probabilities.argmax(1)] == [p.prediction for p in predictions]


def test_bad_images_get_an_error_in_their_place(tiny, tiny_run, tmp_path):
    (tmp_path / "bad.jpg").write_text("no image")
    good = images_of(tiny, 3)
    images = [good[0], tmp_path / "bad.jpg", good[1], tmp_path / "none.png", "nul\0.png", good[2]]
    classifier = dbpt.load(tiny_run)
    predictions = list(classifier.predict(images, batch_size=3))
    assert [p.path for p in predictions] == [str(image) for image in images]
    assert [p.error is not None for p in predictions] == [False, True, False, True, True, False]
    assert predictions[1].error.startswith("not a JPEG")
    assert predictions[1].prediction is None
    assert predictions[1].probabilities is None
    alone = [next(classifier.predict([image], batch_size=3)) for image in good]
    for one, other in zip(alone, [p for p in predictions if p.error is None], strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=0, atol=5e-5)


def test_predict_fills_the_last_batch_to_a_power_of_two(tiny, tiny_run, monkeypatch):
    classifier, sizes = dbpt.load(tiny_run), []
    encode = Backbone.encode_image
    monkeypatch.setattr(Backbone, "encode_image", lambda self, batch: sizes.append(len(batch)) or encode(self, batch))
    images = images_of(tiny, 35)
    for count, batch_size, expected in ((35, None, [16, 16, 4]), (1, None, [1]), (5, None, [8]), (11, 6, [6, 6])):
        sizes.clear()
        assert len(list(classifier.predict(images[:count], batch_size=batch_size))) == count
        assert sizes == expected
    sizes.clear()
    assert [p.error is None for p in classifier.predict([tiny.table, tiny.model])] == [False, False]
    assert sizes == []


def test_predict_decodes_in_threads(tiny, tiny_run, monkeypatch):
    names, decode = set(), images_module.decode_image
    noted = lambda file: names.add(threading.current_thread().name) or decode(file)  # noqa: E731
    monkeypatch.setattr(images_module, "decode_image", noted)
    assert all(p.error is None for p in dbpt.load(tiny_run).predict(images_of(tiny, 9)))
    assert {name.rpartition("_")[0] for name in names} == {"dbpt-decode"}
    assert not any(thread.name.startswith("dbpt-decode") for thread in threading.enumerate())


def test_predict_gives_the_same_bytes_again_and_nearly_the_same_alone(tiny, tiny_run, tmp_path):
    classifier, images = dbpt.load(tiny_run), images_of(tiny, 21)
    once, again = ([p.probabilities for p in classifier.predict(images)] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    alone = [next(classifier.predict([image])).probabilities for image in images]
    # in a batch of another size a product may round otherwise, in the last digits of a feature; logits multiply that
    np.testing.assert_allclose(once, alone, rtol=0, atol=2e-4)
    assert np.argmax(once, axis=1).tolist() == np.argmax(alone, axis=1).tolist()
    damaged = [*images[:3], tmp_path / "gone.png", *images[4:]]
    beside = [p.probabilities for p in classifier.predict(damaged)]
    assert beside.pop(3) is None
    np.testing.assert_array_equal(np.delete(once, 3, 0), beside)


def test_predict_takes_one_path_or_any_iterable_and_checks_at_once(tiny, tiny_run):
    classifier, (first, second) = dbpt.load(tiny_run), images_of(tiny, 2)
    alone = classifier.predict(str(first))
    assert alone.path == str(first)
    assert alone.prediction == next(classifier.predict(iter([first, second]))).prediction
    with pytest.raises(InputError, match="batch_size is 0, expected at least 1"):
        classifier.predict(first, batch_size=0)
    with pytest.raises(InputError, match="^images is empty; expected a path, a folder, "):
        classifier.predict([])


def test_predict_takes_images_in_memory_among_paths(tiny, tiny_run, tmp_path):
    """Pixels give what their file does, in the same places of a batch."""
    classifier, paths = dbpt.load(tiny_run), images_of(tiny, 6)
    pictures = [Image.open(path) for path in paths]
    arrays = [np.asarray(picture.convert("RGB")) for picture in pictures]
    tensors = [torch.from_numpy(array.copy()).permute(2, 0, 1) for array in arrays]
    mixed = [str(paths[0]), pictures[1], arrays[2], tensors[3], tensors[4] / 255, paths[5]]
    expected = [found.probabilities for found in classifier.predict(paths)]
    for images in (mixed, np.stack(arrays), torch.stack(tensors), iter(pictures)):
        found = list(classifier.predict(images))
        np.testing.assert_array_equal([each.probabilities for each in found], expected)
    assert [each.path for each in classifier.predict(mixed)] == [str(paths[0]), None, None, None, None, str(paths[5])]
    for image in (paths[0], pictures[0], arrays[0], tensors[0]):  # one image, one prediction
        assert classifier.predict(image).prediction == found[0].prediction
    (tmp_path / "folder").mkdir()
    pictures[0].save(tmp_path / "folder" / "0.png")
    for images in (tmp_path / "folder", [paths[0]], arrays[0][None], tensors[0][None]):
        assert [each.prediction for each in classifier.predict(images)] == [found[0].prediction]
    grey = classifier.predict(Image.new("F", (9, 9)))
    assert grey.error == "pixels of mode F, whose range isn't known; save it as 8-bit RGB"


def test_pseudo_attributes_of_predictions_are_those_of_the_runs_words(tiny, tiny_run, command):
    classifier, images = dbpt.load(tiny_run), [*images_of(tiny, 5), tiny.table]
    predictions = list(classifier.predict(images, attributes=True))
    pixels = torch.stack([classifier.backbone.preprocess(Image.open(image)) for image in images[:5]])
    features = classifier.backbone.encode_image(pixels)
    logits = dbpt.zero_shot_logits(classifier.backbone, features.numpy(), *classifier.words.attribute_texts())
    expected = dbpt.label_attributes(logits, method="argmax")
    for found, label, posterior in zip(predictions, expected.pseudo_attributes, expected.posterior, strict=False):
        assert found.pseudo_attribute == ATTRIBUTES[label]
        np.testing.assert_allclose(found.attribute_probabilities, posterior, atol=1e-4)
    assert (predictions[-1].pseudo_attribute, predictions[-1].attribute_probabilities) == (None, None)
    assert next(classifier.predict(images)).pseudo_attribute is None
    code, out, _ = command("predict", tiny_run, *images, "--with-attribute")
    *good, bad = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert ",".join(bad) == "path,prediction,p_box,p_disc,pseudo_attribute,confidence,error"
    assert [row["pseudo_attribute"] for row in good] == [found.pseudo_attribute for found in predictions[:-1]]
    assert [float(row["confidence"]) for row in good] == pytest.approx(
        [found.attribute_probabilities.max() for found in predictions[:-1]], abs=1e-6
    )
    assert (bad["confidence"], bad["error"][:9]) == ("", "not a JPE")


def test_predict_command_writes_csv_for_files_folders_and_a_list(tiny, tiny_run, tmp_path, command, monkeypatch):
    files = images_of(tiny, 2)
    code, out, err = command("predict", tiny_run, *files)
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["path", "prediction", "p_box", "p_disc", "error"]
    assert [row["path"] for row in rows] == [str(file) for file in files]
    assert all(float(row["p_box"]) + float(row["p_disc"]) == pytest.approx(1, abs=2e-6) for row in rows)
    assert all(row["prediction"] in ("box", "disc") for row in rows)

    code, listed, _ = command("predict", tiny_run, tiny.table.parent / "val")
    paths = [row["path"] for row in csv.DictReader(io.StringIO(listed))]
    assert paths == sorted(str(path) for path in (tiny.table.parent / "val").iterdir())
    assert len(paths) == 24

    for end in ("\n", "\r\n"):
        listed = io.BytesIO((end.join(map(str, files)) + 2 * end).encode())
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(listed))
        assert command("predict", tiny_run, "-") == (0, out, "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    said = "Error: -: standard input names no image; give a file on each line\n"
    assert command("predict", tiny_run, "-") == (2, "", said)

    table = tmp_path / "p.csv"
    assert command("predict", tiny_run, *files, "--out", table) == (0, "", f"2 predictions written to {table}\n")
    assert table.read_text() == out
    table.write_text("older")
    assert command("predict", tiny_run, *files, "--out", table, "--overwrite", "-q") == (0, "", "")
    assert table.read_text() == out


def test_predict_command_marks_bad_images_and_goes_on(tiny, tiny_run, tmp_path, command):
    (tmp_path / "bad, or not.jpg").write_text("no image")
    code, out, err = command("predict", tiny_run, tmp_path / "bad, or not.jpg", *images_of(tiny, 1))
    assert (code, err) == (0, "warning: 1 of 2 images can't be read; the column error says why\n")
    bad, good = csv.DictReader(io.StringIO(out))
    assert bad["path"] == str(tmp_path / "bad, or not.jpg")
    assert (bad["prediction"], bad["p_box"]) == ("", "")
    assert bad["error"].startswith("not a JPEG")
    assert good["error"] == ""


def test_predict_command_refuses_in_one_line(tiny, tiny_run, tmp_path, command):
    (tmp_path / "empty").mkdir()
    (tmp_path / "p.csv").write_text("precious")
    image = images_of(tiny, 1)[0]
    for arguments, message in (
        ((tiny_run,), "no image is named"),
        ((tiny_run, tmp_path / "empty"), "holds no image file"),
        ((tiny_run, image, "--out", tmp_path / "p.csv"), "exists; choose another name"),
        ((tiny_run, image, "--out", tmp_path / "none" / "p.csv"), "there is no folder"),
        ((tmp_path / "empty", image), "not a run folder (no run.json)"),
        ((tiny_run, image, "--device", "meta"), "--device 'meta': not usable here"),
    ):
        code, out, err = command("predict", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("Error: ")
        assert message in err
        assert err.count("\n") == 1
    assert (tmp_path / "p.csv").read_text() == "precious"


def test_predict_command_writes_nothing_if_no_image_can_be_read(tiny_run, tmp_path, command):
    (tmp_path / "p.csv").write_text("precious")
    for out in ((), ("--out", tmp_path / "new.csv"), ("--out", tmp_path / "p.csv", "--overwrite")):
        code, printed, err = command("predict", tiny_run, tmp_path / "gone.png", "x" * 5000 + ".png", *out)
        assert (code, printed) == (2, "")
        reason = f"{tmp_path / 'gone.png'}: No such file or directory"
        assert err == f"Error: no image of 2 can be read; the first: {reason}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    assert (tmp_path / "p.csv").read_text() == "precious"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_file_names_that_are_not_utf8_keep_their_bytes(tiny, tiny_run, tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    name = os.path.join(os.fsencode(folder), b"a\xff.png")  # noqa: PTH118 (bytes)
    shutil.copy(images_of(tiny, 1)[0], name)
    for encoding, image, listed in (("utf-8", str(folder), b""), ("cp1252", "-", name + b"\n")):
        printed = io.BytesIO()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed), encoding))
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(printed, encoding))
        main(["predict", str(tiny_run), image])
        sys.stdout.flush()
        assert printed.getvalue().splitlines()[1].startswith(name + b",")
    main(["predict", str(tiny_run), str(folder), "--out", str(tmp_path / "p.csv")])
    assert (tmp_path / "p.csv").read_bytes().splitlines()[1].startswith(name + b",")


def damage_status(run):
    description = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(description | {"status": "training"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_status, "this run is not finished; finish it with: dbpt fit --resume --out "),
        (lambda run: (run / "run.json").unlink(), "not a run folder"),
        (lambda run: (run / "run.json").write_text("{"), "run.json: not readable as JSON"),
        (lambda run: (run / "run.json").write_text("[]"), "run.json: is not a JSON object"),
        (lambda run: (run / "run.json").write_text('{"schema_version": 0}'), "run.json: not of schema version 1"),
        (lambda run: (run / "run.json").write_text('{"schema_version": 9}'), "run.json: written by a newer dbpt"),
        (lambda run: (run / "classifier.safetensors").unlink(), "cannot read the classifier: No such file"),
        (lambda run: (run / "classifier.safetensors").write_bytes(b"\x80\x04x"), "not a readable classifier"),
        (lambda run: (run / "prompt.safetensors").rename(run / "classifier.safetensors"), "not a readable classifier"),
    ],
)
def test_damaged_or_unfinished_runs_are_refused_in_one_line(tiny, copied, command, damage, message):
    damage(copied)
    for arguments in (("predict", copied, images_of(tiny, 1)[0]), ("evaluate", copied, tiny.table)):
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("Error: ")
        assert message in err
        assert err.count("\n") == 1


def test_moved_weights_can_be_named(tiny, tiny_run, tmp_path):
    moved = shutil.copy(tiny.weights, tmp_path / "moved.safetensors")
    assert dbpt.load(tiny_run, weights=moved).backbone.spec["weights"]["path"] == str(moved)


def test_classifier_of_other_classes_is_refused(copied):
    tensors = load_file(copied / "classifier.safetensors") | {"weights": np.zeros((3, 16), dtype=np.float32)}
    write_tensors(copied / "classifier.safetensors", tensors, version=1)
    with pytest.raises(InputError, match=r"weights of shape \(3, 16\), but the run has 2 classes and embed_dim 16"):
        dbpt.load(copied)


def test_a_model_with_a_logit_bias_goes_through(tiny, tmp_path):
    """The bias shifts all logits alike, so it must not change predictions."""
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file

    config = json.loads(tiny.model.read_text()) | {"init_logit_bias": 0.0}
    (tmp_path / "biased.json").write_text(json.dumps(config))
    state = load_torch(tiny.weights)
    save_file(state | {"logit_bias": state["logit_scale"] * 0 - 10}, tmp_path / "biased.safetensors")
    run = fit(tiny, tmp_path / "run", model=tmp_path / "biased.json", pretrained=tmp_path / "biased.safetensors")
    assert load_file(run / "classifier.safetensors")["logit_bias"] == -10
    prediction = next(dbpt.load(run).predict(images_of(tiny, 1)))
    assert prediction.probabilities.sum() == pytest.approx(1)
