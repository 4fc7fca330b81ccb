"""Several attributes as factors, from the command line to a run's files, and those who read a run again."""

import numpy as np
import pandas as pd
import pytest
from html_page import Page
from runs import contents, fit, groups_of, interrupted, metrics_of
from tiny import ATTRIBUTES, options_of, rows_of

import dbpt
from dbpt.commands.result import Result
from dbpt.errors import InputError
from dbpt.groups import raked_weights
from dbpt.settings.config import read_config

FACTORS = ("ground: meadow, lake", "light: day, night=night|dusk, noon", "light[box]: day, night")
DICT = {
    "ground": ATTRIBUTES,
    "light": {"day": "day", "night": ["night", "dusk"], "noon": "noon"},
    "light[box]": ["day", "night"],
}
LIGHT = ("day", "night", "noon")


@pytest.fixture(scope="module")
def settings(tiny):
    return tiny.settings | {"attributes": None, "factors": FACTORS, "baselines": False, "epochs": 3}


@pytest.fixture(scope="module")
def table(with_light):
    return with_light("factors", lambda row, draws: LIGHT[draws.integers(2 if row["label"] == "box" else 3)])


@pytest.fixture(scope="module")
def run(tiny, table, settings, tmp_path_factory):
    return fit(tiny, tmp_path_factory.mktemp("factors") / "run", table, **settings)


def test_a_probe_guesses_each_factor_and_one_that_images_do_not_show_is_doubted(tiny, table, settings, tmp_path):
    run = fit(tiny, tmp_path / "run", table, **settings, pseudo_method="probe", probe_rows=40, head="linear")
    result = Result.read(run)
    ground, light = result.metrics.guesses.cross_validations
    assert ground.n_known == light.n_known == 40 and ground.kappa > 0.6 > 0.4 > light.kappa
    assert (len(ground.precision), len(light.precision)) == (2, 3)
    (doubts,) = [text for text in result.warnings if "of light (day / night / noon) can't be trusted" in text]
    assert doubts.startswith("the probe's guesses of light") and "label more images" in doubts
    assert " ".join(str(result).split()).count("out of fold on 40 known images") == 2
    assert Page((run / "report.html").read_text()).words.count("whose attribute it was told, and which keep it") == 2
    again = dbpt.evaluate(run)
    assert again.metrics.pseudo_quality == result.metrics.pseudo_quality
    boxes = [row for row in rows_of(run / "predictions.csv") if row["label"] == "box"]
    assert {row["pseudo_light"] for row in boxes} == {"day", "night"}


def test_a_run_guesses_each_factor_and_makes_groups_of_their_combinations(tiny, run, table):
    assert read_config(run / "config.toml")["factors"] == FACTORS
    figures = metrics_of(run)
    assert figures["dataset"]["attributes"][:3] == ["meadow, day", "meadow, night", "meadow, noon"]
    assert figures["group_kind"] == "true" and sum(figures["dataset"]["counts"]["train"]) == 50
    alone = dbpt.guess_attributes(table, columns={"attribute": "ground"}, **tiny.guessing)
    rows = rows_of(run / "predictions.csv")
    assert [row["pseudo_ground"] for row in rows] == alone.columns["pseudo_attribute"]
    assert [row["pseudo_attribute"] for row in rows] == [
        f"{row['pseudo_ground']}, {row['pseudo_light']}" for row in rows
    ]
    assert {row["pseudo_light"] for row in rows if row["label"] == "box"} <= {"day", "night"}
    for row in rows:
        product = float(row["confidence_ground"]) * float(row["confidence_light"])
        assert float(row["confidence"]) == pytest.approx(product, abs=2e-4)


def test_doubts_name_the_factor(run, command, table, tiny):
    warnings = Result.read(run).warnings  # figures are over true groups, but the epoch was chosen by guesses
    doubted = [text.split(" can't be trusted")[0] for text in warnings if "can't be trusted" in text]
    assert "CLIP's guesses of light (day / night / noon)" in doubted
    page = (run / "guesses.html").read_text()
    assert "What CLIP took for ground and for light" in page and "light: night" in page and "night, dusk" in page
    assert "box · meadow, noon" not in page and "box · meadow, night" in page


