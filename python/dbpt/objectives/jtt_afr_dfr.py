"""Objectives that find the rows to learn from first: JTT and AFR by a first stage, DFR by balanced validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import worst_group_accuracy
from dbpt.groups.ids import random_part
from dbpt.guesses.linear_probe import import_scikit_learn, row_for_each_class
from dbpt.objectives.base import Objective, TrainingGroups
from dbpt.objectives.other_losses import balanced_subsets

if TYPE_CHECKING:
    import torch

    from dbpt.sampling import GroupSampler


class Jtt(Objective):
    """Two stages: ERM for ``identification_epochs``, whose errors on the training rows are the error set E.

    Then the head is reset and trained with the paper's loss: the mean over the training rows, with those of E repeated
    ``up_weight`` times. With ``apply="sampling"`` they are drawn that much more often; an epoch still has N draws.
    """

    name = "jtt"
    title = "JTT"
    settings = ("identification_epochs", "up_weight")
    can_sample = True

    def __init__(
        self, training: TrainingGroups, *, identification_epochs: int, up_weight: float, apply: str = "loss"
    ) -> None:
        super().__init__(training, apply=apply)
        self.extra_epochs, self._up_weight = identification_epochs, up_weight
        self.errors: NDArray[np.bool_] | None = None
        """(N,) whether each training row is in the error set; None in the first stage."""
        self._weights: torch.Tensor | None = None

    @classmethod
    def why_refused(cls, settings: Mapping[str, Any]) -> str | None:
        """Refuse a first stage that is longer than training."""
        first, epochs = settings["identification_epochs"], settings["epochs"]
        if first is None or first <= epochs:
            return None
        return f"--identification-epochs {first}: longer than training; expected at most --epochs {epochs}"

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the second stage, whose mean over the training rows is 1."""
        if self.errors is None or self.apply == "sampling":
            return None
        if self._weights is None:
            import torch

            weights_N = np.where(self.errors, self._up_weight, 1.0)
            self._weights = torch.from_numpy(weights_N / weights_N.mean()).float().to(rows.device)
        return self._weights[rows]

    def end_first_stage(self, correct: torch.Tensor, p_true: torch.Tensor) -> None:
        """Find the errors."""
        self.errors = ~correct.cpu().numpy()

    def sampler(self, seed: int) -> GroupSampler | None:
        """Return a sampler that draws rows of the error set more often, in the second stage."""
        from dbpt.sampling import GroupSampler

        if self.errors is None:
            return None
        groups = self.errors.astype(np.int64)
        return GroupSampler(groups, group_weights=[1.0, self._up_weight], seed=seed, num_groups=2)

    @property
    def note(self) -> str | None:
        """The size of the error set."""
        return None if self.errors is None else f"{self.errors.sum()} of {len(self.errors)} rows are in the error set"

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the error set, once it is known."""
        return {} if self.errors is None else {"errors": self.errors}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore the state that `state` returned."""
        self.errors, self._weights = state.get("errors"), None


HELD_OUT = 0.2
"""The authors' share of the training rows for the second stage."""


