"""``--attributes column:NAME`` and ``measured:NAME`` end to end: trained on, compared, audited, kept with the run."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from html_page import Page
from PIL import Image
from refusals import line_of
from runs import contents, fit, groups_of, interrupted, metrics_of, pseudo_attributes, without
from safetensors.torch import load_file, save_file
from tiny import CLASSES, GROUPS, rows_of

import dbpt
from dbpt import InputError

COLUMN = {"attributes": "column:ground"}
QUICK = {"head": "linear", "baselines": False, "epochs": 2, "warmup_epochs": 0}


def as_columns(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The true attribute as a column without a role, and beside it columns that make no groups, or strange ones."""
    formula = {"meadow": "=cmd|' /c calc'!A1", "lake": "<b>lake</b>\nx"}
    return [
        {"path": row["path"], "label": row["label"], "split": row["split"], "ground": row["attribute"]}
        | {"strange": formula[row["attribute"]], "day": f"{13 + number % 2}/1/2019", "one": "a", "id": f"u{number}"}
        | {"class": row["label"], "text": f"a photo of {number} things"}
        for number, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def table(tiny) -> Path:
    return tiny.write("coded", as_columns(tiny.rows()))


@pytest.fixture(scope="module")
def run(tiny, table, tmp_path_factory) -> Path:
    return fit(tiny, tmp_path_factory.mktemp("coded") / "run", table, **COLUMN | QUICK)


@pytest.fixture(scope="module")
def bright_run(tiny, table, tmp_path_factory) -> Path:
    return fit(tiny, tmp_path_factory.mktemp("coded") / "bright", table, attributes="measured:brightness", **QUICK)


def coding_of(run: Path) -> dict:
    return json.loads((run / "coding.json").read_text())


def counts_of(result: dbpt.Result) -> list[tuple[str, str, int]]:
    return [(group.class_name, group.attribute, group.n) for group in result.groups]


def test_the_groups_are_class_and_value(tiny, run):
    true = {row["path"]: ("lake", "meadow").index(row["attribute"]) for row in tiny.rows()}
    assert pseudo_attributes(run) == true
    metrics = metrics_of(run)
    assert metrics["dataset"]["coded"] == {"source": "column", "name": "ground", "values": ["lake", "meadow"]}
    assert (metrics["group_kind"], metrics["dataset"]["attributes"]) == ("pseudo", [])
    guesses = metrics["guesses"]["factors"][0]
    assert (guesses["provenance"], guesses["values"], guesses["doubts"]) == ("column", ["lake", "meadow"], [])
    assert metrics["rows"][-1]["method"] == "dbpt"  # prompts auto: no sentence tells the groups apart
    assert [row["attribute"] for row in groups_of(run)] == ["lake", "meadow"] * 2
    assert "groups: values of the column 'ground'" in str(dbpt.Result.read(run))


def test_training_with_the_column_is_training_with_the_truth(tiny, run, tmp_path):
    asked = {"attributes": ("lake", "meadow"), "group_source": "true", "model_selection": "true-wgp"}
    oracle = fit(tiny, tmp_path / "oracle", **asked | QUICK)
    assert (oracle / "classifier.safetensors").read_bytes() == (run / "classifier.safetensors").read_bytes()


def test_a_true_attribute_beside_the_column_changes_no_training(tiny, table, run, tmp_path):
    rows, draws = rows_of(table), np.random.default_rng(0)
    shuffled = draws.permutation([row["ground"] for row in rows]).tolist()
    with_truth = tiny.write("coded-truth", [row | {"attribute": row["ground"]} for row in rows])
    other_truth = [row | {"attribute": other} for row, other in zip(rows, shuffled, strict=True)]
    found = [
        fit(tiny, tmp_path / str(number), data, **COLUMN | QUICK)
        for number, data in enumerate([with_truth, tiny.write("coded-a", other_truth)])
    ]
    assert contents(found[0]) == contents(found[1]) == contents(run)
    assert metrics_of(found[0])["group_kind"] == "true"
    assert metrics_of(found[0])["pseudo_quality"]["accuracy"] == 1


def test_test_images_decide_no_bin(tiny, table, bright_run, tmp_path):
    fewer = [row for row in rows_of(table) if row["split"] != "test"]
    dark = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    dark.save(table.parent / "dark.png")
    fewer.append(fewer[0] | {"path": "dark.png", "split": "test"})
    other = fit(tiny, tmp_path / "run", tiny.write("coded-fewer", fewer), attributes="measured:brightness", **QUICK)
    assert coding_of(other) == coding_of(bright_run)
    assert coding_of(other)["values"][0].startswith("<= ") and pseudo_attributes(other)["dark.png"] == 0


@pytest.mark.parametrize("settings", [{"shots": 8}, {"prompts": "group"}], ids=str)
def test_a_killed_run_ends_with_the_same_bytes(tiny, table, tmp_path, settings):
    rows = [row for row in rows_of(table) if row["split"] != "val"]  # so that images are held out
    data = tiny.write("coded-no-val", rows)
    asked = {**COLUMN, **QUICK, **settings}
    whole = fit(tiny, tmp_path / "whole", data, **asked)
    dbpt.fit(out=interrupted(tiny, tmp_path / "run", data, **asked), resume=True)
    assert contents(tmp_path / "run") == contents(whole)
    assert (tmp_path / "run" / "coding.json").read_bytes() == (whole / "coding.json").read_bytes()


def test_other_data_are_evaluated_by_the_values_of_the_run(tiny, table, run, bright_run, tmp_path):
    assert dbpt.evaluate(run).to_dict()["rows"][0]["test"] == metrics_of(run)["rows"][-1]["test"]
    rows = [row for row in rows_of(table) if row["split"] == "test"]
    rows[0]["ground"], rows[1]["ground"] = "sea", ""
    found = dbpt.evaluate(run, tiny.write("coded-new", rows))
    assert counts_of(found) == [
        (label, ground, sum((row["label"], row["ground"]) == (label, ground) for row in rows))
        for label in ("box", "disc")
        for ground in ("lake", "meadow")
    ]
    assert dbpt.evaluate(run, pd.DataFrame(rows), root=table.parent).to_dict()["rows"] == found.to_dict()["rows"]
    of_bins = dbpt.evaluate(bright_run, tiny.write("coded-one", rows[:9]))
    values = pseudo_attributes(bright_run)
    assert {(label, name) for label, name, n in counts_of(of_bins) if n} == {
        (row["label"], coding_of(bright_run)["values"][values[row["path"]]]) for row in rows[:9]
    }
    lacking = dbpt.evaluate(run, tiny.write("coded-lacking", without(rows, "ground")))
    assert counts_of(lacking) == [(name, "", sum(row["label"] == name for row in rows)) for name in ("box", "disc")]
    assert "the data have no column ground" in lacking.to_dict()["dataset"]["notes"][-1]
    image = table.parent / rows[0]["path"]
    assert next(iter(dbpt.load(run).predict([image]))).prediction in CLASSES


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("rule"),
        lambda content: content.update(name="other"),
        lambda content: content["values"].append("third"),
        lambda content: content["rule"].update(edges=[0.4, 0.2, 0.3]),
        lambda content: content["rule"].update(edges=[0.4, "x", 0.5]),
        lambda content: content["rule"].update(codes={"a": 9}),
        lambda content: content.update(schema_version=9),
    ],
)
def test_a_changed_coding_is_refused_in_one_line(bright_run, tmp_path, change: Callable):
    run, content = shutil.copytree(bright_run, tmp_path / "run"), coding_of(bright_run)
    change(content)
    (run / "coding.json").write_text(json.dumps(content))
    assert "coding.json: " in line_of(dbpt.evaluate, run)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("column:grond", "no such column .*did you mean 'ground'"),
        ("column:one", "a single common value"),
        ("column:id", "another value"),
        ("column:text", "free text"),
        ("column:class", "the same for all images of a class"),
        ("column:label", "a column with a role"),
        ("column:attribute", "--group-source true"),
        ("measured:brightnes", "did you mean 'brightness'"),
        ("measured:format", "a single common value"),
    ],
)
def test_what_makes_no_groups_is_refused_in_one_line(tiny, table, tmp_path, attributes, message):
    for function in (dbpt.fit, dbpt.compare, dbpt.audit):
        line = line_of(function, table, out=tmp_path / "out", **tiny.backbone, attributes=attributes)
        assert re.search(f"--attributes {attributes}: .*{message}", line)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=message):
        dbpt.guess_attributes(table, **tiny.backbone, attributes=attributes)


