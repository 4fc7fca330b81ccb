"""The association of class and attribute, and how much of a classifier's errors the attribute explains."""

from dataclasses import dataclass

from dbpt.files.typed_json import Count, Share


@dataclass(frozen=True, kw_only=True)
class ExplainedErrors:
    """The result of `explained_errors`; ``share`` and ``p_value`` are None where nothing can be compared.

    ``n`` images of known attribute have ``errors`` errors. ``excess`` is the fraction of the errors that would vanish
    if every group were as accurate as the best group of its class, minus what chance alone gives (the mean over
    permutations of the attribute within each class), on a scale where 1 is all errors. ``p_value`` is that of the
    permutation test within class.
    """

    n: Count
    errors: Count
    share: Share | None
    p_value: Share | None
    permutations: Count
