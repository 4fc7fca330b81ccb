"""From the weights of groups to those of samples: by group, by class for samples without a group, or by posterior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import _core, arguments
from dbpt.errors import InputError
from dbpt.group_weights.soft import check_columns
from dbpt.group_weights.tensors import device_of, integers_on, is_tensor, numbers_on, to_host
from dbpt.group_weights.weight_table import WeightTable, class_weights

if TYPE_CHECKING:
    import torch


class SampleWeights(ABC):
    """What samples weigh, where it is known what one sample of each group weighs."""

    def __init__(self, counts: ArrayLike) -> None:
        self.counts = arguments.numbers("counts", to_host(counts)).copy()
        """(G,) float64 N_g."""
        self.counts.flags.writeable = False
        # By number of classes. Replaced as a whole when the weights have moved.
        self._tables: dict[int, WeightTable] = {}

    @property
    @abstractmethod
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, what one sample of each group weighs now."""

    def forget_tables(self) -> None:
        """Look the weights up anew from now on: they have moved."""
        self._tables = {}

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
        a class of which no sample has a group), else 1, the mean of all. To a GPU the weights cross once after each
        `step`, and with tensors of that device nothing else waits for it; so a group or label out of range weighs NaN
        there, and is refused elsewhere.
        """
        if (labels is None) != (num_classes is None):
            raise InputError(
                "sample_weights: labels and num_classes are needed together, to know the class of a sample of group -1"
            )
        table = self._table(0 if num_classes is None else num_classes)
        device = device_of(labels=labels, groups=groups)
        if device is not None:
            labels_on = None if labels is None else integers_on(device, "labels", labels)
            return table.of_groups_on(device, integers_on(device, "groups", groups), labels_on)
        found = table.of_groups(
            arguments.integers("groups", to_host(groups)),
            None if labels is None else arguments.integers("labels", to_host(labels)),
        )
        return _like(found, groups)

    @overload
    def soft_sample_weights(self, posterior: torch.Tensor, labels: ArrayLike) -> torch.Tensor: ...
    @overload
    def soft_sample_weights(self, posterior: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]: ...
    def soft_sample_weights(self, posterior: Any, labels: ArrayLike) -> torch.Tensor | NDArray[np.float64]:
        """Return the mean under ``posterior`` (B, A) of the weights of the groups (label, a), as `sample_weights` does.

        Rows as in `soft_counts`. A row of NaN, unlabelled, weighs the mean weight of its class. On a GPU a row that is
        wrong, or its label, weighs NaN.
        """
        device = device_of(labels=labels, posterior=posterior)
        num_groups = len(self.counts)
        if device is not None:
            rows_BA = numbers_on(device, "posterior", posterior, ndim=2)
            check_columns(rows_BA.shape, num_groups)
            table = self._table(num_groups // rows_BA.shape[1])
            return table.of_posterior_on(device, rows_BA, integers_on(device, "labels", labels))
        rows = arguments.matrix("posterior", to_host(posterior))
        check_columns(rows.shape, num_groups)
        table = self._table(num_groups // rows.shape[1])
        labels_B = arguments.integers("labels", to_host(labels))
        found = _core.soft_sample_weights(rows, labels_B, table.weights_G, table.weights_C, arguments.num_threads())
        return _like(found, posterior)

    def _table(self, num_classes: int) -> WeightTable:
        # Of before the weights are read: if they move meanwhile, the table goes where nobody looks any more.
        tables = self._tables
        if num_classes not in tables:
            weights_G, num_groups = self.group_weights, len(self.counts)
            if num_classes:
                arguments.integer("num_classes", num_classes, 1, num_groups)
                if num_groups % num_classes:
                    raise InputError(f"num_classes is {num_classes}; expected a divisor of {num_groups} groups")
            weights_C = class_weights(weights_G, self.counts, num_classes) if num_classes else np.empty(0)
            tables[num_classes] = WeightTable(weights_G, weights_C)
        return tables[num_classes]


def _like(weights: NDArray[np.float64], values: object) -> torch.Tensor | NDArray[np.float64]:
    """``weights`` as float32 on the device of ``values`` if those are a tensor."""
    if not is_tensor(values):
        return weights
    import torch

    return torch.from_numpy(weights).float().to(values.device)
