"""Classifiers without training against plain references, written here from the papers and their authors' procedures."""

import numpy as np
import pytest

from dbpt.data import Words
from dbpt.data.words import Factor, combined
from dbpt.errors import InputError
from dbpt.heads.class_and_group_prompts import group_texts
from dbpt.objectives.training_free import TRAINING_FREE, Inputs
from dbpt.runs.feature_classifier import FeatureClassifier

WIDTH = 24
WORDS = Words(
    classes={"cat": ("cat", "kitten"), "dog": ("dog",), "fox": ("fox", "red fox", "vixen")},
    attributes={"grass": ("grass", "meadow"), "snow": ("snow",), "sofa": ("sofa", "couch")},
    templates=("a photo of a {}.", "a {}"),
    attribute_templates=("in front of {}.", "{}", "there is {}"),
)
SCALE, BIAS = 30.0, -2.0


def feature_of(text: str) -> np.ndarray:
    """A unit vector (D,), the same for the same sentence."""
    vector = np.random.default_rng(list(text.encode())).normal(0, 1, WIDTH)
    return vector / np.linalg.norm(vector)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def mean_feature(texts, templates=("{}",)) -> np.ndarray:
    """The unit vector (D,) in the direction of the mean over texts, each in each template."""
    return unit(np.mean([feature_of(template.format(text)) for text in texts for template in templates], axis=0))


def encode(texts, owners):
    of_names = [mean_feature(np.array(texts)[owners == k].tolist()) for k in range(owners.max() + 1)]
    return np.array(of_names, np.float32)


def inputs(words: Words = WORDS, encode=encode, **changes) -> Inputs:
    draws = np.random.default_rng(0)
    labels, pseudo = draws.integers(0, 3, 400), draws.integers(-1, 3, 400)
    features = draws.normal(0, 1, (400, WIDTH)) + 2 * np.eye(WIDTH)[labels] + 1.5 * np.eye(WIDTH)[5 + pseudo]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    rows = {"training": np.arange(400), "features": features.astype(np.float32), "labels": labels}
    rows["pseudo_attributes"] = pseudo
    given = {"words": words, "encode": encode, "class_weights": encode(*words.class_texts()), **rows, **changes}
    return Inputs(**given)


def logits_of(name: str, given: Inputs) -> np.ndarray:
    numbers = {"logit_scale": np.float32([SCALE]), "logit_bias": np.float32([BIAS])}
    tensors = {"weights": TRAINING_FREE[name].weights(given), **numbers}
    return FeatureClassifier(tensors, TRAINING_FREE[name]).logits(given.features)


def class_features() -> list[np.ndarray]:
    return [mean_feature(wordings, WORDS.templates) for wordings in WORDS.classes.values()]


def group_features() -> dict[tuple[str, str], np.ndarray]:
    generic = ("a {}, {}.", "a {} in a {}.", "a {} in {}.", "a {} with {}.")

    def sentences(label, attribute):
        of_classes = [template.format(f"{label}, {attribute}") for template in WORDS.templates]
        return [*of_classes, *(each.format(label, attribute) for each in generic), f"a {attribute} of a {label}."]

    return {
        (y, a): mean_feature([text for w in of_y for v in of_a for text in sentences(w, v)])
        for y, of_y in WORDS.classes.items()
        for a, of_a in WORDS.attributes.items()
    }


def of_names() -> list[np.ndarray]:
    """The text feature of each attribute, the mean over its wordings and templates."""
    return [mean_feature(wordings, WORDS.attribute_templates) for wordings in WORDS.attributes.values()]


# --- Zero-shot and group prompts --------------------------------------------------------------------------------------


def test_zero_shot_is_the_nearest_class():
    given = inputs()
    expected = SCALE * given.features @ np.array(class_features()).T + BIAS
    np.testing.assert_allclose(logits_of("zero-shot", given), expected, atol=1e-4)


def test_group_prompts_take_the_class_of_the_best_group_or_of_the_largest_sum():
    given, groups = inputs(), group_features()
    best, likeliest = [], []
    for image in given.features:
        logits = {pair: SCALE * image @ feature + BIAS for pair, feature in groups.items()}
        best.append(max(logits, key=logits.__getitem__)[0])
        total = sum(np.exp(logit) for logit in logits.values())
        sums = {y: sum(np.exp(logits[y, a]) for a in WORDS.attributes) / total for y in WORDS.classes}
        likeliest.append(max(sums, key=sums.__getitem__))
    names = np.array(list(WORDS.classes))
    found = {name: names[logits_of(name, given).argmax(axis=1)] for name in ("group-prompts", "group-prompts-sum")}
    assert found["group-prompts"].tolist() == best
    assert found["group-prompts-sum"].tolist() == likeliest
    assert best != likeliest


