"""The HTML report: gathers what the template shows. The template lays it out, the style sheet colours it.

One file without scripts or anything external; jinja2 escapes every text, so class names and paths may hold anything.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from math import isfinite
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dbpt.report.bars import Bar, BarGroup, bar_chart
from dbpt.report.curves import Line, line_chart, linear_ticks, log_ticks
from dbpt.report.summary import Row, Summary, count, headline, interval_text, percent, points, summarize

MOST_CURVES = 16
"""With more groups than this, the curves show those that ended worst."""
PER_CENT = [(tick / 100, f"{tick}") for tick in (0, 25, 50, 75, 100)]
UNIT = [(tick, f"{tick:g}") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
History = list[dict[str, Any]]


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image for the gallery; ``image`` holds the bytes of a JPEG thumbnail."""

    path: str
    image: bytes
    label: str
    attribute: str
    prediction: str
    p_true: float


def render_report(metrics: dict[str, Any], history: History, gallery: list[Mistake]) -> str:
    """Return one self-contained HTML page for a run.

    ``metrics`` is the dict of metrics.json, ``history`` the rows of history.jsonl, ``gallery`` some mistakes of the
    chosen row in its worst group. Light and dark follow the reader's system; there are no scripts and no links out.
    """
    summary = summarize(metrics)
    styles = _row_styles(summary)
    chosen_history = [entry for entry in history if entry["row"] == summary.chosen.name]
    context = {
        "summary": summary,
        "metrics": metrics,
        "headline": headline(summary),
        "rows": list(zip(summary.rows, styles, strict=True)),
        "bars": _accuracy_chart(summary, styles),
        "weights": _weights_chart(summary, chosen_history),
        "p_true": _p_true_chart(summary, chosen_history),
        "validation": _validation_chart(summary, history, styles),
        "quality": _quality(summary),
        "gallery": [(mistake, _data_uri(mistake.image)) for mistake in gallery],
        "warnings": summary.warnings(),
        "settings": _settings(summary),
        "most_curves": MOST_CURVES if len(summary.group_names) > MOST_CURVES else None,
    }
    return _environment().get_template("template.html.j2").render(context)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dbpt.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, points=points, count=count, capitalize_first=_capitalize_first, breakable=_breakable
    )
    environment.globals["interval"] = interval_text
    return environment


def _row_styles(summary: Summary) -> list[str]:
    """Colour classes: one each for zero-shot, ERM and the chosen row, so that colours mean the same in all reports."""
    fixed = {"zero-shot": "row-zero-shot", "erm": "row-erm"}
    styles, others = [], 0
    for row in summary.rows:
        if row.chosen:
            styles.append("row-chosen")
        elif row.name in fixed:
            styles.append(fixed.pop(row.name))
        else:
            styles.append(f"row-other-{others % 4}")
            others += 1
    return styles


def _accuracy_chart(summary: Summary, styles: list[str]) -> Markup:
    groups = []
    for g, name in enumerate(summary.group_names):
        bars = [_bar(row, style, g) for row, style in zip(summary.rows, styles, strict=True) if row.metrics]
        groups.append(BarGroup(name, f"n = {count(summary.group_size(g))}", bars))
    return bar_chart(groups, f"Accuracy of each group with 95 % intervals, {summary.split_line}")


def _bar(row: Row, style: str, group: int) -> Bar:
    entry = row.group(group)
    assert entry is not None
    return Bar(style, row.title, entry["accuracy"], entry["low"], entry["high"])


def _weights_chart(summary: Summary, history: History) -> tuple[Markup, bool] | None:
    """Curves of the weights, and whether they are relative to balanced weights.

    A rare group weighs a hundred times what a common one does, which would hide how the weights *move*; so they are
    divided by the balanced weights, from which all start. That needs the counts trained on: those that satisfy the
    normalisation, sum of N_g w_g = sum of N_g. If the metrics lack them, the plain weights go on a logarithmic axis.
    """
    weighted = [entry for entry in history if entry["group_weights"]]
    if not weighted:
        return None
    balanced = _balanced_weights(summary, weighted[-1]["group_weights"])
    last = next((entry for entry in weighted if entry["selected"]), weighted[-1])["group_weights"]
    names = [f"{name}: w = {weight:.3g}" for name, weight in zip(summary.group_names, last, strict=True)]
    lines = _group_lines(summary, weighted, "group_weights", names, balanced)
    values = [value for line in lines for _, value in line.points if value is not None]
    if not values:
        return None
    ticks = linear_ticks([*values, 1.0]) if balanced else log_ticks(values)
    what = "Weight of a sample of each group over epochs" + (", relative to balanced weights" if balanced else "")
    return line_chart(lines, what, ticks=ticks, log=not balanced, kept=_kept(history)), balanced is not None


