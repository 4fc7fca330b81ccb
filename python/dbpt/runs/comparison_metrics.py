"""The schema of ``compare.json``, which `dbpt.compare` writes. Fractions are in 0..1; None means missing."""

from dataclasses import dataclass

from dbpt.files.typed_json import Count
from dbpt.groups import Group
from dbpt.runs.metrics import Metrics, Split

FIGURES = ("worst_group_accuracy", "average", "adjusted_average", "group_mean", "gap", "adjusted_gap")
"""The fields of `GroupMetrics` that a comparison takes means and differences of."""


@dataclass(frozen=True, kw_only=True)
class SeedFigure:
    """A figure over the seeds: the mean, and the value for each seed and for each draw.

    ``sd`` is the standard deviation (n - 1) over the draws if there are any, else over the seeds.
    """

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
    """A row minus ERM with ``head``, over the ``seeds`` of both; ``over_images`` is of worst-group accuracy."""

    head: str | None
    seeds: list[Count]
    figures: dict[str, FigureDifference]
    over_images: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """A method with a head (None for zero-shot), over the ``seeds`` that are finished; ``figures`` are `FIGURES`.

    Of the ``draws`` that are finished only the figures are kept.
    ``groups`` are means over the seeds, also of the bounds, and ``deviations`` the standard deviations of their
    accuracies. ``groups_differ`` is True if the seeds disagree on the images of a group, such as by other guesses.
    ``over_images`` is the 95 % interval of worst-group accuracy: the means of the seeds' bounds.
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
    warnings: list[list[str]]
    figures: dict[str, SeedFigure]
    groups: list[Group]
    deviations: list[float | None]
    groups_differ: bool
    difference: Difference | None
    over_images: tuple[float, float] | None

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

    @property
    def number(self) -> str:
        """Which of the repeated trainings it is."""
        return f"seed {self.seed}" if self.draw is None else f"draw {self.draw}"


@dataclass(frozen=True, kw_only=True)
class ComparisonMetrics(Metrics):
    """The content of ``compare.json``: figures of the ``n`` images of ``split``.

    ``draws`` are those of half of the training and validation rows; none without ``--resample``.
    """

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
    warnings: list[str]

    @property
    def repeat(self) -> str:
        """The word for what the spread and the intervals are over: "seed" or "draw"."""
        return "draw" if self.draws else "seed"

    @property
    def repeats(self) -> int:
        """How many draws there are, or else seeds."""
        return len(self.draws or self.seeds)
