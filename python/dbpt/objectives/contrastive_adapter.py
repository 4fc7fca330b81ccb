"""Contrastive adapting: rows that zero-shot gets wrong move to those it gets right (Zhang and Ré, 2022).

arXiv 2207.07180, by the authors' code. It uses no attribute: its groups are cells of class and zero-shot prediction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.groups.permutation import permutation
from dbpt.objectives.base import TrainingGroups
from dbpt.objectives.class_balanced import ClassBalanced

if TYPE_CHECKING:
    import torch

ANCHORS, POSITIVES, NEIGHBOURS, NEGATIVES, TEMPERATURE = 128, 2048, 4096, 2048, 0.1
"""The defaults of the authors' code; the first is its number of anchors in a step."""
WEIGHT = 1.0
"""The weight of the contrastive loss; the authors alternate epochs of the two losses instead."""


class ContrastiveAdapter(ClassBalanced):
    """loss = (1/B) * sum_i w_c(i) * l_i + the mean over anchors a of (1/P_a) * sum_p -log(e_ap / (e_ap + sum_n e_an)).

    w_c is proportional to 1 / N_c, with the cell c of a row's class and zero-shot prediction. e_ij = exp(cos(z_i, z_j)
    / 0.1), with z the features that the adapter has moved. An anchor is a row that zero-shot gets wrong. Its positives
    p are rows of its class that zero-shot gets right, its negatives n those of another class among its nearest rows by
    CLIP's features. Each step takes the next 128 anchors of a random order, 2048 positives of each class and 2048 of
    the 4096 nearest rows, or as many as there are.
    """

    name = "contrastive-adapter"
    title = "contrastive adapter"
    heads = ("adapter",)

    def __init__(self, training: TrainingGroups, *, apply: str = "loss", **bounds: float) -> None:
        super().__init__(training, apply=apply, **bounds)
        self._step = 0

    def start(self, head: torch.nn.Module, features: torch.Tensor, seed: int) -> None:
        """Predict the training rows by the zero-shot classifier, and balance the cells."""
        import torch

        class_weights: torch.Tensor = head.class_weights  # type: ignore[assignment]
        predicted_N = (features @ class_weights.T).argmax(dim=1).cpu().numpy()
        labels, num_classes = self.training.labels, self.training.num_classes
        self._balance(labels * num_classes + predicted_N, num_classes**2)
        correct = predicted_N == labels
        self._anchors = np.flatnonzero(~correct & np.isin(labels, labels[correct]))
        self._targets = [np.flatnonzero(correct & (labels == label)) for label in range(num_classes)]
        self._features, self._labels, self._seed = features, torch.from_numpy(labels).to(features.device), seed

    def penalty(self, head: torch.nn.Module) -> torch.Tensor | None:
        """Return the weighted contrastive loss of the anchors of this step, None without any."""
        step, self._step = self._step, self._step + 1
        if not len(self._anchors):
            return None
        anchors, others, positive, negative = self._pairs(step)
        anchors_AD, others_MD = (head.adapted(self._features[rows]) for rows in (anchors, others))  # type: ignore[operator]
        return WEIGHT * contrastive_loss(anchors_AD @ others_MD.T, positive, negative)

    def _pairs(self, step: int) -> tuple[torch.Tensor, ...]:
        """Return the rows of the anchors (A,), of the others (M,), and which are positive and negative, (A, M) bool."""
        import torch

        device, features, seed = self._features.device, self._features, self._seed
        anchors = torch.from_numpy(self._anchors_of(step)).to(device)
        similarity_AN = features[anchors] @ features.T
        similarity_AN[torch.arange(len(anchors)), anchors] = -torch.inf
        near_AK = similarity_AN.topk(min(NEIGHBOURS, len(features) - 1)).indices
        near_AK = near_AK[:, torch.from_numpy(permutation(near_AK.shape[1], seed, step)[:NEGATIVES]).to(device)]
        same_class_AN = self._labels[anchors][:, None] == self._labels
        negative_AN = torch.zeros_like(same_class_AN).scatter_(1, near_AK, True) & ~same_class_AN
        targets = np.concatenate([rows[permutation(len(rows), seed, step)[:POSITIVES]] for rows in self._targets])
        is_target_N = torch.zeros_like(same_class_AN[0])
        is_target_N[torch.from_numpy(targets).to(device)] = True
        positive_AN = same_class_AN & is_target_N
        others = (positive_AN | negative_AN).any(dim=0).nonzero()[:, 0]
        return anchors, others, positive_AN[:, others], negative_AN[:, others]

    def _anchors_of(self, step: int) -> NDArray[np.int64]:
        steps_a_pass = -(-len(self._anchors) // ANCHORS)
        number, part = divmod(step, steps_a_pass)
        order = permutation(len(self._anchors), self._seed, number)
        return self._anchors[order[part * ANCHORS : (part + 1) * ANCHORS]]

    @property
    def note(self) -> str:
        """The number of anchors."""
        return f"{len(self._anchors)} of {len(self._labels)} training rows, which zero-shot gets wrong, are anchors"

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the number of steps taken."""
        return {"step": np.array([self._step])}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore the state that `state` returned."""
        self._step = int(state["step"][0])


def contrastive_loss(cosine_AM: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of A anchors; each has at least one of the ``positive`` (A, M) bool, and any negatives."""
    import torch

    scaled = cosine_AM / TEMPERATURE
    negatives_A = scaled.masked_fill(~negative, -1e4).logsumexp(dim=1)
    loss_AM = torch.nn.functional.softplus(negatives_A[:, None] - scaled) * positive
    return (loss_AM.sum(dim=1) / positive.sum(dim=1)).mean()