# --- Orthogonal projection of text ------------------------------------------------------------------------------------


def complement(vectors: list[np.ndarray]) -> np.ndarray:
    """I - A (A^T A)^-1 A^T, with the vectors as columns of A."""
    a = np.array(vectors).T
    return np.eye(WIDTH) - a @ np.linalg.inv(a.T @ a) @ a.T


@pytest.mark.parametrize("calibrated", [False, True])
def test_orthogonal_projection_is_the_closed_form_of_its_authors(calibrated):
    projection = complement(of_names())
    if calibrated:
        groups, system, pairs = group_features(), np.zeros((WIDTH, WIDTH)), 0
        for y in WORDS.classes:
            for a, b in (("grass", "snow"), ("grass", "sofa"), ("snow", "sofa")):
                difference = groups[y, a] - groups[y, b]
                system, pairs = system + np.outer(difference, difference), pairs + 1
        projection = projection @ np.linalg.inv(1000 / pairs * system + np.eye(WIDTH))
    expected = [unit(projection @ feature) for feature in class_features()]
    name = "orthogonal-calibrated" if calibrated else "orthogonal"
    weights = TRAINING_FREE[name].weights(inputs())
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, atol=2e-5)


# --- Projections of image features ------------------------------------------------------------------------------------


def rejected(images: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """RoboShot's loop: orthonormal directions by QR, one after another, normalised after each."""
    q, _ = np.linalg.qr(directions.T)
    for direction in q.T:
        images = images - np.outer(images @ direction, direction)
        images /= np.linalg.norm(images, axis=1, keepdims=True)
    return images


def assert_same_up_to_a_scale_of_the_image(logits: np.ndarray, expected: np.ndarray) -> None:
    """Without the bias, which scales don't move."""
    scales = np.linalg.norm(logits, axis=1, keepdims=True) / np.linalg.norm(expected, axis=1, keepdims=True)
    assert 0.2 < scales.min() < scales.max() <= 1.0001  # projected features are shorter
    np.testing.assert_allclose(logits, scales * expected, atol=1e-3)
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.99


def test_roboshot_rejects_the_differences_between_attributes_from_the_images():
    given, (grass, snow, sofa) = inputs(), of_names()
    independent = np.array([grass - snow, grass - sofa])  # snow - sofa follows from them, and QR needs independent ones
    images = rejected(given.features.astype(np.float64), independent)
    expected = SCALE * images @ np.array(class_features()).T
    assert_same_up_to_a_scale_of_the_image(logits_of("roboshot", given) - BIAS, expected)


def test_mean_difference_removes_the_attributes_within_class_by_the_guesses():
    given = inputs()
    directions = []
    for one, other in ((0, 1), (0, 2), (1, 2)):
        means = [
            [given.features[(given.labels == y) & (given.pseudo_attributes == a)].mean(axis=0) for a in (one, other)]
            for y in range(3)
        ]
        directions.append(np.mean([first - second for first, second in means], axis=0))
    images = rejected(given.features.astype(np.float64), np.array(directions[:2]))  # the third is their difference
    expected = SCALE * images @ np.array(class_features()).T
    assert_same_up_to_a_scale_of_the_image(logits_of("mean-difference", given) - BIAS, expected)
    weights = TRAINING_FREE["mean-difference"].weights(given)
    np.testing.assert_allclose(weights @ np.array(directions).T, 0, atol=1e-6)


def test_mean_difference_sees_training_rows_only():
    given, training = inputs(), np.arange(100, 300)
    of_training = {name: getattr(given, name)[training] for name in ("features", "labels", "pseudo_attributes")} | {
        "training": np.arange(200)
    }
    expected = TRAINING_FREE["mean-difference"].weights(inputs(**of_training))
    found = TRAINING_FREE["mean-difference"].weights(inputs(training=training))
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, TRAINING_FREE["mean-difference"].weights(given))


def test_a_class_without_one_of_the_attributes_does_not_count_for_their_difference():
    given = inputs()
    pseudo = np.where(given.labels == 0, 2, given.pseudo_attributes)
    weights = TRAINING_FREE["mean-difference"].weights(inputs(pseudo_attributes=pseudo))
    means = [[given.features[(given.labels == y) & (pseudo == a)].mean(axis=0) for a in (0, 1)] for y in (1, 2)]
    np.testing.assert_allclose(weights @ np.mean([one - other for one, other in means], axis=0), 0, atol=1e-6)


