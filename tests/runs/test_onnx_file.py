"""A classifier as one ONNX file, and the example that classifies a folder with it."""

import csv
import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from classifiers import classifier_of, preprocessed, probabilities_of
from PIL import Image
from test_examples import EXAMPLES, printed

import dbpt
import dbpt.data.demo
from dbpt import InputError
from dbpt.clip.preprocessing import default_preprocess, image_preprocessing


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder of the demo's pictures, a classifier of groups with the demo's CLIP, and its ONNX file."""
    folder = tmp_path_factory.mktemp("demo")
    pictures = dbpt.data.demo._write("demo-waterbirds", folder / "birds", 0, (12, 4, 4))
    classifier = classifier_of(dbpt.load_backbone(*dbpt.data.demo.mini_clip_paths()), "linear", "group")
    classifier.to_onnx(folder / "model.onnx")
    return SimpleNamespace(pictures=pictures, classifier=classifier, file=folder / "model.onnx")


def test_onnxruntime_says_what_predict_says_for_any_number_of_images(demo):
    session = onnxruntime.InferenceSession(demo.file)
    paths = sorted(demo.pictures.rglob("*.jpg"))
    expected, images = probabilities_of(demo.classifier, paths), preprocessed(demo.classifier, paths).numpy()
    for number in (1, len(paths)):
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images[:number]})
        np.testing.assert_allclose(probabilities, expected[:number], atol=1e-4)
        np.testing.assert_allclose(torch.from_numpy(logits).softmax(dim=1), probabilities, atol=1e-6)
    (images_of_file,), outputs = session.get_inputs(), session.get_outputs()
    assert (images_of_file.name, images_of_file.shape) == ("images", ["batch", 3, 64, 64])
    assert [(output.name, output.shape, output.type) for output in outputs] == [
        ("logits", ["batch", 3], "tensor(float)"),
        ("probabilities", ["batch", 3], "tensor(float)"),
    ]


def test_the_file_is_one_with_classes_and_preprocessing_and_no_paths(demo):
    assert [path.name for path in demo.file.parent.iterdir() if path.is_file()] == ["model.onnx"]
    model = onnx.load(demo.file)
    onnx.checker.check_model(model)
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == {
        "classes": ["disc", "box", "star"],
        "attributes": ["meadow", "lake", "sand"],
        "preprocessing": {"size": [64, 64], **demo.classifier.backbone.spec["preprocess"]},
        "dbpt_version": dbpt.__version__,
    }
    content = demo.file.read_bytes()
    assert [word for word in (b".py", b"torch/", str(Path.home()).encode() + b"/") if word in content] == []


def test_the_example_classifies_a_folder_as_predict_does(demo, tmp_path):
    rows = list(csv.DictReader(printed(tmp_path, EXAMPLES / "classify_with_onnx.py", demo.file, demo.pictures)))
    found = list(demo.classifier.predict(demo.pictures))
    assert [(row["path"], row["prediction"]) for row in rows] == [(each.path, each.prediction) for each in found]
    probabilities = [[float(row[f"p_{name}"]) for name in demo.classifier.class_names] for row in rows]
    np.testing.assert_allclose(probabilities, [each.probabilities for each in found], atol=1e-4)


def test_the_example_needs_neither_torch_nor_dbpt(tmp_path):
    code = f"import runpy, sys; runpy.run_path({str(EXAMPLES / 'classify_with_onnx.py')!r}); print(*sys.modules)"
    (line,) = printed(tmp_path, "-c", code)
    assert {"torch", "dbpt", "torchvision", "open_clip"} & set(line.split()) == set()


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (25, 16)])
@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA", "CMYK"])
def test_the_example_prepares_images_as_open_clip_does(tmp_path, size, mode, kind):
    prepared = runpy.run_path(str(EXAMPLES / "classify_with_onnx.py"))["prepared"]
    settings = default_preprocess() | {"resize_mode": mode, "interpolation": "bilinear", "fill_color": 200}
    model = SimpleNamespace(visual=SimpleNamespace(image_size=size))
    for number, shape in enumerate([(31, 47), (90, 41), (16, 16), (7, 11)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*shape, 4), dtype=np.uint8)
        image = Image.fromarray(pixels, "RGBA" if kind != "CMYK" else "CMYK").convert(kind)
        image.save(file := tmp_path / f"{number}.tif")
        expected = image_preprocessing(model, settings)(image)
        np.testing.assert_allclose(prepared(file, {**settings, "size": size}), expected, atol=1e-5)


def test_the_example_takes_16_bits_as_predict_does_and_leaves_bad_files_out(tiny_run, tmp_path):
    classifier = dbpt.load(tiny_run)
    classifier.to_onnx(tmp_path / "model.onnx")
    (folder := tmp_path / "images").mkdir()
    grey = np.random.default_rng(0).integers(0, 65536, (40, 30), dtype=np.uint16)
    Image.fromarray(grey).save(folder / "deep.png")
    (folder / "bad.png").write_text("no image")
    lines = printed(tmp_path, EXAMPLES / "classify_with_onnx.py", tmp_path / "model.onnx", folder)
    assert len(lines) == 2 and (tmp_path / "errors.txt").read_text().count("left out") == 1
    found = [float(each) for each in lines[1].split(",")[2:]]
    np.testing.assert_allclose(found, classifier.predict(folder / "deep.png").probabilities, atol=1e-4)
    printed(tmp_path, EXAMPLES / "classify_with_onnx.py", returncode=1)


def test_the_command_writes_the_file_and_says_so(tiny, tiny_run, tmp_path, command):
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(tiny.weights.read_bytes())
    file = tmp_path / "model.onnx"
    code, out, err = command("export", tiny_run, "--onnx", file, "--weights", moved)
    assert (code, out, err) == (0, "", f"{file}: image tower and head; onnxruntime gives the same results as torch\n")
    classifier, images = dbpt.load(tiny_run), tiny.images(5)
    (found,) = onnxruntime.InferenceSession(file).run(
        ["probabilities"], {"images": preprocessed(classifier, images).numpy()}
    )
    np.testing.assert_allclose(found, probabilities_of(classifier, images), atol=1e-4)


def test_the_command_refuses_what_it_cannot_write_before_it_loads(tiny, tiny_run, tmp_path, refusal, monkeypatch):
    run, weights = shutil.copytree(tiny_run, tmp_path / "run"), shutil.copy(tiny.weights, tmp_path / "weights.onnx")
    for file in (tmp_path / "old.onnx", run / "mine.onnx"):
        file.write_text("precious")
    unknown = refusal("export", tmp_path / "no-run", "--onnx", tmp_path / "new.onnx")
    assert unknown.startswith(f"{tmp_path / 'no-run'}: ")
    monkeypatch.setattr("dbpt.runs.run_folder.load", None)
    for file, flags, told in (
        (tmp_path / "old.onnx", [], "exists"),
        (run / "mine.onnx", ["--overwrite"], f"is in the folder {run} that this command reads"),
        (weights, ["--overwrite", "--weights", weights], "is a file that this command reads"),
        (tmp_path / "new.txt", [], "is written as ONNX; choose a name that ends in .onnx"),
    ):
        assert refusal("export", run, "--onnx", file, *flags).startswith(f"--onnx {file}: {told}")
    assert (tmp_path / "old.onnx").read_text() == "precious"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_line(tiny_backbone, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"^--onnx needs {package}; run pip install onnx onnxruntime onnxscript$"):
        classifier_of(tiny_backbone, "linear", "class").to_onnx(tmp_path / "model.onnx")


INTERRUPT = Mock(side_effect=KeyboardInterrupt("stop"))
FAIL = Mock(side_effect=RuntimeError("no such\noperator"))


class Zeros:
    """A runtime whose results are all 0."""

    def __init__(self, *_, **__):
        pass

    def run(self, _, inputs):
        return 2 * [np.zeros((len(inputs["images"]), 3), np.float32)]


@pytest.mark.parametrize(
    ("where", "instead", "told"),
    [
        ("dbpt.runs.exports.MOST_BYTES", 1000, "the model has 0.0 GB, and an ONNX file at most 2; use to_torch"),
        ("torch.onnx.export", FAIL, "torch can't export this model (RuntimeError: no such operator); use to_torch"),
        ("onnxruntime.InferenceSession", Zeros, "the results of onnxruntime differ from torch's; use to_torch"),
        ("torch.onnx.export", INTERRUPT, None),
        pytest.param("os.fsync", INTERRUPT, None, marks=pytest.mark.full),
    ],
)
def test_after_a_failure_the_folder_is_as_before(tiny_backbone, tmp_path, monkeypatch, where, instead, told):
    file = tmp_path / "model.onnx"
    file.write_text("precious")
    monkeypatch.setattr(where, instead)
    with pytest.raises(InputError if told else KeyboardInterrupt) as error:
        classifier_of(tiny_backbone, "adapter", "class").to_onnx(file, overwrite=True)
    assert str(error.value) == (f"--onnx {file}: {told}" if told else "stop")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.onnx", "precious")]


def test_the_exporter_is_silent(tiny_backbone, tmp_path, capfd, caplog):
    classifier_of(tiny_backbone, "adapter", "group").to_onnx(tmp_path / "model.onnx")
    assert tuple(capfd.readouterr()) == ("", "")
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []
