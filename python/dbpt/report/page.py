"""The HTML report: gathers what the template shows. The template lays it out, the style sheet colours it.

One file without scripts or anything external; jinja2 escapes every text, so class names and paths may hold anything.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dbpt.report import figures
from dbpt.report.summary import (
    SPLIT_NAMES,
    Summary,
    average_note,
    count,
    headline,
    interval_text,
    percent,
    points,
    summarize,
    zero_shot_line,
)
from dbpt.report.table import shares_text


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image for the gallery; ``image`` holds the bytes of a JPEG thumbnail."""

    path: str
    image: bytes
    label: str
    attribute: str
    prediction: str
    p_true: float


def render_report(metrics: dict[str, Any], history: figures.History, gallery: list[Mistake] | None) -> str:
    """Return one HTML page for a run from its metrics.json and the rows of its history.jsonl.

    ``gallery`` has some mistakes of the chosen row in its worst group; None if there are no images to show.
    """
    summary = summarize(metrics)
    styles, quality = figures.row_styles(summary), metrics["pseudo_quality"]
    chosen_history = [entry for entry in history if entry["row"] == summary.chosen.record["name"]]
    context = {
        "summary": summary,
        "split_name": SPLIT_NAMES[summary.split],
        "metrics": metrics,
        "headline": headline(summary),
        "average_note": average_note(metrics["average"]),
        "zero_shot_line": zero_shot_line(summary),
        "rows": list(zip(summary.rows, styles, strict=True)),
        "bars": figures.accuracy_chart(summary, styles),
        "weights": figures.weights_chart(summary, chosen_history),
        "p_true": figures.p_true_chart(summary, chosen_history),
        "validation": figures.validation_chart(summary, history, styles),
        "quality": quality if quality and quality["accuracy"] is not None else None,
        "gallery": None if gallery is None else [(mistake, b64encode(mistake.image).decode()) for mistake in gallery],
        "warnings": summary.warnings,
        "true_uses": _true_uses(summary),
        "settings": _settings(summary),
        "most_curves": figures.MOST_CURVES if len(summary.group_names) > figures.MOST_CURVES else None,
    }
    return _environment().get_template("template.html.j2").render(context)


@cache
def _environment() -> Environment:
    loader = PackageLoader("dbpt.report", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "points": points, "count": count}
    environment.filters |= {"capitalize_first": _capitalize_first, "breakable": _breakable}
    environment.globals["interval"] = interval_text
    return environment


def _true_uses(summary: Summary) -> str:
    """Say what the true attributes served for: the promise is that a plain run only measures with them."""
    uses = ["this table", "the metrics"] if summary.metrics["group_kind"] == "true" else ["this table"]
    if summary.metrics["selection"] == "true-wga":
        uses.append("the choice of epochs (as asked)")
    oracles = [row.title for row in summary.rows if row.record["group_source"] == "true"]
    if oracles:
        uses.append(f"the training of {' and '.join(oracles)} (as asked)")
    return ", ".join(uses)


def _settings(summary: Summary) -> list[tuple[str, str]]:
    metrics, backbone = summary.metrics, summary.metrics["backbone"]
    sources = {
        None: "none",
        "pseudo": "pseudo attributes",
        "true": "true attributes (an oracle)",
        "soft": "pseudo attributes, by their posterior",
    }
    applications = {None: "none", "loss": "in the loss", "sampling": "by sampling"}
    source = summary.chosen.record["group_source"]
    return [
        ("Backbone", str(backbone["model"])),
        ("Weights", str(backbone["pretrained"])),
        ("Width of the features", str(backbone["embed_dim"])),
        ("Head", str(summary.chosen.record.get("head"))),
        ("Objective", summary.chosen.title),
        ("Weights applied", applications[summary.chosen.record.get("apply")]),
        ("Groups trained on", sources.get(source, str(source))),
        ("Pseudo attributes by", f"{metrics['pseudo_method']}, shares {shares_text(metrics)}"),
        ("Best epoch by", str(metrics["selection"])),
        ("Seed", str(metrics["seed"])),
        ("Images that could not be read", str(metrics["failed_images"])),
        ("Time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in metrics["seconds"].items())),
    ]


def _capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _breakable(path: str) -> Markup:
    """Escape a path, and let lines break after its separators."""
    return Markup("<wbr>").join(piece for piece in re.split(r"(?<=[/\\_])", path) if piece)
