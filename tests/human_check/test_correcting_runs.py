"""`--label-noise`: from the labels of a person to another run, whose counts, weights and accuracies they correct."""

import json

import numpy as np
import pytest
from runs import contents, groups_of, metrics_of
from test_label import judged, true_answers
from tiny import ATTRIBUTES

import dbpt
from dbpt import InputError
from dbpt.pseudo_attributes.judged import error_rates, read_label_noise
from dbpt.report.label_noise import NOISE_CAVEAT

CLASSES = ("box", "disc")
CHOSEN = {"head": "linear", "epochs": 3, "batch_size": 0}


@pytest.fixture(scope="module")
def noise_file(tiny, tiny_run, tmp_path_factory):
    """What a person finds who labels all 50 training images; tests copy it."""
    folder = tmp_path_factory.mktemp("noise")
    dbpt.draw_label_sample(tiny_run, out=folder / "sample", split="train", cache=str(tiny.cache))
    judged(folder / "sample", true_answers(tiny, folder / "sample"))
    return folder / "sample" / "judged.json"


def changed(noise_file, path, **entries):
    value = json.loads(noise_file.read_text())
    path.write_text(json.dumps(value | entries))
    return path


def noisy(noise_file, path):
    """A file in which a quarter of the first pseudo-group, and half of the others, are wrong."""
    sizes = np.array(json.loads(noise_file.read_text())["confusion"]).sum(axis=2)
    wrong = sizes * [[0.25, 0.5], [0.5, 0.25]]
    confusion = np.stack(
        [np.diag(right) + np.fliplr(np.diag(w)) for right, w in zip(sizes - wrong, wrong, strict=True)]
    )
    return changed(noise_file, path, confusion=confusion.tolist(), n_judged=[[50, 50], [50, 50]])


def fit(tiny, out, data=None, **settings):
    return dbpt.fit(data or tiny.table, out=out, **{**tiny.settings, **CHOSEN, **settings}).folder


def test_the_file_counts_true_attributes_by_pseudo_attribute(tiny, noise_file):
    value = json.loads(noise_file.read_text())
    confusion = np.array(value["confusion"])
    assert confusion.sum() == np.sum(value["n_judged"]) == 50
    truth = {(row["label"], row["attribute"]): 0 for row in tiny.rows()}
    for row in tiny.rows():
        truth[row["label"], row["attribute"]] += row["split"] == "train"
    assert confusion.sum(axis=1).tolist() == [[truth[label, a] for a in ATTRIBUTES] for label in CLASSES]


def test_labels_without_errors_change_no_byte_and_wrong_ones_do(tiny, noise_file, tmp_path):
    right = np.array(json.loads(noise_file.read_text())["confusion"]).sum(axis=2)
    exact = changed(noise_file, tmp_path / "exact.json", confusion=[np.diag(sizes).tolist() for sizes in right])
    plain, same = fit(tiny, tmp_path / "plain"), fit(tiny, tmp_path / "same", label_noise=exact)
    assert contents(plain) == contents(same)
    assert metrics_of(plain)["label_noise"] is None
    counts = metrics_of(same)["dataset"]["train_counts_pseudo"]
    np.testing.assert_allclose(metrics_of(same)["label_noise"]["train_counts"], counts)

    file = noisy(noise_file, tmp_path / "noisy.json")
    other = fit(tiny, tmp_path / "other", label_noise=file)
    weights, before = ([float(row["group_weight"]) for row in groups_of(run)] for run in (other, plain))
    assert weights[1] > before[1]
    assert contents(plain)["classifier.safetensors"] != contents(other)["classifier.safetensors"]
    corrected = metrics_of(other)["label_noise"]["train_counts"]
    assert sum(corrected) == pytest.approx(sum(counts))
    assert "smallest training group" in str(dbpt.Result.read(other))
    report = (other / "report.html").read_text()
    assert "Corrected for label noise" in report
    assert "Corrected for label noise" not in (plain / "report.html").read_text()


def test_accuracies_over_pseudo_groups_are_corrected(tiny, noise_file, tmp_path):
    table = tiny.write("noise_unlabelled", [{**row, "attribute": ""} for row in tiny.rows()])
    file = noisy(noise_file, tmp_path / "noisy.json")
    run = fit(tiny, tmp_path / "run", table, label_noise=file)
    metrics = metrics_of(run)
    noise = read_label_noise(file, CLASSES, ATTRIBUTES).noise
    for row in metrics["rows"]:
        for split in ("val", "test"):
            groups = row[split]["groups"]
            mixed = noise.among(np.array([group["n"] for group in groups]))
            expected = mixed.true_accuracies(np.array([group["accuracy"] for group in groups], dtype=float))
            np.testing.assert_allclose(np.array(row["corrected"][split], dtype=float), expected)
    assert "worst group, corrected for label noise:" in str(dbpt.Result.read(run))
    assert metrics_of(fit(tiny, tmp_path / "true", label_noise=file))["rows"][0]["corrected"] is None


