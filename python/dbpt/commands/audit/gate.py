"""A gate for continuous integration: bars that an audited classifier must meet; their sentences, and a JUnit file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from dbpt.data.tables import READERS
from dbpt.data.text_array import TextIndex, Texts
from dbpt.data.writing import Column, unmarked
from dbpt.errors import InputError, in_digits, nearest, per_cent_hint
from dbpt.evaluation import worst_group_difference_interval
from dbpt.evaluation.audit_fields import AuditFigures
from dbpt.evaluation.short_repr import Brief, in_percent, in_points
from dbpt.groups import group_name, worst_group_accuracy
from dbpt.guesses.base import BY_VALUES
from dbpt.report.result_rows import AVERAGES
from dbpt.report.text import points, signed_points

By = Literal["lower-bound", "estimate", "upper-bound"]
OPTIONS = {"worst-group": "--min-worst-group", "gap": "--max-gap", "drop": "--max-drop"}
COMPARED = {"lower-bound": "its lower bound,", "estimate": "this,", "upper-bound": "its upper bound,"}
GROUPS = {"true": "", "guessed": "; groups are guessed", "doubted": "; groups are guessed, and the guesses are doubted"}


@dataclass(frozen=True, repr=False)
class Check(Brief):
    """One bar of a gate. Figures are fractions.

    Attributes:
        kind: "worst-group", "gap" or "drop".
        asked: the bar.
        value, low, high: the figure and its 95 % interval.
        judged: the part of the interval that is compared with the bar.
        group: the worst group, by name.
        n: the number of images.
        groups: whether the groups are those of true attributes or of a column's or measured values, or of guesses, and
            whether these are doubted.
    """

    kind: Literal["worst-group", "gap", "drop"]
    asked: float
    value: float
    low: float
    high: float
    judged: By
    group: str
    n: int
    groups: Literal["true", "guessed", "doubted"] = "true"

    def _brief(self) -> str:
        if self.kind == "worst-group":
            value, asked = in_percent(self.value, self.low, self.high), in_percent(self.asked)
        else:
            value, asked = in_points(self.value, (self.low, self.high)), in_points(self.asked)
        said = f"{self.kind} {value} of {self.group}, bar {asked} by {self.judged}"
        return f"{'passed' if self.passed else 'failed'}: {said}"

    @property
    def figure(self) -> float:
        """The one that is compared with the bar."""
        return {"lower-bound": self.low, "estimate": self.value, "upper-bound": self.high}[self.judged]

    @property
    def passed(self) -> bool:
        """True if the bar is met."""
        return self.figure <= self.asked if self.kind == "gap" else self.figure >= self.asked

    def __str__(self) -> str:
        shown = signed_points if self.kind == "drop" else points
        unit = "%" if self.kind == "worst-group" else "points"
        value = f"{shown(self.value)} {unit} [{shown(self.low)}, {shown(self.high)}]"
        what = {
            "worst-group": f"worst-group accuracy {value}, of {self.group}",
            "gap": f"gap {value} between average and {self.group}",
            "drop": f"worst-group accuracy {value} against the baseline, on the same {self.n} images",
        }[self.kind]
        above, below = ("at least", "below") if self.kind != "gap" else ("above", "at most")
        compared = below if self.passed == (self.kind == "gap") else above
        return (
            f"{'passed' if self.passed else 'failed'}: {what}: {COMPARED[self.judged]} {shown(self.figure)} {unit}, is "
            f"{compared} {shown(self.asked)} ({OPTIONS[self.kind]}){GROUPS[self.groups]}"
        )


NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
OPPOSITE: dict[By, By] = {"lower-bound": "upper-bound", "estimate": "estimate", "upper-bound": "lower-bound"}
"""A gap is good if it is small, so it is surely good if its upper bound is."""


@dataclass(frozen=True, repr=False)
class Gate(Brief):
    """The result of `Audit.gate`, which is true if every bar is met. ``str()`` of it has a line for each, failed first.

    Attributes:
        checks: one for each bar that was asked for.
    """

    checks: list[Check]

    def _brief(self) -> str:
        failed = [check for check in self.checks if not check.passed]
        passed = f"{len(self.checks) - len(failed)} of {len(self.checks)} bars passed{GROUPS[self.checks[0].groups]}"
        return "; ".join([*(check._brief() for check in failed), passed])

    def __bool__(self) -> bool:
        return self.passed

    @property
    def passed(self) -> bool:
        """True if every bar is met."""
        return all(check.passed for check in self.checks)

    def junit(self) -> str:
        """Return JUnit XML, with a test case for each bar."""
        failures = sum(not check.passed for check in self.checks)
        suite = ElementTree.Element(
            "testsuite", name="dbpt audit", tests=str(len(self.checks)), failures=str(failures), errors="0"
        )
        for check in self.checks:
            name = OPTIONS[check.kind].lstrip("-")
            sentence = NOT_IN_XML.sub(lambda character: ascii(character[0])[1:-1], str(check))
            case = ElementTree.SubElement(suite, "testcase", classname="dbpt.audit", name=name)
            if not check.passed:
                ElementTree.SubElement(case, "failure", message=sentence, type="gate")
            else:
                ElementTree.SubElement(case, "system-out").text = sentence
        ElementTree.indent(suite)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"

    def __str__(self) -> str:
        return "\n".join(f"gate {check}" for check in sorted(self.checks, key=lambda check: check.passed))


@dataclass(frozen=True)
class Bars:
    """The bars of a gate, checked: fractions, and the folder of the baseline.

    Raises:
        InputError: for values that can't be meant, and for bars without use.
    """

    min_worst_group: float | None = None
    max_gap: float | None = None
    baseline: str | Path | None = None
    max_drop: float | None = None
    by: By = "upper-bound"

    def __post_init__(self) -> None:
        for name in ("min_worst_group", "max_gap", "max_drop"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, float | int | None):
                raise InputError(f"{name}: expected a fraction from 0 to 1, found {value!r}")
            if value is not None and not 0 <= value <= 1:
                option = f"--{name.replace('_', '-')} {in_digits(value)}"
                raise InputError(f"{option}: expected a fraction from 0 to 1{per_cent_hint(value)}")
        if self.by not in get_args(By):
            expected = list(get_args(By))
            raise InputError(
                f"--by {self.by!r}: expected one of {', '.join(expected)}{nearest(str(self.by), expected)}"
            )
        if self.max_drop is not None and self.baseline is None:
            raise InputError(f"--max-drop {self.max_drop:g}: needs the audit to compare with; add --baseline FOLDER")
        if self.min_worst_group is None and self.max_gap is None and self.baseline is None:
            raise InputError("a gate (--by, --junit) needs a bar: give --min-worst-group, --max-gap or --baseline")
        if self.baseline is not None:
            read_baseline(Path(self.baseline))


def judged(bars: Bars, figures: AuditFigures, images: dict[str, Column]) -> Gate:
    """Compare an audit with the bars of a gate.

    Args:
        bars: the bars, and the folder of the baseline.
        figures: the content of ``audit.json``.
        images: the content of ``images.csv``, which is compared with that of the baseline.

    Raises:
        InputError: if the baseline has other images, or no image has a known or guessed attribute.
    """
    metrics, checks = figures.metrics, list[Check]()
    worst = next((group for group in figures.groups if group.index == metrics.worst_group), None)
    if worst is None:
        raise InputError("gate: no audited image has a known or guessed attribute, so there is no group to judge")
    is_known = figures.group_kind == "true" or figures.guesses.provenance in BY_VALUES
    groups = "true" if is_known else "doubted" if figures.has_doubts else "guessed"
    about: tuple[Any, ...] = group_name(worst.class_name, worst.attribute), metrics.n, groups
    value, gap = cast(float, metrics.worst_group_accuracy), cast(float, getattr(metrics, AVERAGES[figures.average][1]))
    if (asked := bars.min_worst_group) is not None:
        bounds = cast(float, metrics.worst_group_low), cast(float, metrics.worst_group_high)
        checks.append(Check("worst-group", asked, value, *bounds, bars.by, *about))
    if (asked := bars.max_gap) is not None:
        assert figures.gap_low is not None and figures.gap_high is not None
        checks.append(Check("gap", asked, gap, figures.gap_low, figures.gap_high, OPPOSITE[bars.by], *about))
    if bars.baseline is not None:
        correct, others, groups_N = _paired(images, Path(bars.baseline))
        bounds = worst_group_difference_interval(correct, others, groups_N) or (-1.0, 1.0)
        difference = value - cast(float, worst_group_accuracy(others, groups_N))
        checks.append(Check("drop", -(bars.max_drop or 0.0), difference, *bounds, "upper-bound", *about))
    return Gate(checks)


def read_baseline(folder: Path) -> tuple[Path, Texts, Texts, Texts]:
    """Return the table in the folder of an audit, and the path, label and prediction (N,) of its images."""
    names = ("images.csv", "images.parquet")
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"--baseline {folder}: has no {names[0]}; name the folder of an audit")
    table = READERS[file.suffix](file, ("path", "label", "prediction"))
    paths, labels, predictions = (Texts.of(table.texts(name).map(unmarked)) for name in table.values)
    return file, paths, labels, predictions


def _paired(
    images: dict[str, Column], baseline: Path
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """Return which images (N,) are right, now and in the folder of the baseline, and their groups, -1 if unknown."""
    file, before, *columns_before = read_baseline(baseline)
    paths, *columns = (Texts.of(map(str, images[name])) for name in ("path", "label", "prediction", "attribute"))
    at_N, where = TextIndex(before).find(paths), f"--baseline {file}"
    for row in np.flatnonzero(at_N < 0)[:1].tolist():
        lacks = f"lacks {np.count_nonzero(at_N < 0)} of the {len(paths)} images, such as {paths[row]}"
        raise InputError(f"{where}: {lacks}; audit the same images with both classifiers")
    code_of = {"": 0}
    codes = list[NDArray[np.int64]]()
    for values, value_N in (
        column.distinct() for column in (*columns, *(column.take(at_N) for column in columns_before))
    ):
        codes.append(np.array([code_of.setdefault(value, len(code_of)) for value in values])[value_N])
    label, prediction, attribute, label_before, prediction_before = codes
    for row in np.flatnonzero(label != label_before)[:1].tolist():
        labels = f"the label {columns_before[0][at_N[row]]!r} there, and {columns[0][row]!r} here"
        raise InputError(f"{where}: {paths[row]} has {labels}")
    groups = np.where(attribute > 0, np.unique(label * len(code_of) + attribute, return_inverse=True)[1], -1)
    return label == prediction, label == prediction_before, groups
