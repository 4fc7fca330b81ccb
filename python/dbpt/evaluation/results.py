"""The schema of ``metrics.json`` and ``compare.json``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from dbpt.cautions import Caution
from dbpt.data.dataset import Average, Split
from dbpt.evaluation import Group, GroupMetrics, PseudoQuality
from dbpt.groups import group_name
from dbpt.guesses.base import GroupKind
from dbpt.guesses.doubts import CrossValidated
from dbpt.guesses.trust import FactorGuesses
from dbpt.objectives import OBJECTIVES, TRAINING_FREE
from dbpt.storage.typed_json import Count, Share, read_json, typed

SCHEMA_VERSION = 6
OnlyPrompts = Literal["no-attribute", "unnamed", "last", "objective"]


@dataclass(frozen=True, kw_only=True)
class FactorSummary:
    """One of several attributes, and its values."""

    name: str
    values: list[str]


@dataclass(frozen=True, kw_only=True)
class ClustersSummary:
    """The ``names`` (C, K) of clusters, and their ``separation`` (C,), None for a class with too few images for it."""

    names: list[list[str]]
    separation: list[float | None]

    def groups(self, classes: Sequence[str]) -> list[tuple[str, str]]:
        """Return (class name, cluster) of each group, in the order g = y*A + a."""
        return [(y, a) for y, names in zip(classes, self.names, strict=True) for a in names]


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """The data set; ``counts`` (G,) of each split are over the groups of ``group_kind``, or without any the classes.

    Groups over clusters have no ``attributes``. With ``factors`` the attributes are combinations of values, with the
    first factor most significant. ``shots`` are the training images of each class, if drawn.
    """

    name: str
    root: str
    classes: list[str]
    attributes: list[str]
    factors: list[FactorSummary]
    counts: dict[str, list[Count]]
    train_counts_pseudo: list[Count]
    notes: list[str]
    clusters: ClustersSummary | None = None
    shots: Count | None = None

    @property
    def has_attributes(self) -> bool:
        """False if the groups are the classes."""
        return bool(self.attributes or self.clusters)

    @property
    def smallest_group(self) -> int:
        """The training rows of the smallest pseudo-group that has any."""
        return min((n for n in self.train_counts_pseudo if n), default=0)

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each group, in the order g = y*A + a; "" without attributes."""
        return [(y, a) for y in self.classes for a in self.attributes] or self.pseudo_groups

    @property
    def pseudo_groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each pseudo-group, in the order g = y*A + a; "" without attributes."""
        if self.clusters is None:
            return [(y, a) for y in self.classes for a in self.attributes or [""]]
        return self.clusters.groups(self.classes)

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


@dataclass(frozen=True, kw_only=True)
class QualityOfSplit(PseudoQuality):
    """The quality of the pseudo attributes over the training rows, or over all rows without any."""

    split: Literal["training", "all"]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The entries of both files that don't depend on training.

    ``group_kind`` says which attributes define the groups of all figures; ``average`` is the one in the tables;
    ``pseudo_shares`` are (A,). ``pseudo_doubts`` are reasons not to trust the guesses. ``doubted_guesses`` are those
    that they are about, if figures or trainings depend on them. ``class_doubts`` are reasons not to trust the words of
    the classes. If a probe guessed, ``cross_validated`` has its figures for the attribute, or for each factor.
    """

    schema_version: int
    dbpt_version: str
    dataset: DataSummary
    backbone: BackboneSummary
    group_kind: GroupKind
    average: Average
    pseudo_method: str
    pseudo_shares: list[Share]
    pseudo_quality: QualityOfSplit | None
    pseudo_doubts: list[Caution] = field(default_factory=list)
    doubted_guesses: list[FactorGuesses] = field(default_factory=list)
    class_doubts: list[Caution] = field(default_factory=list)
    cross_validated: list[CrossValidated] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A method of a run with its metrics on each split where it was evaluated; what doesn't apply to it is None.

    ``model_selection`` is the metric that chose its best epoch, and ``validation_score`` its value there. ``alpha`` is
    the share of trained weights in group prompts that are mixed with untrained ones.
    """

    name: str
    group_source: str | None = None
    head: str | None = None
    prompts: str | None = None
    apply: str | None = None
    best_epoch: Count | None = None
    epochs: Count = 0
    alpha: Share | None = None
    model_selection: str | None = None
    validation_score: float | None = None
    seconds: float = 0.0
    warnings: list[Caution]
    train: GroupMetrics | None = None
    val: GroupMetrics | None
    test: GroupMetrics | None

    @property
    def method(self) -> str:
        """The name, as in a comparison."""
        return self.name

    @property
    def title(self) -> str:
        """The objective's title, with head, group source and sampling in brackets if not the default."""
        objective = OBJECTIVES.get(self.name.partition(":")[0])
        free = TRAINING_FREE.get(self.name)
        title = objective.title if objective else free.title if free else self.name
        details = [self.head] if self.head not in (None, "prompt") else []
        details += ["group prompts"] if self.prompts == "group" and objective and "class" in objective.prompts else []
        details += [f"{self.group_source} groups"] if self.group_source in ("true", "ppa") else []
        details += ["sampling"] if self.apply == "sampling" else []
        details += [f"α = {self.alpha:.2f}"] if self.alpha is not None and objective else []
        return f"{title} ({', '.join(map(str, details))})" if details else title

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