def test_evaluate_corrects_with_what_the_run_found_or_with_a_file(tiny, noise_file, tmp_path, command):
    table = tiny.write("noise_unlabelled", [{**row, "attribute": ""} for row in tiny.rows()])
    file = noisy(noise_file, tmp_path / "noisy.json")
    run = fit(tiny, tmp_path / "run", table, label_noise=file)
    of_run = metrics_of(run)["rows"][-1]["corrected"]
    file = file.rename(tmp_path / "moved.json")  # the run has its content
    found = dbpt.evaluate(run).to_dict()
    assert {split: found["rows"][0]["corrected"][split] for split in of_run} == of_run
    assert found["label_noise"] == metrics_of(run)["label_noise"]
    plain = fit(tiny, tmp_path / "plain", table)
    assert dbpt.evaluate(plain).to_dict()["rows"][0]["corrected"] is None
    by_file = dbpt.evaluate(plain, label_noise=file).to_dict()
    noise = read_label_noise(file, CLASSES, ATTRIBUTES).noise
    for split, corrected in by_file["rows"][0]["corrected"].items():
        groups = by_file["rows"][0][split]["groups"]
        mixed = noise.among(np.array([group["n"] for group in groups]))
        expected = mixed.true_accuracies(np.array([group["accuracy"] for group in groups], dtype=float))
        np.testing.assert_allclose(np.array(corrected, dtype=float), expected)
    assert by_file["rows"][0]["corrected"] != dbpt.evaluate(run, tiny.table).to_dict()["rows"][0]["corrected"] is None
    code, printed, _ = command("evaluate", plain, "--label-noise", file)
    told = " ".join(printed.split())
    assert code == 0 and "worst group, corrected for label noise: dbpt" in told and NOISE_CAVEAT in told
    with pytest.raises(InputError, match=r"moved.json: is about the classes"):
        changed(noise_file, file, dataset={"name": "x", "classes": ["a", "b"], "attributes": list(ATTRIBUTES)})
        dbpt.evaluate(plain, label_noise=file)


def test_what_a_run_found_says_nothing_of_attributes_from_elsewhere(tiny, noise_file, tmp_path):
    table = tiny.write("noise_unlabelled", [{**row, "attribute": ""} for row in tiny.rows()])
    chosen = {"pseudo_attributes": tiny.table, "label_noise": noisy(noise_file, tmp_path / "noisy.json")}
    run = fit(tiny, tmp_path / "run", table, **chosen)
    assert dbpt.evaluate(run).to_dict()["label_noise"] is not None
    assert (
        dbpt.evaluate(run, tiny.write("noise_others", [{**row, "attribute": ""} for row in tiny.rows()])).to_dict()[
            "label_noise"
        ]
        is None
    )


def test_another_content_of_the_file_refuses_to_resume(tiny, noise_file, tmp_path):
    file = noisy(noise_file, tmp_path / "noisy.json")
    fit(tiny, tmp_path / "run", label_noise=file)
    moved = file.rename(tmp_path / "moved.json")
    fit(tiny, tmp_path / "run", label_noise=moved, resume=True)
    moved.write_text(noise_file.read_text())
    with pytest.raises(InputError, match="made with other settings or data"):
        fit(tiny, tmp_path / "run", label_noise=moved, resume=True)
    with pytest.raises(InputError, match="made with other settings or data"):
        fit(tiny, tmp_path / "run", resume=True)


