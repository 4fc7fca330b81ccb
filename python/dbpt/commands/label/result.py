"""`Judged`: what labels by hand say of a run; judged.json, its warnings, and the tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dbpt.cautions import Caution, caution
from dbpt.commands.label.estimates import Estimate
from dbpt.evaluation.short_repr import in_percent
from dbpt.groups import SMALL_GROUP, group_name
from dbpt.report import text
from dbpt.report.result_rows import SPLIT_NAMES
from dbpt.report.tables import Shown

MANY_UNSURE = 0.05
"""From this share of the answers on, those that a person could not give are warned of."""


@dataclass(frozen=True, kw_only=True)
class JudgedGroup:
    """The images of a class with an attribute, ``n_pseudo`` by the run's guesses and ``n_labelled`` by the labels.

    ``precision`` is that of the pseudo-group, ``accuracy`` the corrected one, of an estimated number of images.
    """

    group: int
    label: int
    attribute: int
    n_pseudo: int
    accuracy_by_pseudo: float | None
    precision: Estimate
    n_labelled: int
    n_estimated: float
    accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class WorstByPseudo:
    """The worst pseudo-group, exact for the split; None without any."""

    worst_group: int | None
    worst_group_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class CorrectedWorst:
    """The worst group by the person's labels."""

    worst_group: int
    worst_group_accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class JudgedFigures:
    """Figures about the attribute, or about one factor. ``n_cannot_tell`` images could not be told."""

    n_labelled: int
    n_cannot_tell: int
    pseudo_accuracy: Estimate
    by_pseudo: WorstByPseudo
    corrected: CorrectedWorst
    groups: list[JudgedGroup]


@dataclass(frozen=True, kw_only=True)
class JudgedFactor(JudgedFigures):
    """One of several factors."""

    name: str
    values: list[str]


@dataclass(frozen=True, kw_only=True)
class JudgedData:
    """The data set of the run."""

    name: str
    classes: list[str]
    attributes: list[str]


