"""Judge guesses by words, and find names to leave out; docs/explanation/trust.md has the measurements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.data import Dataset
from dbpt.data.words import UNNAMED
from dbpt.groups.ids import evenly_spaced
from dbpt.guesses.apply_method import by_suspect, label_quietly
from dbpt.guesses.base import PSEUDO_METHODS, GuessedFactors, Provenance, PseudoAttributes
from dbpt.guesses.doubts import (
    LOWEST_AGREEMENT,
    CrossValidated,
    gap_densities,
    kappa,
    nearer_words,
    separations,
    within_class,
)
from dbpt.guesses.grouping import Grouping
from dbpt.storage.typed_json import Count, Share

AGREEMENT_TEMPLATES = ("{}", "a photo of a {}.", "an image of {}.", "a picture with {}.", "this is {}.")
"""Sentences that say the same. Names that CLIP knows give the same guesses with each."""
LOWEST_SPREAD, LOWEST_SEPARATION, MOST_NEARER_WORDS, LARGEST_GAP_DENSITY = 0.6, 0.1, 0.05, 0.75
MOST_ROWS_TO_JUDGE = 20_000
MOST_PAIRS = 3  # in a doubt


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The evidence for and against the guesses; docs/explanation/trust.md has the measurements behind the limits.

    - ``agreements``: of each name that an image got, the mean Cohen's kappa of any two of the `AGREEMENT_TEMPLATES`, at
      equal shares, on which images are guessed it. Below 0.8, what it means to CLIP depends on the sentence around it.
    - ``spread``: standard deviation, within classes, of the logits around the mean of the names; below 0.6, CLIP's odds
      hardly change from image to image.
    - ``separations``: of each name and the one most like it, by how much two modes describe their logits better than a
      single Gaussian: half the difference of their BIC, per image. Below 0.1, the two names split what the images
      don't.
    - ``nearer_words``: share of other words that CLIP finds nearer to an image than its name; the median over the
      images that are guessed a name, and the lowest of all names. Above 0.05, no name says what the images show.
    - ``gap_densities``: of each rare name, with under a tenth of the images that are guessed it or the name most like
      it, the lowest density of logits between both, relative to that at its images. Above 0.75, no gap parts them, so
      most of its images may be unusual ones of the other name.
    - ``unused``: those of the ``names`` that no image got.
    """

    names: tuple[str, ...]
    agreements: dict[str, float]
    spread: float
    separations: dict[tuple[str, str], float]
    nearer_words: float
    gap_densities: dict[str, float] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    @property
    def agreement(self) -> float:
        """The lowest of the agreements."""
        return min(self.agreements.values(), default=1.0)

    @property
    def separation(self) -> float:
        """The lowest of the separations; 0 with fewer than two names to separate."""
        return min(self.separations.values(), default=0.0)

    @property
    def failing(self) -> tuple[str, ...]:
        """The names that no image got, that depend on the sentence, or that another name can't be told from."""
        failing = {*self.unused, *self._unsteady, *self._too_rare, *(name for pair in self._alike for name in pair)}
        return tuple(name for name in self.names if name in failing)

    @property
    def _unsteady(self) -> list[str]:
        return [name for name, value in self.agreements.items() if value < LOWEST_AGREEMENT]

    @property
    def _too_rare(self) -> list[str]:
        return [name for name, value in self.gap_densities.items() if value > LARGEST_GAP_DENSITY]

    @property
    def _alike(self) -> list[tuple[str, str]]:
        lowest = [(value, pair) for pair, value in self.separations.items() if value < LOWEST_SEPARATION]
        return [pair for _, pair in sorted(lowest)]

    @property
    def doubts(self) -> list[Caution]:
        """Reasons not to trust the guesses, if there are any, with the names that fail unless all do."""
        doubts = []
        if unsteady := self._unsteady:
            names = [] if len(unsteady) == len(self.agreements) else unsteady  # none: of all
            doubts.append(caution("sentences", names=names, value=self.agreement, limit=LOWEST_AGREEMENT))
        if self.spread < LOWEST_SPREAD:
            doubts.append(caution("spread", value=self.spread, limit=LOWEST_SPREAD))
        if self.separation < LOWEST_SEPARATION:
            pairs = list(map(list, self._alike)) if len(self._alike) <= MOST_PAIRS else []
            lowest = max(self.separation, 0.0)
            doubts.append(caution("separation", pairs=pairs, value=lowest, limit=LOWEST_SEPARATION))
        if rare := self._too_rare:
            densest = max(self.gap_densities.values())
            doubts.append(caution("rare", names=rare, value=densest, limit=LARGEST_GAP_DENSITY))
        if self.nearer_words > MOST_NEARER_WORDS:
            doubts.append(caution("other words", value=100 * self.nearer_words, limit=100 * MOST_NEARER_WORDS))
        return doubts + ([caution("unused", names=list(self.unused))] if self.unused else [])


