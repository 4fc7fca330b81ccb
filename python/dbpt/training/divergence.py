"""When training has blown up: told at the step or at the epoch's end, before a checkpoint could hold any of it.

What counts is what float32 can hold: a loss whose logits have no fractions any more, a length whose squares overflow.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.errors import InputError

LARGEST_LOSS = 2.0**24
"""Logits so far apart are whole numbers in float32: the softmax is 0 or 1, and its gradient says nothing."""


@dataclass(frozen=True)
class Moment:
    """Where training is: the objective's name, the epoch (from 1), its learning rate and the peak of the schedule.

    ``resumable`` says whether there are checkpoints to go on from.
    """

    objective: str
    epoch: int
    lr: float
    peak_lr: float
    resumable: bool

    def check_step(self, per_sample_loss: torch.Tensor, parameters: Iterable[torch.Tensor]) -> None:
        """Refuse a step by losses (B,) that are too large or not finite, or by such gradients of ``parameters``."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        found = torch.stack([per_sample_loss.detach().max(), length(gradients)])  # one wait for the device
        loss, gradient = found.tolist()
        self.check_loss(loss)
        self._check("length of the gradient", gradient)

    @contextmanager
    def checked_step(self) -> Iterator[None]:
        """Tell of a step of the optimizer that float32 cannot hold, which torch raises as any `RuntimeError`."""
        try:
            yield
        except RuntimeError as error:
            if "without overflow" not in str(error):
                raise
            raise self._error("length of a step", float("inf")) from None

    def check_loss(self, largest: float) -> None:
        """Refuse a ``largest`` loss of a batch that is too large or not finite."""
        if not largest <= LARGEST_LOSS:
            raise self._error("loss", largest)

    def check_weights(self, parameters: Iterable[torch.Tensor]) -> None:
        """Refuse trained ``parameters`` whose length is not finite, before they are judged and saved."""
        self._check("length of the trained weights", length([parameter.detach() for parameter in parameters]).item())

    def check_predictions(self, predictions: NDArray[np.int64]) -> None:
        """Refuse validation ``predictions`` (N,) of which some are -1: of logits that are not finite."""
        bad = int((predictions < 0).sum())
        if bad:
            raise self._error("number of validation rows without finite logits", bad)

    def _check(self, what: str, value: float) -> None:
        if not value < float("inf"):
            raise self._error(what, value)

    def _error(self, what: str, value: float) -> InputError:
        return InputError(
            f"the {what} of objective {self.objective!r} is {value:g} in epoch {self.epoch} at learning rate "
            f"{self.lr:g}: {self._way_out}"
        )

    @property
    def _way_out(self) -> str:
        lower = f"lower --lr, for example to {self.peak_lr / 10:g}"
        if not self.resumable:
            return lower
        where = f"from the checkpoint of epoch {self.epoch - 1}" if self.epoch > 1 else "from the beginning"
        return f"{lower}; dbpt fit … --resume --lr {self.peak_lr / 10:g} goes on {where}"


def length(tensors: list[torch.Tensor]) -> torch.Tensor:
    """The Euclidean length of all entries together, as a scalar tensor; infinite where float32 cannot hold it."""
    lengths = torch.stack([torch.linalg.vector_norm(tensor.float()) for tensor in tensors])
    total: torch.Tensor = torch.linalg.vector_norm(lengths)
    return total