def test_what_needs_a_name_says_so(tiny, table, run, refusal, tmp_path):
    image = table.parent / rows_of(table)[0]["path"]
    assert "--with-attribute: the run has the values of a column" in refusal("predict", run, image, "--with-attribute")
    assert "its attributes are known values" in refusal("label", run, "--out", tmp_path / "labels")
    with pytest.raises(InputError, match=r"--methods group-prompts: needs names of attributes, which column:ground"):
        dbpt.compare(table, out=tmp_path / "c", methods=["group-prompts"], **tiny.backbone, **COLUMN)


def test_values_stay_text(tiny, table, tmp_path):
    settings = {"attributes": "column:strange"}
    found = fit(tiny, tmp_path / "run", table, **settings | QUICK)
    dbpt.audit(table, out=tmp_path / "audit", **settings, **tiny.backbone)
    dbpt.guess_attributes(table, out=tmp_path / "guesses.csv", **settings, **tiny.backbone)
    assert coding_of(found)["values"] == ["<b>lake</b>\\nx", "=cmd|' /c calc'!A1"]
    for page in (found / "report.html", found / "guesses.html", tmp_path / "audit" / "audit.html"):
        html = page.read_text()
        assert "<b>lake" not in html and "&lt;b&gt;lake" in html
    files = found / "groups.csv", found / "predictions.csv", tmp_path / "guesses.csv", tmp_path / "audit" / "groups.csv"
    for file in files:
        text = file.read_text()
        assert ",'=cmd|" in text and ",=cmd|" not in text


