"""From the weights of groups to those of samples: by group, by class for samples without a group, or by posterior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.soft import check_columns, check_rows, divided
from dbpt.groups.tensors import beside, check_length, device_of, integers, is_tensor, numbers, to_host, where

if TYPE_CHECKING:
    import torch


class SampleWeights(ABC):
    """What samples weigh, where it is known what one sample of each group weighs."""

    def __init__(self, counts: ArrayLike) -> None:
        self.counts = arguments.numbers("counts", to_host(counts)).copy()
        """(G,) float64 N_g."""
        bad = np.flatnonzero((self.counts != 0) & ~((self.counts >= 1e-10) & (self.counts <= 1e18)))
        if bad.size:
            raise InputError(f"counts[{bad[0]}] is {self.counts[bad[0]]:g}; expected 0, or a number from 1e-10 to 1e18")
        if not self.counts.any():
            raise InputError("the sum of counts is 0; expected at least one group with members")
        self.counts.flags.writeable = False

    @property
    @abstractmethod
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, what one sample of each group weighs now."""

    @overload
    def sample_weights(
        self, groups: torch.Tensor, labels: ArrayLike | None = None, *, num_classes: int | None = None
    ) -> torch.Tensor: ...
    @overload
    def sample_weights(
        self, groups: ArrayLike, labels: ArrayLike | None = None, *, num_classes: int | None = None
    ) -> NDArray[np.float64]: ...
    def sample_weights(
        self, groups: Any, labels: ArrayLike | None = None, *, num_classes: int | None = None
    ) -> torch.Tensor | NDArray[np.float64]:
        """Return what each sample weighs, (B,) float64; for a tensor of groups a float32 tensor on its device.

        A sample of group -1 weighs the mean weight of its class if ``labels`` (B,) and ``num_classes`` are given (1 for
        a class of which no sample has a group), else 1, the mean of all. With tensors of a GPU nothing waits for it; so
        a group out of range weighs NaN there, and so does a label that is needed; elsewhere they are refused.
        """
        if (labels is None) != (num_classes is None):
            raise InputError(
                "sample_weights: labels and num_classes are needed together, to know the class of a sample of group -1"
            )
        device, num_groups = device_of(labels=labels, groups=groups), len(self.counts)
        num_classes = 0 if num_classes is None else arguments.integer("num_classes", num_classes, 1, num_groups)
        weights_G, weights_C = self._weights(num_classes)
        # Groups, classes, the mean of all, and what is out of range on a device.
        entries = np.concatenate([weights_G, weights_C, [1.0, np.nan]])
        invalid, groups_B = len(entries) - 1, integers("groups", groups, device)
        outside_B: Any = num_groups + num_classes
        if labels is not None:
            labels_B = integers("labels", labels, device)
            check_length("labels", len(labels_B), len(groups_B), "the rows of groups")
            outside_B = num_groups + _within("labels", labels_B, 0, num_classes, invalid - num_groups)
        known_B = _within("groups", groups_B, -1, num_groups, invalid)
        return _like(groups, beside(entries, groups_B)[where(groups_B == -1, outside_B, known_B)])

    @overload
    def soft_sample_weights(self, posterior: torch.Tensor, labels: ArrayLike) -> torch.Tensor: ...
    @overload
    def soft_sample_weights(self, posterior: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]: ...
    def soft_sample_weights(self, posterior: Any, labels: ArrayLike) -> torch.Tensor | NDArray[np.float64]:
        """Return the mean under ``posterior`` (B, A) of the weights of the groups (label, a), as `sample_weights` does.

        Rows as in `soft_counts`. A row of NaN, unlabelled, weighs the mean weight of its class. On a GPU a row that is
        wrong, or its label, weighs NaN.
        """
        device, num_groups = device_of(labels=labels, posterior=posterior), len(self.counts)
        rows_BA, labels_B = numbers("posterior", posterior, device, ndim=2), integers("labels", labels, device)
        check_columns(rows_BA.shape, num_groups)
        check_length("labels", len(labels_B), len(rows_BA), "the rows of posterior")
        num_classes = num_groups // rows_BA.shape[1]
        memberships_BA, proper_B, unlabelled_B = divided(rows_BA)
        known_B = _within("labels", labels_B, 0, num_classes, num_classes)
        if device is None:
            check_rows(rows_BA, labels_B, num_classes, proper_B | unlabelled_B, 0)
        weights_G, weights_C = self._weights(num_classes)
        # Beyond the classes NaN, for a label that is out of range on a device.
        weights_CA = beside(np.append(weights_G, [np.nan] * rows_BA.shape[1]).reshape(num_classes + 1, -1), labels_B)
        class_B = beside(np.append(weights_C, np.nan), labels_B)[known_B]
        mean_B = where(proper_B, (memberships_BA * weights_CA[known_B]).sum(1), class_B * np.nan)
        return _like(posterior, where(unlabelled_B, class_B, mean_B))

    def _weights(self, num_classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The weights (G,) of groups, and (C,) the mean weight of a sample of each class, 1 where none has a group."""
        weights_G, num_groups = self.group_weights, len(self.counts)
        if not num_classes:
            return weights_G, np.empty(0)
        if num_groups % num_classes:
            raise InputError(f"num_classes is {num_classes}; expected a divisor of {num_groups} groups")
        rows_C = self.counts.reshape(num_classes, -1).sum(axis=1)
        mass_C = (weights_G * self.counts).reshape(num_classes, -1).sum(axis=1)
        return weights_G, np.divide(mass_C, rows_C, out=np.ones(num_classes), where=rows_C > 0)


def _within(name: str, values_B: Any, least: int, bound: int, invalid: int) -> Any:
    """Return the values (B,), those out of range refused; on a device, which isn't waited for, as ``invalid``."""
    inside_B = (values_B >= least) & (values_B < bound)
    if is_tensor(values_B):
        return where(inside_B, values_B, invalid)
    bad = np.flatnonzero(~inside_B)
    if bad.size:
        expected = f"-1 (outside) or 0 to {bound - 1}" if least else f"a class from 0 to {bound - 1}"
        raise InputError(f"{name}[{bad[0]}] is {values_B[bad[0]]}; expected {expected}")
    return values_B


def _like(argument: object, weights: Any) -> torch.Tensor | NDArray[np.float64]:
    """Return the weights as float32 on the device of ``argument`` if that is a tensor."""
    if is_tensor(weights):
        return weights.float()
    if not is_tensor(argument):
        return weights  # type: ignore[no-any-return]
    import torch

    return torch.from_numpy(weights).float().to(argument.device)
