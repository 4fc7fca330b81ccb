"""Detect divergence, by the limits of float32, before a checkpoint is written."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.errors import InputError

LARGEST_LOSS = 2.0**24
"""Logits of this size are whole numbers in float32: the softmax is 0 or 1, and its gradient is useless."""


class Diverged(InputError):
    """Training diverged. ``reason`` says so without how `dbpt fit` continues, which the message adds as ``way_on``."""

    def __init__(self, reason: str, way_on: str) -> None:
        super().__init__(reason + way_on)
        self.reason = reason


@dataclass(frozen=True)
class DivergenceCheck:
    """Checks of one epoch (from 1) at learning rate ``lr``. Each raises `Diverged`, which advises ``lower_lr``."""

    objective: str
    epoch: int
    lr: float
    lower_lr: float
    resumable: bool

    def check_step(self, per_sample_loss: torch.Tensor, parameters: Iterable[torch.Tensor]) -> None:
        """Refuse losses (B,) and gradients of ``parameters`` that are too large or not finite."""
        gradient_norm = _norm(parameter.grad for parameter in parameters if parameter.grad is not None)
        both = torch.stack([per_sample_loss.detach().max(), gradient_norm])
        loss, gradient = both.tolist()  # one synchronisation with the device
        self.check_loss(loss)
        self._check_norm("gradient", gradient)

    @contextmanager
    def checked_step(self) -> Iterator[None]:
        """Refuse an optimizer step that overflows float32, for which torch raises a plain `RuntimeError`."""
        try:
            yield
        except RuntimeError as error:
            if "without overflow" not in str(error):
                raise
            raise self._error("norm of a step", float("inf")) from None

    def check_loss(self, largest: float) -> None:
        """Refuse a ``largest`` loss of a batch that is too large or not finite."""
        if not largest <= LARGEST_LOSS:
            raise self._error("loss", largest)

    def check_weights(self, parameters: Iterable[torch.Tensor]) -> None:
        """Refuse trained ``parameters`` whose norm is not finite."""
        self._check_norm("trained weights", _norm(parameter.detach() for parameter in parameters).item())

    def check_probabilities(self, p_true: NDArray[np.float32]) -> None:
        """Refuse probabilities of validation rows (N,) that contain NaN, which means logits that are not finite."""
        if bad := int(np.isnan(p_true).sum()):
            raise self._error("number of validation rows without finite logits", bad)

    def _check_norm(self, what: str, value: float) -> None:
        if not value < float("inf"):
            raise self._error(f"norm of the {what}", value)

    def _error(self, what: str, value: float) -> Diverged:
        reason = (
            f"training diverged: the {what} of objective {self.objective!r} is {value:g} in epoch {self.epoch} at "
            f"learning rate {self.lr:g}: lower --lr, for example to {self.lower_lr:g}"
        )
        where = f"from the checkpoint of epoch {self.epoch - 1}" if self.epoch > 1 else "from the beginning"
        way_on = f"; dbpt fit --resume --lr {self.lower_lr:g} with the same --out continues {where}"
        return Diverged(reason, way_on if self.resumable else "")


def _norm(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the Euclidean norm of all entries together; infinite if float32 overflows."""
    norms = torch.stack([torch.linalg.vector_norm(tensor.float()) for tensor in tensors])
    total: torch.Tensor = torch.linalg.vector_norm(norms)
    return total
