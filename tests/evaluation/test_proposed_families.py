"""Which families are proposed, in a world whose features are made up: one direction for each thing that differs."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.data.words import Words
from dbpt.evaluation import explained_errors
from dbpt.evaluation.family_guesses import Images, guess_families, halves
from dbpt.evaluation.family_proposal import SMALLEST_DIFFERENCE, Explained, Rule, Score
from dbpt.evaluation.family_ranking import false_discovery, likeness, score_families
from dbpt.evaluation.intervals import largest_difference
from dbpt.guesses.catalogue import Family, embed_families, without_classes

N, DIRECTIONS = 800, 16
CLASS, PLACE, STYLE = range(3)
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 5))]
WORLD = {
    "disc": {CLASS: -1},
    "box": {CLASS: 1},
    "lake": {PLACE: 1},
    "meadow": {PLACE: -1},
    "sketch": {STYLE: 1},
    "painting": {STYLE: -1},
    "round": {CLASS: -1},
    "square": {CLASS: 1},
    "toad": {CLASS: -1, PLACE: 1},
    "camel": {CLASS: 1, PLACE: -1},
}
"""What each word means to this CLIP. All other words mean what one bit of noise for each sentence says."""
WORDS = Words({"disc": ("disc",), "box": ("box", "cube")}, {}, ("a photo of a {}.",), ("{}",))


def family(name: str, *names: str) -> Family:
    return Family(name, {each: (each,) for each in names}, ("{}", "a {}."))


PLACES, STYLES, SHAPES = (
    family("place", "lake", "meadow"),
    family("style", "sketch", "painting"),
    family("shape", "round", "square"),
)
NONSENSE, OWN = family("nonsense", "flurb", "snorp"), family("thing", "disc", "ball")
FAMILIES = (NONSENSE, STYLES, SHAPES, OWN, PLACES)


def encode_text(texts: list[str]) -> torch.Tensor:
    found = np.zeros((len(texts), DIRECTIONS))
    for row, text in zip(found, texts, strict=True):
        words = [word for word in WORLD if word in text.split() or f"{word}." in text.split()]
        for direction, value in WORLD[words[0]].items() if words else ():
            row[direction] = value
        if not words:
            row[3:] = np.random.default_rng(list(text.encode())).normal(size=DIRECTIONS - 3)
        row[DIRECTIONS - 1] += 2  # what all sentences have in common
    return torch.nn.functional.normalize(torch.from_numpy(found).float(), dim=-1)


def images(place_pushes: float, seed: int = 0) -> tuple[Images, NDArray[np.bool_]]:
    """Images of two classes, two places and two styles, classified by the class and, as far as it pushes, the place."""
    random = np.random.default_rng(seed)
    labels, place, style = random.integers(0, 2, (3, N))
    features = random.normal(size=(N, DIRECTIONS)) * 0.25
    seen = 2 * labels - 1 + random.normal(size=N)
    features[:, CLASS] += seen
    features[:, PLACE] += 2 * place - 1
    features[:, STYLE] += 2 * style - 1
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    right = ((seen + place_pushes * (2 * place - 1)) > 0) == labels
    backbone = SimpleNamespace(encode_text=encode_text, embed_dim=DIRECTIONS, logit_scale=10.0, logit_bias=None)
    judged = Images(
        backbone=cast(Backbone, backbone), features=features.astype(np.float32), labels=labels, num_classes=2, seed=seed
    )
    return judged, right


def scored(
    judged: tuple[Images, NDArray[np.bool_]],
    families: tuple[Family, ...] = FAMILIES,
    words: Words = WORDS,
    *,
    is_foreign: bool = False,
) -> dict[str, Score]:
    shown, right = judged
    guessed = guess_families(embed_families(shown.backbone, families), shown, words)
    scores = score_families(guessed, shown, right, is_foreign=is_foreign)
    return {each.of.family.name: each for each in scores}


def test_the_attribute_that_pushes_predictions_is_the_only_one_proposed() -> None:
    scores = scored(images(place_pushes=1.5))
    assert [name for name, score in scores.items() if score.is_proposed] == ["place"] == list(scores)[:1]
    place, style = scores["place"], scores["style"]
    assert place.explained and style.explained and style.of.guessed
    assert (place.explained.errors.share or 0) > 0.5 and 0.0001 <= (place.explained.q_value or 0) <= 0.0005
    assert not style.of.guessed.trust.doubts and style.explained.failing()
    assert scores["nonsense"].of.guessed is None or scores["nonsense"].of.guessed.trust.doubts
    assert scores["thing"].of.class_words == ["disc"]


def test_a_family_that_only_repeats_the_classifier_describes_the_classes() -> None:
    shape = scored(images(0.0))["shape"]
    assert shape.explained and not shape.explained.failing() and shape.of.guessed
    trust = shape.of.guessed.trust
    assert not replace(trust, separations=dict.fromkeys(trust.separations, 0.1)).doubts  # which is a little lower
    assert not shape.of.class_words and shape.like_classes and not shape.is_proposed


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_proposed_where_no_attribute_pushes(seed: int) -> None:
    assert not any(score.is_proposed for score in scored(images(0.0, seed)).values())


def test_a_family_with_a_word_of_the_classes_is_not_proposed() -> None:
    words = Words({"disc": ("disc",), "box": ("box", "Lake")}, {}, WORDS.templates, WORDS.attribute_templates)
    score = scored(images(1.5), (PLACES,), words)["place"]
    assert score.of.class_words == ["lake"] and not score.is_proposed


CONFOUNDED = Words({"disc": ("toad",), "box": ("camel",)}, {}, WORDS.templates, WORDS.attribute_templates)
"""Words of the classes that mean the place too: toads are discs by the lake, camels boxes on the meadow."""


def test_what_words_of_the_classes_mean_to_clip_hides_no_bias_of_a_foreign_classifier() -> None:
    judged, _ = images(1.5)
    right = (judged.features[:, PLACE] > 0) == judged.labels
    by_clip, foreign = (scored((judged, right), words=CONFOUNDED, is_foreign=each) for each in (False, True))
    assert by_clip["place"].like_classes and not by_clip["place"].is_proposed and not by_clip["place"].may_be_class
    assert next(iter(foreign)) == "place" and foreign["place"].is_proposed
    assert foreign["place"].rule == by_clip["place"].rule  # so that the sentence can say it
    assert not foreign["style"].is_proposed and not foreign["style"].may_be_class


def test_a_family_whose_name_is_a_word_of_the_classes_is_to_be_looked_at() -> None:
    """Without the direction of the word nothing is left to guess by, so that the errors can't decide."""
    words = replace(WORDS, classes={"disc": ("disc", "lake"), "box": ("box",)})
    score = scored(images(1.5), words=words, is_foreign=True)["place"]
    assert score.beyond is None and score.may_be_class and not score.is_proposed
    assert not scored(images(1.5), words=words)["place"].may_be_class


