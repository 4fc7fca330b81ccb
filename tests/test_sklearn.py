"""`dbpt.sklearn`: scikit-learn's own checks, named peers, groups of any kind, and metadata routing."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from by_position import group_metrics
from scipy.special import logsumexp, softmax
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import dbpt
from dbpt.errors import InputError
from dbpt.sklearn import OWN_PART, TRAINED_BY, DebiasedClassifier, worst_group_score, worst_group_scorer


def made(n, *, C=2, share=0.95, seed=0):
    """Features (n, 3C), classes and attributes (n,); of a ``share`` of the rows, the attribute tells the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, C, n)
    a = np.where(rng.random(n) < share, y, rng.integers(0, C, n))
    X = rng.normal(size=(n, 3 * C))
    X[np.arange(n), y] += 2
    X[np.arange(n), C + a] += 4
    return X, y, a


def worst(model, X, y, a):
    return worst_group_score(y, model.predict(X), a)


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


@pytest.mark.filterwarnings("ignore:.* is ERM")
@parametrize_with_checks([DebiasedClassifier()])
def test_it_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


# --- what it learns ---------------------------------------------------------------------------------------------------


def scaled(X):
    """Features with mean 0 and mean squared length 1, on which ``C`` is that of scikit-learn."""
    centred = X - X.mean(axis=0)
    return centred / np.sqrt((centred**2).sum(axis=1).mean())


@pytest.mark.parametrize("C", [2, 3])
@pytest.mark.parametrize("objective", [name for name in TRAINED_BY if name != "erm"])
def test_the_worst_group_is_good_where_that_of_erm_is_not(objective, C):
    X, y, a = made(2000, C=C)
    new = made(4000, C=C, share=0.0, seed=1)
    plain = DebiasedClassifier("erm").fit(X, y, groups=a)
    model = DebiasedClassifier(objective).fit(X, y, groups=a)
    assert worst(model, *new) > worst(plain, *new) + 0.3
    assert worst(model, *new) > 0.6


@pytest.mark.parametrize("C", [2, 3])
@pytest.mark.parametrize("objective", ["balanced", "erm"])
def test_balanced_and_erm_are_logistic_regression(objective, C):
    X, y, a = made(1500, C=C, share=0.8)
    weights = dbpt.sample_weights(np.column_stack([y, a])) if objective == "balanced" else None
    model = DebiasedClassifier(objective, C=0.5).fit(100 * X + 5, y, groups=a)
    peer = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000).fit(scaled(X), y, sample_weight=weights)
    np.testing.assert_allclose(model.predict_proba(100 * X + 5), peer.predict_proba(scaled(X)), atol=1e-3)
    assert model.coef_.shape == peer.coef_.shape and model.intercept_.shape == peer.intercept_.shape


@pytest.mark.parametrize("C", [2, 3])
def test_gla_from_groups_is_logistic_regression_on_them_divided_by_their_shares(C):
    X, y, a = made(600, C=C)
    model = DebiasedClassifier(C=0.5).fit(X, y, groups=np.column_stack([y, a]))
    peer = LogisticRegression(C=0.5 * (1 + OWN_PART), tol=1e-8, max_iter=5000).fit(scaled(X), y * C + a)
    logits = peer.decision_function(scaled(X)) - np.log(np.bincount(y * C + a))
    expected = softmax(logsumexp(logits.reshape(-1, C, C), axis=2), axis=1)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-3)


