"""`predict` with a finished run: of files, folders, lists and images in memory, in Python and on the command line."""

import csv
import io
import os
import shutil
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from runs import metrics_of
from tiny import ATTRIBUTES

import dbpt
from dbpt import InputError
from dbpt.cli import main
from dbpt.clip import Backbone
from dbpt.features import images as images_module


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
    good = tiny.images(3)
    images = [good[0], tmp_path / "bad.jpg", good[1], tmp_path / "none.png", "nul\0.png", good[2]]
    classifier = dbpt.load(tiny_run)
    predictions = list(classifier.predict(images, batch_size=3))
    assert [p.path for p in predictions] == [str(image) for image in images]
    assert [p.error is not None for p in predictions] == [False, True, False, True, True, False]
    assert predictions[1].error.startswith("not a JPEG")
    assert predictions[1].prediction is None
    assert predictions[1].probabilities is None


def test_predict_fills_the_last_batch_to_a_power_of_two(tiny, tiny_run, monkeypatch):
    classifier, sizes = dbpt.load(tiny_run), []
    encode = Backbone.encode_image
    monkeypatch.setattr(Backbone, "encode_image", lambda self, batch: sizes.append(len(batch)) or encode(self, batch))
    images = tiny.images(35)
    for count, batch_size, expected in ((35, None, [16, 16, 4]), (1, None, [1]), (5, None, [8]), (11, 6, [6, 6])):
        sizes.clear()
        assert len(list(classifier.predict(images[:count], batch_size=batch_size))) == count
        assert sizes == expected
    sizes.clear()
    assert [p.error is None for p in classifier.predict([tiny.table, tiny.model])] == [False, False]
    assert sizes == []


def test_predict_decodes_in_threads(tiny, tiny_run, monkeypatch):
    names, decode = set(), images_module.decode_image
    noted = lambda *given: names.add(threading.current_thread().name) or decode(*given)  # noqa: E731
    monkeypatch.setattr(images_module, "decode_image", noted)
    assert all(p.error is None for p in dbpt.load(tiny_run).predict(tiny.images(9)))
    assert {name.rpartition("_")[0] for name in names} == {"dbpt-decode"}
    assert not any(thread.name.startswith("dbpt-decode") for thread in threading.enumerate())


def test_predict_gives_the_same_bytes_again_and_nearly_the_same_alone(tiny, tiny_run, tmp_path):
    classifier, images = dbpt.load(tiny_run), tiny.images(21)
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
    classifier, (first, second) = dbpt.load(tiny_run), tiny.images(2)
    alone = classifier.predict(str(first))
    assert alone.path == str(first)
    assert alone.prediction == next(classifier.predict(iter([first, second]))).prediction
    for size in (0, "a"):
        with pytest.raises(InputError, match=f"batch_size is {size!r}; expected"):
            classifier.predict(first, batch_size=size)
    with pytest.raises(InputError, match="images is a DataFrame; give its column of paths"):
        classifier.predict(pd.DataFrame({"path": [str(first)]}))
    with pytest.raises(InputError, match="^images is empty; expected a path, a folder, "):
        classifier.predict([])


def test_predict_takes_images_in_memory_among_paths(tiny, tiny_run, tmp_path):
    """Pixels give what their file does, in the same places of a batch."""
    classifier, paths = dbpt.load(tiny_run), tiny.images(6)
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
    classifier, images = dbpt.load(tiny_run), [*tiny.images(5), tiny.table]
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
    files = tiny.images(2)
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


def test_predict_command_marks_bad_images_and_goes_on(tiny, tiny_run, tmp_path, command):
    (tmp_path / "bad, or not.jpg").write_text("no image")
    code, out, err = command("predict", tiny_run, tmp_path / "bad, or not.jpg", *tiny.images(1))
    assert (code, err) == (0, "warning: 1 of 2 images can't be read; the column error says why\n")
    bad, good = csv.DictReader(io.StringIO(out))
    assert bad["path"] == str(tmp_path / "bad, or not.jpg")
    assert (bad["prediction"], bad["p_box"]) == ("", "")
    assert bad["error"].startswith("not a JPEG")
    assert good["error"] == ""


def test_predict_command_refuses_in_one_line(tiny_run, tmp_path, refusal):
    assert "no image is named" in refusal("predict", tiny_run)
    assert "holds no image file" in refusal("predict", tiny_run, tmp_path)


def test_predict_command_writes_nothing_if_no_image_can_be_read(tiny_run, tmp_path, refusal):
    (tmp_path / "p.csv").write_text("precious")
    for out in ((), ("--out", tmp_path / "new.csv"), ("--out", tmp_path / "p.csv", "--overwrite")):
        line = refusal("predict", tiny_run, tmp_path / "gone.png", "x" * 5000 + ".png", *out)
        reason = f"no image of 2 can be read; the first: {tmp_path / 'gone.png'}: No such file or directory"
        assert line == f"{reason}; name images, or folders of them"
    said = refusal("predict", tiny_run, tmp_path / "p.csv")
    assert f"one a line, write dbpt predict {tiny_run} - < LIST" in said
    assert f"dbpt audit TABLE --predictions {tiny_run} --out" in said
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    assert (tmp_path / "p.csv").read_text() == "precious"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_file_names_that_are_not_utf8_keep_their_bytes(tiny, tiny_run, tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    name = os.path.join(os.fsencode(folder), b"a\xff.png")  # noqa: PTH118 (bytes)
    shutil.copy(tiny.images(1)[0], name)
    for image in (str(folder), "-"):
        printed = io.BytesIO()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(name + b"\n"), "utf-8"))
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(printed, "utf-8"))
        main(["predict", str(tiny_run), image])
        sys.stdout.flush()
        assert printed.getvalue().splitlines()[1].startswith(name + b",")
    main(["predict", str(tiny_run), str(folder), "--out", str(tmp_path / "p.csv")])
    assert (tmp_path / "p.csv").read_bytes().splitlines()[1].startswith(name + b",")