def test_a_family_that_may_be_the_class_is_only_to_be_looked_at() -> None:
    """A foreign classifier errs where an image looks like the other class, and CLIP's shape is the class."""
    shape = scored(images(0.0), is_foreign=True)["shape"]
    assert shape.of.guessed is not None and not shape.is_proposed
    trust = replace(shape.of.guessed.trust, separations={("round", "square"): 0.1})  # which is a little lower
    seen = replace(shape, of=replace(shape.of, guessed=replace(shape.of.guessed, trust=trust)))
    assert seen.may_be_class and not seen.is_proposed and seen.rule == Rule(kind="doubted beyond")
    assert not replace(seen, is_foreign=False).may_be_class


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_proposed_for_a_foreign_classifier_whose_errors_are_random(seed: int) -> None:
    judged, _ = images(0.0, seed)
    right = np.random.default_rng([seed, 1]).uniform(size=N) < 0.7
    scores = scored((judged, right), words=CONFOUNDED, is_foreign=True)
    assert not any(score.is_proposed or score.may_be_class for score in scores.values())


def test_a_rare_attribute_with_a_large_effect_is_proposed() -> None:
    """4 % of the images err in six of ten cases, the others in two: that is 7 % of the errors."""
    counts = np.array([[960, 40], [960, 40]])
    correct = np.round(counts * [0.8, 0.4]).astype(int)
    rows = np.indices((2, 2)).reshape(2, -1).repeat(2, axis=1)
    labels, attributes = rows.repeat(np.stack([correct, counts - correct], axis=2).ravel(), axis=1)
    right = np.repeat(np.tile([True, False], 4), np.stack([correct, counts - correct], axis=2).ravel())
    errors = explained_errors(right, labels, attributes, num_classes=2, num_attributes=2)
    found = Explained(errors=errors, q_value=errors.p_value, difference=largest_difference(correct, counts))
    assert (errors.share or 0) < 0.1 and not found.failing() and found.difference and found.difference.low > 0.1
    small = largest_difference(np.array([[9000, 8500]]), np.array([[10_000, 10_000]]))
    slight = replace(found, difference=small)
    assert slight.failing() == Rule(kind="small difference", value=pytest.approx(0.05), limit=SMALLEST_DIFFERENCE)