@pytest.mark.parametrize("unknown", [0.0, 0.4])
def test_gla_from_attributes_is_where_the_gradient_of_the_penalised_likelihood_is_zero(unknown):
    """The penalty on sums of parts is a normal prior: groups are correlated if they share the class or attribute."""
    X, y, a = made(300, C=3, share=0.8)
    order = {value: number for number, value in enumerate(dict.fromkeys(a.tolist()))}
    a = np.array([order[value] for value in a.tolist()])
    known = np.random.default_rng(1).random(300) >= unknown
    known[:20] = True
    model = DebiasedClassifier(C=0.5).fit(X, y, groups=np.where(known, a, -1))
    counts = np.bincount((3 * y + a)[known], minlength=9).reshape(3, 3)
    assert counts.all()
    shares = counts / counts.sum(axis=1, keepdims=True) * np.bincount(y)[:, None] / 300
    of_groups = softmax(X @ model.coef_.T + model.intercept_ + np.log(shares).ravel(), axis=1)
    possible = np.where(known[:, None], 3 * y[:, None] + a[:, None] == np.arange(9), y[:, None] == np.arange(9) // 3)
    of_class = possible * of_groups / (possible * of_groups).sum(axis=1, keepdims=True)
    same = np.kron(np.eye(3), np.ones((3, 3))) + np.kron(np.ones((3, 3)), np.eye(3)) + OWN_PART * np.eye(9)
    distance = np.sqrt(X.var(axis=0).sum())
    np.testing.assert_allclose(model.coef_ * distance, 0.5 * same @ (of_class - of_groups).T @ scaled(X), atol=0.02)
    np.testing.assert_allclose(of_groups.mean(axis=0), of_class.mean(axis=0), atol=1e-4)


def test_a_rare_group_learns_from_those_that_share_its_class_or_attribute():
    rare = []
    for seed in range(20):
        X, y, a = made(1000, C=3, seed=seed)
        new = made(2000, C=3, share=0.0, seed=100 + seed)
        groups = (a, np.column_stack([y, a]))
        rare.append([worst(DebiasedClassifier().fit(X, y, groups=each), *new) for each in groups])
    assert np.mean(rare, axis=0) @ [1, -1] > 0.03


@pytest.mark.filterwarnings("ignore:groups have one value in each class")  # of the few known rows
def test_rows_of_unknown_group_help():
    with_them, without = [], []
    for seed in range(20):
        X, y, a = made(300, share=0.9, seed=seed)
        new = made(2000, share=0.0, seed=100 + seed)
        known = np.random.default_rng(seed).random(300) < 0.2
        with_them.append(worst(DebiasedClassifier().fit(X, y, groups=np.where(known, a, -1)), *new))
        without.append(worst(DebiasedClassifier().fit(X[known], y[known], groups=a[known]), *new))
    assert np.mean(with_them) > np.mean(without) + 0.02


def test_training_that_does_not_converge_is_warned_of(monkeypatch):
    monkeypatch.setattr("dbpt.sklearn.MOST_STEPS", 2)
    X, y, a = made(200)
    with pytest.warns(ConvergenceWarning, match="gla did not converge in 2 steps; lower C"):
        DebiasedClassifier().fit(X, y, groups=a)


def test_without_groups_it_is_erm():
    X, y, a = made(500)
    plain = DebiasedClassifier("erm").fit(X, y, groups=a)
    np.testing.assert_array_equal(DebiasedClassifier("erm").fit(X, y).coef_, plain.coef_)
    for objective in ("gla", "balanced"):
        with pytest.warns(UserWarning, match=f"^objective '{objective}' without groups or logits is ERM; give one"):
            np.testing.assert_array_equal(DebiasedClassifier(objective).fit(X, y).coef_, plain.coef_)


def test_groups_that_are_the_classes_are_warned_of():
    X, y, _ = made(500)
    with pytest.warns(UserWarning, match="^groups have one value in each class, so objective 'gla' debiases nothing"):
        DebiasedClassifier().fit(X, y, groups=y)


def test_attributes_are_guessed_from_logits():
    X, y, a = made(2000)
    logits = 25 + 3 * np.eye(2)[a] + np.random.default_rng(1).normal(size=(2000, 2))
    guesses = dbpt.label_attributes(logits).pseudo_attributes
    assert 0.9 < (guesses == a).mean() < 1
    expected = DebiasedClassifier().fit(X, y, groups=guesses).predict_proba(X)
    found = DebiasedClassifier().fit(X, y, attribute_logits=logits).predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=1e-3)  # other numbers of attributes give other orders of sums


