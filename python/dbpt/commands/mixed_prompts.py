"""Group prompts part of the way from untrained to trained, and the share α of the trained ones."""

from dataclasses import replace

import numpy as np

from dbpt.clip.backbone import zero_shot_weights
from dbpt.commands.trained_methods import MethodResult, training_rows
from dbpt.errors import InputError
from dbpt.evaluation.results import Repeat
from dbpt.evaluation.study_metrics import titled
from dbpt.heads import Head
from dbpt.heads.class_and_group_prompts import group_texts
from dbpt.objectives import Objective
from dbpt.objectives.base import EXCLUDED
from dbpt.objectives.training_free import TRAINING_FREE
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.settings.all_settings import PRIOR_IMAGES
from dbpt.settings.combinations import why_not_mixed
from dbpt.study.study import Study
from dbpt.training.model_selection import Validation, validation_score


def alpha_of(study: Study) -> float:
    """Return the share of trained weights in a mixture: the setting, else n² / (n² + `PRIOR_IMAGES`²).

    n are the training rows of the rarest group that has any: the fewer there are, the less is learnt about them.
    """
    config = study.config
    if config.alpha is not None:
        return config.alpha
    counts_G = study.training_grouping.counts(study.rows("train"))
    rarest = int(counts_G[counts_G > 0].min(initial=len(study.splits)))
    return rarest**2 / (rarest**2 + PRIOR_IMAGES**2)


def mixed_result(study: Study, trained: MethodResult, alpha: float, name: str) -> MethodResult:
    """Return group prompts between untrained (alpha 0) and ``trained`` (1): W = alpha W_trained + (1 - alpha) W_0.

    This is weight-space ensembling (WiSE-FT, Wortsman et al., 2022, arXiv 2109.01903). W_0 are the text features of the
    sentences of the groups times the logit scale, wherever the training started; biases are mixed alike.
    """
    config, words, backbone = study.config, study.dataset.words, study.embedded.backbone
    if reason := why_not_mixed(config.head, has_words=study.training_grouping.has_words):
        raise InputError(f"{name}: {reason}; leave it out")
    of_trained = trained.classifier.tensors
    untrained = backbone.logit_scale * zero_shot_weights(backbone, *group_texts(words))
    # Where a class can't have an attribute, both biases are the same.
    bias = np.where(of_trained["logit_bias"] <= EXCLUDED, np.float32(EXCLUDED), alpha * of_trained["logit_bias"])
    weights = of_trained["logit_scale"] * of_trained["weights"]
    tensors = {
        "weights": alpha * weights + (1 - alpha) * untrained.reshape(weights.shape),
        "logit_scale": np.ones(1),
        "logit_bias": bias,
    }
    classifier = FeatureClassifier({key: tensor.astype(np.float32) for key, tensor in tensors.items()}, Head)
    assert trained.trained is not None and trained.row.model_selection is not None
    selection, best_epoch = trained.row.model_selection, trained.trained.best_epoch
    score = validation_score(selection, best_epoch, _validation(study, classifier))[0]
    # without the epochs and the seconds of the training
    repeat = Repeat(seed=config.seed, validation_score=score)
    objective = None if name in TRAINING_FREE else trained.row.objective
    how = titled(replace(trained.row, method=name, objective=objective, alpha=alpha))
    return MethodResult.of(study, classifier, how, repeat, trained.trained)


def _validation(study: Study, classifier: FeatureClassifier) -> Validation:
    """Return what model selection looks at, for a classifier that no epoch ended with."""
    _, val = training_rows(study, Objective)
    p_true = classifier.probabilities(val.features)[np.arange(len(val.labels)), val.labels]
    return Validation.of(classifier.predictions(val.features) == val.labels, p_true, val)
