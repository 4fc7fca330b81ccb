"""dbpt for scikit-learn: an estimator that trains a debiased linear layer, and a scorer of the worst group."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups import group_codes, group_ids, worst_group_mean
from dbpt.guesses import label_attributes
from dbpt.heads import LinearHead
from dbpt.objectives import OBJECTIVES, Objective, TrainingGroups
from dbpt.settings.config import FitConfig, make_config
from dbpt.training.loop import one_thread_if_small, train
from dbpt.training.records import Rows

try:
    from sklearn import config_context
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.metrics import make_scorer
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import check_consistent_length, check_random_state
    from sklearn.utils.extmath import softmax
    from sklearn.utils.multiclass import check_classification_targets, unique_labels
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError:
    raise InputError("dbpt.sklearn needs scikit-learn 1.6 or later; run pip install 'dbpt[sklearn]'") from None

TRAINED_BY = ("gla", "dbpt", "balanced", "groupdro", "erm")


class DebiasedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear classifier that is trained to be good in its worst group of class and attribute. It needs no CLIP.

    Features are standardised for training, and the layer is then converted to features as they are. Training starts at
    zero, and the last epoch is kept. Without groups and attribute logits any objective is ERM.

    Args:
        objective: "gla", "dbpt", "balanced", "groupdro" or "erm", as in `dbpt.fit`.
        epochs, batch_size, lr, weight_decay, eta, ema_momentum, min_group_count, max_weight, tau: as in `dbpt.fit`,
            with the same defaults.
        random_state: an int, a `numpy.random.RandomState` or None, for the order of rows in small batches.

    Attributes:
        classes_: (C,), the classes in order.
        n_features_in_: D.
        feature_names_in_: (D,), the names of columns, if all of them are strings.
        coef_: (1, D) of two classes, that of the second one; (C, D) of more. With "gla" and groups (C·A, D), class by
            class, with the A attributes in the order in which they appear.
        intercept_: (1,), (C,) or (C·A,), where minus infinity means a group without training rows.
    """

    def __init__(
        self,
        objective: str = "gla",
        *,
        epochs: int = FitConfig.epochs,
        batch_size: int = FitConfig.batch_size,
        lr: float | None = FitConfig.lr,
        weight_decay: float = FitConfig.weight_decay,
        eta: float = FitConfig.eta,
        ema_momentum: float = FitConfig.ema_momentum,
        min_group_count: float = FitConfig.min_group_count,
        max_weight: float = FitConfig.max_weight,
        tau: float = FitConfig.tau,
        random_state: Any = None,
    ) -> None:
        self.objective = objective
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.eta = eta
        self.ema_momentum = ema_momentum
        self.min_group_count = min_group_count
        self.max_weight = max_weight
        self.tau = tau
        self.random_state = random_state

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
                NaN, pandas' NA or -1 where unknown. Or columns of a data frame, whose rows are the values.
            attribute_logits: (N, A) zero-shot logits, from which `dbpt.label_attributes` guesses the attribute of each
                row, in place of ``groups``.

        Returns:
            The estimator.

        Raises:
            InputError: for wrong settings or groups, and for a single class.
        """
        X, y = validate_data(self, arguments.to_host("X", X), arguments.to_host("y", y), dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y has one class, {self.classes_[0]!r}; expected two or more")
        if self.objective not in TRAINED_BY:
            raise InputError(f"objective is {self.objective!r}; expected one of {', '.join(TRAINED_BY)}")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        attributes = _attributes(labels, groups, attribute_logits, seed)
        objective = OBJECTIVES["erm" if attributes is None else self.objective]
        settings = {name: value for name, value in self.get_params().items() if name != "random_state"}
        fixed = {"objective": objective.name, "prompts": objective.prompts[0], "model_selection": "last", "seed": seed}
        config = make_config(settings | fixed | {"head": "linear"})
        num_attributes = 1 if attributes is None else int(attributes.max()) + 1
        rows = group_ids(labels, np.zeros_like(labels) if attributes is None else attributes, num_attributes)
        training = TrainingGroups(rows, labels, len(self.classes_), len(self.classes_) * num_attributes)
        scaler = StandardScaler().fit(X)
        weights_KD, biases_K = _trained(scaler.transform(X).astype(np.float32), training, objective, config)
        # GLA leaves groups without training rows out of its softmax, so their weights have learnt nothing.
        biases_K = np.where(training.offsets < 0, -np.inf, biases_K) if objective.name == "gla" else biases_K
        if len(biases_K) == 2:  # as in scikit-learn's linear classifiers
            weights_KD, biases_K = np.diff(weights_KD, axis=0), np.diff(biases_K)
        # From standardised features to features as they are: w · (x - mean) / scale + b.
        self.coef_ = weights_KD / scaler.scale_
        self.intercept_ = biases_K - self.coef_ @ scaler.mean_
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
        probabilities_NC: NDArray[np.float64] = softmax(self._class_logits(X))
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
    labels: NDArray[np.int64], groups: Iterable[Any] | None, attribute_logits: ArrayLike | None, seed: int
) -> NDArray[np.int64] | None:
    """Return the attribute (N,) of each row, -1 where unknown; None if nothing tells it."""
    if groups is not None and attribute_logits is not None:
        raise InputError("groups and attribute_logits are both given; give the groups that are to be used")
    if groups is not None:
        attributes = group_codes(groups)
    elif attribute_logits is not None:
        attributes = label_attributes(attribute_logits, seed=seed).pseudo_attributes.astype(np.int64)
    else:
        return None
    check_consistent_length(labels, attributes)
    return attributes


def _trained(
    features: NDArray[np.float32], training: TrainingGroups, kind: type[Objective], config: FitConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (K, D) and biases (K,) after the last epoch."""
    num_outputs = training.num_groups if config.prompts == "group" else training.num_classes
    head = LinearHead(torch.zeros(num_outputs, features.shape[1]), logit_scale=1.0)
    objective = kind(training, apply=config.application(kind.name) or "loss", **config.values(kind.settings))
    rows = Rows(features, training.labels, training.groups)
    unused = Rows(features[:1], training.labels[:1], training.groups[:1])  # no validation row chooses the last epoch
    with one_thread_if_small(head.multiply_adds):
        train(head, objective, rows, unused, config)
    return head.weights.detach().double().numpy(), head.bias.detach().double().numpy()


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
    attributes = group_codes(groups)
    true, predicted = _classes("y_true", y_true), _classes("y_pred", y_pred)
    check_consistent_length(true, predicted, attributes)
    labels = np.searchsorted(unique_labels(true, predicted), true)  # refuses text beside numbers
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
