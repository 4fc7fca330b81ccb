"""CoOp's learning-rate schedule: a constant warm-up, then a cosine, changed once an epoch (Zhou et al., 2022)."""

import math

WARMUP_LR = 1e-5


def learning_rate(epoch: int, *, lr: float, epochs: int, warmup_epochs: int) -> float:
    """Learning rate of ``epoch`` (from 0): 1e-5 while warming up, then lr/2 * (1 + cos(pi * (epoch - 1) / epochs)).

    The cosine's phase is CoOp's for its one warm-up epoch. A ``lr`` below 1e-5 is not raised by the warm-up.
    """
    if epoch < warmup_epochs:
        return min(WARMUP_LR, lr)
    return 0.5 * lr * (1.0 + math.cos(math.pi * (epoch - warmup_epochs) / epochs))
