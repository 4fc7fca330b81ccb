"""From families to scores in order: tests with one false discovery rate, pairs, and which families say the same."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from dbpt.data.other_columns import Source
from dbpt.environment import progress_bar
from dbpt.evaluation.explained_by_attribute import BOOTSTRAPS, ExplainedErrors, explained_errors
from dbpt.evaluation.family_guesses import Guessed, GuessedFamily, Images
from dbpt.evaluation.family_proposal import LARGEST_Q, Explained, Score
from dbpt.evaluation.intervals import largest_difference
from dbpt.groups.ids import contingency_table
from dbpt.guesses.linear_probe import kappa

ALIKE = 0.7
"""Cohen's kappa from which the codes of two families count as the same split of the images."""
FAMILIES_OF_PAIRS = 24
MOST_PAIRS = FAMILIES_OF_PAIRS * (FAMILIES_OF_PAIRS - 1) // 2
PERMUTATIONS = 9_999
PERMUTATIONS_OF_FAMILY = 40
"""Permutations, and those for each family if there are many: the smallest q-value must stay far below `LARGEST_Q`."""
FEW_PERMUTATIONS = 999
WEIGHT_OF_PAIR = 0.1
"""A pair counts as a tenth of a test, so that many pairs don't hide single families: p-values are divided by weights
with a mean of 1 (Genovese, Roeder and Wasserman, 2006)."""
ORDER: tuple[Source, ...] = get_args(Source)


def score_families(
    guessed: Sequence[GuessedFamily],
    images: Images,
    right: NDArray[np.bool_],
    *,
    is_foreign: bool = False,
    pairs: bool = False,
) -> list[Score]:
    """Return how much each family explains of a classifier's errors.

    Args:
        guessed: the families, as `guess_families` returns them or the data have them.
        images: the n images.
        right: (n,) bool, the images that are predicted right.
        is_foreign: whether a classifier of other features predicts them.
        pairs: whether pairs of the families that explain most are families too. The p-value of a pair is the larger one
            of both, each tested within the classes and the names of the other.

    Returns:
        The scores: proposed families, then those that may be the class, those that CLIP sees dimly, and others. In each
        part the families with the highest lower limit of the share come first, and pairs last. Proposed families that
        split the images alike stand together, and ``like`` is the first of them: of those whose share isn't clearly
        lower, one of words rather than of the data, the one whose names CLIP tells apart best, and of such ones the one
        with fewer names.
    """
    permutations = max(PERMUTATIONS, PERMUTATIONS_OF_FAMILY * (len(guessed) + MOST_PAIRS * pairs))
    errors = [_errors(of.guessed, images, right, permutations) for of in progress_bar("testing", "family", guessed)]
    if pairs:
        found = _pairs(guessed, errors, images)
        guessed = [*guessed, *found]
        bar = progress_bar("testing", "pair", found)
        errors += [_errors_of_pair(of, images, right, permutations) for of in bar]
    are_pairs = [bool(of.of_pair) for of in guessed]
    explained = _explained([of.guessed for of in guessed], errors, are_pairs, images, right)
    errors_beyond = [_errors(of.beyond, images, right, permutations) for of in guessed]
    beyond = _explained([of.beyond for of in guessed], errors_beyond, are_pairs, images, right)
    alone = {
        of.key: (one.errors.share or 0.0, 0.0 if one.difference is None else one.difference.value)
        for of, one in zip(guessed, explained, strict=True)
        if one is not None
    }
    scores = []
    for of, one, other in zip(guessed, explained, beyond, strict=True):
        parts = [alone[part.key] for part in of.of_pair] or [(0.0, 0.0)]
        larger = max(share for share, _ in parts), max(difference for _, difference in parts)
        scores.append(Score(of=of, explained=one, beyond=other, is_foreign=is_foreign, alone=larger))
    scores = [_with_interval(score, images, right, permutations) for score in scores]
    return _with_leaders(_in_order(scores), images, right)


def errors_of(of: GuessedFamily, images: Images, right: NDArray[np.bool_]) -> ExplainedErrors | None:
    """Return the errors of images that one family explains, with its interval, as `score_families` does."""
    if not of.of_pair:
        return _errors(of.guessed, images, right, PERMUTATIONS, bootstraps=BOOTSTRAPS)
    return _errors_of_pair(of, images, right, PERMUTATIONS)


