"""The linear probe: out of fold, deterministic, and what data get that it can't be fitted to."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dbpt.errors import InputError
from dbpt.evaluation.audited_predictions import probe_predictions


def made(n, width, signal, seed=0, classes=2):
    """Unit features (n, width), of which the first ones tell the class as well as ``signal`` says."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.normal(size=(n, width))
    features[np.arange(n), labels] += signal
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), labels


def accuracy(probabilities, labels):
    return (probabilities.argmax(axis=1) == labels).mean()


def test_a_row_is_predicted_by_the_others_alone():
    """With more columns than rows any labels can be fitted, but not foretold."""
    features, labels = made(200, 400, 0.0)
    found = probe_predictions(features, labels, class_names="ab", seed=0)
    assert 0.35 < accuracy(found, labels) < 0.65
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_no_copy_of_a_row_is_among_those_that_predict_it():
    """With copies in other folds the probe knows labels that nothing foretells."""
    features, labels = made(200, 400, 0.0)
    thrice = np.repeat(np.arange(200), 3)
    found = probe_predictions(features[thrice], labels[thrice], class_names="ab", seed=0)
    assert 0.35 < accuracy(found, labels[thrice]) < 0.65
    assert (found[::3] == found[1::3]).all() and (found[::3] == found[2::3]).all()


def test_the_folds_are_those_of_the_seed():
    features, labels = made(300, 8, 1.0, classes=3)
    one, same, other = (probe_predictions(features, labels, class_names="abc", seed=seed) for seed in (0, 0, 1))
    assert one.tobytes() == same.tobytes() and np.abs(one - other).max() > 1e-3
    assert accuracy(one, labels) > 0.5 < accuracy(other, labels)


def test_classes_of_few_rows_and_of_none():
    features, labels = made(100, 8, 2.0)
    labels = np.where(np.arange(100) < 2, 3, labels)
    found = probe_predictions(features, labels, class_names="abcd", seed=0)
    assert found.shape == (100, 4) and found[:, 3].all() and not found[:, 2].any()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    tiny = probe_predictions(features[:4], np.array([0, 0, 1, 1]), class_names="ab", seed=0)
    np.testing.assert_allclose(tiny.sum(axis=1), 1, atol=1e-6)


def test_a_constant_column_is_left_as_it_is():
    features, labels = made(100, 8, 2.0)
    features[:, 5] = 0.25
    assert accuracy(probe_predictions(features, labels, class_names="ab", seed=0), labels) > 0.8


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 0, 0, 0], "all images have the same class"), ([0, 0, 0, 1], "class 'b' has one image; a probe predicts")],
)
def test_data_that_no_probe_can_be_fitted_to_get_one_line(labels, message):
    with pytest.raises(InputError, match=f"--predictions probe: {message}"):
        probe_predictions(np.eye(4, dtype=np.float32), np.array(labels), class_names="ab", seed=0)


def test_a_class_of_copies_has_one_image():
    features = np.eye(5, dtype=np.float32)[[0, 1, 2, 2, 2]]
    with pytest.raises(InputError, match="class 'b' has one image in 3 copies; a probe predicts each image from oth"):
        probe_predictions(features, np.array([0, 0, 1, 1, 1]), class_names="ab", seed=0)


def test_of_many_rows_a_sample_with_all_classes_is_fitted_to(monkeypatch):
    features, labels = made(3000, 8, 2.0)
    labels[-4:] = 2
    whole = probe_predictions(features, labels, class_names="abc", seed=0)
    sizes, fit = [], LogisticRegression.fit
    monkeypatch.setattr(LogisticRegression, "fit", lambda self, x, y: sizes.append(len(x)) or fit(self, x, y))
    monkeypatch.setattr("dbpt.guesses.linear_probe.MOST_ROWS_TO_FIT", 600)
    found = probe_predictions(features, labels, class_names="abc", seed=0)
    assert len(sizes) == 5 and max(sizes) <= 500 and (found[:, 2] > 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert abs(accuracy(found, labels) - accuracy(whole, labels)) < 0.03 and accuracy(found, labels) > 0.8