Why = Literal["hedge", "better", "score", "words", "last"]


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The mean difference of a candidate to the hedge in a group, and what it must exceed.

    ``is_worse_elsewhere`` if its own worst group is below that of the hedge."""

    name: str
    mean: float
    limit: float
    is_worse_elsewhere: bool


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of the ``candidates`` of ``--prompts auto`` is saved, and ``why``; see `dbpt.commands.choice`.

    ``group`` is the worst one of the hedge in validation, with ``n`` images; None without one. ``fewest`` are those of
    the rarest group there, 0 if only training has it. ``figure`` is wgp, wga or average."""

    candidates: list[str]
    hedge: str | None
    why: Why
    figure: str
    group: str | None = None
    n: Count = 0
    fewest: Count = 0
    leads: list[Lead] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RunMetrics(Metrics):
    """The content of ``metrics.json``. The row named ``chosen`` is the one whose classifier is saved.

    ``choice`` says how it was chosen with ``--prompts auto``, and ``only`` why there was no choice.
    """

    model_selection: str
    seed: Count
    chosen: str
    choice: Choice | None = None
    only: OnlyPrompts | None = None
    rows: list[RunRow]
    warnings: list[Caution]
    failed_images: Count
    seconds: dict[str, float]


M = TypeVar("M", bound=Metrics)


def read_metrics(path: Path, kind: type[M]) -> M:
    """Read a ``metrics.json`` or ``compare.json``. Raises `InputError` if it is missing or was changed."""
    return typed(read_json(path, "file of figures", SCHEMA_VERSION), kind, path, "run it again")


FIGURES = ("worst_group_accuracy", "average", "adjusted_average", "group_mean", "gap", "adjusted_gap")
"""The fields of `GroupMetrics` that a comparison takes means and differences of."""


@dataclass(frozen=True, kw_only=True)
class SeedFigure:
    """A figure by seed and draw, the mean over the seeds, and the deviation (n - 1) over draws, or else seeds."""

    mean: float | None
    sd: float | None
    by_seed: list[float | None]
    by_draw: list[float | None]


@dataclass(frozen=True, kw_only=True)
class FigureDifference:
    """The mean difference in a figure over the seeds, and its 95 % interval over the draws, or else over the seeds."""

    mean: float | None = None
    over_seeds: tuple[float, float] | None = None
    over_draws: tuple[float, float] | None = None

    @property
    def over_repeats(self) -> tuple[float, float] | None:
        """The interval over the draws, or else over the seeds."""
        return self.over_draws or self.over_seeds


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row minus the ERM row with ``head`` and ``varied``, over the ``seeds`` that both have finished.

    ``over_images`` is the interval of the difference in worst-group accuracy over other images.
    """

    head: str | None
    seeds: list[Count]
    figures: dict[str, FigureDifference]
    over_images: tuple[float, float] | None
    varied: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """A method with a head (None for zero-shot), over the ``seeds`` that are finished; ``figures`` are `FIGURES`.

    ``groups`` are means over the seeds, also of the bounds, and ``deviations`` those of their accuracies.
    ``groups_differ`` is True if the seeds disagree on the images of a group. ``over_images`` are the means of the
    seeds' bounds of worst-group accuracy. ``varied`` are settings of the row alone, by ``--vary``. ``validation`` is
    the figure that selects the epoch.
    """

    method: str
    title: str
    objective: str | None
    group_source: str | None
    head: str | None
    apply: str | None
    seeds: list[Count]
    draws: list[Count]
    best_epochs: list[Count | None]
    epochs: Count
    seconds: list[float]
    warnings: list[list[Caution]]
    figures: dict[str, SeedFigure]
    groups: list[Group]
    deviations: list[float | None]
    groups_differ: bool
    difference: Difference | None
    over_images: tuple[float, float] | None
    varied: dict[str, Any] = field(default_factory=dict)
    validation: SeedFigure | None = None

    def figure(self, name: str) -> float | None:
        """Return the mean over the seeds of one of the `FIGURES`, or of a bound of worst-group accuracy."""
        if name in ("worst_group_low", "worst_group_high"):
            return None if self.over_images is None else self.over_images[name == "worst_group_high"]
        return self.figures[name].mean if name in self.figures else None


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """The settings of every row of a comparison; ``lr`` by head."""

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


JUDGED = ("gla:mixed", "dbpt")  # a comparison judges the first that it has


@dataclass(frozen=True, kw_only=True)
class ComparisonMetrics(Metrics):
    """The content of ``compare.json``: figures of the ``n`` images of ``split``; ``draws`` only with ``--resample``."""

    split: Split
    n: Count
    seeds: list[Count]
    draws: list[Count]
    heads: list[str]
    model_selection: str
    settings: ComparisonSettings
    rows: list[ComparisonRow]
    left_out: list[str]
    failed: list[FailedTraining]
    warnings: list[Caution]

    @property
    def repeat(self) -> str:
        """The word for what the spread and the intervals are over: "seed" or "draw"."""
        return "draw" if self.draws else "seed"

    @property
    def repeats(self) -> int:
        """The number of draws, or else of seeds."""
        return len(self.draws or self.seeds)


PredictionsBy = Literal["zero-shot", "run", "file", "probe"]
