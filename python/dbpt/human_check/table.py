"""The result of `judge_labels` as text for the terminal."""

from collections.abc import Sequence
from typing import Any

from dbpt.report.summary import SPLIT_NAMES
from dbpt.report.text import LONGEST_GROUP_NAME, count, interval_text, percent, render_columns, shorten_group


def judged_table(result: dict[str, Any]) -> str:
    """Return tables of the groups, by pseudo attributes and corrected, with the worst groups and warnings below.

    With several factors, each has its table, and then their combinations that occur.
    """
    data, factors = result["dataset"], result["factors"]
    of_split = f"{count(result['n_labelled'])} of {count(result['n'])} images labelled by hand"
    lines = [f"{data['name']}: {SPLIT_NAMES[result['split']]} split, {of_split}; figures in per cent", ""]
    for factor in factors:
        lines += [f"{factor['name']}:", "", *_part(factor, data["classes"], factor["values"]), ""]
    if factors:
        lines += [f"combinations of {' and '.join(factor['name'] for factor in factors)}:", ""]
    lines += _part(result, data["classes"], data["attributes"], only_occurring=bool(factors))
    lines += [
        f"average (needs no attribute)  {percent(result['average'])}",
        "",
        "* worst group; a minimum is biased downward: the figure tends to be too low",
        "interval: for the figure of this split if every image were labelled; it doesn't cover other images",
        *(f"warning: {text}" for text in result["warnings"]),
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
            *(shorten_group(y, a, LONGEST_GROUP_NAME) for y, a in (pairs[group["group"]] for group in groups)),
        ],
        ["pseudo", "group", "images", *(count(group["n_pseudo"]) for group in groups)],
        ["", "", "precision", *(percent(precision["value"]) for precision in precisions)],
        ["", "95 %", "interval", *(interval_text(precision["low"], precision["high"]) for precision in precisions)],
        ["", "", "accuracy ", *by_pseudo],
        ["labelled", "by", "hand", *(count(group["n_labelled"]) for group in groups)],
        ["in the", "split,", "estimated", *(count(round(group["n_estimated"])) for group in groups)],
        ["", "corrected", "accuracy ", *corrected],
        ["", "95 %", "interval", *(interval_text(accuracy["low"], accuracy["high"]) for accuracy in accuracies)],
    ]

    def worst(source: dict[str, Any]) -> str:
        group = source["worst_group"]
        return "" if group is None else f"  {' · '.join(pairs[group])}"

    accuracy, of_corrected = figures["pseudo_accuracy"], figures["corrected"]["worst_group_accuracy"]
    of_pseudo = figures["by_pseudo"]["worst_group_accuracy"]
    return [
        *render_columns(columns),
        "",
        f"pseudo attributes right       {_figure(accuracy)}",
        f"worst group by pseudo groups  {percent(of_pseudo)}{worst(figures['by_pseudo'])}",
        f"worst group, corrected        {_figure(of_corrected)}{worst(figures['corrected'])}",
    ]


def _starred(group: dict[str, Any], source: dict[str, Any], accuracy: float | None) -> str:
    return percent(accuracy) + ("*" if source["worst_group"] == group["group"] else " ")


def _figure(estimate: dict[str, float | None]) -> str:
    return f"{percent(estimate['value'])} {interval_text(estimate['low'], estimate['high'])}".rstrip()