def test_the_largest_difference_is_the_one_with_the_largest_lower_bound() -> None:
    found = largest_difference(np.array([[90, 40, 0], [0, 5, 0]]), np.array([[100, 100, 1], [0, 5, 0]]))
    assert found is not None and (found.worse, found.better, found.value) == (1, 0, pytest.approx(0.5))
    assert 0.3 < found.low < 0.5 < found.high < 0.7
    assert largest_difference(np.array([[9, 0], [0, 5]]), np.array([[10, 0], [0, 5]])) is None
    even = largest_difference(np.array([[50, 50]]), np.array([[100, 100]]))
    assert even is not None and even.value == 0 and even.low < 0


def test_the_interval_of_the_difference_holds_in_95_of_100_samples() -> None:
    rng, held, true = np.random.default_rng(0), 0, np.array([[0.9, 0.6, 0.75], [0.8, 0.7, 0.7]])
    counts = np.array([[60, 30, 80], [50, 50, 9]])
    for _ in range(400):
        found = largest_difference(rng.binomial(counts, true), counts)
        assert found is not None
        expected = true.ravel()[found.better] - true.ravel()[found.worse]
        held += found.low <= expected <= found.high
    assert held >= 0.95 * 400


@pytest.mark.parametrize("lacks", ["doubts", "agreement", "difference"])
def test_each_condition_can_keep_a_family_from_being_proposed(lacks: str) -> None:
    score = scored(images(1.5))["place"]
    assert score.is_proposed and score.of.beyond and score.beyond
    doubted = replace(score.of.beyond, trust=replace(score.of.beyond.trust, spread=0.1))
    assert score.beyond.difference
    little = replace(score.beyond, difference=replace(score.beyond.difference, value=0.09))
    worse = {
        "doubts": replace(score, of=replace(score.of, beyond=doubted)),
        "agreement": replace(score, of=replace(score.of, agreement=0.79)),
        "difference": replace(score, beyond=little),
    }
    assert not worse[lacks].is_proposed


def test_names_without_images_are_left_out_of_their_family() -> None:
    wide = Family("place", {name: (name,) for name in ("lake", "box meadow", "meadow")}, ("{}", "a {}."))
    found = scored(images(1.5), (wide,))["place"].of.guessed
    assert found is not None and {0, 2} <= set(found.kept.tolist()) and found.guesses.max() < len(found.kept)
    same = Family("same", {"lake": ("lake",), "a lake": ("lake lake",)}, ("{}",))
    assert scored(images(1.5), (same,))["same"].of.guessed is None