def test_a_run_is_continued_and_read_again_with_its_factors(tiny, run, table, settings, tmp_path):

    found = dbpt.evaluate(run, cache=str(tiny.cache)).to_dict()
    assert found["rows"][0]["test"] == metrics_of(run)["rows"][-1]["test"]
    renamed = tiny.write(
        "factors-renamed", [{("l" if n == "light" else n): v for n, v in r.items()} for r in rows_of(table)]
    )
    assert dbpt.evaluate(run, renamed, columns=["light=l"]).to_dict()["rows"][0]["test"] == found["rows"][0]["test"]
    classifier = dbpt.load(run)
    assert [factor.name for factor in classifier.words.factors] == ["ground", "light"]
    path = table.parent / rows_of(table)[0]["path"]
    prediction = classifier.predict(path, attributes=True)
    assert prediction.attribute_probabilities.shape == (6,)
    assert prediction.attribute_probabilities.sum() == pytest.approx(1)
    if prediction.prediction == "box":
        assert prediction.attribute_probabilities[[2, 5]].sum() == 0
    design = dbpt.draw_label_sample(run, out=tmp_path / "sample", n=8, cache=str(tiny.cache))
    assert list(design.attributes) == list(classifier.words.attributes)


def test_rows_in_memory_keep_their_factors(tiny, run, table, settings, tmp_path):
    dataset = dbpt.load_dataset(table, factors=DICT)
    own = {name: value for name, value in settings.items() if name != "factors"}
    again = fit(tiny, tmp_path / "run", dataset, **own)
    assert contents(again) == contents(run)
    assert read_config(again / "config.toml")["factors"] == FACTORS


def test_guesses_of_a_run_come_back_as_a_file(tiny, run, table, settings, tmp_path):
    of_file = fit(tiny, tmp_path / "run", table, **settings | {"pseudo_attributes": str(run / "predictions.csv")})
    one, other = rows_of(run / "predictions.csv"), rows_of(of_file / "predictions.csv")
    for name in ("pseudo_attribute", "pseudo_ground", "pseudo_light", "group"):
        assert [row[name] for row in one] == [row[name] for row in other]
    assert (of_file / "prompt.safetensors").read_bytes() == (run / "prompt.safetensors").read_bytes()


def test_true_attributes_of_factors_influence_nothing(tiny, run, table, settings, tmp_path):
    frame, draws = pd.read_csv(table), np.random.default_rng(1)
    shuffled = {name: frame.groupby("label")[name].transform(draws.permutation) for name in ("ground", "light")}
    for name, changed in (("shuffled", shuffled), ("unknown", {"light": ""})):
        rows = frame.assign(**changed).to_dict("records")
        found = fit(tiny, tmp_path / name, tiny.write(f"factors-{name}", rows), **settings)
        assert contents(found) == contents(run), name