@dataclass(frozen=True, kw_only=True)
class StrataCounts:
    """The number of strata, and of those without a labelled image, with their images."""

    n: int
    n_not_labelled: int
    n_images_not_labelled: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Judged(Shown, JudgedFigures):
    """The result of `judge_labels`, and the content of ``judged.json``. ``str()`` of it is the tables.

    Attributes:
        schema_version, dbpt_version: of the file, and of dbpt.
        sample, run: the sample by its letters, and the folder of the run.
        dataset, split, n: the data set, and the split with the number of its images.
        n_drawn, n_not_labelled: the images of the sample, and those without a line in the labels.
        n_labelled, n_cannot_tell: images with an answer, and those that the person could not tell.
        average: the accuracy of the classifier over all images.
        pseudo_accuracy: the accuracy of the pseudo attributes.
        by_pseudo, corrected: the worst-group accuracy over pseudo groups and over the person's groups.
        groups: each group with the precision of its pseudo-group and its corrected accuracy.
        factors: the same figures for each factor alone, if there are several.
        strata: how many strata have labels.
        warnings: about labels that are few or missing.
        refit: the command that fits again with the table of labels; None without a table.
    """

    schema_version: int
    dbpt_version: str
    sample: str
    run: str
    dataset: JudgedData
    split: str
    n: int
    n_drawn: int
    n_not_labelled: int
    average: float
    factors: list[JudgedFactor]
    strata: StrataCounts
    warnings: list[Caution] = field(default_factory=list)
    refit: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``judged.json``, with ``refit`` if labels were written as a table."""
        content = asdict(self)
        return content if self.refit else {name: value for name, value in content.items() if name != "refit"}

    def table(self) -> str:
        """Return tables of the groups, by pseudo attributes and corrected, with worst groups and warnings below.

        With several factors, each has its table, and then their combinations that occur.
        """
        data, factors = self.dataset, self.factors
        of_split = f"{text.count(self.n_labelled)} of {text.count(self.n)} images labelled by hand"
        lines = [f"{data.name}: {SPLIT_NAMES[self.split]} split, {of_split}; figures in per cent", ""]
        for factor in factors:
            lines += [f"{factor.name}:", "", *_table(factor, data.classes, factor.values), ""]
        if factors:
            lines += [f"combinations of {' and '.join(factor.name for factor in factors)}:", ""]
        lines += _table(self, data.classes, data.attributes, only_occurring=bool(factors))
        lines += [
            f"average (needs no attribute)  {text.percent(self.average)}",
            "",
            "* worst group; a minimum is biased downward: the figure tends to be too low",
            "interval: for the figure of this split if every image were labelled; it doesn't cover other images",
            *(f"warning: {warning}" for warning in self.warnings),
        ]
        return "\n".join(lines)

    def _brief(self) -> str:
        worst, group = self.corrected.worst_group_accuracy, self.groups[self.corrected.worst_group]
        name = group_name(self.dataset.classes[group.label], self.dataset.attributes[group.attribute])
        accuracy = in_percent(worst.value, worst.low, worst.high)
        return f"{self.dataset.name!r}, {self.split!r}, worst group {name} {accuracy}, n_labelled={self.n_labelled}"


def _table(
    figures: JudgedFigures, classes: Sequence[str], attributes: Sequence[str], *, only_occurring: bool = False
) -> list[str]:
    """Return the table of the attribute or of one factor, and its figures below."""
    pairs = [(y, a) for y in classes for a in attributes]
    groups = [group for group in figures.groups if group.n_pseudo or group.n_labelled or not only_occurring]
    by_pseudo, corrected = figures.by_pseudo, figures.corrected

    def interval(estimate: Estimate) -> str:
        return text.interval_text(estimate.low, estimate.high)

    def figure(estimate: Estimate) -> str:
        return f"{text.percent(estimate.value)} {interval(estimate)}".rstrip()

    def worst(group: int | None) -> str:
        return "" if group is None else f"  {' · '.join(pairs[group])}"

    def starred(group: JudgedGroup, worst_group: int | None, accuracy: float | None) -> str:
        return text.percent(accuracy) + ("*" if worst_group == group.group else " ")

    names = [text.shorten_group(y, a, text.LONGEST_GROUP_NAME) for y, a in pairs]
    own = [starred(group, by_pseudo.worst_group, group.accuracy_by_pseudo) for group in groups]
    by_hand = [starred(group, corrected.worst_group, group.accuracy.value) for group in groups]
    columns = [
        ["", "", "", *(names[group.group] for group in groups)],
        ["pseudo", "group", "images", *(text.count(group.n_pseudo) for group in groups)],
        ["", "", "precision", *(text.percent(group.precision.value) for group in groups)],
        ["", "95 %", "interval", *(interval(group.precision) for group in groups)],
        ["", "", "accuracy ", *own],
        ["labelled", "by", "hand", *(text.count(group.n_labelled) for group in groups)],
        ["in the", "split,", "estimated", *(text.count(round(group.n_estimated)) for group in groups)],
        ["", "corrected", "accuracy ", *by_hand],
        ["", "95 %", "interval", *(interval(group.accuracy) for group in groups)],
    ]
    return [
        *text.render_columns(columns),
        "",
        f"pseudo attributes right       {figure(figures.pseudo_accuracy)}",
        f"worst group by pseudo groups  {text.percent(by_pseudo.worst_group_accuracy)}{worst(by_pseudo.worst_group)}",
        f"worst group, corrected        {figure(corrected.worst_group_accuracy)}{worst(corrected.worst_group)}",
    ]


def label_warnings(judged: Judged) -> list[Caution]:
    """Return the warnings about labels. Of combinations of factors only those that the run has need a label."""
    data, factors, strata = judged.dataset, judged.factors, judged.strata
    warnings = _about_groups(judged, data.classes, data.attributes, only_occurring=bool(factors))
    for factor in factors:
        warnings += _about_groups(factor, data.classes, factor.values, of=factor.name)
        warnings += _about_unsure(factor, of=factor.name)
    warnings += [] if factors else _about_unsure(judged)
    if judged.n_not_labelled:
        warnings.append(caution("images not labelled", n=judged.n_not_labelled, of=judged.n_drawn))
    if blank := strata.n_not_labelled:
        warnings.append(caution("strata not labelled", n=blank, of=strata.n, images=strata.n_images_not_labelled))
    if judged.split == "train":
        warnings.append(caution("trained on this split"))
    return warnings


def _about_groups(
    figures: JudgedFigures,
    classes: Sequence[str],
    attributes: Sequence[str],
    *,
    of: str = "",
    only_occurring: bool = False,
) -> list[Caution]:
    """Warn of groups with few labels, or none."""
    names = [f"{y} · {a}" for y in classes for a in attributes]
    warnings = list[Caution]()
    for name, group in zip(names, figures.groups, strict=True):
        if not group.n_labelled and group.n_pseudo:
            warnings.append(Caution("guessed group not labelled", {"group": name, "n": group.n_pseudo}, of))
        elif not group.n_labelled and not only_occurring:
            warnings.append(Caution("group not labelled", {"group": name}, of))
    numbers = [(name, group.n_labelled) for name, group in zip(names, figures.groups, strict=True)]
    if few := [f"{name} ({n})" for name, n in numbers if 0 < n < SMALL_GROUP]:
        warnings.append(Caution("few labels", {"least": SMALL_GROUP, "groups": few}, of))
    return warnings


def _about_unsure(figures: JudgedFigures, of: str = "") -> list[Caution]:
    """Warn if many images could not be told."""
    unsure, answered = figures.n_cannot_tell, figures.n_cannot_tell + figures.n_labelled
    return [Caution("unsure labels", {"n": unsure, "of": answered}, of)] if unsure > MANY_UNSURE * answered else []