def _pairs(
    guessed: Sequence[GuessedFamily], errors: Sequence[ExplainedErrors | None], images: Images
) -> list[GuessedFamily]:
    """Return the pairs of the families with the smallest p-values that split the images in different ways."""
    known = [
        (one.p_value, number)
        for number, (of, one) in enumerate(zip(guessed, errors, strict=True))
        if one is not None and one.p_value is not None and not of.doubts
    ]
    best = [guessed[number] for _, number in sorted(known)[:FAMILIES_OF_PAIRS]]
    apart = [pair for pair in combinations(best, 2) if likeness(*pair) < ALIKE]
    return [found for pair in apart if (found := GuessedFamily.pair(*pair)) is not None]


def _errors_of_pair(
    pair: GuessedFamily, images: Images, right: NDArray[np.bool_], permutations: int
) -> ExplainedErrors | None:
    """Return the errors that a pair explains, with a p-value that is small only if both of its families matter."""
    errors = _errors(pair.guessed, images, right, permutations)
    tests = []
    for one, other in (pair.of_pair, pair.of_pair[::-1]):
        if one.guessed is None or other.guessed is None:
            return None
        within = np.where(other.guessed.guesses >= 0, images.labels * other.size + other.guessed.guesses, -1)
        known = within >= 0
        codes = within[known], one.guessed.guesses[known], images.num_classes * other.size, one.size
        tests.append(_tested(right[known], *codes, permutations=permutations, seed=images.seed))
    weaker = max(tests, key=lambda tested: 2.0 if tested.p_value is None else tested.p_value)
    return errors and replace(errors, p_value=weaker.p_value, p_is_bound=weaker.p_is_bound)


def _in_order(scores: Sequence[Score]) -> list[Score]:
    """Return the scores in the order of `score_families`, with the ``like`` of each."""
    ranked = sorted(scores, key=lambda score: (*score.tier, -score.least_share))
    findings, others = list[list[Score]](), list[Score]()
    for score in ranked:
        is_shown = score.is_proposed or score.is_dim
        # A pair splits the images like each of its families, and says more.
        rivals = [found for found in findings if is_shown and found[0].tier[-1] == score.tier[-1]]
        alike = next((found for found in rivals if likeness(score.of, found[0].of) >= ALIKE), None)
        if alike is not None:
            alike.append(score)
        elif score.is_proposed:
            findings.append([score])
        else:
            others.append(score)
    return [score for found in findings for score in _named_best(found)] + others


def _with_leaders(scores: Sequence[Score], images: Images, right: NDArray[np.bool_]) -> list[Score]:
    """Return the scores, with ``through`` on each proposed family that matters only as it goes with one before it.

    Among images of the same class and the same name of that one, unknown as a name, no dependence is seen: the test
    says nothing, and less than half of the share is left. A pair has been tested so already.
    """
    found, leaders = list[Score](), list[Score]()
    for score in scores:
        if score.is_proposed and score.like is None and not score.of.of_pair:
            through = next((leader for leader in leaders if _follows(score, leader, images, right)), None)
            if through is None:
                leaders.append(score)
            else:
                score = replace(score, through=through.of.key)
        found.append(score)
    return found


def _follows(score: Score, leader: Score, images: Images, right: NDArray[np.bool_]) -> bool:
    guessed, other = score.of.guessed, leader.of.guessed
    assert guessed is not None and other is not None
    size = len(other.kept) + 1
    within_N = images.labels * size + other.guesses + 1
    codes = within_N, guessed.guesses, images.num_classes * size, score.of.size
    left = _tested(right, *codes, permutations=PERMUTATIONS, seed=images.seed)
    if left.p_value is None or left.share is None or left.p_value <= LARGEST_Q:
        return False
    return left.share * left.errors < score.share * int((~right).sum()) / 2


def _named_best(alike: Sequence[Score]) -> list[Score]:
    """Return families that split the images alike, of which the first has the largest share, in another order.

    The best name of those whose share isn't clearly lower comes first: words before what the data say, as sentences can
    be made of them; and then as `score_families` says.
    """
    rivals = [score for score in alike if score.tier == alike[0].tier and score.share >= alike[0].least_share]
    best = min(rivals, key=lambda score: (ORDER.index(score.of.source), -score.separation, score.of.size))
    return [best, *(replace(score, like=best.of.key) for score in alike if score is not best)]


