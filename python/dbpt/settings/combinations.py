"""Which choices of head, objective, groups, application and selection mean something together, and why not the others.

`FitConfig` refuses by it, and the matrix in docs/methods.md is written from it.
"""

from collections.abc import Iterator, Mapping
from itertools import product

from dbpt.heads import HEAD_SETTINGS, HEADS
from dbpt.objectives import OBJECTIVES

GROUP_SOURCES = ("pseudo", "true", "soft")
APPLICATIONS = ("loss", "sampling")
AVERAGES = ("plain", "adjusted")
SELECTIONS = ("pseudo-wga", "true-wga", "average", "last")

CHOICES: Mapping[str, Mapping[str, object] | tuple[str, ...]] = {
    "head": HEADS,
    "objective": OBJECTIVES,
    "group_source": GROUP_SOURCES,
    "apply": APPLICATIONS,
    "select": SELECTIONS,
}
"""The settings that are combined, and their values."""


def combinations() -> Iterator[dict[str, str]]:
    """Every combination, valid or not, as keywords for `why_refused`."""
    for values in product(*CHOICES.values()):
        yield dict(zip(CHOICES, values, strict=True))


def why_refused(*, head: str, objective: str, group_source: str, apply: str, select: str) -> str | None:
    """Why a combination means nothing and what to do, in one line that names the settings; None if it is valid.

    Any head and any way to select goes with any objective, unless the objective says otherwise.
    """
    chosen = OBJECTIVES[objective]
    if chosen.heads is not None and head not in chosen.heads:
        wanted = " or ".join(chosen.heads)
        return (
            f"--head {head} with --objective {objective}: {chosen.title} trains {wanted} only; choose --head {wanted}"
        )
    if group_source != "pseudo" and not chosen.uses_groups:
        return (
            f"--group-source {group_source} with --objective {objective}: {chosen.title} uses no groups; drop one of "
            "the two"
        )
    if group_source == "soft" and not chosen.takes_soft_groups:
        return (
            f"--group-source soft with --objective {objective}: {chosen.title} needs one group for each row; choose "
            "pseudo or true"
        )
    if apply == "sampling" and not chosen.can_sample:
        return (
            f"--apply sampling with --objective {objective}: {chosen.title} has no weights to sample by; drop one of "
            "the two"
        )
    return None


def readers(setting: str) -> list[str]:
    """The choices that alone read ``setting``, as options; empty if it belongs to none in particular."""
    if setting == "sgd_momentum":
        return ["--optimizer sgd"]
    heads = [f"--head {name}" for name, names in HEAD_SETTINGS.items() if setting in names]
    return heads + [f"--objective {name}" for name, chosen in OBJECTIVES.items() if setting in chosen.settings]
