"""A way out of doubts about more than two names: leave out those that fail, and guess the images again."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.pseudo_attributes.label import label_quietly
from dbpt.pseudo_attributes.trust import LARGEST_OUTRANKED, Trust, guess_trust

MOST_TRIALS = 20
OUTRANKED = 0.5  # of the limit: the best of several trials may pass by chance, mostly with names that no image shows


def names_to_leave_out(
    trust: Trust,
    logits: NDArray[np.float32],
    by_template: Sequence[NDArray[np.float32]],
    other_words: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    method: str,
) -> list[str]:
    """Return the fewest of the `Trust.failing` names without which guesses of the others raise no doubt; often none.

    The arrays are those of `guess_trust`, whose result is ``trust``. At least two names are left. First go those
    that no image got. Of several names that can go, the one goes without which the separation is highest.
    """
    names = list(trust.names)
    used = [name for name in names if name not in trust.unused]
    level, trials = ([used] if trust.unused else _without_one(used, trust)), 0
    while level and len(used) > 1 and trials < MOST_TRIALS:
        judged, trials = [], trials + len(level)
        for kept in level:
            columns = [names.index(name) for name in kept]
            of_kept, *of_templates = (np.ascontiguousarray(each[:, columns]) for each in (logits, *by_template))
            found = label_quietly(of_kept, method=method, posterior=False, confidence=False)
            judged.append(guess_trust(found.pseudo_attributes, of_kept, of_templates, other_words, labels, kept))
        if trusted := [each for each in judged if not each.doubts and each.outranked <= OUTRANKED * LARGEST_OUTRANKED]:
            best = max(trusted, key=lambda each: each.separation)
            return [name for name in names if name not in best.names]
        fewer = [kept for each in judged for kept in _without_one(list(each.names), each)]
        level = [list(kept) for kept in dict.fromkeys(map(tuple, fewer))]
    return []


def _without_one(kept: list[str], trust: Trust) -> list[list[str]]:
    """Return the names without each of those that fail; nothing if fewer than two would be left."""
    return [[name for name in kept if name != other] for other in trust.failing if len(kept) > 2]