@dataclass(frozen=True, kw_only=True)
class FactorGuesses:
    """The guesses of one attribute of some images: the share of each of its ``values``, and whether to trust them.

    ``name`` is "attribute" for the one of ``--attributes``. ``n_unknown`` images got no value. ``doubts`` are those of
    `Trust`, or of ``cross_validated`` if a probe guessed. They are about the ``doubted`` values: all, unless classes
    have different ones. Without the values to ``leave_out``, there is no doubt about the others. ``accuracy`` is
    measured on the ``n_known`` images with a true attribute that was not given. ``is_judged`` is False for a file that
    says nothing about doubts. Clusters have no values.
    """

    provenance: Provenance
    shares: list[Share]
    mean_confidence: Share
    n_unknown: Count
    n_known: Count
    accuracy: float | None
    name: str = UNNAMED
    values: list[str] = field(default_factory=list)
    doubts: list[Caution] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    leave_out: list[str] = field(default_factory=list)
    is_judged: bool = True
    cross_validated: CrossValidated | None = None


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """The guesses of each attribute of some images, one or more, by the same ``method``.

    The other figures are those of `FactorGuesses`, about the combinations of the values of all ``factors``.
    """

    method: str
    factors: list[FactorGuesses]
    shares: list[Share]
    mean_confidence: Share
    n_unknown: Count
    n_known: Count
    accuracy: float | None

    @property
    def provenance(self) -> Provenance:
        """The source of the attributes."""
        return self.factors[0].provenance

    @property
    def named(self) -> list[FactorGuesses]:
        """The guesses of each attribute that has a name, none for the one of ``--attributes``."""
        return [factor for factor in self.factors if factor.name != UNNAMED]

    @property
    def values(self) -> list[str]:
        """The combinations of the values of all factors."""
        return [", ".join(values) for values in product(*(factor.values for factor in self.factors))]

    @property
    def doubts(self) -> list[Caution]:
        """The doubts about all factors."""
        return [doubt for factor in self.factors for doubt in factor.doubts]

    @property
    def is_judged(self) -> bool:
        """False if nobody judged some of the factors."""
        return all(factor.is_judged for factor in self.factors)

    @property
    def cross_validations(self) -> list[CrossValidated]:
        """The figures of a probe for each of the factors; none without a probe."""
        return [factor.cross_validated for factor in self.factors if factor.cross_validated is not None]

    @property
    def doubted_factors(self) -> tuple[FactorGuesses, ...]:
        """The guesses of each attribute that are in doubt."""
        return tuple(factor for factor in self.factors if factor.doubts)


def guess_trust(
    guesses: NDArray[np.int64],
    logits: NDArray[np.float32],
    by_template: Sequence[NDArray[np.float32]],
    other_words: NDArray[np.float32],
    labels: NDArray[np.int64],
    names: Sequence[str],
    counts: NDArray[np.int64] | None = None,
) -> Trust:
    """Judge guesses that were made from zero-shot logits.

    Args:
        guesses: (N,) index of a name, -1 for none.
        logits: (N, A) of the names, by the sentences of the data set.
        by_template: (N, A) logits by each of the `AGREEMENT_TEMPLATES`.
        other_words: (N, W) logits of words to compare with, by the first of these.
        labels, names: (N,) class index, and the A names.
        counts: (A,) images that were guessed each name, if the N are `judged_rows` of more.
    """
    num_rows, num_attributes = logits.shape
    names = tuple(names)
    if counts is None:
        counts = np.bincount(guesses[guesses >= 0], minlength=num_attributes)
    how: dict[str, Any] = {"proportions": counts + 1e-9, "posterior": False, "confidence": False}
    labelled = [label_quietly(logits_of_template, **how).pseudo_attributes for logits_of_template in by_template]
    used = np.flatnonzero(counts).tolist()
    named = [[(each == name).astype(np.int64) for each in labelled] for name in used]
    agreements = [float(np.mean([kappa(one, other, 2) for one, other in combinations(each, 2)])) for each in named]
    mean_NA = within_class(np.mean([each - each.mean(axis=1, keepdims=True) for each in by_template], axis=0), labels)
    known = guesses >= 0
    return Trust(
        names=names,
        agreements={names[name]: agreement for name, agreement in zip(used, agreements, strict=True)},
        spread=float(np.sqrt((mean_NA**2).sum() / (num_rows * (num_attributes - 1)))),
        separations=separations(logits[known], guesses[known], labels[known], names),
        nearer_words=nearer_words(by_template[0], other_words, guesses),
        gap_densities=gap_densities(logits[known], guesses[known], names),
        unused=tuple(name for name, n in zip(names, counts.tolist(), strict=True) if n == 0),
    )


