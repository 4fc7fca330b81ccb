"""From the subject of an audit to its figures: the groups to audit, their metrics, and what follows from these."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dbpt._core import __version__
from dbpt.auditing.factors import audited_factors, verdict_of_factors
from dbpt.auditing.figures import (
    SCHEMA_VERSION,
    AuditedFactor,
    AuditFigures,
    Verdict,
    detectable_difference,
)
from dbpt.auditing.next_step import next_step
from dbpt.auditing.result import Audit
from dbpt.auditing.subject import Subject
from dbpt.auditing.verdict import most_confused, verdict_of
from dbpt.data import SPLITS, Dataset, joint_codes
from dbpt.errors import InputError
from dbpt.groups import GroupMetrics, group_counts, group_ids, group_metrics
from dbpt.groups.association import ExplainedErrors, cramers_v, explained_errors
from dbpt.guesses import Guesses, PseudoAttributes, group_pairs
from dbpt.report.guesses import setting_texts
from dbpt.report.tables import confusion_counts
from dbpt.runs.metrics import AuditedData, Average, ClustersSummary, GroupKind
from dbpt.settings.sections import AUDIT_SETTINGS
from dbpt.study.guesses import image_columns, judged_guesses
from dbpt.study.study import backbone_summary, clusters_summary, true_or_pseudo


@dataclass(frozen=True, kw_only=True)
class GroupsToAudit:
    """The groups of the N readable images, g = y*A + a, and the numbers of classes and attributes.

    ``attributes`` (N,) are the true or the pseudo attributes, as ``kind`` says, and ``pairs`` (G,) the names of class
    and attribute. ``by_clusters`` says that they are clusters within each class, so that each class has its own.
    Several factors have ``factor_codes`` (N,) each, true or guessed as ``factor_kinds`` says.
    """

    kind: GroupKind
    by_clusters: bool
    attributes: NDArray[np.int64]
    pairs: list[tuple[str, str]]
    num_classes: int
    num_attributes: int
    factor_kinds: tuple[GroupKind, ...] = ()
    factor_codes: tuple[NDArray[np.int64], ...] = ()

    @property
    def size(self) -> dict[str, int]:
        """The numbers of classes and attributes, as functions of groups take them."""
        return {"num_classes": self.num_classes, "num_attributes": self.num_attributes}

    def names(self, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> list[str]:
        """Return the name of the attribute of each of the ``rows``; "" where it is unknown."""
        return [self.pairs[group][1] if group >= 0 else "" for group in self._groups(labels, rows).tolist()]

    def counts(self, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the (G,) images of each group among ``rows``."""
        return group_counts(self._groups(labels, rows), len(self.pairs))

    def _groups(self, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return group_ids(labels[rows], self.attributes[rows], self.num_attributes)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The metrics of the audited images, what their groups explain, and what follows.

    ``confusion`` are the images of each class that are taken for each, as in `AuditFigures`.
    """

    metrics: GroupMetrics
    confusion: dict[str, dict[str, int]]
    explained: ExplainedErrors
    factors: list[AuditedFactor]
    verdict: Verdict


def audited(subject: Subject, command: str) -> tuple[Audit, PseudoAttributes]:
    """Return the audit that ``command`` makes, and CLIP's guesses for all images of the data."""
    dataset, rows = subject.dataset, subject.audited
    pseudo = subject.embedded.guess(subject.config, subject.probe)
    guesses = judged_guesses(subject.embedded, pseudo, rows)
    chosen = groups_to_audit(subject, pseudo)
    judgement = judge(subject, chosen, guesses)
    figures = assemble(subject, pseudo, guesses, chosen, judgement, command)
    images = image_columns(
        dataset,
        pseudo,
        guesses,
        rows,
        attributes=chosen.names(dataset.labels, rows),
        predictions=subject.predictions.predictions,
        probabilities=subject.predictions.probabilities,
    )
    return Audit(figures, images, None), pseudo


def groups_to_audit(subject: Subject, pseudo: PseudoAttributes) -> GroupsToAudit:
    """Return the clusters if the audit was asked for them, else the groups of `true_or_pseudo` attributes."""
    dataset, rows = subject.dataset, subject.audited
    kind = true_or_pseudo(dataset.labels[rows], dataset.attributes[rows], dataset.num_classes)
    kind = "pseudo" if subject.asks_clusters else kind
    pairs = group_pairs(dataset, pseudo if kind == "pseudo" else None)
    chosen = GroupsToAudit(
        kind=kind,
        by_clusters=kind == "pseudo" and pseudo.class_clusters is not None,
        attributes=dataset.attributes if kind == "true" else pseudo.pseudo_attributes,
        pairs=pairs,
        num_classes=dataset.num_classes,
        num_attributes=len(pairs) // dataset.num_classes,
    )
    return _with_factors(subject, chosen, pseudo) if len(pseudo.factors) > 1 else chosen


def _with_factors(subject: Subject, chosen: GroupsToAudit, pseudo: PseudoAttributes) -> GroupsToAudit:
    """Add the factors: each has its true values if enough audited images have one, whatever the others have.

    Combinations with a factor that is not known have the true values of the others where these are known.
    """
    dataset, rows = subject.dataset, subject.audited
    truth, guessed = dataset.factor_attributes, [each.pseudo_attributes for each in pseudo.factors]
    kinds = [true_or_pseudo(dataset.labels[rows], known[rows], dataset.num_classes) for known in truth]
    codes, combined = guessed.copy(), guessed.copy()
    for place in (place for place, kind in enumerate(kinds) if kind == "true"):
        codes[place] = truth[place]
        combined[place] = np.where(truth[place] >= 0, truth[place], guessed[place])
    if chosen.kind == "pseudo":
        chosen = replace(chosen, attributes=joint_codes(combined, dataset.words.sizes))
    return replace(chosen, factor_kinds=tuple(kinds), factor_codes=tuple(codes))


def judge(subject: Subject, chosen: GroupsToAudit, guesses: Guesses) -> Judgement:
    """Return the metrics, and whether the attribute, or each of several factors, explains the errors."""
    dataset, predictions, seed = subject.dataset, subject.predictions, subject.config.seed
    labels, attributes = subject.labels, chosen.attributes[subject.audited]
    metrics = _metrics(subject, chosen, only_occurring=bool(chosen.factor_codes))
    groups = metrics.groups
    tested, is_right = subject.is_first, predictions.predictions == labels
    is_right, of_class, of_attribute = is_right[tested], labels[tested], attributes[tested]
    explained = explained_errors(is_right, of_class, of_attribute, seed=seed, **chosen.size)
    confusion = confusion_counts(labels, predictions.predictions, dataset.num_classes).tolist()
    factors: list[AuditedFactor] = []
    if chosen.factor_codes:
        codes = [each[subject.audited] for each in chosen.factor_codes]
        judged_by: Any = {"by": subject.by, "kinds": chosen.factor_kinds, "seed": seed, "is_first": tested}
        factors = audited_factors(predictions, labels, codes, dataset.words, guesses, **judged_by)
        verdict = verdict_of_factors(factors, subject.by)
    else:
        judged_by = {"by": subject.by, "by_guesses": chosen.kind == "pseudo", "attributes": dataset.attribute_names}
        judged_by["is_searched"] = subject.search is not None and subject.search.on_audited
        judged_by["detectable"] = detectable_difference(is_right, of_class, of_attribute, **chosen.size)
        verdict = verdict_of(groups, explained, guesses, **judged_by)
    if verdict.kind == "untrusted":
        metrics = _metrics(subject, chosen, only_occurring=True)
    confused = most_confused(confusion, dataset.class_names, groups, verdict)
    verdict = replace(verdict, lead=[*verdict.lead, *confused])
    names, taken = dataset.class_names, dict[str, dict[str, int]]()
    for name, counts in zip(names, confusion, strict=True):
        if any(counts):
            taken[name] = {other: n for other, n in zip(names, counts, strict=True) if n}
    return Judgement(metrics=metrics, confusion=taken, explained=explained, factors=factors, verdict=verdict)


def assemble(
    subject: Subject,
    pseudo: PseudoAttributes,
    guesses: Guesses,
    chosen: GroupsToAudit,
    judgement: Judgement,
    command: str,
) -> AuditFigures:
    """Return all figures of the audit that ``command`` makes."""
    dataset, rows, config = subject.dataset, subject.audited, subject.config
    training = np.flatnonzero(dataset.splits == SPLITS.index("train"))
    verdict, factors, words = judgement.verdict, judgement.factors, dataset.words
    named = next((each for each in judgement.metrics.groups if each.index == verdict.group), None)
    step = next_step(
        subject,
        verdict,
        guesses,
        by_guesses=chosen.kind == "pseudo",
        factors=factors,
        association=_association_of_bias(dataset, chosen, training, factors),
        worse=named,
    )
    guessed = {} if guesses.by_clusters else words.guessed()
    return AuditFigures(
        schema_version=SCHEMA_VERSION,
        dbpt_version=__version__,
        verdict=verdict,
        data=audited_data(
            subject, () if chosen.by_clusters else subject.dataset.attribute_names, clusters_summary(pseudo)
        ),
        backbone=backbone_summary(subject.embedded.backbone, config),
        predictions_by=subject.by,
        predictions_from=subject.title,
        group_kind=chosen.kind,
        average=_average(subject, has_training_rows=bool(chosen.counts(dataset.labels, training).any())),
        metrics=judgement.metrics,
        confusion=judgement.confusion,
        cramers_v=_association(dataset, chosen, rows),
        training_cramers_v=_association(dataset, chosen, training),
        explained=judgement.explained,
        guesses=guesses,
        warnings=[*subject.told, *pseudo.warnings],
        words={name: list(wordings) for name, wordings in (*words.classes.items(), *guessed.items())},
        templates=list(words.templates),
        attribute_templates=list(words.attribute_templates) if guessed else [],
        command=command,
        next_step=step,
        factors=factors,
        settings=setting_texts(config, (name for name in vars(config) if name in AUDIT_SETTINGS)),
    )


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
        num_classes=chosen.num_classes,
        num_attributes=chosen.num_attributes,
        confidence=subject.predictions.confidence,
        group_names=chosen.pairs,
        shared_attributes=not chosen.by_clusters,
        occurring=occurring,
    )
    return replace(found, groups=tuple(each for each in found.groups if each.n))


