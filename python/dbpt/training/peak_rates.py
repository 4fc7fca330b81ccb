"""A learning rate that was lowered to go on after training had blown up: which one held from which epoch on.

It is the one setting that a resumed training may have another value of, and only a smaller one.
"""

from pathlib import Path

from dbpt.errors import InputError

PeakRates = list[tuple[int, float]]
"""(first epoch, from 1; peak of the schedule from there on); the first is that of epoch 1."""


def lowered_rates(rates: PeakRates, lr: float, next_epoch: int | None, path: Path) -> PeakRates:
    """The rates of a training that goes on with ``lr`` from its checkpoint at ``path``.

    ``next_epoch`` is None for one that has no epoch left: it keeps the rates that it had.

    Raises `InputError` for a higher rate than the checkpoint's.
    """
    before = rates[-1][1]
    if lr > before:
        raise InputError(
            f"{path}: made at learning rate {before:g}, found --lr {lr:g}; it can go on with the same or a lower one, "
            "or start afresh with --overwrite"
        )
    return rates if lr == before or next_epoch is None else [*rates, (next_epoch, lr)]