class Afr(Objective):
    """Two stages of ``epochs`` each: ERM on four fifths of the training rows, and then, from there, on the rest.

    The loss of the second stage is sum_i mu_i * l_i + ``afr_pull`` * ||theta - theta_ERM||^2. The weights mu_i are
    proportional to exp(-``afr_gamma`` * p_i) / N_y, where p_i is ERM's probability of the class y of row i, and N_y
    counts the rows of that class in the second stage. They are set once, with sum 1.
    """

    name = "afr"
    title = "AFR"
    settings = ("epochs", "afr_gamma", "afr_pull")
    heads = ("linear",)
    restarts = False

    def __init__(
        self, training: TrainingGroups, *, epochs: int, afr_gamma: float, afr_pull: float, apply: str = "loss"
    ) -> None:
        super().__init__(training, apply=apply)
        self.extra_epochs, self._gamma, self._pull = epochs, afr_gamma, afr_pull
        self.p_true: NDArray[np.float64] | None = None
        """(N,) the probability of the class of each training row by ERM; None in the first stage."""
        self._start: list[torch.Tensor] | None = None
        self._weights: torch.Tensor | None = None

    def subset(self, seed: int) -> NDArray[np.int64]:
        """Return the rows of the stage; each class has its share of both."""
        held_out = held_out_rows(self.training.labels, seed)
        if self.p_true is None:
            return np.flatnonzero(~held_out)
        if self._weights is None:
            import torch

            self._weights = torch.from_numpy(row_weights(self.p_true, self.training.labels, held_out, self._gamma))
        return np.flatnonzero(held_out)

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the second stage, whose mean over its rows is 1."""
        if self._weights is None:
            return None
        self._weights = self._weights.to(rows.device)
        return self._weights[rows].float()

    def penalty(self, head: torch.nn.Module) -> torch.Tensor | None:
        """Return ``afr_pull`` times the squared distance from ERM's layer, in the second stage."""
        if self.p_true is None:
            return None
        now = list(head.parameters())
        if self._start is None:  # before the first step
            self._start = [parameter.detach().clone() for parameter in now]
        distance = now[0].new_zeros(())
        for parameter, before in zip(now, self._start, strict=True):
            distance = distance + (parameter - before.to(parameter.device)).square().sum()
        return self._pull * distance

    def end_first_stage(self, correct: torch.Tensor, p_true: torch.Tensor) -> None:
        """Keep ERM's probabilities."""
        self.p_true = p_true.double().cpu().numpy()

    @property
    def note(self) -> str | None:
        """The size of the second stage."""
        if self.p_true is None:
            return None
        return f"the last layer is refitted on {len(self.subset(0))} of {len(self.p_true)} rows"

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the probabilities and ERM's layer, once they are known."""
        start = [] if self._start is None else self._start
        layers = {f"start_{number}": tensor.cpu().numpy() for number, tensor in enumerate(start)}
        return layers if self.p_true is None else {"p_true": self.p_true, **layers}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore the state that `state` returned."""
        import torch

        self.p_true, self._weights = state.get("p_true"), None
        layers = [state[name] for name in sorted(state) if name.startswith("start_")]
        self._start = [torch.from_numpy(layer) for layer in layers] or None


def held_out_rows(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return whether each row (N,) is in the second stage: `HELD_OUT` of each class, but never all of it."""
    return random_part(labels, lambda n: min(max(1, round(HELD_OUT * n)), n - 1), seed)


def row_weights(
    p_true: NDArray[np.float64], labels: NDArray[np.int64], held_out: NDArray[np.bool_], gamma: float
) -> NDArray[np.float64]:
    """Return the weights (N,) of the held-out rows, with mean 1 over them; 0 for the others."""
    counts = np.bincount(labels[held_out])
    weights: NDArray[np.float64] = np.where(held_out, np.exp(-gamma * p_true), 0.0)
    weights[held_out] /= counts[labels[held_out]]
    weights *= held_out.sum() / weights.sum()
    return weights


Layer = tuple[NDArray[np.float64], NDArray[np.float64]]
PENALTIES = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
"""Values of scikit-learn's C; smaller ones penalise more."""
SUBSETS = 20
BLOCK_COLUMNS = 64
OPTION = "--objective dfr"


class Dfr(Objective):
    """L1-penalised logistic regression on standardised features of validation rows, as many of each group.

    Worst-group accuracy chooses the penalty: fitted on a balanced subset of one half of validation, judged on the
    other. The layer is then the mean of `SUBSETS` layers, each fitted on another balanced subset of all of validation:
    min_g N_g rows of each group that has any. Settings of the training loop, such as epochs, have no effect.
    """

    name = "dfr"
    title = "DFR"
    uses_groups = True
    leaves_unknown_out = True
    heads = ("linear",)
    trains_on = "val"
    refits = True
    prompts = ("class",)

    @classmethod
    def check_installed(cls) -> None:
        """Raise `InputError` without scikit-learn."""
        import_scikit_learn(OPTION)

    def refit(
        self, train_features: NDArray[np.float32], features: NDArray[np.float32], seed: int
    ) -> tuple[dict[str, NDArray[np.float32]], str]:
        """Return the layer's weights (C, D) and bias (C,)."""
        rows = self.training
        (weights, bias), penalty = refit_layer(
            train_features, features, rows.labels, rows.groups, num_classes=rows.num_classes, seed=seed
        )
        how = f"C = {penalty:g}, chosen on half of the validation split; mean of {SUBSETS} balanced subsets"
        return {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)}, how


