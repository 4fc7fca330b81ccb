"""dbpt for scikit-learn: a penalised linear classifier that is good in its worst group, and a scorer of that group."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups import GroupWeights, group_codes, group_counts, group_ids, worst_group_mean
from dbpt.groups.ids import contingency_table
from dbpt.guesses import label_attributes

try:
    from scipy.optimize import minimize
    from scipy.special import logsumexp, softmax
    from sklearn import config_context
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import make_scorer
    from sklearn.utils import check_consistent_length
    from sklearn.utils.multiclass import check_classification_targets, unique_labels
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError:
    raise InputError("dbpt.sklearn needs scikit-learn 1.6 or later; run pip install -U scikit-learn") from None

TRAINED_BY = ("gla", "balanced", "erm")
OWN_PART = 1 / 3
"""Prior variance of the part of a group's weights that is its own, relative to those of its class and attribute."""
TOLERANCE, MOST_STEPS = 1e-5, 1000
"""L-BFGS stops at a gradient of the mean loss this small, or after so many steps."""


class DebiasedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A penalised linear classifier that is good in its worst group of class and attribute. It needs no CLIP.

    Training centres the features and divides them by one number, so that their mean squared length is 1 and ``C`` means
    the same at any scale and offset. Columns are not standardised. Without groups and attribute logits any objective is
    ERM, and others than "erm" warn, as with groups that are the classes.

    Args:
        objective: "gla", logistic regression on the groups with their shares divided out, where groups of one class or
            attribute have a part of their weights in common; "balanced", scikit-learn's `LogisticRegression` with the
            weights of `dbpt.sample_weights`; "erm", the same without weights.
        C: inverse strength of the L2 penalty, as in `LogisticRegression`. Intercepts are not penalised.

    Attributes:
        classes_: (C,), the classes in order.
        n_features_in_: D.
        feature_names_in_: (D,), the names of columns, if all of them are strings.
        coef_: (1, D) of two classes, that of the second one; (C, D) of more. With "gla" and groups (C·A, D), class by
            class, with the A attributes in the order in which they appear.
        intercept_: (1,), (C,) or (C·A,), where minus infinity means a group without training rows.
    """

    def __init__(self, objective: str = "gla", *, C: float = 3.0) -> None:
        self.objective = objective
        self.C = C

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: Iterable[Any] | None = None,
        attribute_logits: ArrayLike | None = None,
    ) -> "DebiasedClassifier":
        """Train the classifier.

        Args:
            X: (N, D) features, dense.
            y: (N,) classes of any type.
            groups: (N,) the attribute of each row, or its group of class and attribute: hashable values, with None,
                NaN, pandas' NA or -1 where unknown. Or columns of a data frame, whose rows are the values. From
                attributes, "gla" also learns what the classes have in common.
            attribute_logits: (N, A) zero-shot logits, from which `dbpt.label_attributes` guesses the attribute of each
                row, in place of ``groups``.

        Returns:
            The estimator.

        Raises:
            InputError: for wrong settings or groups, and for a single class.
        """
        arguments.check_same_order(X=X, y=y, groups=groups)
        features_ND, y = validate_data(self, arguments.to_host("X", X), arguments.to_host("y", y), dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y has one class, {self.classes_.tolist()[0]!r}; expected two or more")
        if self.objective not in TRAINED_BY:
            raise InputError(f"objective is {self.objective!r}; expected one of {', '.join(TRAINED_BY)}")
        if not arguments.number("C", self.C) > 0:
            raise InputError(f"C is {self.C!r}; expected a number above 0")
        attributes = _attributes(labels, groups, attribute_logits)
        if attributes is None and self.objective != "erm":
            way_out = "give one (in a search by set_fit_request and metadata routing), or take objective 'erm'"
            warnings.warn(f"objective {self.objective!r} without groups or logits is ERM; {way_out}", stacklevel=2)
        elif self.objective != "erm" and attributes is not None and _groups_are_classes(labels, attributes):
            problem = f"groups have one value in each class, so objective {self.objective!r} debiases nothing"
            way_out = "give an attribute that varies within classes, such as a background"
            warnings.warn(f"{problem}; {way_out}", stacklevel=2)
        mean_D = features_ND.mean(axis=0)
        scaled_ND = features_ND - mean_D
        # One scale for all columns: on image features, one for each was no better.
        scale = np.sqrt(np.vdot(scaled_ND, scaled_ND) / len(labels)) or 1.0
        scaled_ND /= scale
        if attributes is not None and self.objective == "gla":
            weights_KD, biases_K = _group_regression(scaled_ND, labels, attributes, self.C)
        else:
            weights = _balanced_weights(labels, attributes) if self.objective == "balanced" else None
            model = LogisticRegression(C=self.C, tol=TOLERANCE, max_iter=MOST_STEPS)
            model.fit(scaled_ND, labels, sample_weight=weights)
            weights_KD, biases_K = model.coef_, model.intercept_
        self.coef_ = weights_KD / scale
        self.intercept_ = biases_K - self.coef_ @ mean_D
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the logits of the classes.

        Args:
            X: (N, D) features.

        Returns:
            (N, C), up to a constant of the row; of two classes (N,), the second one's logit minus the first one's.
        """
        logits_NC = self._class_logits(X)
        return logits_NC[:, 1] - logits_NC[:, 0] if logits_NC.shape[1] == 2 else logits_NC

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of the classes, which with group weights are those of equally frequent groups.

        Args:
            X: (N, D) features.

        Returns:
            (N, C).
        """
        probabilities_NC: NDArray[np.float64] = softmax(self._class_logits(X), axis=1)
        return probabilities_NC

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the predicted classes.

        Args:
            X: (N, D) features.

        Returns:
            (N,), of the type of y.
        """
        best_N = self._class_logits(X).argmax(axis=1)
        classes_N: NDArray[Any] = self.classes_[best_N]
        return classes_N

    def _class_logits(self, X: ArrayLike) -> NDArray[np.float64]:
        check_is_fitted(self)
        logits_NK = (
            validate_data(self, arguments.to_host("X", X), reset=False, dtype=np.float64) @ self.coef_.T
            + self.intercept_
        )
        if logits_NK.shape[1] == 1:
            logits_NK = np.hstack([np.zeros_like(logits_NK), logits_NK])
        logits_NC: NDArray[np.float64] = np.logaddexp.reduce(
            logits_NK.reshape(len(logits_NK), len(self.classes_), -1), axis=2
        )
        return logits_NC


