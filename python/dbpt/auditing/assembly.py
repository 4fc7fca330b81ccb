"""From the subject of an audit to its figures: the groups to audit, their metrics, and what follows from these."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dbpt._core import __version__
from dbpt.auditing.factors import GroupsToAudit, audited_factors, verdict_of_factors
from dbpt.auditing.figures import SCHEMA_VERSION, AuditFigures
from dbpt.auditing.next_step import next_step
from dbpt.auditing.result import Audit
from dbpt.auditing.subject import Subject
from dbpt.auditing.verdict import most_confused
from dbpt.data import SPLITS, joint_codes
from dbpt.data.words import UNNAMED
from dbpt.groups import GroupMetrics, gap_interval, group_metrics
from dbpt.guesses import PseudoAttributes, group_pairs
from dbpt.report.guesses import setting_texts
from dbpt.report.tables import confusion_counts
from dbpt.runs.metrics import AuditedData, ClustersSummary, GroupKind
from dbpt.settings.sections import AUDIT_SETTINGS
from dbpt.study.guesses import image_columns, judged_guesses
from dbpt.study.study import average_of, backbone_summary, clusters_summary, true_or_pseudo


def audited(subject: Subject, command: str) -> tuple[Audit, PseudoAttributes]:
    """Return the audit that ``command`` makes, and CLIP's guesses for all images of the data."""
    dataset, rows, config, words = subject.dataset, subject.audited, subject.config, subject.dataset.words
    predictions, labels = subject.predictions.predictions, subject.labels
    training = np.flatnonzero(dataset.splits == SPLITS.index("train"))
    pseudo = subject.embedded.guess(config, subject.probe)
    guesses = judged_guesses(subject.embedded, pseudo, rows)
    chosen = groups_to_audit(subject, pseudo)
    factors, explained = audited_factors(
        chosen,
        subject.predictions,
        labels,
        rows,
        guesses,
        by=subject.by,
        seed=config.seed,
        is_first=subject.is_first,
        is_searched=subject.search is not None and subject.search.on_audited,
    )
    verdict = verdict_of_factors(factors, subject.by)
    metrics = _metrics(subject, chosen, only_occurring=verdict.kind == "untrusted" or bool(chosen.factors))
    confusion = confusion_counts(labels, predictions, dataset.num_classes).tolist()
    confused = most_confused(confusion, dataset.class_names, metrics.groups, verdict)
    verdict = replace(verdict, lead=[*verdict.lead, *confused])
    names, taken = dataset.class_names, dict[str, dict[str, int]]()
    for name, counts in zip(names, confusion, strict=True):
        if any(counts):
            taken[name] = {other: n for other, n in zip(names, counts, strict=True) if n}
    biased = zip(chosen.parts, factors, strict=True)
    associations = [part.association(dataset.labels, training) for part, of in biased if of.verdict.kind == "bias"]
    step = next_step(
        subject,
        verdict,
        guesses,
        by_guesses=chosen.kind == "pseudo",
        factors=factors,
        association=max((each for each in associations if each is not None), default=None),
        worse=next((each for each in metrics.groups if each.index == verdict.group), None),
    )
    train_counts = chosen.counts(dataset.labels, training)
    average = average_of(config, dataset, train_counts)
    gap = _gap_interval(metrics, None if average == "plain" else train_counts)
    guessed = {} if guesses.by_clusters else words.guessed()
    figures = AuditFigures(
        schema_version=SCHEMA_VERSION,
        dbpt_version=__version__,
        verdict=verdict,
        data=audited_data(subject, () if chosen.by_clusters else dataset.attribute_names, clusters_summary(pseudo)),
        backbone=backbone_summary(subject.embedded.backbone, config),
        predictions_by=subject.by,
        predictions_from=subject.title,
        group_kind=chosen.kind,
        average=average,
        metrics=metrics,
        gap_low=gap and gap[0],
        gap_high=gap and gap[1],
        confusion=taken,
        cramers_v=chosen.association(dataset.labels, rows),
        training_cramers_v=chosen.association(dataset.labels, training),
        explained=explained,
        guesses=guesses,
        warnings=[*subject.told, *pseudo.warnings],
        words={name: list(wordings) for name, wordings in (*words.classes.items(), *guessed.items())},
        templates=list(words.templates),
        attribute_templates=list(words.attribute_templates) if guessed else [],
        command=command,
        next_step=step,
        factors=factors if chosen.factors else [],
        settings=setting_texts(config, (name for name in vars(config) if name in AUDIT_SETTINGS)),
    )
    images = image_columns(
        dataset,
        pseudo,
        guesses,
        rows,
        attributes=chosen.names(dataset.labels, rows),
        predictions=predictions,
        probabilities=subject.predictions.probabilities,
    )
    return Audit(figures, images, None), pseudo


