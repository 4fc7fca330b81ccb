"""The sentence of the verdict, from counts of right and wrong predictions in each group."""

from dataclasses import replace

import numpy as np
import pytest

from dbpt.auditing.by_group import audited_groups
from dbpt.auditing.result import p_text
from dbpt.auditing.verdict import named_difference, verdict_of
from dbpt.groups import explained_errors
from dbpt.pseudo_attributes.cross_validation import CrossValidated
from dbpt.pseudo_attributes.trust import Guesses

NAMES = {"class_names": ["cat", "dog", "fox", "owl", "pig"], "attribute_names": ["day", "night"]}


def audited(counts, errors):
    """Return groups and explained errors of a classifier with ``errors`` (C, 2) in groups of ``counts`` (C, 2)."""
    counts, errors = np.asarray(counts), np.asarray(errors)
    cells = np.concatenate([counts - errors, errors])
    labels, attributes = np.indices(cells.shape).reshape(2, -1).repeat(cells.ravel(), axis=1)
    is_wrong, labels = labels >= len(counts), labels % len(counts)
    names = NAMES | {"class_names": NAMES["class_names"][: len(counts)]}
    groups = audited_groups((labels + is_wrong) % len(counts), labels, attributes, None, **names)
    return groups, explained_errors(~is_wrong, labels, attributes, num_classes=len(counts), num_attributes=2)


def verdict_of_file(counts, errors, **of_guesses):
    return verdict(counts, errors, by_guesses=True, method="file", **{"is_judged": False} | of_guesses)


def verdict(counts, errors, *, doubts=(), by="zero-shot", by_guesses=False, method="proportional", **of_guesses):
    known = {"mean_confidence": 1.0, "n_known": 0, "n_unknown": 0, "accuracy": None} | of_guesses
    guesses = Guesses(method=method, shares=[0.5, 0.5], doubts=list(doubts), **known)
    groups, explained = audited(counts, errors)
    return verdict_of(groups, explained, guesses, by=by, by_guesses=by_guesses, attributes=NAMES["attribute_names"])


def test_a_bias_is_named_by_the_clearest_difference_within_a_class():
    """Dogs differ by most standard errors, cats by most points; both intervals are apart. Owls err alike everywhere."""
    counts, errors = [[100, 100], [2000, 2000], [10, 10], [90, 90]], [[5, 50], [100, 600], [0, 3], [60, 60]]
    found = verdict(counts, errors)
    assert found.kind == "bias" and found.group == 1
    assert found.sentence.startswith(
        "The accuracy of zero-shot CLIP depends on day / night: of the class 'cat' it gets 50.0\u00a0% right with "
        "'night', but 95.0\u00a0% with 'day' (p ≤ 0.0001); "
    )
    worse, better = named_difference(audited([[30, 30], [400, 400]], [[2, 8], [4, 20]])[0])
    assert (worse.class_name, worse.attribute, better.attribute) == ("dog", "night", "day")


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
        "The accuracy of zero-shot CLIP depends on what CLIP takes for day / night: of the class 'cat' it gets 50.0"
        "\u00a0% right of the images that CLIP takes for 'night', but 95.0\u00a0% of those that it takes for 'day' (p ≤"
    )
    assert found.caution.startswith("Look at the pictures: ") and str(found) == f"{found.sentence} {found.caution}"
    measured = CrossValidated(
        n_known=100, groups=[], counts=[50, 50], accuracy=1.0, kappa=1.0, n_guessed=[50, 50], precision=[1.0, 1.0]
    )
    for other in (
        verdict(counts, errors),
        verdict_of_file(counts, errors),
        verdict(counts, errors, by_guesses=True, method="clusters"),
        verdict(counts, errors, by_guesses=True, cross_validated=measured),
    ):
        assert other.kind == "bias" and other.caution == "" and "takes for" not in other.sentence


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
    assert found.kind == "bias" and "'cat' it gets 50.0\u00a0% right with 'night'" in found.sentence
    assert found.sentence.endswith(
        "; no two groups of a class have intervals that are apart; 'night' has only 6 images of this class, so its "
        "accuracy is uncertain."
    )
    few = verdict([[400, 29], [60, 60]], [[4, 25], [3, 3]]).sentence
    assert "; 'night' has only 29 images of this class, so" in few and "no two groups" not in few
    assert "uncertain" not in verdict([[400, 30], [60, 60]], [[4, 25], [3, 3]]).sentence


def test_a_difference_of_few_points_is_called_slight():
    found = verdict([[30_000, 30_000], [30_000, 30_000]], [[3000, 3300], [3000, 3000]])
    assert found.kind == "bias" and "depends slightly on day / night" in found.sentence
    assert "slightly" not in verdict([[3000, 3000], [3000, 3000]], [[300, 500], [300, 300]]).sentence


def test_no_evidence():
    found = verdict([[100, 100], [100, 100]], [[10, 11], [20, 21]])
    assert (found.kind, found.group) == ("no evidence", None)
    assert found.sentence.startswith("No evidence that the errors of zero-shot CLIP depend on day / night: differences")
    assert "may go unseen" not in found.sentence