def likeness(one: GuessedFamily, other: GuessedFamily) -> float:
    """Return Cohen's kappa of two families, with each name of the one read as that of the other it mostly goes with.

    The larger figure of both directions, as the family with more names may split the groups of the other one further.
    Images without a name of both don't count.
    """
    if one.guessed is None or other.guessed is None:
        return 0.0
    known = (one.guessed.guesses >= 0) & (other.guessed.guesses >= 0)
    codes, other_codes = (of.guesses[known].astype(np.int64) for of in (one.guessed, other.guessed))
    size = max(one.size, other.size)
    table_AA = contingency_table(codes, other_codes, (size, size))
    return max(
        kappa(table_AA.argmax(axis=1)[codes], other_codes, size),
        kappa(table_AA.argmax(axis=0)[other_codes], codes, size),
    )


def false_discovery(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the q-values of Benjamini and Hochberg (1995); None where nothing was tested.

    A p-value that was divided by a weight may be above 1.

    >>> false_discovery([0.01, 0.5, None, 0.02])
    [0.03, 0.5, None, 0.03]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    q_values: list[float | None] = [None] * len(p_values)
    smallest = 1.0
    for rank in range(len(known), 0, -1):
        p, i = known[rank - 1]
        q_values[i] = smallest = min(smallest, p * len(known) / rank)
    return q_values


def _explained(
    guessed: Sequence[Guessed | None],
    errors: Sequence[ExplainedErrors | None],
    are_pairs: Sequence[bool],
    images: Images,
    right: NDArray[np.bool_],
) -> list[Explained | None]:
    """Return the errors that each family's codes explain, with q-values over all families; None without codes."""
    p_values = [None if tested is None else tested.p_value for tested in errors]
    tested_pairs = [is_pair for is_pair, p in zip(are_pairs, p_values, strict=True) if p is not None]
    pairs, singles = tested_pairs.count(True), tested_pairs.count(False)
    of_single = (pairs + singles - WEIGHT_OF_PAIR * pairs) / max(singles, 1)  # so that the mean of all weights is 1
    q_values = false_discovery(
        [
            None if p is None else p / (WEIGHT_OF_PAIR if is_pair else of_single)
            for p, is_pair in zip(p_values, are_pairs, strict=True)
        ]
    )
    return [
        None
        if one is None or of is None
        else Explained(errors=one, q_value=q, difference=largest_difference(*of.tables(images, right)))
        for of, one, q in zip(guessed, errors, q_values, strict=True)
    ]


def _errors(
    of: Guessed | None, images: Images, right: NDArray[np.bool_], permutations: int, *, bootstraps: int = 0
) -> ExplainedErrors | None:
    if of is None:
        return None
    codes = images.labels, of.guesses, images.num_classes, len(of.kept)
    found = _tested(right, *codes, permutations=permutations, seed=images.seed, bootstraps=bootstraps)
    if found.n == len(right) or found.share is None:
        return found
    # The share of all errors: a family that is known for few images can't explain those of the others.
    errors = int((~right).sum())
    share, low, high = (
        None if share is None else share * found.errors / errors
        for share in (found.share, found.share_low, found.share_high)
    )
    return replace(found, n=len(right), errors=errors, share=share, share_low=low, share_high=high)


def _tested(
    right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    codes: NDArray[np.integer[Any]],
    num_classes: int,
    num_codes: int,
    *,
    permutations: int,
    seed: int,
    bootstraps: int = 0,
) -> ExplainedErrors:
    """Return the errors that codes explain, with many permutations only if a few of them leave a chance of a finding.

    The p-value stays valid: below the limit it is that of the many, which don't know of the few.
    """
    test = partial(explained_errors, right, labels, codes, num_classes=num_classes, num_attributes=num_codes)
    few = test(permutations=FEW_PERMUTATIONS, seed=seed, bootstraps=0)
    if few.p_value is None or few.p_value > LARGEST_Q:
        return test(permutations=FEW_PERMUTATIONS, seed=seed, bootstraps=bootstraps) if bootstraps else few
    return test(permutations=permutations, seed=seed + 1, bootstraps=bootstraps)


def _with_interval(score: Score, images: Images, right: NDArray[np.bool_], permutations: int) -> Score:
    """Return a score that is shown with the interval of its share, which takes too long for all families."""
    explained = score.explained
    if explained is None or (score.own_rule is not None and not score.is_dim):
        return score
    errors = _errors(score.of.guessed, images, right, permutations, bootstraps=BOOTSTRAPS)
    assert errors is not None
    errors = replace(explained.errors, share_low=errors.share_low, share_high=errors.share_high)
    return replace(score, explained=replace(explained, errors=errors))
