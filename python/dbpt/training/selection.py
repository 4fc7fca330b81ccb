"""Which epoch is kept. Always judged on validation rows, never on the test split."""

from typing import Literal

from dbpt.errors import InputError

Selection = Literal["pseudo-wga", "true-wga", "average", "last"]


def validation_score(select: Selection, epoch: int, wga: float | None, average: float) -> tuple[float, float]:
    """Score of an epoch, larger is better, ties broken by the second entry and then by the earlier epoch.

    ``wga`` is the worst-group accuracy over the groups that ``select`` names, None if no validation row has a group.
    Raises `InputError` if the choice depends on it all the same.
    """
    if select == "last":
        return float(epoch), average
    if select == "average":
        return average, 0.0
    if wga is None:
        raise InputError(
            "no validation row has a group, so worst-group accuracy cannot choose an epoch: use --select average"
        )
    return wga, average
