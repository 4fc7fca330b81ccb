"""The sentence of the verdict, from counts of right and wrong predictions in each group."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from by_position import group_metrics
from made_up_guesses import factor_guesses
from made_up_results import worded

from dbpt.evaluation import explained_errors
from dbpt.evaluation.audit_verdict import named_difference, verdict_of
from dbpt.guesses.linear_probe import CrossValidated
from dbpt.report.audit_sentences import LOOK_FIRST, Evidence, most_confused, with_words
from dbpt.report.text import p_text

CLASSES, ATTRIBUTES = ["cat", "dog", "fox", "owl", "pig"], ["day", "night"]


def audited(counts, errors):
    """Return groups and explained errors of a classifier with ``errors`` (C, 2) in groups of ``counts`` (C, 2)."""
    counts, errors = np.asarray(counts), np.asarray(errors)
    cells = np.concatenate([counts - errors, errors])
    labels, attributes = np.indices(cells.shape).reshape(2, -1).repeat(cells.ravel(), axis=1)
    is_wrong, labels = labels >= len(counts), labels % len(counts)
    sizes = {"num_classes": len(counts), "num_attributes": 2}
    names = list(product(CLASSES[: len(counts)], ATTRIBUTES))
    metrics = group_metrics((labels + is_wrong) % len(counts), labels, attributes, group_names=names, **sizes)
    groups = [each for each in metrics.groups if each.n]
    return groups, explained_errors(~is_wrong, labels, attributes, **sizes)


def verdict_of_file(counts, errors, **of_guesses):
    return verdict(counts, errors, by_guesses=True, provenance="file", **{"is_judged": False} | of_guesses)


def verdict(
    counts, errors, *, detectable=None, doubts=(), by="zero-shot", by_guesses=False, is_searched=False, **of_guesses
):
    guesses = factor_guesses(**{"mean_confidence": 1.0, "doubts": worded(*doubts)} | of_guesses)
    groups, explained = audited(counts, errors)
    about = guesses if by_guesses else None
    decision = verdict_of(groups, explained, about, detectable)
    of = {"groups": groups, "explained": explained, "guesses": about}
    return with_words(decision, Evidence(**of, by=by, attributes=ATTRIBUTES, is_searched=is_searched))


def test_a_bias_is_named_by_the_clearest_difference_within_a_class():
    """Dogs differ by most standard errors, cats by most points; both intervals are apart. Owls err alike everywhere."""
    counts, errors = [[100, 100], [2000, 2000], [10, 10], [90, 90]], [[5, 50], [100, 600], [0, 3], [60, 60]]
    groups, found = audited(counts, errors)[0], verdict(counts, errors)
    worse, better = named_difference(groups, prefers_worst=False)
    assert (worse.class_name, worse.attribute, better.attribute) == ("cat", "night", "day")
    assert (found.kind, found.group, found.pair, found.also) == ("bias", 1, (1, 0), (3, 2))
    assert found.sentence == (
        "The accuracy of zero-shot CLIP depends strongly on day / night: of 'cat' 50.0\u00a0% right with 'night', "
        "95.0\u00a0% with 'day'."
    )
    assert found.lead[0] == "Also of 'dog' 70.0\u00a0% right with 'night', 95.0\u00a0% with 'day'."
    assert re.match(r"\d\d\.\d\u00a0% \[.*\] of its 878 errors go with the attribute \(p ≤ 0.0001\)\.", found.lead[1])
    assert found.lead[2] == "The worst group is another: of 'owl' with 'day', 30 of 90 images are right."
    worse, better = named_difference(audited([[30, 30], [400, 400]], [[2, 8], [4, 20]])[0])
    assert (worse.class_name, worse.attribute, better.attribute) == ("dog", "night", "day")


def test_the_named_groups_contain_the_worst_if_their_intervals_are_apart():
    """Cats differ by more points, but the worst group is one of dogs."""
    counts, errors = [[100, 100], [100, 100]], [[0, 80], [40, 90]]
    found = verdict(counts, errors)
    assert found.group == 3 and "of 'dog' 10.0\u00a0% right with 'night', 60.0\u00a0% with 'day'." in found.sentence
    assert not [text for text in found.lead if "worst group" in text]
    assert named_difference(audited(counts, errors)[0], prefers_worst=False)[0].class_name == "cat"


def test_a_bias_stays_if_wrong_guesses_can_make_only_the_pair_with_the_worst_group():
    """The 2000 cats have enough wrong guesses for the 100 cats at night, the 200 dogs too few for theirs."""
    counts, errors = [[1900, 100], [100, 100]], [[1100, 95], [5, 90]]
    found = verdict(counts, errors, by_guesses=True, mean_confidence=0.95)
    assert found.kind == "bias" and found.group == 3
    assert found.lead[1].startswith("The worst group is another: of 'cat' with 'night', 5 of 100")


def test_intervals_that_touch_are_not_apart():
    """Dogs differ by fewer points than cats, but their intervals are apart."""
    cat_day, cat_night, dog_day, dog_night = audited([[30, 30], [400, 400]], [[2, 12], [4, 40]])[0]
    touching = [replace(cat_day, low=0.7), replace(cat_night, high=0.7), dog_day, dog_night]
    assert dog_night.high < dog_day.low and [each.class_name for each in named_difference(touching)] == ["dog", "dog"]
    apart = [replace(cat_day, low=0.7), replace(cat_night, high=0.69), dog_day, dog_night]
    assert [each.class_name for each in named_difference(apart)] == ["cat", "cat"]


def test_groups_by_words_are_called_what_clip_takes_the_images_for():
    """CLIP tells names apart that no image shows; true attributes, files, probes and clusters are what they say."""
    counts, errors = [[100, 100], [100, 100]], [[5, 50], [5, 5]]
    found = verdict(counts, errors, by_guesses=True)
    assert found.sentence.startswith(
        "The accuracy of zero-shot CLIP depends strongly on day / night as CLIP guesses them: of 'cat' 50.0\u00a0% "
        "right with 'night', 95.0\u00a0% with 'day'."
    )
    assert found.lead[0].endswith("errors go with these guesses (p ≤ 0.0001).")
    assert found.by_words and found.lead[-1] == LOOK_FIRST
    measured = CrossValidated(
        n_known=100, groups=[], counts=[50, 50], accuracy=1.0, kappa=1.0, n_guessed=[50, 50], precision=[1.0, 1.0]
    )
    for other in (
        verdict(counts, errors),
        verdict_of_file(counts, errors),
        verdict(counts, errors, by_guesses=True, provenance="clusters"),
        verdict(counts, errors, by_guesses=True, provenance="probe", cross_validated=measured),
    ):
        assert (other.kind, other.by_words, other.lead[-1] == LOOK_FIRST) == ("bias", False, False)
        assert "CLIP guesses" not in other.sentence


def test_the_smallest_p_of_the_permutations_is_an_upper_bound():
    found = audited([[100, 100]], [[5, 50]])[1]
    assert found.p_value == 1 / 10_000 and p_text(found) == "p ≤ 0.0001"
    assert p_text(replace(found, p_value=2 / 10_000)) == "p ≤ 0.0002"  # adjusted for two tests
    assert p_text(replace(found, p_value=2 / 10_000, p_is_bound=False)) == "p = 0.0002"
    assert p_text(replace(found, p_value=0.123, p_is_bound=False)) == "p = 0.12"
    assert not audited([[100, 100]], [[40, 50]])[1].p_is_bound


def test_a_bias_says_if_the_named_groups_overlap_or_are_few():
    """Of cats at night 3 of 6 images are right: the interval holds any accuracy from 9 to 91 per cent."""
    found = verdict([[60, 6], [60, 60]], [[3, 3], [3, 3]])
    assert found.kind == "bias" and "of 'cat' 50.0\u00a0% (3 of 6) right with 'night', 95.0" in found.sentence
    assert found.lead[1:] == [
        "No two groups of a class have intervals that are apart.",
        "'night' has only 6 images of this class: its accuracy is uncertain.",
    ]
    few = verdict([[400, 29], [60, 60]], [[4, 25], [3, 3]])
    assert "13.8\u00a0% (4 of 29) right with 'night', 99.0\u00a0% with 'day'" in few.sentence
    sure = "'night' has only 29 images of this class: the difference is real; its size is uncertain."
    assert few.lead[1:] == [sure]
    assert len(verdict([[400, 30], [60, 60]], [[4, 25], [3, 3]]).lead) == 1


@pytest.mark.parametrize(
    ("counts", "errors", "size"),
    [
        ([[30_000, 30_000], [30_000, 30_000]], [[0, 450], [0, 0]], "small"),  # all errors, but a difference of 1.5
        ([[3000, 3000], [3000, 3000]], [[300, 500], [300, 300]], "small"),  # 6.7 points, 14 % of the errors
        ([[3000, 3000], [3000, 3000]], [[300, 700], [600, 600]], "clear"),  # 13 points, 18 %
        ([[3000, 3000], [3000, 3000]], [[60, 300], [60, 60]], "clear"),  # 8 points, 50 %
        ([[3000, 3000], [3000, 3000]], [[60, 600], [60, 60]], "strong"),  # 18 points, 69 %
        ([[3000, 100], [3000, 3000]], [[600, 60], [600, 600]], "strong"),  # 40 points of a rare group, 2 %
        ([[60, 6], [60, 60]], [[3, 3], [3, 3]], "clear"),  # 45 points, but too few images to be sure of them
    ],
)
def test_a_bias_is_graded_by_its_difference_and_its_share_of_the_errors(counts, errors, size):
    found = verdict(counts, errors)
    assert (found.kind, found.size) == ("bias", size)
    how = {"small": "depends slightly on", "clear": "depends on", "strong": "depends strongly on"}[size]
    assert f"zero-shot CLIP {how} day / night" in found.sentence


def test_no_evidence():
    found = verdict([[100, 100], [100, 100]], [[10, 11], [20, 21]])
    assert (found.kind, found.group) == ("no evidence", None)
    assert found.sentence == "No evidence that the errors of zero-shot CLIP depend on day / night."
    (chance,) = found.lead
    assert chance.startswith("Differences within the classes are no larger than chance often makes them (p = ")
    assert found.size is None and found.detectable is None


def test_no_evidence_says_which_differences_the_images_would_have_shown():
    """The null is not asserted: 22 errors may hide a large difference."""
    found = verdict([[40, 40], [40, 40]], [[5, 6], [5, 6]], detectable=0.1234)
    assert found.detectable == 0.1234 and found.lead[1] == (
        "With 160 images and 22 errors, the test finds a difference of 12.3 points between attributes in 80 % of such "
        "samples, and smaller ones less often."
    )
    none = verdict([[40, 40], [40, 40]], [[5, 6], [5, 6]], detectable=1.0)
    assert none.lead[1] == (
        "With 160 images and 22 errors, the test would miss even the largest difference in more than 20 % of such "
        "samples."
    )
    assert verdict([[100, 100], [100, 100]], [[5, 50], [5, 5]], detectable=0.1).detectable is None


@pytest.mark.parametrize("errors", [[[10, 11], [20, 21]], [[5, 50], [5, 5]]])
def test_the_p_value_of_an_attribute_that_was_searched_on_these_images_is_not_named(errors):
    counts = [[100, 100], [100, 100]]
    assert "(p " in str(verdict(counts, errors)) and "(p " not in str(verdict(counts, errors, is_searched=True))


@pytest.mark.parametrize(
    ("counts", "errors", "why"),
    [
        ([[100, 29], [100, 100]], [[20, 6], [20, 20]], "The smallest group has only 29 images, so"),
        ([[100, 1], [100, 100]], [[20, 0], [20, 20]], "The smallest group has only 1 image, so"),
        ([[100, 100], [100, 100]], [[4, 1], [2, 2]], "With only 9 errors,"),
    ],
)
def test_no_evidence_from_few_images_or_few_errors_says_so(counts, errors, why):
    assert f"{why} a difference may go unseen." in verdict(counts, errors).lead


def test_complete_confounding_is_not_called_no_evidence():
    for errors in ([[10, 0], [0, 40]], [[0, 0], [0, 0]]):
        found = verdict([[100, 0], [0, 100]], errors)
        assert found.kind == "nothing to compare" and "no class has images of two attributes" in found.sentence


def test_images_below_the_minimal_confidence_are_named_instead_of_doubts():
    """They may be why nothing can be compared, or why no evidence is found."""
    counts, errors, why = [[10, 0], [0, 0]], [[5, 0], [0, 0]], "CLIP's confidence is below --min-confidence"
    found = verdict(counts, errors, by_guesses=True, n_unknown=190)
    assert found.kind == "nothing to compare"
    assert found.lead == [f"190 of 200 images have no attribute, because {why}."]
    assert verdict(counts, errors, n_unknown=190).lead[0].endswith("errors due to the class.")  # true groups
    even = [[100, 100], [100, 100]], [[10, 11], [20, 21]]
    assert f"9 of 409 images have no attribute, because {why}." in verdict(*even, by_guesses=True, n_unknown=9).lead
    assert "because" not in str(verdict(*even, by_guesses=True))
    from_file = verdict_of_file(*even, n_unknown=9)
    assert from_file.lead[-1] == "9 of 409 images have no attribute, because the file has none for them."
    assert from_file.sentence.endswith("depend on day / night as the file has them (not checked).")


def test_classes_of_one_attribute_are_named_whatever_the_verdict():
    told = "Nothing follows about the class 'dog', whose images all have the same attribute."
    for cats in ([10, 50], [10, 11], [0, 0]):
        assert verdict([[100, 100], [0, 100]], [cats, [0, 40]]).lead[-1] == told
    many = verdict([[100, 100], [0, 9], [9, 0], [9, 0], [9, 0]], [[10, 50], [0, 0], [0, 0], [0, 0], [0, 0]])
    assert "Nothing follows about the classes 'dog', 'fox', 'owl' and 1 more, whose" in many.lead[-1]


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        ([[0, 0], [0, 0]], "No errors in these 400 images, so there is nothing that an attribute could explain."),
        ([[100, 100], [0, 0]], "The classifier calls every image 'dog' (all 200 images of 'cat' are wrong), {}"),
        ([[100, 100], [100, 100]], "The classifier gets each image of the classes 'cat', 'dog' wrong, {}"),
    ],
)
def test_whole_classes_of_errors_or_none_leave_nothing_to_compare(errors, sentence):
    found = verdict([[100, 100], [100, 100]], errors, by="file")
    assert found.kind == "nothing to compare" and found.lead == []
    assert found.sentence == sentence.format("so whether day / night matters can't be tested.")


def test_the_class_of_which_most_are_taken_for_another_is_named_if_they_are_many():
    counts, errors = [[100, 100], [100, 100], [29, 0]], [[10, 11], [40, 41], [29, 0]]
    groups = audited(counts, errors)[0]
    confusion = {"cat": {"cat": 179, "dog": 21}, "dog": {"dog": 119, "fox": 81}, "fox": {"cat": 29}}
    assert most_confused(confusion, groups, "no evidence") == ["Overall, 40.5\u00a0% of 'dog' are taken for 'fox'."]
    few = {"cat": {"cat": 181, "dog": 19}, "dog": {"dog": 181, "fox": 19}, "fox": {"cat": 29}}
    assert most_confused(few, groups, "no evidence") == []
    groups = audited(counts, [[10, 11], [9, 72], [29, 0]])[0]
    assert most_confused(confusion, groups, "bias") == ["Overall, 10.5\u00a0% of 'cat' are taken for 'dog'."]
    constant = {"cat": {"dog": 50}, "dog": {"dog": 50}}
    assert most_confused(constant, [], "nothing to compare") == []
    assert most_confused(constant, [], "no evidence") != []


def test_doubts_count_only_where_guesses_define_the_groups():
    counts, errors = [[100, 100], [100, 100]], [[5, 50], [5, 5]]
    found = verdict(counts, errors, doubts=["one", "two"], by="probe", by_guesses=True)
    assert (found.kind, found.group) == ("untrusted", None)
    assert found.sentence == (
        "CLIP can't tell day / night apart in these images, so this audit can't tell whether the errors of a linear "
        "probe depend on them."
    )
    assert found.doubts == worded("one", "two") and str(found) == f"{found.sentence} One. Two."
    assert verdict(counts, errors, doubts=["one"]).kind == "bias"
    assert "depends strongly on day / night as CLIP guesses them:" in verdict(counts, errors, by_guesses=True).sentence


def test_a_difference_that_wrong_guesses_can_make_is_no_bias():
    """1000 cats: the worse group has 40 errors more than its share, which 80 wrong guesses can make, but 79 can't."""
    counts, errors = [[500, 500], [500, 500]], [[60, 140], [50, 50]]
    found = verdict(counts, errors, by_guesses=True, mean_confidence=0.9199)
    assert (found.kind, found.group, found.pair, found.wrong_guesses) == ("untrusted", None, (1, 0), 80)
    assert found.sentence == (
        "The errors of zero-shot CLIP go with CLIP's guesses of day / night, but wrong guesses alone can be the reason."
    )
    assert found.lead == [
        "Of 'cat' 72.0\u00a0% right with 'night', 88.0\u00a0% with 'day' (p ≤ 0.0001); about 80 images of this class "
        "are probably guessed wrongly."
    ]
    assert verdict(counts, errors, by_guesses=True, mean_confidence=0.921).kind == "bias"
    assert verdict(counts, errors, mean_confidence=0.9199).kind == "bias"
    measured = {"by_guesses": True, "mean_confidence": 0.5, "n_known": 30}
    assert verdict(counts, errors, accuracy=0.95, **measured).kind == "bias"
    assert verdict(counts, errors, accuracy=0.95, **measured | {"n_known": 29}).kind == "untrusted"