@pytest.mark.parametrize("objective", TRAINED_BY)
def test_a_group_may_be_any_value_and_small_or_empty(objective):
    """The partition counts, not the names: of the attribute, or of the groups of class and attribute."""
    X, y, a = made(400, C=3)
    a[(a == 1) & (y == 2)] = 2  # an empty group
    model = DebiasedClassifier(objective)
    expected = model.fit(X, y, groups=a).predict_proba(X)
    assert expected.shape == (400, 3) and np.isfinite(expected).all()
    names = np.array(["sea", "land", "sky"])[a]
    np.testing.assert_allclose(model.fit(X, y, groups=names).predict_proba(X), expected, atol=1e-3)
    by_names = model.fit(X, y, groups=list(zip(y, names, strict=True))).predict_proba(X)
    np.testing.assert_allclose(model.fit(X, y, groups=np.column_stack([y, a])).predict_proba(X), by_names, atol=1e-3)
    assert (by_names.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9
    model.fit(X, np.array(["b", "a", "c"])[y], groups=[None, *names[1:]])
    assert model.classes_.tolist() == ["a", "b", "c"] and set(model.predict(X)) == {"a", "b", "c"}
    np.testing.assert_allclose(model.predict_proba(X)[:, [1, 0, 2]], expected, atol=0.05)


@pytest.mark.parametrize("objective", ["balanced", "gla"])
def test_all_attributes_of_a_class_may_be_unknown(objective):
    X, y, a = made(400, C=3)
    model = DebiasedClassifier(objective).fit(X, y, groups=np.where(y == 2, -1, a))
    assert model.score(X[y == 2], y[y == 2]) > 0.5


def test_features_may_have_any_scale_and_offset():
    X, y, a = made(500)
    expected = DebiasedClassifier().fit(X, y, groups=a).predict_proba(X)
    for moved in (1e6 * X, 1e-6 * X - 1, X + 1000):
        np.testing.assert_allclose(
            DebiasedClassifier().fit(moved, y, groups=a).predict_proba(moved), expected, atol=1e-3
        )


# --- in scikit-learn --------------------------------------------------------------------------------------------------


def test_it_works_in_a_pipeline_with_routing_and_without(routing):
    X, y, a = made(500)
    standardised = StandardScaler().fit_transform(X)
    expected = DebiasedClassifier().fit(standardised, y, groups=a).predict_proba(standardised)
    routed = make_pipeline(StandardScaler(), DebiasedClassifier().set_fit_request(groups=True))
    np.testing.assert_allclose(routed.fit(X, y, groups=a).predict_proba(X), expected, atol=1e-5)
    with config_context(enable_metadata_routing=False):
        named = make_pipeline(StandardScaler(), DebiasedClassifier()).fit(X, y, debiasedclassifier__groups=a)
    np.testing.assert_allclose(named.predict_proba(X), expected, atol=1e-5)


def test_a_search_finds_the_objective_with_the_best_worst_group(routing):
    X, y, a = made(600)
    names = np.array(["sea", "land"])[a]
    model = make_pipeline(StandardScaler(), DebiasedClassifier().set_fit_request(groups=True))
    grid = {"debiasedclassifier__objective": ["erm", "balanced"], "debiasedclassifier__C": np.array([3])}
    search = GridSearchCV(model, grid, scoring=worst_group_scorer, cv=3, error_score="raise").fit(X, y, groups=names)
    assert search.best_params_["debiasedclassifier__objective"] == "balanced"
    assert worst_group_scorer(search.best_estimator_, X, y, groups=names) == worst(search, X, y, a)


def test_scores_of_folds_are_those_of_a_loop(routing):
    """The groups go to ``fit``, to the scorer and to the splitter, each with the rows of its fold."""
    X, y, a = made(600)
    patients = np.arange(600) // 10
    model = DebiasedClassifier().set_fit_request(groups="attribute")
    scoring = dbpt.sklearn.make_scorer(worst_group_score).set_score_request(groups="attribute")
    params = {"attribute": a, "groups": patients}
    folds = GroupKFold(3)
    found = cross_val_score(model, X, y, scoring=scoring, cv=folds, params=params, error_score="raise")
    expected = []
    for train, test in folds.split(X, y, patients):
        model.fit(X[train], y[train], groups=a[train])
        expected.append(worst(model, X[test], y[test], a[test]))
    np.testing.assert_array_equal(found, expected)
    logits = model.set_fit_request(groups=False, attribute_logits=True)
    params = {"attribute_logits": 25 + 5 * np.eye(2)[a], "groups": a}
    assert cross_val_score(logits, X, y, scoring=worst_group_scorer, cv=3, params=params).min() > 0.4


def test_groups_that_nobody_asked_for_are_refused(routing):
    X, y, a = made(60)
    with pytest.raises(UnsetMetadataPassedError, match=r"^\['?groups'?\] are passed .*not explicitly set"):
        cross_val_score(DebiasedClassifier(), X, y, scoring=worst_group_scorer, params={"groups": a})


def test_the_worst_group_is_that_of_dbpt():
    _, y, a = made(300)
    guessed = np.where(np.random.default_rng(0).random(300) < 0.8, y, 1 - y)
    expected = group_metrics(guessed, y, a, num_classes=2, num_attributes=2).worst_group_accuracy
    assert worst_group_score(y, guessed, a) == expected
    assert worst_group_score(y.astype(str), guessed.astype(str), [None, *a[1:]]) == pytest.approx(expected, abs=0.02)


def test_columns_are_flattened_with_the_warning_of_scikit_learn_and_never_broadcast():
    """Their comparison by NumPy would be one of all pairs of rows."""
    _, y, a = made(20)
    for column in (y[:, None], pd.DataFrame({"y": y}), torch.tensor(y)[:, None]):
        for true, predicted in ((column, y), (y, column), (column, column)):
            with pytest.warns(DataConversionWarning):
                assert worst_group_score(true, predicted, a) == 1.0
    assert worst_group_score(pd.Series(y, index=range(20, 0, -1)), y, pd.DataFrame({"a": a})) == 1.0


# --- refusals ---------------------------------------------------------------------------------------------------------

X, Y, A = made(20)


@pytest.mark.parametrize(
    ("settings", "y", "given", "message"),
    [
        ({}, ["x"] * 20, {}, "y has one class, 'x'; expected two or more"),
        ({"objective": "dfr"}, Y, {}, "objective is 'dfr'; expected one of gla, balanced, erm"),
        ({"C": 0.0}, Y, {}, "C is 0.0; expected a number above 0"),
        ({"C": "x"}, Y, {}, "C is 'x'; expected a number"),
        ({}, Y, {"groups": A, "attribute_logits": X}, "groups and attribute_logits are both given; .*"),
        ({}, Y, {"groups": [None] * 20}, "groups has no known value in 20 rows; .*"),
        ({}, Y, {"groups": dict(enumerate(A))}, "groups is .*, of type dict; .*"),
        ({}, Y, {"groups": A[1:]}, "groups has 19 rows; expected 20, one for each row of X"),
        ({}, pd.Series(Y), {"groups": pd.Series(A).sort_values()}, "groups has the index of y in another order; .*"),
        ({}, Y, {"attribute_logits": X[1:]}, "attribute_logits has 19 rows; .*"),
    ],
)
def test_bad_input_is_refused_in_one_line(settings, y, given, message):
    with pytest.raises(ValueError, match=rf"^{message}$"):
        DebiasedClassifier(**settings).fit(X, y, **given)


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (Y[None], r"y_pred has shape \(1, 20\)"),
        (dict(enumerate(Y)), "y_pred is .*, of type dict"),
        (pd.Series(Y, dtype="Int64").mask(Y == 1), r"y_pred\[\d+\] is nan"),
        (Y.astype(str), "Mix of label input types"),
        (pd.Series(Y).sort_values(), "^y_pred has the index of y_true in another order"),
    ],
)
def test_scores_of_wrong_predictions_are_refused(predicted, message):
    with pytest.raises(ValueError, match=message):
        worst_group_score(pd.Series(Y), predicted, A)


def test_groups_in_place_of_predictions_are_noticed():
    with pytest.warns(UserWarning, match="^y_pred has (land|sea), but no class of y_true; groups are the third"):
        assert worst_group_score(Y.astype(str), np.array(["sea", "land"])[A], Y) == 0


def test_the_scorer_says_how_it_gets_groups():
    model = DebiasedClassifier("erm").fit(X, Y)
    with pytest.raises(InputError, match=r"enable_metadata_routing=True\) and pass them.* params=\{'groups': groups\}"):
        worst_group_scorer(model, X, Y)


def test_without_scikit_learn_one_line_says_what_to_install():
    attempt = "try:\n    import dbpt.sklearn\nexcept ValueError as error:\n    print(error)"
    code = f"import sys; sys.modules['sklearn'] = None\n{attempt}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout == "dbpt.sklearn needs scikit-learn 1.6 or later; run pip install -U scikit-learn\n", done.stderr
