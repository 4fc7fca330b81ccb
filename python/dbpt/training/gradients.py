"""The gradient of a batch, block by block: its memory doesn't grow with the batch, and prompts are encoded once."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from dbpt.data.stored_features import BLOCK_ROWS
from dbpt.heads import Head
from dbpt.objectives import Objective
from dbpt.objectives.base import checked
from dbpt.training.ranks import Ranks

LARGE_BATCH = 8_192
"""Rows of the largest batch that is one block."""


@dataclass(frozen=True)
class Batch:
    """The B rows of a step, of all ranks: their numbers, labels and groups, (B,) each."""

    rows: torch.Tensor
    labels: torch.Tensor
    groups: torch.Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_large(self) -> bool:
        """True if it is divided into blocks."""
        return len(self) > LARGE_BATCH

    @property
    def block_rows(self) -> int:
        """The number of rows of a block."""
        return BLOCK_ROWS if self.is_large else max(len(self), 1)

    def blocks(self, part: slice) -> list[slice]:
        """Return the blocks of a rank's ``part`` of the batch."""
        starts = range(part.start, part.stop, self.block_rows)
        return [slice(start, min(start + self.block_rows, part.stop)) for start in starts] or [part]


@dataclass(frozen=True)
class Gradients:
    """Computes the gradients of the parameters of ``head`` for the loss of ``objective``, summed over the ``ranks``.

    ``observe`` is told the losses (B,) of each batch, before its loss is computed if that may depend on them.
    """

    head: torch.nn.Module
    objective: Objective
    ranks: Ranks
    observe: Callable[[torch.Tensor, Batch], None]

    def set(self, batch: Batch, read: Callable[[], Iterable[torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Set the gradients of the parameters, and change them as the objective does.

        Most losses are means over rows, so the gradients of blocks add up. One that `depends_on_losses` reads a large
        batch twice: first for the losses of its rows, then for their gradients times the derivatives of the loss.

        Args:
            batch: the rows of all ranks.
            read: yields the features (b, D) of each of the `Batch.blocks` of this rank's part.

        Returns:
            The losses (B,) of the rows, and the loss.
        """
        objective, parameters = self.objective, list(self.head.parameters())
        once = self.head.computed_once() if isinstance(self.head, Head) else ()
        leaves = tuple(tensor.detach().requires_grad_() for tensor in once)
        for parameter in parameters:
            parameter.grad = None
        own_losses, slopes, general_gradients = list[torch.Tensor](), None, list[torch.Tensor]()
        if batch.is_large and objective.depends_on_losses:
            losses, loss, slopes = self._slopes(batch, read, leaves)
        for block, features, logits, own in self._rows(batch, read, leaves):
            if slopes is not None:
                part = own @ slopes[block]
            elif batch.is_large:
                part = self._loss_of(own, batch.groups[block], batch.labels[block], batch.rows[block])
                part = part * (len(own) / len(batch))
                own_losses.append(own.detach())
            else:
                losses = self._gathered([own], batch)
                part = loss = self._loss(losses, batch)
            if (general := objective.general_loss(self.head, features, logits)) is not None:
                # Divided by the batch of all ranks, so that the sum of the ranks' gradients is that of the mean.
                added = torch.autograd.grad(general.sum() / len(batch), leaves or parameters, retain_graph=True)
                before = general_gradients or [torch.zeros_like(gradient) for gradient in added]
                general_gradients = [total + gradient for total, gradient in zip(before, added, strict=True)]
            self._backward([part], [None])
        if batch.is_large and slopes is None:
            losses = self._gathered(own_losses, batch)
            loss = self._loss(losses, batch)
        if leaves and general_gradients:
            general_gradients = list(torch.autograd.grad(once, parameters, general_gradients, retain_graph=True))
        loss = self._finish(once, leaves, loss)
        self.ranks.sum([parameter.grad for parameter in parameters if parameter.grad is not None])
        if general_gradients:
            self.ranks.sum(general_gradients)
            objective.change_gradients(parameters, general_gradients)
        return losses.detach(), loss.detach()

    def _slopes(
        self, batch: Batch, read: Callable[[], Iterable[torch.Tensor]], leaves: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the losses (B,) of the rows, the loss, and its derivative by each of them, (B,)."""
        with torch.no_grad():
            losses = self._gathered([own for *_, own in self._rows(batch, read, leaves)], batch).requires_grad_()
        loss = self._loss(losses, batch)
        return losses, loss, torch.autograd.grad(loss, losses)[0]

    def _finish(
        self, once: tuple[torch.Tensor, ...], leaves: tuple[torch.Tensor, ...], loss: torch.Tensor
    ) -> torch.Tensor:
        """Add the gradients of the penalty, and of what was computed once; return the loss with the penalty."""
        ends, gradients = list(once), [leaf.grad for leaf in leaves]
        if (penalty := self.objective.penalty(self.head)) is not None:
            # The ranks add up their gradients, so each takes a share; the value of the loss has the whole penalty.
            ends, gradients = [*ends, penalty / self.ranks.count], [*gradients, None]
            loss = loss + penalty.detach()
        if ends:
            self._backward(ends, gradients)
        return loss

    def _backward(self, ends: list[torch.Tensor], gradients: list[torch.Tensor | None]) -> None:
        torch.autograd.backward(ends, gradients)

    def _rows(
        self, batch: Batch, read: Callable[[], Iterable[torch.Tensor]], leaves: tuple[torch.Tensor, ...]
    ) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield each block of this rank's part with its features (b, D), logits (b, K) and losses (b,)."""
        for block, features in zip(batch.blocks(self.ranks.part(len(batch))), read(), strict=True):
            logits = self.head.logits_with(features, *leaves) if isinstance(self.head, Head) else self.head(features)
            own = self.objective.sample_losses(logits, batch.labels[block], batch.groups[block])
            yield block, features, logits, checked(self.objective, "sample_losses", own, logits, (len(logits),))

    def _gathered(self, own: list[torch.Tensor], batch: Batch) -> torch.Tensor:
        """Return the losses (B,) of all ranks, the same bits on each, so that their group weights stay the same."""
        return self.ranks.gather(own[0] if len(own) == 1 else torch.cat(own), len(batch))

    def _loss(self, losses: torch.Tensor, batch: Batch) -> torch.Tensor:
        self.observe(losses.detach(), batch)
        return self._loss_of(losses, batch.groups, batch.labels, batch.rows)

    def _loss_of(self, losses: torch.Tensor, *of_rows: torch.Tensor) -> torch.Tensor:
        return checked(self.objective, "loss", self.objective.loss(losses, *of_rows), losses)