def _attributes(
    labels: NDArray[np.int64], groups: Iterable[Any] | None, attribute_logits: ArrayLike | None
) -> NDArray[np.int64] | None:
    """Return the attribute (N,) of each row, -1 where unknown; None if nothing tells it."""
    if groups is not None and attribute_logits is not None:
        raise InputError("groups and attribute_logits are both given; give the groups that are to be used")
    if groups is not None:
        name, rows_N = "groups", group_codes(groups)
    elif attribute_logits is not None:
        name, rows_N = "attribute_logits", arguments.array("attribute_logits", attribute_logits)
    else:
        return None
    if len(rows_N) != len(labels):
        raise InputError(f"{name} has {len(rows_N)} rows; expected {len(labels)}, one for each row of X")
    return rows_N if groups is not None else label_attributes(rows_N).pseudo_attributes.astype(np.int64)


def _groups_are_classes(labels: NDArray[np.int64], attributes: NDArray[np.int64]) -> bool:
    """Return whether no class has rows of two attributes."""
    shape = (int(labels.max()) + 1, int(attributes.max()) + 1)
    return bool(np.count_nonzero(contingency_table(labels, attributes, shape), axis=1).max() < 2)


def _balanced_weights(labels: NDArray[np.int64], attributes: NDArray[np.int64] | None) -> NDArray[np.float64] | None:
    """Return the weight (N,) of each row, as `dbpt.sample_weights`; of unknown group it is the mean of its class."""
    if attributes is None:
        return None
    num_classes, num_attributes = int(labels.max()) + 1, int(attributes.max()) + 1
    groups = group_ids(labels, attributes, num_attributes)
    rule = GroupWeights(group_counts(groups, num_classes * num_attributes), 0.0, 0.0)
    return rule.sample_weights(groups, labels, num_classes=num_classes)


