"""Objectives without group weights: class balance, subsampling, losses near zero-shot, and contrast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.groups import GroupWeights
from dbpt.groups.ids import permutation
from dbpt.objectives.base import Objective, TrainingGroups

if TYPE_CHECKING:
    import torch

    from dbpt.sampling import GroupSampler


class ClassBalanced(Objective):
    """loss = (1/B) * sum_i w_y(i) * l_i, with w_y proportional to 1 / N_y, within the bounds of the group weights.

    It is `Balanced` with classes in place of groups, so it uses no attribute. With ``apply="sampling"`` rows are drawn
    in proportion to their weights, as by the authors.
    """

    name = "class-balanced"
    title = "class-balanced"
    settings = ("min_group_count", "max_weight")
    can_sample = True

    def __init__(self, training: TrainingGroups, *, apply: str = "loss", **bounds: float) -> None:
        super().__init__(training, apply=apply)
        self._bounds = bounds
        self._balance(training.labels, training.num_classes)

    def _balance(self, parts_N: NDArray[np.int64], number: int) -> None:
        """Give each of ``number`` parts of the training rows the same total weight; row i is in part ``parts_N[i]``."""
        counts = np.bincount(parts_N, minlength=number)
        self._parts, self._rule = parts_N, GroupWeights(counts, 0.0, 0.0, **self._bounds)  # eta = 0, and never stepped

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the parts that the rows are in."""
        if self.apply == "sampling":
            return None
        return self._rule.sample_weights(rows.new_tensor(self._parts[rows.cpu().numpy()]))

    def sampler(self, seed: int) -> GroupSampler:
        """Return a sampler that draws in proportion to the weights."""
        from dbpt.sampling import GroupSampler

        weights = self._rule.group_weights
        return GroupSampler(self._parts, group_weights=weights, seed=seed, num_groups=len(weights))


class Subg(Objective):
    """ERM on as many rows of each group as the smallest one has, drawn once from the seed, as by the authors' code.

    Groups without rows don't count. Rows of unknown group are left out.
    """

    name = "subg"
    title = "SUBG"
    uses_groups = True
    leaves_unknown_out = True
    part = "group"

    @property
    def parts(self) -> NDArray[np.int64]:
        """(N,) the part of each training row, of which the subset has equally many rows; -1 leaves a row out."""
        return self.training.groups

    def subset(self, seed: int) -> NDArray[np.int64]:
        """Return the rows of the subset."""
        (rows,) = balanced_subsets(self.parts, seed, 1)
        return rows

    @property
    def note(self) -> str:
        """The size of the subset."""
        rows = self.subset(0)
        size = len(rows) // len(np.unique(self.parts[rows]))
        return f"trained on {len(rows)} of {len(self.parts)} rows, {size} of each {self.part}"


class Suby(Subg):
    """The same with classes in place of groups, so it uses no attribute."""

    name = "suby"
    title = "SUBY"
    uses_groups = False
    leaves_unknown_out = False
    part = "class"

    @property
    def parts(self) -> NDArray[np.int64]:
        """(N,) the classes."""
        return self.training.labels