def test_the_pages_say_where_the_groups_come_from_and_what_they_are_good_for(run, bright_run):
    for folder, name in ((run, "column ground"), (bright_run, "measured brightness")):
        for page in ("report.html", "guesses.html"):
            told = Page((folder / page).read_text()).words
            assert f"The groups by {name}" in told and "Group weights and samplers work" in told
            for wrong in ("CLIP took for", "CLIP guessed", "dbpt label", "least sure", "gives its guess"):
                assert wrong not in told, (page, wrong)


def test_an_audit_of_the_run_and_another_column(tiny, table, run):
    own = dbpt.audit(predictions=run)
    assert "guessed" not in str(own.gate(min_worst_group=0.1))
    assert [group.attribute for group in own.groups] == ["lake", "meadow"] * 2
    assert [group.correct for group in own.groups] == [group.correct for group in dbpt.Result.read(run).groups]
    other = dbpt.audit(table, predictions=run, attributes="column:day")
    assert [group.attribute for group in other.groups] == ["2019-01-13", "2019-01-14"] * 2
    assert "groups: column day" in other.table()


def test_groups_by_a_column_or_by_brightness_mend_what_errors_go_with(tiny, tmp_path):
    """A bias that is in a column and in the pixels: its worst group fails with ERM, and not with group weights."""
    weights, draws, rows = load_file(tiny.weights), np.random.default_rng(0), []
    save_file(weights | {"visual.proj": torch.eye(32)[:, :16].contiguous()}, tmp_path / "plain.safetensors")
    for split, sizes in {"train": (80, 8, 8, 80), "val": (30, 10, 10, 30), "test": (40,) * 4}.items():
        for (label, dark), size in zip(GROUPS, sizes, strict=True):
            for number in range(size):
                pixels = draws.normal(160 - 60 * dark, 20, (16, 16, 3))
                colour = np.array((-60, 0, 60)) * (1 - 2 * label)
                pixels[4:12, 4:12] += draws.normal(colour, 30, (8, 8, 3)) + draws.normal(0, 60, 3)
                path = f"{split}-{label}{dark}-{number}.png"
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / path)
                rows.append({"path": path, "label": CLASSES[label], "split": split, "lamp": ("on", "off")[dark]})
    table = tmp_path / "lamps.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    backbone = tiny.backbone | {"pretrained": str(tmp_path / "plain.safetensors")}
    settings = backbone | {"lr": 0.4, "epochs": 50, "model_selection": "last", "min_group_count": 0.0}
    for attributes in ("column:lamp", "measured:brightness"):
        audit = dbpt.audit(table, predictions="probe", split="train", attributes=attributes, **backbone)
        assert audit.verdict.kind == "bias"
        assert f"fit {table}" in audit.figures.next_step.commands[0] and attributes in str(audit.figures.next_step)
        plan = {"methods": ["erm", "balanced", "dbpt"], "heads": "linear", "seeds": 1}
        found = dbpt.compare(table, out=tmp_path / attributes[:3], attributes=attributes, **settings | plan)
        erm, *weighted = (row.worst_group_accuracy for row in found.rows)
        assert erm < 0.1 and all(worst > 0.4 for worst in weighted)
        run = dbpt.fit(table, out=tmp_path / f"{attributes[:3]}-run", attributes=attributes, head="linear", **settings)
        assert run.groups == found.rows[-1].groups  # a row of a comparison is the fit
