"""The interface of a training objective, the groups of its training rows, and the simplest objective, ERM.

No file of this folder imports torch at the top: `dbpt.settings` reads the objectives' names and must stay fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dbpt.arguments import in_one_line
from dbpt.errors import InputError
from dbpt.groups import group_counts, raked_weights
from dbpt.registry import Registered

if TYPE_CHECKING:
    import torch

    from dbpt.sampling import GroupSampler, WeightedSampler


EXCLUDED = -1e4
"""Added to the logit of a group: its probability is 0. Infinity would make the gradient of a sum NaN."""


@dataclass(frozen=True)
class TrainingGroups:
    """The groups of the N training rows.

    Attributes:
        groups: (N,) int64, -1 for unknown.
        labels: (N,) int64, the classes.
        num_classes: C.
        num_groups: G = C * A, the number of groups that could occur.
        factor_sizes: the number of values of each of several attributes, whose combinations the groups are made of.
        impossible: (G,) True for a group that no image can be in; None if there is none.
    """

    groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_classes: int
    num_groups: int
    factor_sizes: tuple[int, ...] = ()
    impossible: NDArray[np.bool_] | None = None

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) number of rows of each group; unknown rows are not counted."""
        return group_counts(self.groups, self.num_groups)

    @cached_property
    def offsets(self) -> NDArray[np.float64]:
        """(G,) what training adds to the logits of groups: `EXCLUDED` for one without rows, 0 for the others.

        A class without any row of known group keeps all of its possible groups.
        """
        counts_CA = self.counts.reshape(self.num_classes, -1)
        is_empty = ((counts_CA == 0) & counts_CA.any(axis=1, keepdims=True)).reshape(-1)
        return np.where(is_empty | (False if self.impossible is None else self.impossible), EXCLUDED, 0.0)

    def raked(self, min_group_count: float) -> tuple[NDArray[np.float64] | None, str | None]:
        """Return weights by `raked_weights` if a combination of attributes is too small.

        Args:
            min_group_count: a combination with fewer rows is too small.

        Returns:
            (G,) float64 and a note for the user; None and None if no combination is too small.
        """
        few = int(((self.counts > 0) & (self.counts < min_group_count)).sum())
        if len(self.factor_sizes) < 2 or not few:
            return None, None
        note = (
            f"groups with under {min_group_count:g} rows: {few}; weights balance each factor within the classes instead"
        )
        return raked_weights(self.counts, self.factor_sizes, min_group_count=min_group_count), f"{note} (raking)"