def test_the_projection_removes_the_classes_and_nothing_else() -> None:
    judged, _ = images(1.5)
    projection = without_classes(judged.backbone, WORDS)
    weights = {each.family.name: each.weights for each in embed_families(judged.backbone, (PLACES, SHAPES))}

    def length(name: str) -> float:
        return float(np.linalg.norm((weights[name][1] - weights[name][0]) @ projection))

    assert length("shape") < 0.2 * length("place")
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-5)
    many = {f"class {i}": (f"class {i}",) for i in range(40)}
    kept = without_classes(judged.backbone, Words(many, {}, WORDS.templates, WORDS.attribute_templates))
    assert np.linalg.matrix_rank(kept, tol=0.5) == DIRECTIONS - DIRECTIONS // 4


def test_the_projection_keeps_the_direction_between_templates() -> None:
    def sums_of_words(texts: list[str]) -> torch.Tensor:
        return torch.stack([encode_text(text.split()).sum(dim=0) for text in texts])

    words = Words({"disc": ("disc",), "box": ("box",)}, {}, ("{}", "lake {}"), ("{}",))
    projection = without_classes(cast(Any, SimpleNamespace(embed_dim=DIRECTIONS, encode_text=sums_of_words)), words)
    np.testing.assert_allclose(projection[PLACE], np.eye(DIRECTIONS)[PLACE], atol=1e-6)
    np.testing.assert_allclose(projection[CLASS], 0, atol=1e-6)


@pytest.mark.parametrize("right", [True, False])
def test_no_errors_or_nothing_but_errors_give_no_p_value(right: bool) -> None:
    scores = scored((images(1.5)[0], np.full(N, right))).values()
    assert all(score.explained is None or score.explained.q_value is None for score in scores)
    assert not any(score.is_proposed for score in scores)


def test_false_discovery_is_that_of_benjamini_and_hochberg() -> None:
    p = np.random.default_rng(0).uniform(size=30) ** 2
    expected = [min(1.0, *(one * 30 / (p <= one).sum() for one in p[p >= each])) for each in p]
    np.testing.assert_allclose(cast(Any, false_discovery(p.tolist())), expected)
    assert false_discovery([None, 0.2]) == [None, 0.2] and false_discovery([]) == []


def test_halves_split_each_class_in_two() -> None:
    labels = np.array([0] * 7 + [1] * 10 + [2])
    found = halves(labels, seed=3)
    counts = np.bincount(labels[found], minlength=3)
    assert abs(counts - np.array([3.5, 5, 0.5])).max() <= 0.5
    assert (found == halves(labels, seed=3)).all() and (found != halves(labels, seed=4)).any()


def test_a_proposed_family_that_splits_the_images_like_a_stronger_one_is_found() -> None:
    """Also with the names in another order, or with more names; one that splits them in another way is not."""
    shown, right = images(1.5)
    is_sketch = shown.features[:, STYLE] > 0
    right &= ~(is_sketch & (np.random.default_rng(1).uniform(size=N) < 0.5))
    turned = replace(PLACES, name="turned", attributes=dict(reversed(PLACES.attributes.items())))
    guessed = guess_families(embed_families(shown.backbone, (PLACES, turned, STYLES)), shown, WORDS)
    scores = score_families(guessed, shown, right)
    assert all(score.is_proposed for score in scores)
    found = {score.of.family.name: score.like for score in scores}
    assert found.pop("style") is None
    assert sorted(found.values(), key=str) in ([None, "place"], [None, "turned"])

    place = next(score for score in scores if score.of.family.name == "place")
    assert place.of.guessed is not None
    cells = 2 * place.of.guessed.guesses.astype(np.int64) + is_sketch
    finer = replace(place.of.guessed, kept=np.arange(4), guesses=cells)
    assert likeness(place.of, replace(place.of, guessed=finer)) == 1
