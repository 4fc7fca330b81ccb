"""`dbpt label` from a run to figures: with the true attributes as the person's answers, and with bad input."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from refusals import line_of
from runs import metrics_of, pseudo_attributes
from safetensors.numpy import load_file
from tiny import ATTRIBUTES, CLASSES, rows_of

import dbpt
from dbpt import InputError


@pytest.fixture(scope="module")
def sample(tiny, tiny_run, tmp_path_factory) -> Path:
    """A sample of 20 of the 32 test images; judged.json may come and go, nothing else may change."""
    out = tmp_path_factory.mktemp("label") / "sample"
    dbpt.draw_label_sample(tiny_run, out=out, n=20, cache=str(tiny.cache))
    return out


def write_labels(path: Path, sample: Path, answers: dict[str, str], columns: str = "attribute") -> Path:
    """Write labels.csv. With several ``columns``, the answers for an image are joined by commas, as the columns are."""
    number = json.loads((sample / "design.json").read_text())["sample"]
    lines = [f"sample,path,{columns}", *(f"{number},{name},{answer}" for name, answer in answers.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def true_answers(tiny, sample: Path) -> dict[str, str]:
    truth = {row["path"]: row["attribute"] for row in tiny.rows()}
    return {row["path"]: truth[row["path"]] for row in rows_of(sample / "sample.csv")}


def judged(sample: Path, answers: dict[str, str]) -> dict:
    """The figures that these answers give."""
    result = dbpt.judge_labels(sample, write_labels(sample.parent / "labels.csv", sample, answers))
    assert "worst group " in repr(result) and repr(result).endswith(f" n_labelled={result.n_labelled})")
    return result.to_dict() | {"warnings": list(map(str, result.warnings))}


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_a_sample_is_a_page_and_its_design(tiny, tiny_run, sample):
    assert {entry.name for entry in sample.iterdir()} - {"judged.json"} == {"index.html", "sample.csv", "design.json"}
    rows, design = rows_of(sample / "sample.csv"), json.loads((sample / "design.json").read_text())
    own = {row["path"]: row for row in tiny.rows()}
    guesses = pseudo_attributes(tiny_run)
    assert len({row["path"] for row in rows}) == len(rows) == 20
    assert all(own[row["path"]]["split"] == "test" for row in rows)
    assert all(own[row["path"]]["label"] == row["class"] for row in rows)
    strata = design["strata"]
    assert sum(stratum["size"] for stratum in strata) == 32
    assert np.bincount([int(row["stratum"]) for row in rows]).tolist() == [stratum["drawn"] for stratum in strata]
    for row in rows:
        stratum = strata[int(row["stratum"])]
        assert float(row["inclusion_probability"]) == stratum["drawn"] / stratum["size"]
        assert row["class"] == design["classes"][stratum["label"]]
        assert row["pseudo_attribute"] == list(design["attributes"])[stratum["pseudo_attribute"]]
        assert stratum["pseudo_attribute"] == guesses[row["path"]]
        assert (row["right"] == "yes") is stratum["right"]
    assert sum(1 / float(row["inclusion_probability"]) for row in rows) == pytest.approx(32)


def test_equal_seeds_draw_equal_bytes_and_true_attributes_play_no_part(tiny, tiny_run, sample, tmp_path):
    def files(folder):
        return {name: (folder / name).read_bytes() for name in ("index.html", "sample.csv", "design.json")}

    settings = {"n": 20, "cache": str(tiny.cache)}
    swapped = dict(zip(ATTRIBUTES, reversed(ATTRIBUTES), strict=True))
    other = tiny.write("squares-swapped", [row | {"attribute": swapped[row["attribute"]]} for row in tiny.rows()])
    design = dbpt.draw_label_sample(tiny_run, out=tmp_path / "again", **settings)
    assert files(tmp_path / "again") == files(sample)
    assert dbpt.draw_label_sample(tiny_run, out=tmp_path / "other", seed=1, **settings).paths != design.paths
    renamed = dbpt.draw_label_sample(tiny_run, out=tmp_path / "swapped", data=other, **settings)
    assert renamed.paths == design.paths


def test_other_splits_and_the_default_one(tiny, tiny_run, tmp_path):
    cache = str(tiny.cache)
    folder = tmp_path / "train"
    assert dbpt.draw_label_sample(tiny_run, out=folder, split="train", cache=cache).size == 50
    told = judged(folder, true_answers(tiny, folder))["warnings"]
    assert "the classifier was trained on this split, so its accuracies are too high" in told
    assert dbpt.draw_label_sample(tiny_run, out=tmp_path / "val", split="val", n=16, cache=cache).split == "val"
    table = tiny.write("no-test", [row for row in tiny.rows() if row["split"] != "test"])
    run = dbpt.fit(table, out=tmp_path / "run", **tiny.settings).folder
    assert dbpt.draw_label_sample(run, out=tmp_path / "default", cache=cache).split == "val"
    with pytest.raises(InputError, match=r"--split test: .*run has no images in it; its splits are train, val"):
        dbpt.draw_label_sample(run, out=tmp_path / "test", split="test", cache=cache)


def test_images_that_the_run_left_unlabelled_are_drawn_too(tiny, tiny_run, tmp_path):
    tensors = load_file(tiny_run / "pseudo_attributes.safetensors")
    middle = float(np.median(tensors["confidence"][tensors["splits"] == 2]))
    run = dbpt.fit(tiny.table, out=tmp_path / "run", **{**tiny.settings, "min_confidence": middle}).folder
    folder = tmp_path / "sample"
    dbpt.draw_label_sample(run, out=folder, n=32, cache=str(tiny.cache))
    rows, answers = rows_of(folder / "sample.csv"), true_answers(tiny, folder)
    unlabelled = [row for row in rows if row["pseudo_attribute"] == ""]
    assert 0 < len(unlabelled) < 32
    result = judged(folder, answers)
    assert sum(group["n_pseudo"] for group in result["groups"]) == 32 - len(unlabelled)
    assert [group["n_labelled"] for group in result["groups"]] == [8, 8, 8, 8]
    expected = metrics_of(run)["rows"][-1]["test"]["worst_group_accuracy"]
    assert result["corrected"]["worst_group_accuracy"]["value"] == expected
    right = [row["pseudo_attribute"] == answers[row["path"]] for row in rows if row["pseudo_attribute"]]
    assert result["pseudo_accuracy"]["value"] == pytest.approx(np.mean(right))


def test_of_a_class_that_the_split_lacks_nothing_is_said_but_that(tiny, tmp_path):
    rows = [row for row in tiny.rows() if row["split"] != "test" or row["label"] == CLASSES[0]]
    run = dbpt.fit(tiny.write("one-class", rows), out=tmp_path / "run", **tiny.settings | {"epochs": 1}).folder
    folder = tmp_path / "sample"
    dbpt.draw_label_sample(run, out=folder, n=12, cache=str(tiny.cache))
    result = judged(folder, true_answers(tiny, folder))
    missing = [group for group in result["groups"] if group["n_pseudo"] == 0]
    assert [group["label"] for group in missing] == [0, 0]  # boxes
    found = [(group["accuracy_by_pseudo"], group["n_labelled"], group["accuracy"]["value"]) for group in missing]
    assert found == [(None, 0, None)] * 2
    assert result["groups"][result["corrected"]["worst_group"]] not in missing
    assert len([text for text in result["warnings"] if "no image was labelled as this; missing" in text]) == 2


# --- judging ----------------------------------------------------------------------------------------------------------


def test_a_person_who_labels_all_images_finds_the_true_figures(tiny, tiny_run, tmp_path):
    dbpt.draw_label_sample(tiny_run, out=tmp_path / "all", n=32, cache=str(tiny.cache))
    labels = write_labels(tmp_path / "labels.csv", tmp_path / "all", true_answers(tiny, tmp_path / "all"))
    result = dbpt.judge_labels(tmp_path / "all", labels).to_dict()
    expected = metrics_of(tiny_run)["rows"][-1]["test"]
    corrected = result["corrected"]["worst_group_accuracy"]
    assert corrected["value"] == corrected["low"] == corrected["high"] == expected["worst_group_accuracy"]
    assert result["corrected"]["worst_group"] == expected["worst_group"]
    assert result["average"] == expected["average"]
    assert [group["accuracy"]["value"] for group in result["groups"]] == [g["accuracy"] for g in expected["groups"]]
    assert [group["n_labelled"] for group in result["groups"]] == [group["n"] for group in expected["groups"]]
    guesses = pseudo_attributes(tiny_run)
    answers = true_answers(tiny, tmp_path / "all")
    names = list(json.loads((tmp_path / "all/design.json").read_text())["attributes"])
    right = [names[guesses[path]] == answer for path, answer in answers.items()]
    assert result["pseudo_accuracy"]["low"] == result["pseudo_accuracy"]["high"] == pytest.approx(np.mean(right))
    assert json.loads((tmp_path / "all/judged.json").read_text()) == result


def test_figures_by_pseudo_groups_are_those_of_the_split(tiny, tiny_run, bare, sample):
    """From the strata alone, without the images that were not drawn."""
    result = judged(sample, true_answers(tiny, sample))
    expected = dbpt.evaluate(tiny_run, bare, cache=str(tiny.cache)).to_dict()["rows"][0]["test"]
    assert [group["n_pseudo"] for group in result["groups"]] == [group["n"] for group in expected["groups"]]
    assert [g["accuracy_by_pseudo"] for g in result["groups"]] == pytest.approx(
        [g["accuracy"] for g in expected["groups"]]
    )
    assert result["by_pseudo"]["worst_group_accuracy"] == pytest.approx(expected["worst_group_accuracy"])
    assert result["by_pseudo"]["worst_group"] == expected["worst_group"]
    assert result["average"] == pytest.approx(expected["average"])
    assert (result["n"], result["n_drawn"], result["n_labelled"]) == (32, 20, 20)


def test_partly_labelled_and_cannot_tell(tiny, sample, tmp_path):
    answers = true_answers(tiny, sample)
    names = list(answers)
    some = {name: answers[name] for name in names[:12]} | {names[12]: "", names[13]: ""}
    result = judged(sample, some)
    assert (result["n_labelled"], result["n_cannot_tell"], result["n_not_labelled"]) == (12, 2, 6)
    text = "\n".join(result["warnings"])
    assert "6 of 20 drawn images are not labelled" in text
    assert "2 of 14 images could not be told" in text
    assert "under 30 labelled images: " in text
    few = {name: answers[name] for name in names[:9]} | {names[9]: ""}  # 1 of 10 is more than 5 %, 1 of 20 is not
    result = judged(sample, few)
    assert any(warning.startswith("1 of 10 images could not be told") for warning in result["warnings"])


def test_a_stratum_without_an_answer_is_warned_of(tiny, sample, tmp_path):
    answers = true_answers(tiny, sample)
    of_first = {row["path"] for row in rows_of(sample / "sample.csv") if row["stratum"] == "0"}
    result = judged(sample, {name: "" if name in of_first else answer for name, answer in answers.items()})
    strata = json.loads((sample / "design.json").read_text())["strata"]
    warning = f"1 of {len(strata)} strata ({strata[0]['size']} images) have no labelled image; "
    assert warning in "\n".join(result["warnings"])
    labels = {"n_not_labelled": 1, "n_images_not_labelled": strata[0]["size"]}
    assert result["strata"] == {"n": len(strata), **labels}


def test_a_group_that_no_one_saw_is_warned_of(tiny, sample, tmp_path):
    result = judged(sample, dict.fromkeys(true_answers(tiny, sample), "lake"))
    missing = [group for group in result["groups"] if group["n_labelled"] == 0]
    assert len(missing) == 2
    assert all(group["accuracy"] == {"value": None, "low": None, "high": None} for group in missing)
    warnings = [text for text in result["warnings"] if "no image was labelled as this, though the run puts" in text]
    assert len(warnings) == 2
    assert all("missing from the worst group, not 0" in text for text in warnings)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_spreadsheets_may_save_it_in_their_own_way(tiny, sample, tmp_path, separator):
    """With a mark at the start, other separators, another order, and more columns and empty lines."""
    answers = true_answers(tiny, sample)
    labels = write_labels(tmp_path / "labels.csv", sample, answers)
    plain = dbpt.judge_labels(sample, labels)
    header, *lines = labels.read_text().splitlines()
    saved = [header + ",who", *(f"{line},me" for line in reversed(lines)), ",,,", "", " ,,,"]
    labels.write_text("\ufeff" + "\r\n".join(saved).replace(",", separator), "utf-8", newline="")
    assert dbpt.judge_labels(sample, labels) == plain
    saved[3] = saved[3].rpartition(",")[0].rpartition(",")[0] + ",lage,me"
    labels.write_text("\r\n".join(saved).replace(",", separator), newline="")
    with pytest.raises(InputError, match=r"labels.csv line 4: attribute is 'lage', expected one of .*; leave it empty"):
        dbpt.judge_labels(sample, labels)


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_two_commands(tiny, tiny_run, tmp_path, command):
    out = tmp_path / "by hand" / "check"  # the folder above is created, as by fit
    code, printed, err = command("label", tiny_run, "--out", out, "--n", 20, "--cache", tiny.cache)
    assert code == 0, err
    assert "squares: 20 of 32 test images, from" in printed
    assert str(out / "index.html") in printed
    assert f"then judge by: dbpt label '{out}' --labels labels.csv" in printed
    labels = write_labels(tmp_path / "labels.csv", out, true_answers(tiny, out))
    code, printed, err = command("label", out, "--labels", labels)
    assert (code, err) == (0, "")
    judgement = dbpt.judge_labels(out, labels)
    result = judgement.to_dict()
    assert str(judgement) in printed
    assert f"{100 * result['pseudo_accuracy']['value']:.1f} [" in printed
    assert (
        f"worst group, corrected        {100 * result['corrected']['worst_group_accuracy']['value']:.1f} [" in printed
    )
    assert f"worst group by pseudo groups  {100 * result['by_pseudo']['worst_group_accuracy']:.1f}" in printed
    assert all(f"{label} · {attribute}" in printed for label in CLASSES for attribute in ATTRIBUTES)
    assert "a minimum is biased" in printed
    assert all(f"warning: {text}" in printed for text in judgement.warnings)
    code, printed, err = command("label", out, "--labels", labels, "--json")
    assert (code, err, json.loads(printed)) == (0, "", result)


def test_options_that_do_not_go_together(tiny_run, sample, tmp_path, refusal):
    def refused(*arguments: object) -> str:
        return refusal("label", *arguments)

    assert refused(tiny_run) == "give --out FOLDER to draw a sample of a run, or --labels CSV to judge one"
    line = refused(sample, "--labels", "labels.csv", "--n", "20")
    assert line == "--n is for drawing; with --labels give the folder of the sample alone"
    assert refused(tiny_run, "--out", tmp_path / "o", "--json") == "--json is for judging; give --labels CSV with it"
    assert "no such option" in refused(tiny_run, "--label", "labels.csv").lower()
    assert "labels.csv: cannot read the file" in refused(sample, "--labels", tmp_path / "labels.csv")
    assert "give the CSV that the sample's index.html saves" in refused(sample, "--labels", sample / "sample.csv")


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 3}, "--n is 3; expected at least "),
        ({"n": 20.5}, "--n is 20.5; expected an integer"),
        ({"seed": 2**63}, "--seed is 9223372036854775808; expected"),
    ],
)
def test_arguments_that_do_not_fit(tiny, tiny_run, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        dbpt.draw_label_sample(tiny_run, out=tmp_path / "out", **{"cache": str(tiny.cache), **settings})
    assert list(tmp_path.iterdir()) == []


def test_out_that_exists_stays_as_it_is(tiny, tiny_run, sample, tmp_path):
    before = (sample / "index.html").read_bytes()
    with pytest.raises(InputError, match="exists; choose another name, since labels may belong to that sample"):
        dbpt.draw_label_sample(tiny_run, out=sample, cache=str(tiny.cache))
    assert (sample / "index.html").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out: .*file is not a folder"):
        dbpt.draw_label_sample(tiny_run, out=tmp_path / "file" / "out", cache=str(tiny.cache))


def test_images_that_have_gone_are_named(tiny, tiny_run, tmp_path):
    moved = shutil.copytree(tiny.table.parent, tmp_path / "moved", ignore=shutil.ignore_patterns("cache"))
    settings = {"root": moved, "cache": str(tmp_path / "cache")}
    gone = next(row["path"] for row in tiny.rows() if row["split"] == "test")
    (moved / gone).rename(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=f"image '{gone}' is not in .*moved"):
        dbpt.draw_label_sample(tiny_run, out=tmp_path / "out", **settings)
    (moved / gone).write_bytes(b"no image")
    with pytest.raises(InputError, match=gone):
        dbpt.draw_label_sample(tiny_run, out=tmp_path / "out", **settings)
    lenient = shutil.copytree(tiny_run, tmp_path / "lenient")
    config = (lenient / "config.toml").read_text()
    (lenient / "config.toml").write_text(config.replace("max_failures = 0.01", "max_failures = 0.5"))
    with pytest.raises(InputError, match=f"images that the run could read are unreadable now: {gone}: not a JPEG"):
        dbpt.draw_label_sample(lenient, out=tmp_path / "out", **settings)
    (tmp_path / "elsewhere.png").replace(moved / gone)
    assert dbpt.draw_label_sample(tiny_run, out=tmp_path / "out", **settings).size == 32


def test_data_that_lack_images_of_the_run(tiny, tiny_run, tmp_path):
    table = tiny.write("fewer", [row for row in tiny.rows() if row["path"] != "test/00-00.png"])
    with pytest.raises(InputError, match=r"fewer.csv: has no image 'test/00-00.png', which the run had \(1 of 32"):
        dbpt.draw_label_sample(tiny_run, out=tmp_path / "out", data=table, cache=str(tiny.cache))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["sample,path,attr", *lines[1:]], "line 1: no column 'attribute'"),
        (lambda lines: [*lines, lines[3]], "line 22: path '.*' is already at line 4"),
        (lambda lines: [*lines, lines[1].replace("test/", "best/")], "line 22: path 'best/.*' is not an image of this"),
        (lambda lines: [lines[0], "abcdefghijklmnop" + lines[1][16:]], "line 2: is of sample 'abcdefghijklmnop'"),
        (lambda lines: [lines[0], *(line.rpartition(",")[0] + "," for line in lines[1:])], "no image has an attr"),
    ],
)
def test_labels_that_do_not_fit(tiny, sample, tmp_path, change, message):
    labels = write_labels(tmp_path / "labels.csv", sample, true_answers(tiny, sample))
    judged = sample / "judged.json"
    before = judged.read_bytes() if judged.exists() else None
    labels.write_text("".join(f"{line}\n" for line in change(labels.read_text().splitlines())))
    line = line_of(dbpt.judge_labels, sample, labels)
    assert re.search(message, line) and str(labels) in line
    assert (judged.read_bytes() if judged.exists() else None) == before


def test_folders_that_cannot_be_judged(tiny, tiny_run, sample, tmp_path):
    labels = write_labels(tmp_path / "labels.csv", sample, true_answers(tiny, sample))
    for folder in (tmp_path / "none", tiny_run):
        with pytest.raises(InputError, match="not a drawn sample"):
            dbpt.judge_labels(folder, labels)
    for name, old, new, message in (
        ("design.json", '"size": ', '"size": 1', "was changed"),
        ("sample.csv", "test/0", "test/1", "was changed"),
    ):
        copy = shutil.copytree(sample, tmp_path / f"{name} {new}".replace("/", ""))
        (copy / name).write_text((copy / name).read_text().replace(old, new))
        with pytest.raises(InputError, match=message):
            dbpt.judge_labels(copy, labels)
