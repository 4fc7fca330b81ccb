"""The one schema of results: ``metrics.json`` of a run, which is a comparison with one repeat, and ``compare.json``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from dbpt.cautions import Caution
from dbpt.data.dataset import Average, Split
from dbpt.evaluation import Group, GroupMetrics, PseudoQuality
from dbpt.evaluation.accuracy_by_group import GroupedData
from dbpt.evaluation.row_differences import Difference
from dbpt.evaluation.short_repr import Brief
from dbpt.groups import group_name
from dbpt.guesses.base import GroupKind
from dbpt.guesses.figures import FactorGuesses, Guesses
from dbpt.settings.fields import value_in_words, varied_in_words
from dbpt.storage.typed_json import Count, Share, read_json, typed

SCHEMA_VERSION = 8
OnlyPrompts = Literal["no-attribute", "unnamed", "last", "objective"]


@dataclass(frozen=True, kw_only=True)
class FactorSummary:
    """One of several attributes, and its values."""

    name: str
    values: list[str]


@dataclass(frozen=True, kw_only=True)
class DataSummary(GroupedData):
    """The data set; ``counts`` (G,) of each split are over the groups of ``group_kind``.

    With ``factors`` the attributes are combinations of values, with the first factor most significant. ``shots`` are
    the training images of each class, if drawn.
    """

    factors: list[FactorSummary]
    counts: dict[str, list[Count]]
    train_counts_pseudo: list[Count]
    shots: Count | None = None

    @property
    def has_attributes(self) -> bool:
        """False if the groups are the classes."""
        return bool(self.attributes or self.clusters or self.coded)

    @property
    def smallest_group(self) -> int:
        """The training rows of the smallest pseudo-group that has any."""
        return min((n for n in self.train_counts_pseudo if n), default=0)

    @property
    def group_names(self) -> list[str]:
        """(G,) class · attribute, or the class without attributes."""
        return [group_name(y, a) for y, a in self.groups]

    @property
    def shown_groups(self) -> list[int]:
        """The groups of tables and charts: with factors those with images in any split, else all."""
        if not self.factors:
            return list(range(len(self.groups)))
        counts = zip(*self.counts.values(), strict=True)
        return [g for g, of_group in enumerate(counts) if any(of_group)]


@dataclass(frozen=True, kw_only=True)
class BackboneSummary:
    """The backbone by name. ``image_precision`` is that of the image tower, None for the user's own features."""

    model: str
    pretrained: str | None
    embed_dim: Count
    image_precision: str | None

    @property
    def image_tower(self) -> str:
        """The precision in words."""
        return self.image_precision or "not used, the features are given"


@dataclass(frozen=True, kw_only=True, repr=False)
class QualityOfSplit(PseudoQuality):
    """The quality of the pseudo attributes over the training rows, or over all rows without any."""

    split: Literal["training", "all"]


FIGURES = ("worst_group_accuracy", "average", "adjusted_average", "group_mean", "gap", "adjusted_gap")
"""The fields of `GroupMetrics` that a row has for each repeat, and differences of."""


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """A row with one ``seed``: on all rows, or trained on a ``draw`` of half of the training and validation rows.

    ``validation_score`` is the figure that selected the ``best_epoch``, there; with the last epoch, the average
    accuracy on validation. ``figures`` are `FIGURES` on the split of the tables. What doesn't apply is None.
    """

    seed: Count
    draw: Count | None = None
    best_epoch: Count | None = None
    epochs: Count = 0
    seconds: float = 0.0
    validation_score: float | None = None
    warnings: list[Caution] = field(default_factory=list)
    figures: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, repr=False)
