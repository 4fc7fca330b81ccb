"""The result of `judge_labels` as text for the terminal."""

from typing import Any

from dbpt.report.summary import SPLIT_NAMES
from dbpt.report.text import LONGEST_GROUP_NAME, count, interval_text, percent, render_columns, shorten_group


def judged_table(result: dict[str, Any]) -> str:
    """Return a table of the groups, by pseudo attributes and corrected, with the worst groups and warnings below."""
    groups, data = result["groups"], result["dataset"]
    pairs = [(y, a) for y in data["classes"] for a in data["attributes"]]
    precisions = [group["precision"] for group in groups]
    accuracies = [group["accuracy"] for group in groups]
    by_pseudo = [_starred(group, result["by_pseudo"], group["accuracy_by_pseudo"]) for group in groups]
    corrected = [_starred(group, result["corrected"], group["accuracy"]["value"]) for group in groups]
    columns = [
        ["", "", "", *(shorten_group(y, a, LONGEST_GROUP_NAME) for y, a in pairs)],
        ["pseudo", "group", "images", *(count(group["n_pseudo"]) for group in groups)],
        ["", "", "precision", *(percent(precision["value"]) for precision in precisions)],
        ["", "95 %", "interval", *(interval_text(precision["low"], precision["high"]) for precision in precisions)],
        ["", "", "accuracy ", *by_pseudo],
        ["labelled", "by", "hand", *(count(group["n_labelled"]) for group in groups)],
        ["in the", "split,", "estimated", *(count(round(group["n_estimated"])) for group in groups)],
        ["", "corrected", "accuracy ", *corrected],
        ["", "95 %", "interval", *(interval_text(accuracy["low"], accuracy["high"]) for accuracy in accuracies)],
    ]
    of_split = f"{count(result['n_labelled'])} of {count(result['n'])} images labelled by hand"
    head = f"{data['name']}: {SPLIT_NAMES[result['split']]} split, {of_split}; figures in per cent"
    return "\n".join([head, "", *render_columns(columns), "", *_notes(result, pairs)])


def _starred(group: dict[str, Any], source: dict[str, Any], accuracy: float | None) -> str:
    return percent(accuracy) + ("*" if source["worst_group"] == group["group"] else " ")


def _notes(result: dict[str, Any], pairs: list[tuple[str, str]]) -> list[str]:
    def worst(source: dict[str, Any]) -> str:
        group = source["worst_group"]
        return "" if group is None else f"  {' · '.join(pairs[group])}"

    accuracy, corrected = result["pseudo_accuracy"], result["corrected"]["worst_group_accuracy"]
    by_pseudo = result["by_pseudo"]["worst_group_accuracy"]
    return [
        f"pseudo attributes right       {_figure(accuracy)}",
        f"worst group by pseudo groups  {percent(by_pseudo)}{worst(result['by_pseudo'])}",
        f"worst group, corrected        {_figure(corrected)}{worst(result['corrected'])}",
        f"average (needs no attribute)  {percent(result['average'])}",
        "",
        "* worst group; a minimum is biased downward: the figure tends to be too low",
        "interval: for the figure of this split if every image were labelled; it doesn't cover other images",
        *(f"warning: {text}" for text in result["warnings"]),
    ]


def _figure(estimate: dict[str, float | None]) -> str:
    return f"{percent(estimate['value'])} {interval_text(estimate['low'], estimate['high'])}".rstrip()
