"""The audit of several factors: each by itself, beyond the others, and the verdict on all of them."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_guesses import factor_guesses, guesses_of
from made_up_results import worded
from tiny import ATTRIBUTES, rows_of

import dbpt
from dbpt.commands.audit.audit import groupings_of
from dbpt.commands.audit.next_step import _settings
from dbpt.data import Dataset
from dbpt.data.words import Factor, Words, combined, joint_codes
from dbpt.evaluation.audit_verdict import audited_factors, holm, verdict_of_factors
from dbpt.evaluation.audited_predictions import UserPredictions
from dbpt.guesses import GuessedFactors, PseudoAttributes
from dbpt.report.audit_sentences import factors_in_words, factors_with_sentences
from dbpt.settings.all_settings import AUDIT_SETTINGS
from dbpt.settings.config import make_config
from dbpt.settings.fields import options_of

NAMES = {"style": ["photo", "sketch"], "place": ["home", "street", "field"], "size": ["near", "far"]}
CLASSES = ("cat", "dog", "fox")


@dataclass(frozen=True)
class Images:
    """Stands for `Embedded`."""

    dataset: Dataset


def words_of(*names):
    factors = tuple(Factor(name, {value: (value,) for value in NAMES[name]}, tuple(NAMES[name]), {}) for name in names)
    classes = {name: (name,) for name in CLASSES}
    return Words(classes, combined(factors), ("a {}.",), ("a {}.",), factors)


def audited(codes, labels, is_wrong, *, doubts=(), by_guesses=False, doubted=()):
    """Audit predictions that are wrong where ``is_wrong`` says, with ``codes`` for each factor by name."""
    words = words_of(*codes)
    of_factors = [
        factor_guesses(
            name=name, values=NAMES[name], mean_confidence=1.0, doubts=worded("nonsense") if name in doubts else [],
            doubted=list(doubted) if name in doubts else [],
        )
        for name in codes
    ]  # fmt: skip
    n = len(labels)
    rows = {"paths": ("x",) * n, "lines": np.zeros(n, np.int64), "labels": labels, "splits": np.zeros(n, np.int64)}
    where = {"name": "", "root": Path(), "source": Path()}
    joint = joint_codes(list(codes.values()), words.sizes)
    known = [np.full(n, -1) if by_guesses else each for each in (joint, *codes.values())]
    dataset = Dataset(**where, **rows, attributes=known[0], known_factors=tuple(known[1:]), words=words)
    factors = tuple(PseudoAttributes(each, None, None, "proportional") for each in codes.values())
    subject = SimpleNamespace(
        dataset=dataset, embedded=Images(dataset), config=SimpleNamespace(seed=0, lacks_words=False), by="file",
        search=None, audited=np.arange(n), labels=labels, is_first=np.ones(n, dtype=bool),
        predictions=UserPredictions(np.where(is_wrong, (labels + 1) % len(CLASSES), labels), None),
    )  # fmt: skip
    guesses = guesses_of(*of_factors)
    groupings = groupings_of(subject, GuessedFactors(factors))
    return factors_with_sentences(audited_factors(subject, *groupings, guesses)[0], guesses, "file")


@pytest.fixture
def draws():
    return np.random.default_rng(4)


def test_the_factor_that_explains_the_errors_is_named_and_one_that_goes_with_it_is_told_apart(draws):
    n = 3000
    labels, style, size = draws.integers(3, size=n), draws.integers(2, size=n), draws.integers(2, size=n)
    place = np.where(draws.random(n) < 0.7, style, draws.integers(3, size=n))  # often goes with the style
    found = audited({"style": style, "place": place, "size": size}, labels, draws.random(n) < 0.1 + 0.3 * style)
    assert [each.name for each in found] == ["style", "place", "size"]
    assert [each.verdict.kind for each in found] == ["bias", "bias", "no evidence"]
    assert "may be the reason" not in str(found[0].verdict)
    assert "): style and size may be the reason instead." in str(found[1].verdict)
    assert "Among images that agree in style and size, no difference can be seen (p = " in str(found[1].verdict)
    assert found[0].explained_beyond.p_value < 0.01 < 0.05 < found[1].explained_beyond.p_value
    assert factors_in_words(found, "file")[0] == (
        "The accuracy of the classifier depends on style; the errors of the classifier also go with place, which may "
        "be due to the other attributes; there is no evidence of a bias towards size."
    )


def test_groups_of_a_factor_are_those_of_the_images_whatever_the_other_factors(draws):
    labels, place = draws.integers(3, size=900), draws.integers(2, size=900)  # no image of the third place
    style = draws.integers(2, size=900)
    is_wrong = draws.random(900) < 0.2
    of_style, of_place = audited({"style": style, "place": place}, labels, is_wrong)
    assert [(each.class_name, each.attribute) for each in of_place.groups] == [
        (name, value) for name in CLASSES for value in ("home", "street")
    ]
    for factor, codes in ((of_style, style), (of_place, place)):
        for group in factor.groups:
            members = (labels == CLASSES.index(group.class_name)) & (codes == factor.values.index(group.attribute))
            assert (group.n, group.correct) == (members.sum(), (members & ~is_wrong).sum())


def test_factors_that_always_go_together_cannot_be_told_apart(draws):
    labels, style = draws.integers(3, size=900), draws.integers(2, size=900)
    found = audited({"style": style, "size": style}, labels, draws.random(900) < 0.1 + 0.4 * style)
    for factor, other in zip(found, ("size", "style"), strict=True):
        assert factor.verdict.kind == "bias" and factor.explained_beyond.p_value is None
        assert factor.verdict.lead[-1].startswith(f"Its effect can't be told from that of {other}:")


def test_a_factor_without_trust_takes_nothing_from_the_others(draws):
    labels, style, size = draws.integers(3, size=900), draws.integers(2, size=900), draws.integers(2, size=900)
    is_wrong = draws.random(900) < 0.1 + 0.4 * style
    found = audited({"style": style, "size": size}, labels, is_wrong, doubts=["size"], by_guesses=True)
    assert [each.verdict.kind for each in found] == ["bias", "untrusted"]
    untold = (
        "But size may be the reason instead. The guesses of size can't be trusted, so it could not be held constant."
    )
    assert untold in " ".join(found[0].verdict.lead)
    assert factors_in_words(found, "file") == (
        "The errors of the classifier go with CLIP's guesses of style; but size may be the reason instead.",
        ["The guesses of size can't be trusted, so it could not be held constant."],
    )
    assert verdict_of_factors(found[1:]) == found[1].verdict
    assert found[0].explained_beyond is None and found[1].explained_beyond is not None
    assert verdict_of_factors(found[1:]).kind == "untrusted"


def test_an_untrusted_factor_is_told_by_the_values_in_doubt(draws):
    labels, codes = draws.integers(3, size=90), draws.integers(3, size=90)
    for doubted, called in ((["home", "street"], "home / street"), ([], "all of home / street / field")):
        found = audited({"place": codes, "style": codes % 2}, labels, labels > 1, doubts=["place"], by_guesses=True,
                        doubted=doubted)  # fmt: skip
        assert found[0].verdict.sentence.startswith(f"CLIP can't tell {called} apart in these images, so")


def test_an_unknown_value_leaves_an_image_out_of_its_factor_alone(draws):
    labels, style, size = draws.integers(3, size=600), draws.integers(2, size=600), draws.integers(2, size=600)
    size[:100] = -1
    found = audited({"style": style, "size": size}, labels, draws.random(600) < 0.2)
    for factor, n in zip(found, (600, 500), strict=True):
        assert sum(group.n for group in factor.groups) == factor.explained.n == n
        assert factor.explained_beyond.n == 500


def test_p_values_are_adjusted_for_the_number_of_factors(draws):
    labels, style, size = draws.integers(3, size=900), draws.integers(2, size=900), draws.integers(2, size=900)
    found = audited({"style": style, "size": size}, labels, draws.random(900) < 0.1 + 0.4 * style)
    assert found[0].explained.p_value == pytest.approx(2 / 10_000) and "(p ≤ 0.0002)" in " ".join(found[0].verdict.lead)


def test_holm_is_that_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@pytest.fixture(scope="module")
def table(with_light):
    return with_light("factor-audit", lambda row, draws: ("day", "night")[draws.integers(2)])


def test_the_files_and_the_page_have_each_factor_and_the_combinations(tiny, table, tmp_path):
    factors = {"ground": ATTRIBUTES, "light": ["day", "night"]}
    found = dbpt.audit(table, factors=factors, out=tmp_path / "out", split="all", **tiny.backbone)
    assert [factor.name for factor in found.figures.factors] == ["ground", "light"]
    figures = {"accuracy", *(f"accuracy_factor-{number}" for number, _ in enumerate(found.figures.factors, 1))}
    assert {path.stem for path in (tmp_path / "out" / "figures").iterdir()} == figures
    rows = rows_of(tmp_path / "out" / "factors.csv")
    assert [(row["factor"], row["class"], row["attribute"], int(row["n"])) for row in rows] == [
        (factor.name, group.class_name, group.attribute, group.n)
        for factor in found.figures.factors
        for group in factor.groups
    ]
    assert all(group.n for group in found.groups) and {"meadow, day"} <= {group.attribute for group in found.groups}
    page, text = (tmp_path / "out" / "audit.html").read_text(), str(found)
    for name in ("ground", "light"):
        assert f"\n{name}:\n" in text and f">By {name} alone</h2>" in page
    assert "combinations of ground and light:" in text
    assert "--factors 'ground: " in found.figures.command


def test_a_factor_with_true_values_is_judged_by_them_where_another_one_is_guessed(tiny, table):
    """The ground of nearly all images is known, and the light of a few; nothing is known of all three of some."""
    factors = {"factors": {"ground": ATTRIBUTES, "light": ["day", "night"]}, "split": "all"}
    rows = rows_of(table)
    some = [
        row | {"ground": row["ground"] if n % 7 else "", "light": row["light"] if n % 5 == 0 else ""}
        for n, row in enumerate(rows)
    ]
    found = dbpt.audit(tiny.write("some-of-factors", some), **factors, **tiny.backbone)
    ground, light = found.figures.factors
    assert (found.figures.group_kind, ground.group_kind, light.group_kind) == ("pseudo", "true", "pseudo")
    assert found.figures.known_factors == ["ground"]
    alone = [{name: row[name] for name in row if name != "light"} for row in some]
    by_truth = dbpt.audit(
        tiny.write("some-grounds", alone),
        attributes=ATTRIBUTES,
        columns={"attribute": "ground"},
        split="all",
        **tiny.backbone,
    )
    assert by_truth.figures.group_kind == "true" and ground.groups == by_truth.groups
    assert "guesses" not in ground.verdict.sentence and sum(group.n for group in light.groups) == len(rows)
    for row, attribute, guess in zip(some, found.images["attribute"], found.images["pseudo_attribute"], strict=True):
        true = (row["ground"] or guess.split(", ")[0], guess.split(", ")[1])
        assert attribute == ", ".join(true)
    assert "groups: true values of ground, others guessed by CLIP" in " ".join(str(found).split())
    whole = dbpt.audit(table, **factors, **tiny.backbone)
    assert whole.figures.group_kind == "true" and whole.figures.known_factors == []
    assert [each.group_kind for each in whole.figures.factors] == ["true", "true"]


def test_the_next_command_has_only_the_factors_with_a_bias_and_their_columns():
    factors, columns = ["style: a, b=x|y", "hand: c, d", "hand[cat]: c"], ["path=file", "style=medium", "hand=which"]
    given = {"classes": ["hand", "cat"], "factors": factors, "columns": columns, "seed": 1}
    subject = SimpleNamespace(asked=make_config(given))
    kept = ["--classes", "hand", "cat", "--factors", "style: a, b=x|y", "--columns", "path=file", "style=medium"]
    found = options_of(_settings(subject, ["hand"], AUDIT_SETTINGS))
    assert sorted(found) == sorted([*kept, "--seed", "1"])
    subject.asked = make_config({"columns": ["hand=which"], "seed": 1})
    assert _settings(subject, ["hand"], AUDIT_SETTINGS) == {"seed": 1}


def test_values_that_a_class_has_alone_are_no_association(tiny, bare):
    own = ["size: big, small", "size[disc]: near, far"]
    one = dbpt.audit(bare, factors=own, **tiny.backbone).figures
    two = dbpt.audit(bare, factors=["ground: meadow, lake", *own], **tiny.backbone).figures
    for figures in (one, two):
        assert figures.cramers_v is None and figures.training_cramers_v is None
    assert [factor.cramers_v is None for factor in two.factors] == [False, True]