def _average(subject: Subject, *, has_training_rows: bool) -> Average:
    """Return the average for tables. Raises `InputError` for one that is asked for, but lacks its weights."""
    asked, dataset = subject.config.average, subject.dataset
    if asked == "adjusted" and not has_training_rows:
        raise InputError(f"--average adjusted: {dataset.source} has no training rows, whose shares are the weights")
    return "adjusted" if (asked or dataset.average) == "adjusted" and has_training_rows else "plain"


def _association_of_bias(
    dataset: Dataset, chosen: GroupsToAudit, training: NDArray[np.int64], factors: Sequence[AuditedFactor]
) -> float | None:
    """Return Cramér's V of class and attribute in the training rows, the largest of the factors that have a bias."""
    biased = [place for place, factor in enumerate(factors) if factor.verdict.kind == "bias"]
    if not biased:
        return _association(dataset, chosen, training)
    found = [
        _association(
            dataset,
            replace(chosen, attributes=chosen.factor_codes[place], num_attributes=len(factors[place].values)),
            training,
        )
        for place in biased
    ]
    return None if None in found else max(each for each in found if each is not None)


def _association(dataset: Dataset, chosen: GroupsToAudit, rows: NDArray[np.int64]) -> float | None:
    """Return Cramér's V of class and attribute in the ``rows``; None for attributes that classes don't share."""
    of_class = chosen.by_clusters or any(factor.of_class for factor in dataset.words.factors)
    return None if of_class else cramers_v(dataset.labels[rows], chosen.attributes[rows], **chosen.size)
