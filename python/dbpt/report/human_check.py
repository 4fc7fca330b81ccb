"""Tables and warnings of the human check, from the content of ``judged.json``."""

from collections.abc import Iterator, Sequence
from typing import Any

from dbpt.groups import SMALL_GROUP
from dbpt.report import text
from dbpt.report.summary import SPLIT_NAMES

MANY_UNSURE = 0.05


def judged_table(result: dict[str, Any]) -> str:
    """Return tables of the groups, by pseudo attributes and corrected, with the worst groups and warnings below.

    With several factors, each has its table, and then their combinations that occur.
    """
    data, factors = result["dataset"], result["factors"]
    of_split = f"{text.count(result['n_labelled'])} of {text.count(result['n'])} images labelled by hand"
    lines = [f"{data['name']}: {SPLIT_NAMES[result['split']]} split, {of_split}; figures in per cent", ""]
    for factor in factors:
        lines += [f"{factor['name']}:", "", *_part(factor, data["classes"], factor["values"]), ""]
    if factors:
        lines += [f"combinations of {' and '.join(factor['name'] for factor in factors)}:", ""]
    lines += _part(result, data["classes"], data["attributes"], only_occurring=bool(factors))
    lines += [
        f"average (needs no attribute)  {text.percent(result['average'])}",
        "",
        "* worst group; a minimum is biased downward: the figure tends to be too low",
        "interval: for the figure of this split if every image were labelled; it doesn't cover other images",
        *(f"warning: {each}" for each in result["warnings"]),
    ]
    return "\n".join(lines)


def _part(
    figures: dict[str, Any], classes: Sequence[str], attributes: Sequence[str], *, only_occurring: bool = False
) -> list[str]:
    """Return the table of the attribute or of one factor, and its figures below."""
    pairs = [(y, a) for y in classes for a in attributes]
    groups = [each for each in figures["groups"] if each["n_pseudo"] or each["n_labelled"] or not only_occurring]
    precisions = [group["precision"] for group in groups]
    accuracies = [group["accuracy"] for group in groups]
    by_pseudo = [_starred(group, figures["by_pseudo"], group["accuracy_by_pseudo"]) for group in groups]
    corrected = [_starred(group, figures["corrected"], group["accuracy"]["value"]) for group in groups]
    columns = [
        [
            "",
            "",
            "",
            *(
                text.shorten_group(y, a, text.LONGEST_GROUP_NAME)
                for y, a in (pairs[group["group"]] for group in groups)
            ),
        ],
        ["pseudo", "group", "images", *(text.count(group["n_pseudo"]) for group in groups)],
        ["", "", "precision", *(text.percent(precision["value"]) for precision in precisions)],
        [
            "",
            "95 %",
            "interval",
            *(text.interval_text(precision["low"], precision["high"]) for precision in precisions),
        ],
        ["", "", "accuracy ", *by_pseudo],
        ["labelled", "by", "hand", *(text.count(group["n_labelled"]) for group in groups)],
        ["in the", "split,", "estimated", *(text.count(round(group["n_estimated"])) for group in groups)],
        ["", "corrected", "accuracy ", *corrected],
        ["", "95 %", "interval", *(text.interval_text(accuracy["low"], accuracy["high"]) for accuracy in accuracies)],
    ]

    def worst(source: dict[str, Any]) -> str:
        group = source["worst_group"]
        return "" if group is None else f"  {' · '.join(pairs[group])}"

    accuracy, of_corrected = figures["pseudo_accuracy"], figures["corrected"]["worst_group_accuracy"]
    of_pseudo = figures["by_pseudo"]["worst_group_accuracy"]
    return [
        *text.render_columns(columns),
        "",
        f"pseudo attributes right       {_figure(accuracy)}",
        f"worst group by pseudo groups  {text.percent(of_pseudo)}{worst(figures['by_pseudo'])}",
        f"worst group, corrected        {_figure(of_corrected)}{worst(figures['corrected'])}",
    ]


def _starred(group: dict[str, Any], source: dict[str, Any], accuracy: float | None) -> str:
    return text.percent(accuracy) + ("*" if source["worst_group"] == group["group"] else " ")


def _figure(estimate: dict[str, float | None]) -> str:
    return f"{text.percent(estimate['value'])} {text.interval_text(estimate['low'], estimate['high'])}".rstrip()


def judged_warnings(result: dict[str, Any], *, only_occurring: bool) -> list[str]:
    """Return the warnings about labels. ``only_occurring`` groups, which the run has, need a label."""
    data, factors, strata = result["dataset"], result["factors"], result["strata"]
    warnings = list(_of_groups(result, data["classes"], data["attributes"], only_occurring=only_occurring))
    for factor in factors:
        of_factor = [*_of_groups(factor, data["classes"], factor["values"]), *_of_unsure(factor)]
        warnings += [f"{factor['name']}: {each}" for each in of_factor]
    warnings += [] if factors else _of_unsure(result)
    if missing := result["n_not_labelled"]:
        warnings.append(f"{missing} of {result['n_drawn']} drawn images are not labelled; they count as not drawn")
    if blank := strata["n_not_labelled"]:
        images = f"{blank} of {strata['n']} strata ({strata['n_images_not_labelled']} images)"
        warnings.append(f"{images} have no labelled image; the most similar strata replace them")
    if result["split"] == "train":
        warnings.append("the classifier was trained on this split, so its accuracies are too high")
    return warnings


def _of_groups(
    figures: dict[str, Any], classes: Sequence[str], attributes: Sequence[str], *, only_occurring: bool = False
) -> Iterator[str]:
    """Warn of groups with few labels, or none."""
    names = [f"{y} · {a}" for y in classes for a in attributes]
    numbers = [(group["n_labelled"], group["n_pseudo"]) for group in figures["groups"]]
    for name, (n_labelled, n_pseudo) in zip(names, numbers, strict=True):
        if not n_labelled and (n_pseudo or not only_occurring):
            among = f", though the run puts {n_pseudo} there" if n_pseudo else ""
            yield f"group {name}: no image was labelled as this{among}; missing from the worst group, not 0"
    few = [f"{name} ({n})" for name, (n, _) in zip(names, numbers, strict=True) if 0 < n < SMALL_GROUP]
    if few:
        yield f"under {SMALL_GROUP} labelled images: {', '.join(few)}; read their intervals, or draw more with --n"


def _of_unsure(figures: dict[str, Any]) -> Iterator[str]:
    """Warn if many images could not be told."""
    unsure = figures["n_cannot_tell"]
    if unsure > MANY_UNSURE * (answered := unsure + figures["n_labelled"]):
        yield (
            f"{unsure} of {answered} images could not be told; they count as not drawn, which makes the figures too "
            "high if they are the hard ones"
        )
