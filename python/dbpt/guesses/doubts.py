"""Reasons not to trust words: those of an attribute, by which it is guessed, and those of the classes.

`Trust` judges the names of an attribute and finds names to leave out; docs/explanation/trust.md has the measurements.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.data import Dataset
from dbpt.groups.ids import evenly_spaced
from dbpt.guesses.apply_method import by_suspect, label_quietly
from dbpt.guesses.linear_probe import LOWEST_AGREEMENT, kappa
from dbpt.guesses.mixture import gap_densities, separations, within_class

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


def word_doubts(
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


def nearer_words(
    logits_NA: NDArray[np.float32], other_words_NW: NDArray[np.float32], guesses: NDArray[np.int64]
) -> float:
    """Return the share of the other words whose logits (N, W) are above those (N, A) of the guesses, as in `Trust`."""
    shares = [
        np.median((other_words_NW[guesses == name] > logits_NA[guesses == name, name, None]).mean(axis=1))
        for name in np.unique(guesses[guesses >= 0])
    ]
    return float(min(shares, default=0.0))


SEPARATION_LIMIT = 0.7
"""Of 108 random tasks with right words 14 % are below it, of 24 with unrelated ones 79 %."""
MUCH_BETTER, SURE = 0.2, 3.0  # a difference of separations, and a distance from chance in standard errors
MOST_ROWS = 4000  # for callers: more hardly change the figures


def class_word_doubts(
    logits: NDArray[np.float32], labels: NDArray[np.int64], attributes: NDArray[np.int64], names: Sequence[str]
) -> tuple[Caution, ...]:
    """Return the doubts about the words of the classes.

    A class is told apart if its images get larger logits than those of other classes with the same attribute, as a
    classifier that follows the attribute alone is biased, not ignorant. A second doubt is an accuracy below that of
    always answering the largest class, if the mean over the classes is nearer to chance than to 1, too.

    Args:
        logits: (N, C) zero-shot logits.
        labels: (N,) classes.
        attributes: (N,) guessed attributes, -1 where unknown, which count as an attribute of their own.
        names: (C,) of the classes.

    Returns:
        None, one or two doubts; only that of `order_doubts` if it has one.
    """
    if swapped := order_doubts(logits, labels, attributes, names):
        return swapped
    separations = [_separation(logits, labels, attributes, label)[0] for label in range(len(names))]
    blurred = [name for name, value in zip(names, separations, strict=True) if value < SEPARATION_LIMIT]
    doubts = []
    if blurred:
        doubts.append(caution("class words", names=blurred, value=min(separations), limit=SEPARATION_LIMIT))
    counts_C = np.bincount(labels, minlength=len(names))
    right_C = np.bincount(labels, weights=logits.argmax(axis=1) == labels, minlength=len(names))
    share, accuracy = counts_C.max() / counts_C.sum(), right_C.sum() / counts_C.sum()
    mean = (right_C[counts_C > 0] / counts_C[counts_C > 0]).mean()
    if accuracy < share and mean < (1 + 1 / len(names)) / 2:
        largest = names[int(counts_C.argmax())]
        doubts.append(caution("class accuracy", largest=largest, right=100 * float(accuracy), share=100 * float(share)))
    return tuple(doubts)


def order_doubts(
    answers: NDArray[Any],
    labels: NDArray[np.int64],
    attributes: NDArray[np.int64],
    names: Sequence[str],
    kind: str = "order",
    flag: str = "--classes",
) -> tuple[Caution, ...]:
    """Return a doubt if some names fit the images of each other, as if they were given in another order.

    The images of each such name have the largest logits of another one, and are told apart better by these, also among
    images with the same attribute. So data or a classifier in which name and attribute go together raise none.

    Args:
        answers: (N, C) logits, or (N,) predictions.
        labels: (N,) indices of the names, -1 where unknown.
        attributes: (N,) as for `class_word_doubts`.
        names: (C,).
        kind, flag: of the doubt, and the option that gave the names, or what may be numbers in another order.
    """
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        return ()
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    answers, labels, attributes = answers[rows], labels[rows], attributes[rows]
    logits = answers if answers.ndim == 2 else np.eye(len(names))[answers]
    above_mean = (logits - logits.mean(axis=0)).T
    seen_as = np.stack([np.bincount(labels, column, len(names)) for column in above_mean], axis=1).argmax(axis=1)
    cyclic, order = np.arange(len(names)), np.arange(len(names))
    for _ in names:  # afterwards the names from which one gets back to the same
        cyclic = seen_as[cyclic]
    order[cyclic] = seen_as[cyclic]
    swapped = []
    for name in np.flatnonzero(order != np.arange(len(names))).tolist():
        given, _ = _separation(logits, labels, attributes, name)
        separation, distance = _separation(logits, order[labels], attributes, int(order[name]))
        if separation >= max(SEPARATION_LIMIT, given + MUCH_BETTER) and distance > SURE:
            swapped.append(names[name])
    return (caution(kind, names=swapped, flag=flag),) if len(swapped) > 1 else ()


def _separation(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.int64], attributes: NDArray[np.int64], label: int
) -> tuple[float, float]:
    """Return the probability that an image of the class has a larger margin than one of another class.

    Both have the same attribute (the area under the ROC curve within each attribute, weighted by n1 n2 / (n1 + n2)).
    The other number is its distance from chance in standard errors, as of logits that say nothing.
    """
    margins = logits[:, label] - np.delete(logits, label, axis=1).max(axis=1)
    total = weight = 0.0
    for attribute in np.unique(attributes):
        rows = attributes == attribute
        is_class = labels[rows] == label
        inside, outside = int(is_class.sum()), int((~is_class).sum())
        if inside and outside:
            _, positions, counts = np.unique(margins[rows], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[positions]  # ties have their mean rank
            area = (ranks[is_class].sum() - inside * (inside + 1) / 2) / (inside * outside)
            share = inside * outside / (inside + outside)
            total, weight = total + share * area, weight + share
    area = total / weight if weight else 1.0
    return area, (area - 0.5) * (12 * weight) ** 0.5