# --- Factors ----------------------------------------------------------------------------------------------------------


def of_two_factors(of_class: dict[str, tuple[str, ...]]) -> Words:
    ground = Factor("ground", WORDS.attributes, tuple(WORDS.attributes), of_class)
    light = Factor("light", {"day": ("day", "noon"), "night": ("night",)}, ("day", "night"), {})
    return Words(WORDS.classes, combined([ground, light]), WORDS.templates, WORDS.attribute_templates, (ground, light))


def test_groups_of_factors_are_named_in_the_wordings_of_their_values():
    texts, owners = group_texts(of_two_factors({}))
    assert len(set(owners.tolist())) == 3 * 6
    assert texts[:2] == ["a photo of a cat, grass, day.", "a cat, grass, day"]
    assert "a photo of a cat, grass, noon." in texts and texts[-1] == "a couch, night of a vixen."


def test_roboshot_rejects_differences_within_each_factor_but_not_between_them():
    weights = TRAINING_FREE["roboshot"].weights(inputs(of_two_factors({})))
    day, night = (mean_feature(words, WORDS.attribute_templates) for words in (("day", "noon"), ("night",)))
    ground = of_names()
    for one, other in ((day, night), (ground[0], ground[1]), (ground[0], ground[2])):
        np.testing.assert_allclose(weights @ (one - other), 0, atol=1e-5)
    assert abs(weights @ (day - ground[0])).max() > 0.01
    orthogonal = TRAINING_FREE["orthogonal"].weights(inputs(of_two_factors({})))
    np.testing.assert_allclose(orthogonal @ np.array([day, night, *ground]).T, 0, atol=1e-5)


@pytest.mark.parametrize("name", ["group-prompts", "group-prompts-sum", "orthogonal-calibrated"])
def test_sentences_of_groups_that_cannot_be_are_refused(name):
    with pytest.raises(InputError, match="^factor 'ground' has values of its own for class 'cat', so some sentences"):
        TRAINING_FREE[name].weights(inputs(of_two_factors({"cat": ("grass", "snow")})))


# --- Edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["orthogonal", "roboshot"])
def test_collinear_sentences_are_one_direction(name):
    """A name that the text tower embeds like another, up to rounding, changes nothing."""
    words = Words(WORDS.classes, {**WORDS.attributes, "pond": ("pond",)}, WORDS.templates, WORDS.attribute_templates)
    noise = np.random.default_rng(1)

    def nearly(texts, owners):
        found = encode([text.replace("pond", "snow") for text in texts], owners)
        return (found + noise.normal(0, 1e-8, found.shape)).astype(np.float32)

    expected = TRAINING_FREE[name].weights(inputs())
    np.testing.assert_allclose(TRAINING_FREE[name].weights(inputs(words, nearly)), expected, atol=1e-4)


def test_attributes_that_the_text_tower_cannot_tell_apart_leave_zero_shot():
    words = Words(WORDS.classes, {"a": ("a",), "b": ("b",)}, WORDS.templates, ("{}",))

    def alike(texts, owners):
        return encode(["a" if text == "b" else text for text in texts], owners)

    given = inputs(words, alike)
    np.testing.assert_allclose(TRAINING_FREE["roboshot"].weights(given), given.class_weights, atol=1e-6)


@pytest.mark.parametrize("name", ["orthogonal", "roboshot"])
def test_a_class_that_is_named_like_the_attributes_is_refused(name):
    words = Words(WORDS.classes, {"cat": ("cat",), "sofa": ("sofa",)}, ("{}",), ("{}",))
    difference = unit(feature_of("cat") - feature_of("sofa")).astype(np.float32)
    weights = np.stack([difference, *encode(["dog", "fox"], np.arange(2))])
    with pytest.raises(InputError, match="^class 'cat': nothing is left of its sentences .* directions of cat"):
        TRAINING_FREE[name].weights(inputs(words, class_weights=weights))


def test_guesses_of_one_attribute_in_each_class_are_refused():
    given = inputs()
    with pytest.raises(InputError, match="^no class has training rows of two pseudo attributes; leave mean-difference"):
        TRAINING_FREE["mean-difference"].weights(inputs(pseudo_attributes=given.labels))