def judged_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most `MOST_ROWS_TO_JUDGE` of the rows, at equal distances."""
    return evenly_spaced(rows, MOST_ROWS_TO_JUDGE)


MOST_TRIALS = 20
MOST_OF_TRIAL = 0.5 * MOST_NEARER_WORDS  # the best of several trials may pass by chance, mostly with unseen names


def names_to_leave_out(
    trust: Trust,
    logits: NDArray[np.float32],
    by_template: Sequence[NDArray[np.float32]],
    other_words: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    method: str,
) -> list[str]:
    """Return the fewest of the `Trust.failing` names without which guesses of the others raise no doubt; often none.

    The arrays are those of `guess_trust`, whose result is ``trust``. At least two names are left. First go those
    that no image got. Of several names that can go, the one goes without which the separation is highest.
    """
    names = list(trust.names)
    used = [name for name in names if name not in trust.unused]
    level, trials = ([used] if trust.unused else _without_one(used, trust)), 0
    while level and len(used) > 1 and trials < MOST_TRIALS:
        trusts, trials = [], trials + len(level)
        for kept in level:
            columns = [names.index(name) for name in kept]
            of_kept, *of_templates = (np.ascontiguousarray(array_NA[:, columns]) for array_NA in (logits, *by_template))
            pseudo = label_quietly(of_kept, method=method, posterior=False, confidence=False)
            trusts.append(guess_trust(pseudo.pseudo_attributes, of_kept, of_templates, other_words, labels, kept))
        if trusted := [trial for trial in trusts if not trial.doubts and trial.nearer_words <= MOST_OF_TRIAL]:
            best = max(trusted, key=lambda trial: trial.separation)
            return [name for name in names if name not in best.names]
        fewer = [kept for trial in trusts for kept in _without_one(list(trial.names), trial)]
        level = [list(kept) for kept in dict.fromkeys(map(tuple, fewer))]
    return []


def _without_one(kept: list[str], trust: Trust) -> list[list[str]]:
    """Return the names without each of those that fail; nothing if fewer than two would be left."""
    return [[name for name in kept if name != other] for other in trust.failing if len(kept) > 2]


def guesses_with_doubts(
    dataset: Dataset,
    pseudo: GuessedFactors,
    rows: NDArray[np.int64],
    logits_of: Callable[..., NDArray[np.float32]],
    other_words: Callable[[], list[str]],
) -> Guesses:
    """Return how the guesses for ``dataset`` were made, and the doubts about them.

    Doubts are about the names, so guesses below ``min_confidence`` count too. Guesses from a file have those that are
    beside them, those by a probe what cross-validation says. Attributes that nobody guessed get none.

    Args:
        dataset, pseudo: N images, and their pseudo attributes.
        rows: (N,) int64, the numbers of the images in ``logits_of``.
        logits_of: returns zero-shot logits (n, K) of sentences and ``rows=``, as `zero_shot_logits` does.
        other_words: returns words to compare the names with.
    """
    if pseudo.names is not None:
        return _judged_values(dataset, pseudo)
    trust_fields: list[dict[str, Any]] = [
        # The probe of a saved classifier has no figures.
        {
            "doubts": list(each.doubts or ()),
            "is_judged": pseudo.probe is None and (each.provenance != "file" or each.doubts is not None),
        }
        for each in pseudo.factors
    ]
    if pseudo.probe is not None:
        trust_fields = [
            {"doubts": figures.doubts, "cross_validated": figures} for figures in pseudo.probe.figures
        ] or trust_fields
    elif method := PSEUDO_METHODS.get(pseudo.factors[0].method):
        likeliest = [_likeliest(guessed_factor) for guessed_factor in pseudo.factors]
        trust_fields = _doubts(dataset, likeliest, rows, logits_of, other_words(), method.name)
    factors = []
    for i, (suspect, of) in enumerate(zip(dataset.words.suspects, trust_fields, strict=True)):
        doubts = [replace(doubt, of=suspect.prefix and suspect.name) for doubt in of["doubts"]]
        about: dict[str, Any] = {"name": suspect.name, "values": list(suspect.values)}
        about |= _figures(pseudo.factors[i], dataset.factor_attributes[i])
        factors.append(FactorGuesses(provenance=pseudo.factors[i].provenance, **about, **of | {"doubts": doubts}))
    return Guesses(method=pseudo.method, factors=factors, **_figures(pseudo, dataset.attributes))


def _judged_values(dataset: Dataset, pseudo: GuessedFactors) -> Guesses:
    """Return the figures of clusters, which are right if their commonest true attribute is; so are other own values."""
    comparable = Grouping.guessed(dataset, pseudo).as_true_attributes(dataset, np.arange(len(dataset)))
    figures = _figures(replace(pseudo.factors[0], pseudo_attributes=comparable), dataset.attributes)
    values, own = list(pseudo.coding.values) if pseudo.coding else [], _figures(pseudo, dataset.attributes)
    figures |= {"shares": own["shares"] if values else [], "n_unknown": own["n_unknown"]}
    doubts = [] if pseudo.class_clusters is None else pseudo.class_clusters.doubts(dataset.class_names)
    of = {"provenance": pseudo.provenance, "values": values, "doubts": doubts}
    return Guesses(method=pseudo.method, factors=[FactorGuesses(**of | figures)], **figures)


def _figures(pseudo: PseudoAttributes | GuessedFactors, attributes: NDArray[np.int64]) -> dict[str, Any]:
    guessed, confidence = pseudo.pseudo_attributes, pseudo.confidence
    assert confidence is not None and pseudo.posterior is not None
    both = (attributes >= 0) & (guessed >= 0)
    if pseudo.is_given is not None:
        both &= ~pseudo.is_given
    counts = np.bincount(guessed[guessed >= 0], minlength=pseudo.posterior.shape[1])
    if (guessed >= 0).any():  # the others have none, or one that is too low
        confidence = confidence[guessed >= 0]
    return {
        "shares": (counts / max(1, counts.sum())).tolist(),
        "mean_confidence": min(1.0, float(confidence.mean())),
        "n_unknown": int((guessed < 0).sum()),
        "n_known": int(both.sum()),
        "accuracy": float((attributes == guessed)[both].mean()) if both.any() else None,
    }


def _likeliest(pseudo: PseudoAttributes) -> NDArray[np.int64]:
    """Return the guesses (N,), also those below the smallest confidence."""
    assert pseudo.posterior is not None
    return np.where(pseudo.pseudo_attributes >= 0, pseudo.pseudo_attributes, pseudo.posterior.argmax(axis=1))


def _doubts(
    dataset: Dataset,
    guessed: Sequence[NDArray[np.int64]],
    taken: NDArray[np.int64],
    logits_of: Callable[..., NDArray[np.float32]],
    other_words: Sequence[str],
    method: str,
) -> list[dict[str, Any]]:
    """Return the fields of `Guesses` about the doubts of each suspect, whose guesses by ``method`` are (N,).

    Classes that share their values are judged together, by their `judged_rows`.
    """
    words = dataset.words
    parts = [
        (suspect, values, classes, np.flatnonzero(np.isin(dataset.labels, classes)))
        for suspect, vocabularies in enumerate(words.vocabularies)
        for values, classes in vocabularies.items()
    ]
    parts = [part for part in parts if len(part[1]) > 1 and len(part[3])]
    read = np.unique(np.concatenate([np.empty(0, np.int64), *(judged_rows(rows) for *_, rows in parts)]))
    logits, *by_template = (
        by_suspect(logits_of(*phrased.attribute_texts(), rows=taken[read]), words)
        for phrased in (words, *(replace(words, attribute_templates=(template,)) for template in AGREEMENT_TEMPLATES))
    )
    fields_of_suspects: list[dict[str, Any]] = [{"doubts": [], "doubted": [], "leave_out": []} for _ in words.suspects]
    for suspect, values, classes, rows in parts:
        sample, known = judged_rows(rows), list(words.suspects[suspect].values)
        cells, code = np.ix_(np.searchsorted(read, sample), np.array(values)), np.full(len(known) + 1, -1)  # last: -1
        code[list(values)] = np.arange(len(values))
        counts = np.bincount(guessed[suspect][rows] + 1, minlength=len(known) + 1)[1:]
        others = logits_of(other_words, rows=taken[sample])
        of_templates = [logits_of_template[suspect][cells] for logits_of_template in by_template]
        evidence = logits[suspect][cells], of_templates, others, dataset.labels[sample]
        names = [known[value] for value in values]
        trust = guess_trust(code[guessed[suspect][sample]], *evidence, names, counts[list(values)])
        if trust.doubts:
            of_part, of_suspect, doubts = len(classes) < dataset.num_classes, fields_of_suspects[suspect], trust.doubts
            if leave_out := names_to_leave_out(trust, *evidence, method=method):
                kept = [name for name in names if name not in leave_out]
                doubts.append(caution("leave out", names=leave_out, kept=kept))
            of_classes = [dataset.class_names[label] for label in classes] if of_part else []
            of_suspect["doubts"] += [replace(doubt, classes=of_classes) for doubt in doubts]
            of_suspect["doubted"] += [name for name in names if name not in of_suspect["doubted"]]
            of_suspect["leave_out"] += [] if of_part else leave_out
    return fields_of_suspects
