"""The content of metrics.json in words, without layout, for the terminal table and the HTML report."""

from dataclasses import dataclass
from typing import Any

from dbpt.objectives import OBJECTIVES

MISSING = "–"
AVERAGES = {"plain": ("average", "gap"), "adjusted": ("adjusted_average", "adjusted_gap")}
"""Names of the two figures that tables show for each value of ``--average``."""
SPLIT_NAMES = {"test": "test", "val": "validation", "train": "training"}


@dataclass(frozen=True)
class Row:
    """A method on the shown split. ``metrics`` is None if it was not evaluated; ``average_kind`` is ``--average``."""

    title: str
    record: dict[str, Any]
    metrics: dict[str, Any] | None
    chosen: bool
    average_kind: str

    @property
    def average(self) -> float | None:
        """The average that ``--average`` names."""
        return self.number(AVERAGES[self.average_kind][0])

    @property
    def gap(self) -> float | None:
        """The average minus worst-group accuracy."""
        return self.number(AVERAGES[self.average_kind][1])

    def number(self, key: str) -> float | None:
        """Return the metric of that name as a fraction, or None if missing."""
        value = self.metrics[key] if self.metrics else None
        return None if value is None else float(value)

    def group(self, group: int) -> dict[str, Any] | None:
        """Return the entry of one group, or None if the row was not evaluated."""
        return self.metrics["groups"][group] if self.metrics else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of worst-group accuracy."""
        low, high = self.number("worst_group_low"), self.number("worst_group_high")
        return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class Summary:
    """A metrics dict with its rows on one split: the first of test, validation and training that has rows."""

    metrics: dict[str, Any]
    split: str
    rows: tuple[Row, ...]
    chosen: Row

    @property
    def groups_line(self) -> str:
        """A line that tells whether groups are those of true or pseudo attributes."""
        is_true = self.metrics["group_kind"] == "true"
        return "groups: true attributes" if is_true else "groups: pseudo attributes (labelled by the model)"

    @property
    def split_line(self) -> str:
        """A line that names the split of the figures and its number of images."""
        images = f", {count(self.chosen.metrics['n'])} images" if self.chosen.metrics else ""
        if self.split == "test":
            return f"test split{images}"
        if self.split == "train":
            flattery = "no other split; if the classifier was trained on it, the figures are too high"
            return f"training split{images} ({flattery})"
        selected = self.metrics["selection"] != "last" and any(row.record["selected_epoch"] for row in self.rows)
        flattery = "; it also selected the epochs, so the figures are too high" if selected else ""
        return f"validation split{images} (no test split{flattery})"

    @property
    def group_pairs(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each group, in the order g = y*A + a."""
        dataset = self.metrics["dataset"]
        return [(str(y), str(a)) for y in dataset["classes"] for a in dataset["attributes"]]

    @property
    def group_names(self) -> list[str]:
        """One name for each group: class · attribute."""
        return [f"{y} · {a}" for y, a in self.group_pairs]

    def short_group_names(self, letters: int) -> list[str]:
        """Return the group names, each shortened to at most ``letters``."""
        return [shorten_group(y, a, letters) for y, a in self.group_pairs]

    def group_size(self, group: int) -> int:
        """Return the number of evaluated rows of a group."""
        entries = [row.group(group) for row in self.rows]
        return next((int(entry["n"]) for entry in entries if entry), 0)

    @property
    def warnings(self) -> list[str]:
        """All warnings: the most important one about the figures, those of the run and of training, then the rest."""
        of_training = [f"{row.title}: {text}" for row in self.rows for text in row.record.get("warnings", ())]
        first = _worse_than_zero_shot(self)
        rest = self.figure_warnings[len(first) :]
        return [*first, *map(str, self.metrics["warnings"]), *of_training, *rest]

    @property
    def figure_warnings(self) -> list[str]:
        """Warnings about the figures, each once, with the titles of their rows unless they are about all rows."""
        titles: dict[str, list[str]] = {}
        for row in self.rows:
            for text in row.metrics["warnings"] if row.metrics else ():
                titles.setdefault(text, []).append(row.title)
        shown = sum(row.metrics is not None for row in self.rows)
        by_row = [text if len(who) == shown else f"{', '.join(who)}: {text}" for text, who in titles.items()]
        return [*_worse_than_zero_shot(self), *by_row]


def summarize(metrics: dict[str, Any]) -> Summary:
    """Choose the split to show and name the rows of a metrics.json dict."""
    records = metrics["rows"]
    split = next((name for name in SPLIT_NAMES if any(record.get(name) for record in records)), "val")
    chosen = next((i for i, record in enumerate(records) if record["name"] == metrics["chosen"]), len(records) - 1)
    average = metrics["average"]
    rows = tuple(Row(_title(row), row, row.get(split), i == chosen, average) for i, row in enumerate(records))
    return Summary(metrics, split, rows, rows[chosen])


def average_note(kind: str) -> str:
    """Return a note about the average and gap in a table."""
    weights = {"plain": "over all images", "adjusted": "each group weighted by its share of the training images"}
    return f"average and gap: {kind}, {weights[kind]}"