def class_logits(logits: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return the logits of the classes: the logarithm of the sum over the groups of each, up to a constant of the row.

    Args:
        logits: (N, K) of the C classes or of the G groups y * A + a.
        num_classes: C.

    Returns:
        (N, C).
    """
    return logits.reshape(len(logits), num_classes, logits.shape[1] // num_classes).logsumexp(dim=2)


def group_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor, num_classes: int
) -> torch.Tensor:
    """Return -log softmax(logits)_g of the group g of each row, and of all groups of its class if that is unknown.

    Args:
        logits: (B, G).
        labels: (B,) int64.
        groups: (B,) int64, -1 for unknown.
        num_classes: C, of which each has G / C groups.

    Returns:
        (B,).
    """
    log_p = logits.log_softmax(dim=1)
    of_class = class_logits(log_p, num_classes).gather(1, labels[:, None])
    of_group = log_p.gather(1, groups.clamp(min=0)[:, None])
    return -of_class.where(groups[:, None] < 0, of_group).squeeze(1)


def checked(
    objective: Objective, method: str, answer: Any, like: torch.Tensor, shape: tuple[int, ...] = ()
) -> torch.Tensor:
    """Return the ``answer`` of a method: a tensor of this shape, with a gradient if ``like`` has one."""
    is_tensor = hasattr(answer, "requires_grad")
    found = f"a tensor of shape {tuple(answer.shape)}" if is_tensor else in_one_line(answer)
    if is_tensor and tuple(answer.shape) == shape:
        if answer.requires_grad or not like.requires_grad:
            return answer  # type: ignore[no-any-return]
        found += " without gradient"
    expected = f"a tensor of shape {shape}" if shape else "a scalar tensor, such as a mean"
    gradient = ", with the gradient of its arguments" if like.requires_grad else ""
    raise InputError(f"objective {objective.name!r}: {method} returned {found}; expected {expected}{gradient}")


class Objective(Registered):
    """Turns the per-sample losses of a batch into the loss of a step. The base class takes their plain mean.

    An instance belongs to one training run, and checkpoints contain its state. Class attributes declare the valid
    combinations, for `dbpt.settings.config`.

    Args:
        training: the groups and labels of the training rows.
        apply: ``"loss"``, or ``"sampling"`` only if the class `can_sample`.
        settings: the values of the class's ``settings``, by name.
    """

    uses_groups: ClassVar[bool] = False
    leaves_unknown_out: ClassVar[bool] = False
    """True if it doesn't train on rows of unknown group."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the `FitConfig` settings that the constructor takes as keywords."""
    heads: ClassVar[tuple[str, ...] | None] = None
    """The heads it can train; None for any."""
    can_sample: ClassVar[bool] = False
    """True if its weights can be applied by sampling instead of in the loss."""
    trains_on: ClassVar[str] = "train"
    """The split of its training rows."""
    refits: ClassVar[bool] = False
    """True if `refit` replaces the training loop."""
    prompts: ClassVar[tuple[str, ...]] = ("class", "group")
    """The outputs that its head may have: classes, groups of class and attribute, or both."""
    by_group: ClassVar[bool] = False
    """With group prompts, whether the loss of a row is that of its group, instead of that of its class."""

    weights_wait: ClassVar[bool] = False
    """True if the `observe` of this class changes no weight before the epoch ends."""

    start_weights: NDArray[np.float64] | None = None
    """(G,) the group weights that training starts with; None for an objective without group weights."""
    extra_epochs: int = 0
    """Number of epochs of a first stage, before the configured ones."""
    restarts: ClassVar[bool] = True
    """True if the head is reset after the first stage; False if training goes on with it."""

    def __init__(self, training: TrainingGroups, *, apply: str = "loss", **settings: Any) -> None:
        """Build from the training rows."""
        self.training, self.apply = training, apply

    @property
    def depends_on_losses(self) -> bool:
        """True if the weights of a step may depend on its losses: if `loss` or `observe` is the objective's own.

        A large batch is then read twice. The gradient of its `loss` is that by ``per_sample_loss`` alone.
        """
        own, base = type(self), Objective
        observes = next(kind for kind in own.__mro__ if "observe" in vars(kind))
        return own.loss is not base.loss or (observes is not base and not vars(observes).get("weights_wait", False))

    @classmethod
    def starts_with_features(cls) -> bool:
        """Return whether it has a `start` of its own, which needs all features of training rows in memory."""
        return cls.start is not Objective.start

    def start(self, head: torch.nn.Module, features: torch.Tensor, seed: int) -> None:
        """Look at the new head, before the first step or a resume.

        An objective with a `start` of its own holds all features in memory; for others they may stay on disk.

        Args:
            head: the head that will be trained.
            features: (N, D) float32 of the training rows, on the head's device.
            seed: seed of the run.
        """

    def sample_losses(self, logits: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row, before weights: the cross-entropy of its class, or with `by_group` of its group.

        The probability of a class is the sum of those of its groups. A row of unknown group has the loss of its class.
        Groups without training rows are left out, so that the loss doesn't push them away.

        Args:
            logits: (B, K) float32 with gradient, of the C classes or of the G groups.
            labels: (B,) int64.
            groups: (B,) int64, -1 for unknown.

        Returns:
            (B,) float32.
        """
        import torch

        if logits.shape[1] == self.training.num_classes:
            return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        logits = logits + logits.new_tensor(self.training.offsets)
        # A row of group -1 has the loss of its class.
        known = groups if self.by_group else groups.new_full(groups.shape, -1)
        return group_cross_entropy(logits, labels, known, self.training.num_classes)

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Observe a batch before its `loss` is computed.

        Args:
            per_sample_loss: (B,) float32 without gradient.
            groups: (B,) int64, -1 for unknown.
            labels: (B,) int64.
        """

    def loss(
        self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of a step.

        Args:
            per_sample_loss: (B,) float32 with gradient.
            groups: (B,) int64, -1 for unknown.
            labels: (B,) int64.
            rows: (B,) int64, the numbers of the training rows.

        Returns:
            A scalar; a mean over the batch, never divided by the sum of weights.
        """
        if (weights := self.row_weights(groups, labels, rows)) is None:
            return per_sample_loss.mean()
        return (checked(self, "row_weights", weights, rows, tuple(rows.shape)) * per_sample_loss).mean()

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the losses of a batch.

        Args:
            groups: (B,) int64, -1 for unknown.
            labels: (B,) int64.
            rows: (B,) int64, the numbers of the training rows.

        Returns:
            (B,) float32; None means 1.
        """
        return None

    @classmethod
    def why_refused(cls, settings: Mapping[str, Any]) -> str | None:
        """Return the reason against the values of settings.

        Args:
            settings: all settings of `FitConfig`, by name.

        Returns:
            One line that names the settings; None if they are valid.
        """
        return None

    @classmethod
    def check_installed(cls) -> None:
        """Check the required packages; called before any image is embedded.

        Raises:
            InputError: if one is missing.
        """

    def refit(
        self, train_features: NDArray[np.float32], features: NDArray[np.float32], seed: int
    ) -> tuple[dict[str, NDArray[np.float32]], str]:
        """Return the head that fits the training rows. Only if the class `refits`.

        Args:
            train_features: (n, D) float32 of the split ``train``.
            features: (N, D) float32 of the objective's rows.
            seed: seed of the run.

        Returns:
            The state of the head, arrays by name, and how it was found, for the log.
        """
        raise InputError(f"objective {self.name!r}: {type(self).__qualname__} refits, so it must have a method refit")

    @property
    def group_weights(self) -> NDArray[np.float64] | None:
        """(G,) the current weight of one sample of each group; None for an objective without group weights."""
        return None

    @property
    def mean_p_true(self) -> NDArray[np.float64] | None:
        """(G,) mean p_true of each group as last observed, NaN for an empty group; None if not observed."""
        return None

    def subset(self, seed: int) -> NDArray[np.int64] | None:
        """Return the rows to train on.

        Args:
            seed: seed of this epoch; there are as many rows for any seed.

        Returns:
            (n,) int64 row numbers; None for all training rows.
        """
        return None

    def sampler(self, seed: int) -> GroupSampler | WeightedSampler | None:
        """Return a sampler that draws rows by weight in this epoch.

        Args:
            seed: seed of this epoch.

        Returns:
            The sampler; None draws each row once.
        """
        return None

    def end_epoch(self) -> None:
        """Update the state at the end of an epoch."""

    def penalty(self, head: torch.nn.Module) -> torch.Tensor | None:
        """Return a scalar to add to each `loss`, once a step.

        Args:
            head: the head in training.

        Returns:
            A scalar that doesn't depend on the batch, so it is the same on all ranks; None for none.
        """
        return None

    def general_loss(self, head: torch.nn.Module, features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor | None:
        """Return a second loss of a batch, whose mean gradient goes to `change_gradients`.

        Args:
            head: the head in training.
            features: (B, D) float32.
            logits: (B, C) float32, those of the head.

        Returns:
            (B,) float32; None for none.
        """
        return None

    def change_gradients(self, parameters: Iterable[torch.Tensor], general: Sequence[torch.Tensor]) -> None:
        """Change the gradients of the parameters in place, before a step.

        Args:
            parameters: the trained parameters, with the gradients of the `loss`.
            general: the gradients of the `general_loss`, in the same order.
        """

    def end_first_stage(self, correct: torch.Tensor, p_true: torch.Tensor) -> None:
        """Update the state after `extra_epochs`.

        Args:
            correct: (N,) bool, the training rows that the head gets right.
            p_true: (N,) float32, their probabilities of the true class.
        """

    @property
    def note(self) -> str | None:
        """A note for the user after training, or None."""
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that a checkpoint needs to continue exactly."""
        return {}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore the state that `state` returned.

        Args:
            state: arrays by name.
        """


class Erm(Objective):
    """Empirical risk minimisation: loss = (1/B) * sum_i l_i. Uses no groups."""

    name = "erm"
    title = "ERM"