@pytest.mark.parametrize(
    ("counts", "errors", "why"),
    [
        ([[100, 29], [100, 100]], [[20, 6], [20, 20]], "; the smallest group has only 29 images, so a difference may"),
        ([[100, 1], [100, 100]], [[20, 0], [20, 20]], "; the smallest group has only 1 image, so a difference may"),
        ([[100, 100], [100, 100]], [[4, 1], [2, 2]], "; with only 9 errors, a difference may go unseen."),
    ],
)
def test_no_evidence_from_few_images_or_few_errors_says_so(counts, errors, why):
    assert why in verdict(counts, errors).sentence


def test_complete_confounding_is_not_called_no_evidence():
    for errors in ([[10, 0], [0, 40]], [[0, 0], [0, 0]]):
        found = verdict([[100, 0], [0, 100]], errors)
        assert found.kind == "nothing to compare" and "no class has images of two attributes" in found.sentence


def test_images_below_the_minimal_confidence_are_named_instead_of_doubts():
    """They may be why nothing can be compared, or why no evidence is found."""
    counts, errors, why = [[10, 0], [0, 0]], [[5, 0], [0, 0]], "CLIP's confidence is below --min-confidence"
    found = verdict(counts, errors, by_guesses=True, n_unknown=190)
    assert found.kind == "nothing to compare"
    assert found.sentence.endswith(f"two attributes, since 190 of 200 images have no attribute, because {why}.")
    assert verdict(counts, errors, n_unknown=190).sentence.endswith("errors of the class.")  # true groups
    even = [[100, 100], [100, 100]], [[10, 11], [20, 21]]
    assert verdict(*even, by_guesses=True, n_unknown=9).sentence.endswith(
        f"; 9 of 409 images have no attribute, because {why}."
    )
    assert "because" not in verdict(*even, by_guesses=True).sentence
    from_file = verdict_of_file(*even, n_unknown=9)
    assert from_file.sentence.endswith("9 of 409 images have no attribute, because the file has none for them.")


def test_classes_of_one_attribute_are_named_whatever_the_verdict():
    told = "; nothing follows about the class 'dog', whose images all have the same attribute."
    for cats in ([10, 50], [10, 11], [0, 0]):
        assert verdict([[100, 100], [0, 100]], [cats, [0, 40]]).sentence.endswith(told)
    many = verdict([[100, 100], [0, 9], [9, 0], [9, 0], [9, 0]], [[10, 50], [0, 0], [0, 0], [0, 0], [0, 0]])
    assert "; nothing follows about the classes 'dog', 'fox', 'owl' and 1 more, whose" in many.sentence


@pytest.mark.parametrize(
    ("errors", "why"),
    [([[0, 0], [0, 0]], "makes no errors"), ([[100, 100], [0, 0]], "gets each class wholly right or wholly wrong")],
)
def test_errors_of_whole_classes_or_none(errors, why):
    found = verdict([[100, 100], [100, 100]], errors, by="file")
    assert found.kind == "no evidence"
    assert found.sentence == f"No evidence of a bias towards day / night: the classifier {why}."


def test_doubts_count_only_where_guesses_define_the_groups():
    counts, errors = [[100, 100], [100, 100]], [[5, 50], [5, 5]]
    found = verdict(counts, errors, doubts=["one", "two"], by="probe", by_guesses=True)
    assert (found.kind, found.group) == ("untrusted", None)
    assert found.sentence == (
        "CLIP can't tell day / night apart in these images, so nothing follows about a linear probe, which learns what "
        "plain training would learn."
    )
    assert found.details == ["one", "two"] and str(found) == f"{found.sentence[:-1]}: one; two."
    assert verdict(counts, errors, doubts=["one"]).kind == "bias"
    assert "depends on what CLIP takes for day / night:" in verdict(counts, errors, by_guesses=True).sentence


def test_a_difference_that_wrong_guesses_can_make_is_no_bias():
    """1000 cats: the worse group has 40 errors more than its share, which 80 wrong guesses can make, but 79 can't."""
    counts, errors = [[500, 500], [500, 500]], [[60, 140], [50, 50]]
    found = verdict(counts, errors, by_guesses=True, mean_confidence=0.9199)
    assert (found.kind, found.group) == ("untrusted", None)
    assert found.sentence == (
        "The errors of zero-shot CLIP go with CLIP's guesses of day / night, but wrong guesses alone can be the "
        "reason: of the class 'cat' it gets 72.0\u00a0% right of the images that CLIP takes for 'night', but "
        "88.0\u00a0% of those that it takes for 'day' (p ≤ 0.0001), and about 80 images of this class are probably "
        "guessed wrongly."
    )
    assert verdict(counts, errors, by_guesses=True, mean_confidence=0.921).kind == "bias"
    assert verdict(counts, errors, mean_confidence=0.9199).kind == "bias"
    measured = {"by_guesses": True, "mean_confidence": 0.5, "n_known": 30}
    assert verdict(counts, errors, accuracy=0.95, **measured).kind == "bias"
    assert verdict(counts, errors, accuracy=0.95, **measured | {"n_known": 29}).kind == "untrusted"