class Row(Brief):
    """A method with a head, over its finished ``repeats``; what doesn't apply to it is None.

    ``train``, ``val`` and ``test`` are the metrics on each split where it was evaluated: means over the seeds, also of
    the bounds. ``deviations`` are those of `FIGURES` and the validation score (n - 1), over draws, or else over seeds,
    and ``group_deviations`` (G,) those of the groups' accuracies over seeds. ``groups_differ`` is True if the seeds
    disagree on the images of a group. ``model_selection`` is the metric that chose the best epochs, ``alpha`` the share
    of trained weights in mixed group prompts, and ``varied`` are settings of the row alone.
    """

    method: str
    title: str
    objective: str | None = None
    group_source: str | None = None
    head: str | None = None
    prompts: str | None = None
    apply: str | None = None
    model_selection: str | None = None
    alpha: Share | None = None
    varied: dict[str, Any] = field(default_factory=dict)
    repeats: list[Repeat] = field(default_factory=list)
    train: GroupMetrics | None = None
    val: GroupMetrics | None = None
    test: GroupMetrics | None = None
    deviations: dict[str, float | None] = field(default_factory=dict)
    group_deviations: list[float | None] = field(default_factory=list)
    groups_differ: bool = False
    difference: Difference | None = None

    def _brief(self) -> str:
        return f"{self.full_name}: {'no result' if self.shown is None else self.shown._brief()}"

    @property
    def full_name(self) -> str:
        """The name that only this row has: METHOD, its head and its varied settings, such as ``dbpt,linear,eta=5``."""
        return ",".join([self.method, *([self.head] if self.head else []), *map(named_value, self.varied.items())])

    def has_name(self, name: str) -> bool:
        """Return whether ``name`` means this row: its method, and perhaps its head and some varied settings."""
        method, *details = name.split(",")
        return method == self.method and set(self.full_name.split(",")).issuperset(details)

    def is_like(self, row: "Row", fixed: Sequence[str]) -> bool:
        """Return whether the head and the varied settings are those of ``row``, but for those that are ``fixed``."""
        varied = [each for each in self.varied.items() if named_value(each) not in fixed]
        return (row.head is None or self.head in (None, row.head, *fixed)) and all(
            row.varied.get(name, value) == value for name, value in varied
        )

    @property
    def is_moved(self) -> bool:
        """True if a figure differs from seed to seed or draw to draw."""
        return any(self.deviations.get(name) for name in FIGURES)

    @property
    def seed_repeats(self) -> list[Repeat]:
        """The repeats with all training rows."""
        return [repeat for repeat in self.repeats if repeat.draw is None]

    @property
    def draw_repeats(self) -> list[Repeat]:
        """The repeats on half of the training and validation rows."""
        return [repeat for repeat in self.repeats if repeat.draw is not None]

    @property
    def best_epoch(self) -> int | None:
        """The best epoch of the first seed."""
        return next((repeat.best_epoch for repeat in self.seed_repeats), None)

    @property
    def epochs(self) -> int:
        """The most epochs of a seed."""
        return max((repeat.epochs for repeat in self.seed_repeats), default=0)

    @property
    def validation_score(self) -> float | None:
        """The mean over the seeds."""
        scores = [repeat.validation_score for repeat in self.seed_repeats if repeat.validation_score is not None]
        return fmean(scores) if scores else None

    @property
    def shown(self) -> GroupMetrics | None:
        """The metrics on the split that tables show: test, else validation, else training."""
        return self.test or self.val or self.train

    def figure(self, name: str) -> float | None:
        """Return the figure of that name in `GroupMetrics` on the split that tables show."""
        return getattr(self.shown, name, None)

    @property
    def groups(self) -> Sequence[Group]:
        """The groups on the split that tables show, in the order g = y*A + a, if it was evaluated."""
        return self.shown.groups if self.shown else ()


def named_value(varied: tuple[str, Any]) -> str:
    """Return a setting and its value as ``--vary`` and the name of a row have them."""
    return f"{varied[0]}={value_in_words(varied[1])}"