def test_a_comparison_corrects_each_cell(tiny, noise_file, tmp_path):
    file = noisy(noise_file, tmp_path / "noisy.json")
    chosen = {**tiny.settings, "epochs": 3, "batch_size": 0, "label_noise": file}
    plan = {"methods": ["dbpt"], "heads": ["linear"], "seeds": 1}
    found = dbpt.compare(tiny.table, out=tmp_path / "comparison", **plan, **chosen)
    assert [row["corrected"] for row in found.to_dict()["rows"]] == [None]
    assert "true attributes, which need no correction" in " ".join(found.table().split())
    run = fit(tiny, tmp_path / "run", label_noise=file)
    figures = metrics_of(run)["rows"][-1]["test"]["worst_group_accuracy"]
    assert dbpt.Result.read(tmp_path / "comparison").worst_group_accuracy == figures
    unlabelled = tiny.write("noise_unlabelled", [{**row, "attribute": ""} for row in tiny.rows()])
    found = dbpt.compare(unlabelled, out=tmp_path / "corrected", **plan | {"seeds": 2}, **chosen)
    (row,) = found.to_dict()["rows"]
    runs = [fit(tiny, tmp_path / f"seed-{seed}", unlabelled, label_noise=file, seed=seed) for seed in (0, 1)]
    corrected = [metrics_of(run)["rows"][-1]["corrected"]["test"] for run in runs]
    np.testing.assert_allclose(np.array(row["corrected"], float), np.mean(np.array(corrected, float), axis=0))
    told = " ".join(found.table().split())
    assert "the accuracies above are as pseudo attributes give them" in told and NOISE_CAVEAT in told
    file.write_text(noise_file.read_text())
    with pytest.raises(InputError, match="other"):
        dbpt.compare(tiny.table, out=tmp_path / "comparison", resume=True, **plan, **chosen)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"split": "test"}, "is about images of the test split, but group weights need those of the training split"),
        ({"schema_version": 99}, "written by a newer dbpt"),
        ({"confusion": [[[1, 2]]]}, "confusion and n_judged don't fit the names"),
        ({"confusion": None}, "confusion: expected a list"),
        ({"confusion": [[[-1, 2], [3, 4]]] * 2}, r"confusion\[0\]\[0\]\[0\]: expected a number from 0"),
        ({"n_judged": [[1, 2], [3]]}, "confusion and n_judged don't fit the names"),
        ({"n_judged": [[1, 2], [3, 0.5]]}, r"n_judged\[1\]\[1\]: expected an integer from 0"),
        (
            {"dataset": {"name": "x", "classes": ["cone", "disc"], "attributes": ["meadow", "lake"]}},
            "about the classes",
        ),
        ({"dataset": {"name": "x", "classes": ["box", "disc"], "attributes": ["lake", "sea"]}}, "about the attributes"),
        ({"dataset": 1}, "dataset: expected an object"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tiny, noise_file, tmp_path, entries, message):
    file = changed(noise_file, tmp_path / "bad.json", **entries)
    with pytest.raises(InputError, match=message) as caught:
        fit(tiny, tmp_path / "run", label_noise=file)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable as JSON"),
        (b"[1]", "is not a JSON object"),
        (b"{}", "is not the judged.json of dbpt label"),
        (b"\xff", "not readable as JSON"),
        (None, "cannot read the result of dbpt label"),
    ],
)
def test_a_file_that_is_no_judgement_is_refused(tmp_path, content, message):
    file = tmp_path / "judged.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_label_noise(file, CLASSES, ATTRIBUTES)


@pytest.mark.parametrize("source", ["true", "soft"])
def test_only_pseudo_groups_have_label_noise(tiny, noise_file, tmp_path, source):
    with pytest.raises(InputError, match=f"--label-noise with --group-source {source}"):
        fit(tiny, tmp_path / "run", label_noise=noise_file, group_source=source)


def test_few_labels_of_a_pseudo_group_take_the_errors_of_its_attribute(noise_file, tmp_path):
    confusion = np.array([[[90.0, 10], [0, 100]], [[0, 50], [20, 80]]])
    rates = error_rates(confusion, np.array([[50, 50], [3, 50]]))
    np.testing.assert_allclose(rates[0], [[1, 0], [10 / 110, 100 / 110]])
    of_attribute = 50 * np.array([90, 60]) / 150  # in both classes together
    images = np.array([of_attribute, [20, 80]])
    np.testing.assert_allclose(rates[1], images.T / images.sum(axis=0)[:, None])
    few = error_rates(confusion, np.array([[3, 50], [3, 50]]))
    np.testing.assert_allclose(few[0], np.array([[100, 0], [0, 100]]) / 100)
    file = changed(noise_file, tmp_path / "few.json", confusion=confusion.tolist(), n_judged=[[3, 50], [3, 50]])
    lines = read_label_noise(file, CLASSES, ATTRIBUTES).warnings
    assert [("no errors" in line, "box · meadow" in line) for line in lines] == [(True, True), (True, False)]


def test_names_may_come_in_another_order(noise_file, tmp_path):
    file = noisy(noise_file, tmp_path / "noisy.json")
    value = json.loads(file.read_text())
    value["n_judged"] = [[50, 50], [50, 3]]
    file.write_text(json.dumps(value))
    expected = read_label_noise(file, CLASSES, ATTRIBUTES)
    found = read_label_noise(file, CLASSES[::-1], ATTRIBUTES[::-1])
    np.testing.assert_allclose(found.noise.rates, expected.noise.rates[::-1, ::-1, ::-1])
    assert found.warnings == expected.warnings
    assert "disc · lake" in found.warnings[0]