def test_a_known_value_is_kept_where_another_factor_of_the_image_is_guessed(tiny, run, table, settings, tmp_path):
    """Every second image has a true ground, every third a true light; the others are guessed as without any."""
    truth = rows_of(table)
    rows = [
        row | {"ground": row["ground"] if n % 2 else "", "light": row["light"] if n % 3 else "-1"}
        for n, row in enumerate(truth)
    ]
    some = tiny.write("some-factors", rows)
    kept = fit(tiny, tmp_path / "kept", some, guess_only_unknown=True, **settings)
    guessed = rows_of(run / "predictions.csv")
    for n, (found, true, guess) in enumerate(zip(rows_of(kept / "predictions.csv"), truth, guessed, strict=True)):
        assert found["pseudo_ground"] == (true["ground"] if n % 2 else guess["pseudo_ground"])
        assert found["pseudo_light"] == (true["light"] if n % 3 else guess["pseudo_light"])
    how = tiny.backbone | {"factors": FACTORS}
    ground, light = dbpt.guess_attributes(some, **how).guesses.factors
    assert (ground.n_known, light.n_known) == (len(rows) // 2, len(rows) - len(rows[::3]))
    alone = tiny.write("ground-alone", [{name: row[name] for name in row if name != "light"} for row in truth])
    ground, light = dbpt.guess_attributes(alone, **how).guesses.factors
    right = np.mean([row["ground"] == guess["pseudo_ground"] for row, guess in zip(truth, guessed, strict=True)])
    assert ground.accuracy == pytest.approx(right) and (light.n_known, light.accuracy) == (0, None)
    none = [row | {"ground": "", "light": ""} for row in truth]
    with pytest.raises(InputError, match="has no attribute for any image"):
        fit(tiny, tmp_path / "none", tiny.write("no-factors", none), guess_only_unknown=True, **settings)


def test_the_command_line_takes_factors_and_says_how_to_write_them(tiny, table, printed, refusal, tmp_path):
    options = options_of(tiny.backbone)
    told = printed("guess", table, *options, "--factors", *FACTORS, "--out", tmp_path / "g.csv")
    assert "shares of ground: meadow " in told and "shares of light: day " in told
    assert "light alone: right for " in told
    assert "box · meadow, noon" not in told and "disc · meadow, " in told
    printed("data", "check", table, "--factors", *FACTORS)
    for repeated, part in (
        (["--factors", "a: b, c", "--factors", "d: e, f"], "write all factors after the first: --factors 'style: p"),
        (["--factors", "a: b, c", "--proportions", "1", "2"], "--proportions with --factors"),
    ):
        assert part in refusal("guess", table, *options, *repeated)


def test_results_name_each_factor_alone_and_only_the_combinations_that_occur(run, table):
    figures, result = metrics_of(run), Result.read(run)
    assert figures["dataset"]["factors"] == [
        {"name": "ground", "values": list(ATTRIBUTES)},
        {"name": "light", "values": list(LIGHT)},
    ]
    ground, light = result.factors
    assert [(each.class_name, each.attribute) for each in light.groups] == [
        *(("box", name) for name in LIGHT[:2]),
        *(("disc", name) for name in LIGHT),
    ]
    tested = pd.read_csv(run / "predictions.csv").query("split == 'test'")
    tested = tested.merge(pd.read_csv(table)[["path", "ground", "light"]])
    for factor in (ground, light):
        of_groups = (tested["prediction"] == tested["label"]).groupby([tested["label"], tested[factor.name]])
        found = {(each.class_name, each.attribute): (each.n, each.accuracy) for each in factor.groups}
        assert found == of_groups.agg(["size", "mean"]).apply(tuple, axis=1).to_dict()
        assert factor.worst.accuracy == min(each.accuracy for each in factor.groups)
        assert factor.gap == pytest.approx(result.average_accuracy - factor.worst.accuracy)
    shown, page = result.table(), (run / "report.html").read_text()
    for text in ("by ground alone", "by light alone", "right by factor: ground ", " % meadow"):
        assert text in shown
    assert "By ground alone" in page and "By light alone" in page
    for text in (shown, page):
        assert "box · meadow, noon" not in text and "disc · meadow, noon" in text
    assert not any("box · meadow, noon" in warning for warning in result.warnings)
    assert max(map(len, shown.splitlines())) <= 80


def test_a_comparison_has_the_worst_group_of_each_factor(tiny, table, settings, tmp_path):
    own = {name: value for name, value in settings.items() if name != "baselines"}
    found = dbpt.compare(
        table, out=tmp_path / "c", methods=("erm", "dbpt"), heads=("linear",), seeds=2, **own | {"n_ctx": None}
    )
    assert "worst_group_accuracy_light" in (tmp_path / "c" / "compare.csv").read_text()
    frame = found.to_pandas()
    worst = min(each.accuracy for each in found.chosen.factors[1].groups)
    assert frame["worst_group_accuracy_light"].iloc[-1] == pytest.approx(worst)


def test_small_combinations_are_raked_over_the_factors_also_when_resumed_or_sampled(
    tiny, table, settings, tmp_path, logged
):
    raked = settings | {"min_group_count": 5.0, "objective": "balanced"}
    run = fit(tiny, tmp_path / "run", table, **raked)
    groups = groups_of(run)
    counts = [int(group["n_train"]) for group in groups]
    assert 0 < min(filter(None, counts)) < 5
    expected = raked_weights(counts, (2, 3))
    assert [float(group["group_weight"]) for group in groups] == pytest.approx(expected.tolist())
    assert any("(raking)" in line for line in logged.messages)
    dbpt_run = fit(tiny, tmp_path / "dbpt", table, **raked | {"objective": "dbpt", "eta": 0.0})
    assert (dbpt_run / "prompt.safetensors").read_bytes() == (run / "prompt.safetensors").read_bytes()
    sampled = raked | {"objective": "dbpt", "apply": "sampling"}
    whole = fit(tiny, tmp_path / "whole", table, **sampled)
    again = dbpt.fit(out=interrupted(tiny, tmp_path / "again", table, **sampled), resume=True)
    assert contents(again.folder) == contents(whole)