def refit_layer(
    train_features: NDArray[np.float32],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    num_classes: int,
    seed: int,
) -> tuple[Layer, float]:
    """Return weights (C, D) and bias (C,), fitted to N validation rows, and the chosen penalty.

    Args:
        train_features: (M, D); their means and deviations standardise the last fits.
        features: (N, D) of the validation rows.
        labels: (N,) class index.
        groups: (N,) group, -1 if unknown. Each class has a row of known group, and some group has two.
        num_classes: C.
        seed: draws the subsets of the rows that the fits are of.

    Raises:
        InputError: if scikit-learn is not installed.
    """
    known = groups >= 0
    features_ND, labels, groups = features[known].astype(np.float64), labels[known], groups[known]
    penalty = _best_penalty(features_ND, labels, groups, num_classes, seed)
    mean_D, scale_D = _standard(train_features)
    standardised_ND = (features_ND - mean_D) / scale_D
    layers = [
        _fit(standardised_ND[rows], labels[rows], penalty, num_classes, seed)
        for rows in balanced_subsets(groups, seed, SUBSETS)
    ]
    # The standardisation moves into the layer, which then takes features as they are.
    weights_CD = np.mean([weights for weights, _ in layers], axis=0) / scale_D
    bias_C = np.mean([bias for _, bias in layers], axis=0) - weights_CD @ mean_D
    return (weights_CD, bias_C), penalty


def _best_penalty(
    features_ND: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_classes: int,
    seed: int,
) -> float:
    """Return the first of `PENALTIES` with the best worst-group accuracy on the half of the rows not fitted on."""
    half = random_part(groups, lambda n: -(-n // 2), seed)  # the larger half of a group of odd size
    (subset,) = balanced_subsets(groups[half], seed, 1)
    rows = np.flatnonzero(half)[subset]
    mean_D, scale_D = _standard(features_ND[rows])
    standardised_ND = (features_ND - mean_D) / scale_D
    scores = []
    for penalty in PENALTIES:
        weights_CD, bias_C = _fit(standardised_ND[rows], labels[rows], penalty, num_classes, seed)
        correct = (standardised_ND @ weights_CD.T + bias_C).argmax(axis=1) == labels
        scores.append(worst_group_accuracy(correct[~half], groups[~half]) or 0.0)
    return PENALTIES[int(np.argmax(scores))]


def _fit(
    features_ND: NDArray[np.float64], labels: NDArray[np.int64], penalty: float, num_classes: int, seed: int
) -> Layer:
    """Fit weights (C, D) and bias (C,) by liblinear, one regression for each of more than two classes."""
    regression = import_scikit_learn(OPTION).LogisticRegression
    # The argument for an L1 penalty has another name from scikit-learn 1.8 on.
    l1 = {"l1_ratio": 1.0} if regression().get_params()["l1_ratio"] is not None else {"penalty": "l1"}
    fits = []
    for target in range(num_classes) if num_classes > 2 else (1,):
        # scikit-learn takes seeds of 32 bits.
        fit = regression(C=penalty, solver="liblinear", max_iter=1000, random_state=seed % 2**32, **l1)
        fits.append(fit.fit(features_ND, labels == target))
    weights_FD, bias_F = (np.concatenate([getattr(fit, name) for fit in fits]) for name in ("coef_", "intercept_"))
    return row_for_each_class(weights_FD, bias_F)


def _standard(features_ND: NDArray[np.floating]) -> Layer:
    """Return means and standard deviations (D,), 1 for a feature that is constant; in float64, some columns at once."""
    # NumPy's std makes a float64 copy of the whole array, a gigabyte for CelebA.
    blocks = np.array_split(features_ND, -(-features_ND.shape[1] // BLOCK_COLUMNS), axis=1)
    figures = [(block.mean(axis=0), block.std(axis=0)) for block in (rows.astype(np.float64) for rows in blocks)]
    mean_D, deviation_D = (np.concatenate(parts) for parts in zip(*figures, strict=True))
    return mean_D, np.where(deviation_D > 1e-12, deviation_D, 1.0)