Why = Literal["hedge", "few", "better", "score", "words", "last"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of the ``candidates`` of ``--prompts auto`` is saved, and ``why``; see `dbpt.commands.fit.saved_candidate`.

    ``figure`` is wgp, wga or average. ``group`` is the worst one of the hedge in validation, with ``n`` images; None
    stands for all images. If images are too "few", ``n`` are those of the rarest group, 0 if only training has it. A
    "better" candidate leads there by ``lead``, the mean difference to the hedge, which had to exceed ``limit``.
    """

    candidates: list[str]
    hedge: str | None
    why: Why
    figure: str
    group: str | None = None
    n: Count = 0
    lead: float | None = None
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The ``method`` of the row whose classifier a run saved, and the ``seconds`` that each part took.

    ``choice`` says how it was chosen with ``--prompts auto``, and ``only`` why there was no choice.
    """

    method: str
    choice: Choice | None = None
    only: OnlyPrompts | None = None
    seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SharedSettings:
    """The settings of training that all rows share; ``lr`` by head."""

    epochs: Count
    batch_size: Count
    optimizer: str
    sgd_momentum: float
    weight_decay: float
    warmup_epochs: Count
    features: str
    lr: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class FailedTraining:
    """A training without a result, of all rows or of a ``draw``."""

    method: str
    head: str | None
    seed: Count
    draw: Count | None
    reason: str
    varied: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """Which of the repeated trainings it is."""
        return f"seed {self.seed}" if self.draw is None else f"draw {self.draw}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Metrics(Brief):
    """The results of a run or a comparison: ``rows`` with their figures on the images of each split.

    Tables show those of ``split``. ``group_kind`` says which attributes define the groups of all figures; ``average``
    is the one in the tables. ``guesses`` are those of all but the test images, and ``relies_on_guesses`` says that
    figures or trainings depend on them. ``class_doubts`` are reasons not to trust the words of the classes. ``draws``
    are those of ``--resample``. ``saved`` is None for a comparison. ``against`` names the row that its rows are
    compared with, None for ERM; ``leaders`` are the positions of its best row and of those that can't be told from it.
    """

    schema_version: int
    dbpt_version: str
    dataset: DataSummary
    backbone: BackboneSummary
    group_kind: GroupKind
    average: Average
    guesses: Guesses
    relies_on_guesses: bool = False
    pseudo_quality: QualityOfSplit | None
    class_doubts: list[Caution] = field(default_factory=list)
    split: Split
    seeds: list[Count]
    draws: list[Count] = field(default_factory=list)
    heads: list[str]
    model_selection: str
    settings: SharedSettings
    rows: list[Row]
    saved: Saved | None = None
    against: str | None = None
    leaders: list[Count] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[FailedTraining] = field(default_factory=list)
    warnings: list[Caution] = field(default_factory=list)
    failed_images: Count = 0

    def _brief(self) -> str:
        chosen = [self.rows[self.chosen]._brief()] if self.rows else []
        return ", ".join([repr(self.dataset.name), f"{len(self.rows)} rows", *chosen])

    @property
    def chosen(self) -> int:
        """The position of the saved row; in a comparison, of the first of the ``leaders``, or the last without any."""
        if self.saved is not None:
            saved = (i for i, row in enumerate(self.rows) if self.saved and row.method == self.saved.method)
            return next(saved, len(self.rows) - 1)
        return self.leaders[0] if self.leaders else len(self.rows) - 1

    @property
    def candidates(self) -> list[int]:
        """The positions of the rows that can lead: of those that differ in settings alone, the best on validation."""
        best = dict[tuple[str, str | None], int]()
        for i, row in enumerate(self.rows):
            other = best.setdefault((row.method, row.head), i)
            if (row.validation_score or -1.0) > (self.rows[other].validation_score or -1.0):
                best[row.method, row.head] = i
        return [i for i in best.values() if self.rows[i].figure("worst_group_accuracy") is not None]

    @property
    def doubted_guesses(self) -> Sequence[FactorGuesses]:
        """The guesses of each attribute that are in doubt, if figures or trainings depend on them."""
        return self.guesses.doubted_factors if self.relies_on_guesses else ()

    @property
    def doubted_factors(self) -> list[str]:
        """The names of the factors whose guesses are doubted; none if the groups are true ones."""
        return [] if self.group_kind == "true" else [factor.name for factor in self.guesses.named if factor.doubts]

    @property
    def judged_factors(self) -> list[int]:
        """The indices of the factors by which a bias is judged: all but the doubted ones, or all if all are."""
        names = [factor.name for factor in self.dataset.factors]
        return [i for i, name in enumerate(names) if name not in self.doubted_factors] or list(range(len(names)))

    @property
    def repeat(self) -> str:
        """The word for what the spread and the intervals are over: "seed" or "draw"."""
        return "draw" if self.draws else "seed"

    @property
    def repeats(self) -> int:
        """The number of draws, or else of seeds."""
        return len(self.draws or self.seeds)

    def others(self, row: Row) -> list[Row]:
        """Return the rows besides ``row``, without those that it was chosen from."""
        candidates = self.saved.choice.candidates if self.saved and self.saved.choice else ()
        return [other for other in self.rows if other is not row and other.method not in candidates]

    def reference(self, row: Row) -> Row | None:
        """Return the row to compare ``row`` with: ERM or ``against``, with the same head and settings if not named.

        For a row without a head it has any head. Without one the saved row has the other row with the best worst group;
        zero-shot CLIP only if it knows the words of the classes.
        """
        others, fixed = self.others(row), (self.against or "").split(",")[1:]
        alike = (each for each in others if self._is_baseline(each) and each.is_like(row, fixed))
        if (plain := next(alike, None)) is not None:
            return None if self._is_baseline(row) else plain
        if self.saved is None or row.method != self.saved.method:
            return None
        known = [other for other in others if other.figure("worst_group_accuracy") is not None]
        known = [other for other in known if other.method != "zero-shot" or not self.class_doubts]
        return max(known, key=lambda other: other.figure("worst_group_accuracy") or 0.0, default=None)

    def _is_baseline(self, row: Row) -> bool:
        return row.objective == "erm" if self.against is None else row.has_name(self.against)

    @property
    def against_title(self) -> str:
        """The title of the row that others are compared with, with the head and settings that ``against`` names."""
        method, *details = (self.against or "erm").split(",")
        titles = (row.title.removesuffix(varied_in_words(row.varied)) for row in self.rows if row.method == method)
        return ", ".join([next(titles, "ERM") if self.against else "ERM", *details])


def read_metrics(path: Path) -> Metrics:
    """Read a ``metrics.json`` or ``compare.json``. Raises `InputError` if it is missing or was changed."""
    return typed(read_json(path, "file of figures", SCHEMA_VERSION), Metrics, path, "run it again")