def balanced_subsets(groups: NDArray[np.int64], seed: int, number: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of ``number`` random subsets of ``groups`` (N,), each with equally many of every group.

    A group that has rows has as many in each subset as the smallest such group. Group -1 is left out.
    """
    index = GroupIndex(groups, int(groups.max()) + 1)
    present = index.counts > 0
    quotas = np.where(present, index.counts[present].min(), 0)
    for epoch in range(number):
        yield GroupStream(index, quotas, seed, epoch).indices(0, int(quotas.sum()))


KGCOOP_WEIGHT = 8.0
"""The authors' weight of the distance, for all data sets."""


class KgCoOp(Objective):
    """loss = (1/B) * sum_i l_i + 8 * (1/C) * sum_y (1 - cos(w_y, z_y)).

    w_y is the class weight that the context gives, and z_y that of the zero-shot classifier.
    """

    name = "kgcoop"
    title = "KgCoOp"
    heads = ("prompt",)
    prompts = ("class",)

    def penalty(self, head: torch.nn.Module) -> torch.Tensor | None:
        """Return the weighted mean distance of the class weights of the last step's forward pass."""
        # The text tower has already run in this step's forward pass; its graph is kept for this.
        cosines_C = (head.last_weights * head.zero_shot).sum(dim=1)  # type: ignore[operator]
        return KGCOOP_WEIGHT * (1 - cosines_C.mean())


class ProGrad(Objective):
    """ERM whose gradient never opposes that of the cross-entropy to the zero-shot probabilities q.

    The loss is (1/B) * sum_i l_i, its gradient g, and h that of -(1/B) * sum_i sum_y q_iy log p_iy. If g·h < 0, the
    step uses g - (g·h / |h|^2) h, for each parameter. (The authors' lambda and temperature are 1.)
    """

    name = "prograd"
    title = "ProGrad"
    heads = ("prompt",)
    prompts = ("class",)

    def general_loss(self, head: torch.nn.Module, features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor | None:
        """Return the cross-entropy to the zero-shot probabilities, (B,)."""
        zero_shot: torch.Tensor = head.logits_with(features, head.zero_shot)  # type: ignore[operator]
        return -(zero_shot.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)

    def change_gradients(self, parameters: Iterable[torch.Tensor], general: Sequence[torch.Tensor]) -> None:
        """Take the part against the ``general`` gradient out."""
        for parameter, direction in zip(parameters, general, strict=True):
            assert parameter.grad is not None
            along = (parameter.grad * direction).sum()
            if along < 0:
                parameter.grad -= along / direction.square().sum() * direction


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
    prompts = ("class",)

    _step = 0  # steps taken

    def start(self, head: torch.nn.Module, features: torch.Tensor, seed: int) -> None:
        """Predict the training rows by the zero-shot classifier, and balance the cells."""
        import torch

        class_weights: torch.Tensor = head.weights  # type: ignore[assignment]
        predicted_N = (features @ class_weights.T).argmax(dim=1).cpu().numpy()
        labels, num_classes = self.training.labels, self.training.num_classes
        self._balance(labels * num_classes + predicted_N, num_classes**2)
        correct = predicted_N == labels
        self._anchors = np.flatnonzero(~correct & np.isin(labels, labels[correct]))
        self._targets = [np.flatnonzero(correct & (labels == label)) for label in range(num_classes)]
        self._features = features
        self._labels = torch.from_numpy(labels).to(features.device)
        self._seed = seed

    def penalty(self, head: torch.nn.Module) -> torch.Tensor | None:
        """Return the weighted contrastive loss of the anchors of this step, None without any."""
        self._step += 1
        if not len(self._anchors):
            return None
        anchors, others, positive, negative = self._pairs(self._step - 1)
        anchors_AD, others_MD = (head.adapted(self._features[rows]) for rows in (anchors, others))  # type: ignore[operator]
        return WEIGHT * contrastive_loss(anchors_AD @ others_MD.T, positive, negative)

    def _pairs(self, step: int) -> tuple[torch.Tensor, ...]:
        """Return the rows of the anchors (A,), of the others (M,), and which are positive and negative, (A, M) bool."""
        import torch

        device, features, seed = self._features.device, self._features, self._seed
        anchors = torch.from_numpy(self._anchors_of(step)).to(device)
        similarity_AN = features[anchors] @ features.T
        # An anchor is not its own neighbour.
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
        return f"{len(self._anchors)} of {len(self._labels)} training rows are anchors: zero-shot CLIP gets them wrong"

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
    # Not minus infinity, whose gradient is NaN for an anchor without negatives.
    negatives_A = scaled.masked_fill(~negative, -1e4).logsumexp(dim=1)
    loss_AM = torch.nn.functional.softplus(negatives_A[:, None] - scaled) * positive
    return (loss_AM.sum(dim=1) / positive.sum(dim=1)).mean()
