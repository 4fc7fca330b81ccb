"""The page of an audit, and its charts."""

from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np

from dbpt.commands.audit.next_step import UNRELATED
from dbpt.evaluation import Group
from dbpt.evaluation.accuracy_by_group import also_worst, worst_first
from dbpt.evaluation.audit_fields import AuditFigures
from dbpt.groups import group_name
from dbpt.report import page_sections as sections
from dbpt.report import text
from dbpt.report.audit_sentences import after_doubts
from dbpt.report.bar_chart import Bar, BarGroup, bar_chart
from dbpt.report.charts import MOST_BARS, Chart
from dbpt.report.group_pictures import ContactSheet, GroupExamples, GuessSheets
from dbpt.report.page_sections import section
from dbpt.report.page_size import MOST_GROUPS_TABLED
from dbpt.report.result_rows import SPLIT_NAMES
from dbpt.report.text import in_words, sentence


def audit_figures(figures: AuditFigures) -> dict[str, Chart | None]:
    """Return the charts of an audit, by name; those of factors have their number. Page and files show them."""
    charts = {"accuracy": _group_chart(worst_first(figures.groups), figures.named_group)}
    for number, factor in enumerate(figures.factors, 1):
        groups = worst_first(factor.groups)
        marked = groups[0] if factor.verdict.kind == "bias" else None
        charts[f"accuracy_factor-{number}"] = _group_chart(groups, marked, of=f"{factor.name}: ")
    return charts


def _group_chart(groups: Sequence[Group], marked: Group | None, of: str = "") -> Chart | None:
    """Draw the groups, the worst ones if they are many; ``of`` names the factor."""
    bars = []
    for group in groups[:MOST_BARS]:
        bar = Bar("erm" if group == marked else "chosen", "accuracy", group.accuracy, group.low, group.high)
        bars.append(BarGroup((group.class_name, group.attribute), f"n = {text.count(group.n)}", [bar]))
    what = f"{of}Accuracy of each group in per cent, with its interval, worst group first"
    legend = [("erm", "the group that the verdict is about"), ("chosen", "other groups")] if marked else []
    return bar_chart(bars, what, legend)


CLEAR = 0.3
"""From this association on, training can use the attribute instead of the class."""
KINDS = {
    "bias": "Bias found",
    "no evidence": "No evidence of bias",
    "nothing to compare": "Nothing to compare",
    "untrusted": "The guesses can’t be trusted",
}


def has_adjusted(figures: AuditFigures) -> bool:
    """Return whether the adjusted average is known, and is not that of the audited training images themselves."""
    adjusted, plain = figures.metrics.adjusted_average, figures.metrics.average
    of_training = figures.data.split == "train" and figures.data.is_divided
    return adjusted is not None and not (of_training and plain is not None and isclose(adjusted, plain))