def _balanced_weights(summary: Summary, weights: list[float]) -> list[float] | None:
    dataset = summary.metrics["dataset"]
    true_groups = summary.chosen.record["group_source"] == "true"
    counts = dataset["counts"]["train"] if true_groups else dataset["train_counts_pseudo"]
    if not counts or not sum(counts):
        return None
    total = sum(counts)
    if abs(sum(n * w for n, w in zip(counts, weights, strict=True)) / total - 1) > 0.001:
        return None
    present = sum(n > 0 for n in counts)
    return [total / present / n if n else 1.0 for n in counts]


def _p_true_chart(summary: Summary, history: History) -> Markup | None:
    known = [entry for entry in history if entry["mean_p_true"]]
    lines = _group_lines(summary, known, "mean_p_true", summary.group_names, None)
    if not lines:
        return None
    return line_chart(lines, "Mean probability of the true class over epochs", ticks=UNIT, kept=_kept(history))


def _group_lines(
    summary: Summary, history: History, key: str, names: list[str], divisors: list[float] | None
) -> list[Line]:
    """One curve for each group that has a value: hue by class, dashes by attribute."""
    lines = []
    for g, name in enumerate(names):
        label, attribute = divmod(g, len(summary.metrics["dataset"]["attributes"]))
        divisor = divisors[g] if divisors else 1.0
        curve = [(int(entry["epoch"]), _value(entry[key][g], divisor, key == "group_weights")) for entry in history]
        if any(value is not None for _, value in curve):
            lines.append((g, Line(f"hue-{label % 6} dash-{attribute % 4}", name, curve)))
    if len(lines) > MOST_CURVES:
        lines = sorted(sorted(lines, key=lambda item: _chosen_accuracy(summary, item[0]))[:MOST_CURVES])
    return [line for _, line in lines]


def _chosen_accuracy(summary: Summary, group: int) -> float:
    entry = summary.chosen.group(group)
    return 1.0 if entry is None or entry["accuracy"] is None else float(entry["accuracy"])


def _value(value: float | None, divisor: float = 1.0, positive: bool = False) -> float | None:
    """A point of a curve; an empty group's weight of 0 and anything that is not finite have no place on it."""
    return None if value is None or not isfinite(value) or (positive and value <= 0) else float(value) / divisor


def _validation_chart(summary: Summary, history: History, styles: list[str]) -> Markup | None:
    lines = []
    for row, style in zip(summary.rows, styles, strict=True):
        mine = [entry for entry in history if entry["row"] == row.name]
        curve = [(int(entry["epoch"]), _value(entry["val_pseudo_wga"])) for entry in mine]
        if any(value is not None for _, value in curve):
            lines.append(Line(style, row.title, curve, marked=_kept(mine)))
    if not lines:
        return None
    return line_chart(lines, "Worst-group accuracy on validation over pseudo groups, over epochs", ticks=PER_CENT)


def _kept(history: History) -> int | None:
    return next((int(entry["epoch"]) for entry in history if entry["selected"]), None)


def _quality(summary: Summary) -> dict[str, Any] | None:
    quality: dict[str, Any] | None = summary.metrics["pseudo_quality"]
    return quality if quality and quality["accuracy"] is not None else None


def _settings(summary: Summary) -> list[tuple[str, str]]:
    metrics, backbone = summary.metrics, summary.metrics["backbone"]
    sources = {None: "none", "pseudo": "pseudo attributes", "true": "true attributes (an oracle)"}
    source = summary.chosen.record["group_source"]
    return [
        ("Backbone", str(backbone["model"])),
        ("Weights", str(backbone["pretrained"])),
        ("Width of the features", str(backbone["embed_dim"])),
        ("Objective", summary.chosen.title),
        ("Groups trained on", sources.get(source, str(source))),
        ("Epoch kept by", str(metrics["selection"])),
        ("Seed", str(metrics["seed"])),
        ("Images that could not be read", str(metrics["failed_images"])),
        ("Time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in metrics["seconds"].items())),
    ]


def _capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _breakable(path: str) -> Markup:
    """A path that may be broken after its separators, escaped."""
    return Markup("<wbr>").join(piece for piece in re.split(r"(?<=[/\\_])", path) if piece)


def _data_uri(image: bytes) -> str:
    return "data:image/jpeg;base64," + b64encode(image).decode("ascii") if image else ""
