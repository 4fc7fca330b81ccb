"""Kills its own process at an exact moment of training; a process to be killed calls `arm` before the command."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fault_injection import call, die

import dbpt.training.checkpoints


def at_call(number: int, owner: Any, name: str, act: Callable[..., Any]) -> None:
    """Let the call number ``number`` of ``owner.name`` go to ``act``, with the real function before its arguments."""
    real, calls = getattr(owner, name), itertools.count(1)

    def counted(*arguments: Any, **options: Any) -> Any:
        return (act if next(calls) == number else call)(real, *arguments, **options)

    setattr(owner, name, counted)


def call_and_die(real: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    real(*arguments, **options)
    die()


def halve_and_die(real: Callable[..., Any], handle: int) -> None:
    os.ftruncate(handle, os.fstat(handle).st_size // 2)
    die()


def arm(moment: str, number: int) -> None:
    """Prepare to die at the ``number``-th such moment: a step, or one of a checkpoint's."""
    dbpt.training.checkpoints.SECONDS_BETWEEN = 0
    if moment == "after a step":
        for optimizer in (torch.optim.SGD, torch.optim.AdamW):  # whichever the run uses
            at_call(number, optimizer, "step", call_and_die)
        return

    def save(real: Callable[..., Any], *arguments: Any) -> None:
        if moment == "before the file is renamed":
            at_call(1, Path, "replace", lambda *_: die())
        elif moment == "after the file is renamed":
            at_call(1, Path, "replace", call_and_die)
        elif moment == "while the file is written":
            at_call(1, os, "fsync", halve_and_die)
        else:
            assert moment == "before the checkpoint"
            die()
        real(*arguments)

    at_call(number, dbpt.training.checkpoints, "save_checkpoint", save)
