"""How a page stays below 8 MB: how many pictures and rows of tables it has, and the bytes of each picture.

A budget is of all JPEGs of their kind; base64 adds a third.
"""

from collections.abc import Sequence

PICTURE_BYTES = 18_000
"""Enough for most photographs of the largest size."""
SHEETS_BUDGET = 1_100_000
MOST_ON_SHEETS = 768
"""With more groups the strips are shorter, so that no picture gets too small to judge."""
EXAMPLES_BUDGET = 3_000_000
MOST_EXAMPLES = 1200
"""With more pictures, the groups of the highest accuracy have fewer, so that no picture gets too small to judge."""
MOST_WRONG = 100
"""Wrong images of a group on a page."""
FEW = 4
"""Right images of each group, or more if fewer are wrong."""
MOST_SUSPICIOUS, SUSPICIOUS_BYTES = 100, 5_000
"""Pictures of wrong labels, and of rare cases, and the bytes of each."""
MOST_GROUPS_TABLED = 200
"""With more groups, the tables show the ones with the lowest accuracy."""
MOST_CELLS = 8000
"""With more figures, the table of the groups shows fewer groups."""
MOST_FAMILIES_TABLED = 300
"""Rows of the table of all families; families.csv has all."""


def example_numbers(available: Sequence[tuple[int, int]], most_wrong: int) -> list[list[int]]:
    """Return how many wrong and right pictures each group has, of those ``available``; the first has precedence."""
    numbers, left = [], MOST_EXAMPLES
    for wrong, right in available:
        shown = min(wrong, FEW, left)
        numbers.append([shown, min(right, 2 * FEW - shown, left - shown)])
        left -= sum(numbers[-1])
    for of_group, (wrong, _) in zip(numbers, available, strict=True):
        more = min(left, max(0, min(wrong, most_wrong) - of_group[0]))
        of_group[0] += more
        left -= more
    return numbers
