"""The weights of groups and classes as a table, looked up for samples on the host or a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.group_weights.soft import MEMBERSHIP_BITS, memberships_on
from dbpt.group_weights.tensors import check_length, current_stream

if TYPE_CHECKING:
    import torch


def class_weights(
    group_weights: NDArray[np.float64], counts: NDArray[np.float64] | NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """Return (C,) float64, the mean weight of the samples of each class; 1 for a class of which none has a group."""
    per_class = (num_classes, -1)
    rows_C = counts.reshape(per_class).sum(axis=1)
    mass_C = (group_weights * counts).reshape(per_class).sum(axis=1)
    weights_C: NDArray[np.float64] = np.divide(mass_C, rows_C, out=np.ones(num_classes), where=rows_C > 0)
    return weights_C


class WeightTable:
    """The weights (G,) of groups and (C,) of classes, looked up for samples.

    A sample without a group weighs its class's weight, or 1, the mean of all, where no classes are given.
    """

    def __init__(self, weights_G: NDArray[np.float64], weights_C: NDArray[np.float64]) -> None:
        self.weights_G, self.weights_C = weights_G, weights_C
        # A copy for each stream: what is used on another stream than it was made on may be overwritten too early.
        self._on_device: dict[tuple[torch.device, torch.Stream | None], torch.Tensor] = {}

    def of_groups(self, groups: NDArray[np.int64], labels: NDArray[np.int64] | None) -> NDArray[np.float64]:
        """Return (B,) float64; both arguments (B,), group -1 for outside."""
        num_groups, num_classes = len(self.weights_G), len(self.weights_C)
        _check("groups", groups, -1, num_groups, f"-1 (outside) or 0 to {num_groups - 1}")
        outside = np.array(num_groups + num_classes)
        if labels is not None:
            _check("labels", labels, 0, num_classes, f"a class from 0 to {num_classes - 1}")
            check_length("labels", len(labels), len(groups), "the rows of groups")
            outside = num_groups + labels
        return self._entries()[np.where(groups >= 0, groups, outside)]

    def of_groups_on(self, device: torch.device, groups_B: torch.Tensor, labels_B: torch.Tensor | None) -> torch.Tensor:
        """Return (B,) float32 on ``device``, which isn't waited for; NaN for a group or label out of range."""
        import torch

        num_groups, num_classes = len(self.weights_G), len(self.weights_C)
        entries = self._entries_on(device)
        invalid = len(entries) - 1
        outside_B = torch.full_like(groups_B, num_groups + num_classes)
        if labels_B is not None:
            check_length("labels", len(labels_B), len(groups_B), "the rows of groups")
            outside_B = torch.where(_inside(labels_B, num_classes), num_groups + labels_B, invalid)
        elsewhere_B = torch.where(groups_B == -1, outside_B, invalid)
        return entries[torch.where(_inside(groups_B, num_groups), groups_B, elsewhere_B)].float()

    def of_posterior_on(self, device: torch.device, posterior_BA: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Return (B,) float32, the mean of the groups' weights under ``posterior_BA``; NaN for a bad row or label."""
        import torch

        num_groups, num_classes = len(self.weights_G), len(self.weights_C)
        check_length("labels", len(labels_B), len(posterior_BA), "the rows of posterior")
        entries, known_B = self._entries_on(device), _inside(labels_B, num_classes)
        labels_B = torch.where(known_B, labels_B, 0)
        memberships_BA, proper_B, unlabelled_B = memberships_on(posterior_BA)
        weights_CA = entries[:num_groups].reshape(num_classes, -1)
        mean_B = (memberships_BA * weights_CA[labels_B]).sum(dim=1) * 2.0**-MEMBERSHIP_BITS
        weights_B = torch.where(unlabelled_B, entries[num_groups + labels_B], mean_B)
        return torch.where(known_B & (proper_B | unlabelled_B), weights_B, entries[-1]).float()

    def _entries(self) -> NDArray[np.float64]:
        """(G + C + 2,): groups, classes, the mean of all, and NaN."""
        return np.concatenate([self.weights_G, self.weights_C, [1.0, np.nan]])

    def _entries_on(self, device: torch.device) -> torch.Tensor:
        import torch

        key = device, current_stream(device)
        if key not in self._on_device:
            with torch.inference_mode(False):
                self._on_device[key] = torch.from_numpy(self._entries()).to(device)
        return self._on_device[key]


def _inside(values: torch.Tensor, bound: int) -> torch.Tensor:
    return (values >= 0) & (values < bound)


def _check(name: str, values: NDArray[np.int64], low: int, bound: int, expected: str) -> None:
    bad = np.flatnonzero((values < low) | (values >= bound))
    if bad.size:
        raise InputError(f"{name}[{bad[0]}] is {values[bad[0]]}; expected {expected}")