def render_audit(
    figures: AuditFigures,
    sheets: list[ContactSheet] | None,
    examples: Sequence[GroupExamples] | None = None,
    charts: Mapping[str, Chart | None] | None = None,
    suspicious: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the page.

    Args:
        figures: the content of ``audit.json``.
        sheets: the contact sheets of the pseudo-groups; None without images.
        examples: images of every group with their predictions; None without images.
        charts: the `audit_figures`, if they are drawn already.
        suspicious: the `suspicious_pictures`.
    """
    charts, data, guesses, factors = charts or audit_figures(figures), figures.data, figures.guesses, figures.factors
    kind, verdict, words = _kind(figures), figures.verdict, figures.words
    is_untrusted, is_pseudo = verdict.kind == "untrusted", figures.group_kind == "pseudo"
    confusion = np.array([[figures.confusion.get(y, {}).get(k, 0) for k in data.classes] for y in data.classes])
    most = {"most_bars": MOST_BARS, "most_rows": MOST_GROUPS_TABLED}
    of_groups = {"figures": figures, "worst_first": worst_first, **most}
    of_numbers = {"figures": figures, "also_worst": also_worst(figures.groups), "has_adjusted": has_adjusted(figures)}
    of_numbers |= {"right": int(confusion.trace()), "unrelated": UNRELATED, "clear": CLEAR}
    title = f"{'Combinations' if factors else 'Groups'}, worst first"
    groups = section("audited_groups", title, "groups", chart=charts["accuracy"], factor=None, **of_groups)
    title = "What the images of each group are taken for"
    shown = figures.named_group or figures.worst_group
    opened = group_name(shown.class_name, shown.attribute) if shown else ""
    pictures = section("examples", title, groups=examples, opened=opened) if examples else None
    meanings = section("numbers", "What the figures mean", shown=[False, True], **of_numbers)
    muted = section("numbers", shown=[True], **of_numbers)
    about_words = [each for each in figures.warnings if each.kind in ("order", "class words", "class accuracy")]
    others = [each for each in figures.warnings if each not in about_words]
    parts = [
        None if factors and is_pseudo else sections.doubts(guesses, figures.group_kind, is_untrusted=is_untrusted),
        sections.warnings([*others, *figures.metrics.warnings]),
    ]
    for i, factor in enumerate(factors, 1):
        title, chart = f"By {factor.name} alone", charts[f"accuracy_factor-{i}"]
        parts.append(section("audited_groups", title, f"factor-{i}", chart=chart, factor=factor, **of_groups))
    taken_for = sections.taken_for([confusion], ["the classifier"], data.classes)
    if is_untrusted:
        by = "group of the file" if guesses.provenance == "file" else "guessed group"
        summary = f"Figures by {'cluster' if figures.by_clusters else by}, which can’t be trusted"
        folded = section("folded", summary=summary, sections=[groups, muted])
        parts += [section("numbers", meanings.title, shown=[False], **of_numbers), taken_for, folded, pictures]
    else:
        parts += [groups, meanings, taken_for, pictures]
    if figures.suspicious.wrong_labels or figures.suspicious.rare_cases:
        parts.append(section("suspicious", "Wrong label or rare case?", counts=figures.suspicious, shown=suspicious))
    names = [f"{factor.name}: {value}" for factor in factors for value in factor.values] or data.attributes
    clusters = [(sheet.class_name, sheet.attribute, sheet.share or 0.0) for sheet in sheets or []]
    file, use = figures.settings.get("pseudo_attributes", ""), "figures" if is_pseudo else "compare"
    shown_guesses = GuessSheets(guesses, {name: words.get(name, [name]) for name in names}, sheets, clusters)
    known, templates = figures.known_factors, (figures.templates, figures.attribute_templates)
    parts += [
        sections.guessed(shown_guesses, use=use, file=file, known_factors=known, of_splits=False),
        section("next", "Next step", kind="audit", figures=figures),
        sections.made_by("audit", figures.command, list(words.items()), templates, figures.settings, figures=figures),
    ]
    suspects = ", ".join([factor.name for factor in factors] or data.attributes)
    suspects = guesses.method if figures.by_values else suspects
    eyebrow = f"{data.name} · audit of {'clusters within each class' if figures.by_clusters else suspects}"
    backbone = " · ".join(Path(name).name for name in (figures.backbone.model, figures.backbone.pretrained) if name)
    below = section("audited", figures=figures, backbone=backbone, split_names=SPLIT_NAMES)
    badge, leads = (verdict.kind.replace(" ", "-"), kind), [" ".join(verdict.lead)]
    head = sections.headline(eyebrow, badge, after_doubts(about_words, sentence(verdict.sentence)), below, leads)
    of_how = {"has_adjusted": has_adjusted(figures), "keeps_known": figures.keeps_known, "has_factors": bool(factors)}
    how = sections.how("audit", guesses, figures.average, **of_how)
    return sections.render_page(f"{kind}: {data.name} · dbpt audit", head, parts, how, figures.dbpt_version)


def _kind(figures: AuditFigures) -> str:
    """Return the kind of the verdict and how large a bias is.

    A bias is only possible if another factor, in doubt, may be the reason.
    """
    others = [factor.verdict for factor in figures.factors if factor.verdict.kind == "untrusted"]
    if figures.verdict.kind == "bias" and any(verdict.doubts for verdict in others):
        return "Possible bias"
    size, explained = figures.verdict.size, figures.explained
    if size is None:
        return KINDS[figures.verdict.kind]
    share = None if explained is None or figures.factors else explained.share
    return f"{size.capitalize()} bias found" + ("" if share is None else f": {in_words(share)} of the errors")
