"""The processes that ``torchrun`` or another launcher started together: the rank of this one, and its GPU."""

import os
import sys

from dbpt.errors import InputError


def launched() -> bool:
    """Return whether a launcher started this process as one of several. Refuses impossible variables."""
    size = _variable("WORLD_SIZE", 1, 2**31) if "WORLD_SIZE" in os.environ else 0
    if "RANK" in os.environ:
        _variable("RANK", 0, (size or 2**31) - 1)
    if size < 2 or "RANK" not in os.environ:  # containers and batch systems may set only one of them
        return False
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        dist = sys.modules.get("torch.distributed")
        if dist is not None and dist.is_available() and dist.is_initialized():  # the caller did it
            return False
        raise InputError(
            f"$WORLD_SIZE is {size} and $RANK is set, but not ${' and $'.join(missing)}, where the processes meet: "
            "start with torchrun, or unset WORLD_SIZE to run alone"
        )
    limits = {"MASTER_PORT": (0, 2**16 - 1), "LOCAL_RANK": (0, size - 1), "LOCAL_WORLD_SIZE": (1, size)}
    for name, (low, high) in limits.items():
        if name in os.environ:
            _variable(name, low, high)
    return True


def _variable(name: str, low: int, high: int) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise InputError(
            f"${name} is {text!r}; expected a number from {low} to {high}: start with torchrun, or unset RANK and "
            "WORLD_SIZE to run alone"
        )
    return int(text)


def launched_rank() -> int:
    """Return the rank of this process among those launched together; 0 if it was launched alone."""
    return int(os.environ["RANK"]) if launched() else 0


def launched_size() -> int:
    """Return how many processes were launched together; 1 if this one was launched alone."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def local_rank() -> int:
    """Return the rank of this process on its machine; 0 if it was launched alone."""
    return int(os.environ.get("LOCAL_RANK", launched_rank())) if launched() else 0


def local_size() -> int:
    """Return how many processes were launched together on this machine; 1 if unknown."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if launched() else 1


def take_own_gpu(device: str) -> bool:
    """Make this process's GPU the current one, which ``cuda`` and ``auto`` then mean, if several were launched.

    Return whether it computes on a GPU. Raises `InputError` if there are too few GPUs or ``device`` names one of them.
    """
    import torch

    if not launched():
        return device != "cpu" and torch.cuda.is_available()
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not on_gpu and device not in ("auto", "cpu"):
        raise InputError(
            f"--device {device} with several processes: each takes a device of its own; use auto, cuda or cpu"
        )
    if on_gpu:
        number, gpus = local_rank(), torch.cuda.device_count()
        processes = max(local_size(), number + 1)
        if processes > gpus:
            raise InputError(
                f"{processes} processes on this machine, and {gpus} GPUs: start one for each GPU (--nproc-per-node), "
                "or use --device cpu"
            )
        torch.cuda.set_device(number)
    return on_gpu