def headline(summary: Summary) -> str:
    """Return the result in one sentence, for any outcome."""
    chosen, what = summary.chosen, "Worst-group accuracy"
    what += "" if summary.metrics["group_kind"] == "true" else " over pseudo groups"
    wga, average = chosen.number("worst_group_accuracy"), chosen.average
    if wga is None:
        known = "" if average is None else f"; the average of {chosen.title} is {in_words(average)}"
        return f"No group could be evaluated, so there is no worst-group accuracy{known}."
    baseline = _baseline(summary)
    if baseline is None:
        return f"{what} of {chosen.title} is {in_words(wga)}, average {in_words(average)}."
    return f"{what} {_comparison(baseline, chosen)}average {in_words(baseline.average)} → {in_words(average)}."


def zero_shot_line(summary: Summary) -> str:
    """Return the result without training in one sentence; "" if the headline already compares with it."""
    row = _zero_shot(summary)
    if row is None or row is _baseline(summary):
        return ""
    wga, average = row.number("worst_group_accuracy"), row.average
    return f"Without any training (zero-shot): worst group {in_words(wga)}, average {in_words(average)}."


def _worse_than_zero_shot(summary: Summary) -> list[str]:
    row, chosen = _zero_shot(summary), summary.chosen.number("worst_group_accuracy")
    zero_shot = row.number("worst_group_accuracy") if row else None
    if zero_shot is None or chosen is None or round(100 * zero_shot, 1) <= round(100 * chosen, 1):
        return []
    title = summary.chosen.title
    return [f"zero-shot has a better worst group than {title} ({percent(zero_shot)} against {percent(chosen)} %)"]


def _zero_shot(summary: Summary) -> Row | None:
    return next((row for row in _others(summary) if row.record["name"] == "zero-shot"), None)


def _comparison(baseline: Row, chosen: Row) -> str:
    before, after = baseline.number("worst_group_accuracy"), chosen.number("worst_group_accuracy")
    assert before is not None and after is not None
    # The difference of the printed figures: "78.0 against 75.0, +3.1" would look wrong.
    change = round(100 * after, 1) - round(100 * before, 1)
    if abs(change) < 0.05:
        return f"is {in_words(after)} with both {baseline.title} and {chosen.title}, "
    one, two = baseline.interval, chosen.interval
    if one and two and one[0] <= two[1] and two[0] <= one[1]:
        signed = f"{change:+.1f}".replace("-", "−")
        both = f"{in_words(after)} ({chosen.title}) against {in_words(before)} ({baseline.title})"
        return f"is {both}: {signed} points, but the 95\u00a0% intervals overlap; "
    verb = "rose" if change > 0 else "fell"
    return f"{verb} from {in_words(before)} ({baseline.title}) to {in_words(after)} ({chosen.title}), "


def _baseline(summary: Summary) -> Row | None:
    """Return the other row with the best worst group, so that the comparison is with the strongest."""
    return max(_others(summary), key=lambda row: row.number("worst_group_accuracy") or 0.0, default=None)


def _others(summary: Summary) -> list[Row]:
    return [row for row in summary.rows if not row.chosen and row.number("worst_group_accuracy") is not None]


def _title(record: dict[str, Any]) -> str:
    """Return the objective's title, with head, group source and sampling in brackets if they are not the defaults."""
    name, head, source = str(record["name"]), record.get("head"), record["group_source"]
    title = OBJECTIVES[name].title if name in OBJECTIVES else name
    details = [str(head)] if head not in (None, "prompt") else []
    details += [f"{source} groups"] if source in ("true", "soft") else []
    details += ["sampling"] if record.get("apply") == "sampling" else []
    return f"{title} ({', '.join(details)})" if details else title


def percent(fraction: float | None) -> str:
    """Format a fraction as per cent with one decimal, without the sign; None is a dash."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def in_words(fraction: float | None) -> str:
    """Format a fraction for running text: per cent with the sign, after a no-break space."""
    return f"{percent(fraction)}\u00a0%"


def shorten_group(label: str, attribute: str, letters: int) -> str:
    """Return ``class · attribute``; if it is too long, the longer part is cut more, so that both stay legible."""
    room = letters - 3
    if len(label) + len(attribute) > room:
        of_attribute = min(len(attribute), max(room // 2, room - len(label)))
        label, attribute = _cut(label, room - of_attribute), _cut(attribute, of_attribute)
    return f"{label} · {attribute}"


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def interval_text(low: float | None, high: float | None) -> str:
    """Format an interval of fractions as ``[37.4, 45.0]`` per cent, or nothing if missing."""
    return "" if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def points(difference: float | None) -> str:
    """Format a signed difference of fractions in percentage points, with a real minus."""
    return MISSING if difference is None else f"{100 * difference:.1f}".replace("-", "−").replace("−0.0", "0.0")


def count(number: int) -> str:
    """Format a count with a thin space between thousands from 10 000 on."""
    return f"{number:,}".replace(",", "\u202f") if number >= 10_000 else str(number)