def groups_to_audit(subject: Subject, pseudo: PseudoAttributes) -> GroupsToAudit:
    """Return the clusters if the audit was asked for them, else the groups of `true_or_pseudo` attributes.

    Each of several factors has its true values if enough audited images have one, whatever the others have.
    Combinations with a factor that is not known have the true values of the others where these are known.
    """
    dataset, rows, words = subject.dataset, subject.audited, subject.dataset.words

    def kind_of(attributes: NDArray[np.int64]) -> GroupKind:
        return true_or_pseudo(dataset.labels[rows], attributes[rows], dataset.num_classes)

    kind = "pseudo" if subject.asks_clusters else kind_of(dataset.attributes)
    chosen = GroupsToAudit(
        name=UNNAMED,
        values=list(words.attributes),
        kind=kind,
        attributes=dataset.attributes if kind == "true" else pseudo.pseudo_attributes,
        pairs=group_pairs(dataset, pseudo if kind == "pseudo" else None),
        num_classes=dataset.num_classes,
        by_clusters=kind == "pseudo" and pseudo.class_clusters is not None,
        has_own_values=any(suspect.of_class for suspect in words.suspects),
    )
    factors, combined = list[GroupsToAudit](), list[NDArray[np.int64]]()
    for place, guessed in enumerate(pseudo.parts):
        suspect, known = words.suspects[place], dataset.factor_attributes[place]
        factor = GroupsToAudit(
            name=suspect.name,
            values=list(suspect.values),
            kind=(of_factor := kind_of(known)),
            attributes=known if of_factor == "true" else guessed.pseudo_attributes,
            pairs=list(product(words.classes, suspect.values)),
            num_classes=dataset.num_classes,
            has_own_values=bool(suspect.of_class),
        )
        factors.append(factor)
        combined.append(np.where(factor.attributes >= 0, factor.attributes, guessed.pseudo_attributes))
    if factors and kind == "pseudo":
        chosen = replace(chosen, attributes=joint_codes(combined, words.sizes))
    return replace(chosen, factors=tuple(factors))


def audited_data(
    subject: Subject, attributes: Sequence[str] = (), clusters: ClustersSummary | None = None
) -> AuditedData:
    """Return the images of ``subject``, with the ``attributes`` or ``clusters`` that their groups are over."""
    dataset = subject.dataset
    return AuditedData(
        name=dataset.name,
        root=str(dataset.root),
        split=cast(Any, subject.split),
        n=len(subject.audited),
        failed_images=len(subject.embedded.failures),
        classes=list(dataset.class_names),
        attributes=list(attributes),
        clusters=clusters,
        notes=list(dataset.notes),
        search=subject.search,
        is_divided=bool((dataset.splits != SPLITS.index("train")).any()),
    )


def _gap_interval(metrics: GroupMetrics, train_counts: NDArray[np.int64] | None) -> tuple[float, float] | None:
    """Return the interval of the gap to the adjusted average, or to the plain one without ``train_counts`` (G,)."""
    correct, counts = ([getattr(each, name) for each in metrics.groups] for name in ("correct", "n"))
    if train_counts is not None:
        return gap_interval(correct, counts, [train_counts[each.index] for each in metrics.groups])
    rest = metrics.n - sum(counts)
    return gap_interval(correct, counts, counts, rest=(round(metrics.average * metrics.n) - sum(correct), rest))


def _metrics(subject: Subject, chosen: GroupsToAudit, *, only_occurring: bool) -> GroupMetrics:
    """Return the metrics, of groups that have images, with warnings about empty ones (that occur in the data)."""
    dataset = subject.dataset
    train_counts = chosen.counts(dataset.labels, np.flatnonzero(dataset.splits == SPLITS.index("train")))
    occurring = chosen.counts(dataset.labels, np.arange(len(dataset))) > 0 if only_occurring else None
    found = group_metrics(
        subject.predictions.predictions,
        subject.labels,
        chosen.attributes[subject.audited],
        train_counts=train_counts if train_counts.any() else None,
        **chosen.size,
        confidence=subject.predictions.confidence,
        group_names=chosen.pairs,
        shared_attributes=not chosen.by_clusters,
        occurring=occurring,
    )
    return replace(found, groups=tuple(each for each in found.groups if each.n))