def _group_regression(
    features_ND: NDArray[np.float64], labels: NDArray[np.int64], attributes: NDArray[np.int64], C: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (G, D) and biases (G,) of softmax regression on the groups y * A + a, for equal shares of them.

    The groups' shares are inside the softmax in training only. The weights of a group are the sum of a part of its
    class, one of its attribute and one of its own, so a rare group learns from those that share either. The penalty is
    half the sum of squares of all parts. The loss of a row of unknown group is -log of the sum over its class.
    """
    num_rows, num_classes, num_attributes = len(labels), int(labels.max()) + 1, int(attributes.max()) + 1
    num_groups = num_classes * num_attributes
    groups = group_ids(labels, attributes, num_attributes)
    counts_CA = contingency_table(labels, attributes, (num_classes, num_attributes))
    # Rows of unknown group are taken to be distributed as the others of their class.
    parts_CA = np.where(counts_CA.any(axis=1, keepdims=True), counts_CA, 1)
    shares_CA = parts_CA / parts_CA.sum(axis=1, keepdims=True) * np.bincount(labels)[:, None] / num_rows
    with np.errstate(divide="ignore"):
        log_shares_G = np.log(shares_CA).reshape(-1)  # minus infinity leaves a group without rows out

    class_GC = np.repeat(np.eye(num_classes), num_attributes, axis=0)
    attribute_GA = np.tile(np.eye(num_attributes), (num_classes, 1))
    own_GG = np.sqrt(OWN_PART) * np.eye(num_groups)
    # Groups of class and attribute have no attribute in common, and then a part of the class was no better.
    has_common = ((counts_CA > 0).sum(axis=0) > 1).any()
    mixing_GP = np.hstack([class_GC, attribute_GA, own_GG] if has_common else [attribute_GA, own_GG])
    possible_NG = np.where(groups[:, None] < 0, class_GC.T[labels] > 0, groups[:, None] == np.arange(num_groups))

    def loss_and_gradient(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        biases_G, parts_PD = values[:num_groups], values[num_groups:].reshape(mixing_GP.shape[1], -1)
        logits_NG = features_ND @ (mixing_GP @ parts_PD).T + biases_G + log_shares_G
        possible_logits_NG = np.where(possible_NG, logits_NG, -np.inf)
        loss = (logsumexp(logits_NG, axis=1) - logsumexp(possible_logits_NG, axis=1)).mean()
        errors_NG = (softmax(logits_NG, axis=1) - softmax(possible_logits_NG, axis=1)) / num_rows
        pull_PD = parts_PD / (C * num_rows)
        gradient_PD = mixing_GP.T @ (errors_NG.T @ features_ND) + pull_PD
        gradient = np.concatenate([errors_NG.sum(axis=0), gradient_PD.reshape(-1)])
        return loss + np.vdot(pull_PD, parts_PD) / 2, gradient

    start = np.zeros(num_groups + mixing_GP.shape[1] * features_ND.shape[1])
    options = {"gtol": TOLERANCE, "maxiter": MOST_STEPS}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    if found.nit >= MOST_STEPS:
        warnings.warn(f"gla did not converge in {MOST_STEPS} steps; lower C", ConvergenceWarning, stacklevel=3)
    biases_G, parts_PD = found.x[:num_groups], found.x[num_groups:].reshape(mixing_GP.shape[1], -1)
    return mixing_GP @ parts_PD, np.where(np.isinf(log_shares_G), -np.inf, biases_G)


def worst_group_score(y_true: ArrayLike, y_pred: ArrayLike, groups: Iterable[Any] | None = None) -> float:
    """Return the lowest accuracy in a group of class and attribute, for `worst_group_scorer`.

    Args:
        y_true: (N,) classes. A column (N, 1) is flattened, with scikit-learn's `DataConversionWarning`.
        y_pred: (N,) predicted classes, likewise.
        groups: (N,) attributes or groups, as for `DebiasedClassifier.fit`. Rows of unknown group don't count.

    Returns:
        The accuracy, 0 to 1.

    Raises:
        InputError: without groups, or if none is known.
        ValueError: for other shapes, and classes of text beside numbers.
    """
    if groups is None:
        raise InputError(
            "worst_group_scorer needs groups: call sklearn.set_config(enable_metadata_routing=True) and pass them, for "
            "example cross_val_score(..., params={'groups': groups})"
        )
    arguments.check_same_order(y_true=y_true, y_pred=y_pred, groups=groups)
    attributes = group_codes(groups)
    true, predicted = _classes("y_true", y_true), _classes("y_pred", y_pred)
    check_consistent_length(true, predicted, attributes)
    labels = np.searchsorted(unique_labels(true, predicted), true)  # refuses text beside numbers
    if not np.isin(predicted, true).any() and len(np.unique(predicted)) > 1:
        warnings.warn(f"y_pred has {predicted[0]}, but no class of y_true; groups are the third argument", stacklevel=2)
    worst = worst_group_mean(true == predicted, group_ids(labels, attributes, int(attributes.max()) + 1))
    assert worst is not None  # `group_codes` refuses that
    return worst


def _classes(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return classes (N,); a column (N, 1) is flattened with a warning, as by the estimators of scikit-learn."""
    is_column = arguments.array(name, values).shape[1:] == (1,)
    classes = arguments.vector(name, column_or_1d(values, warn=True) if is_column else values, "")
    known = [not arguments.is_missing(value) for value in classes.tolist()]
    arguments.check_each(name, classes, np.array(known, dtype=bool), "a class")
    return classes


with config_context(enable_metadata_routing=True):
    worst_group_scorer = make_scorer(worst_group_score).set_score_request(groups=True)
"""The accuracy of the worst group, as ``scoring`` of `GridSearchCV` and `cross_val_score`. It requests ``groups``."""
