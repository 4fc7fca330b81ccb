"""The sentences of a gate, and its JUnit file for continuous integration."""

from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from dbpt.report.text import points, signed_points

By = Literal["lower-bound", "estimate", "upper-bound"]
OPTIONS = {"worst-group": "--min-worst-group", "gap": "--max-gap", "drop": "--max-drop"}
JUDGED = {"lower-bound": "its lower bound,", "estimate": "this,", "upper-bound": "its upper bound,"}
GROUPS = {"true": "", "guessed": "; groups are guessed", "doubted": "; groups are guessed, and the guesses are doubted"}
SENTENCES = {
    "worst-group": "worst-group accuracy {value} % {interval}, of {group}: {judged} {figure} %, is {compared} {asked} "
    "({option})",
    "gap": "gap {value} points {interval} between average and {group}: {judged} {figure} points, is {compared} {asked} "
    "({option})",
    "drop": "worst-group accuracy {value} points {interval} against the baseline, on the same {n} images: {judged} "
    "{figure}, is {compared} {asked} ({option})",
}


@dataclass(frozen=True)
class Check:
    """One bar of a gate. Figures are fractions.

    Attributes:
        kind: "worst-group", "gap" or "drop".
        asked: the bar.
        value, low, high: the figure and its 95 % interval.
        judged: the part of the interval that is compared with the bar.
        group: the worst group, by name.
        n: the number of images.
        groups: whether the groups are those of true or guessed attributes, and whether these guesses are doubted.
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
        above, below = ("at least", "below") if self.kind != "gap" else ("above", "at most")
        return (
            f"{'passed' if self.passed else 'failed'}: "
            + SENTENCES[self.kind].format(
                value=shown(self.value),
                interval=f"[{shown(self.low)}, {shown(self.high)}]",
                group=self.group,
                judged=JUDGED[self.judged],
                figure=shown(self.figure),
                compared=below if self.passed == (self.kind == "gap") else above,
                asked=shown(self.asked),
                n=self.n,
                option=OPTIONS[self.kind],
            )
            + GROUPS[self.groups]
        )


def junit(checks: list[Check]) -> str:
    """Return the JUnit XML of a gate, a test case for each check."""
    failures = sum(not check.passed for check in checks)
    suite = ElementTree.Element(
        "testsuite", name="dbpt audit", tests=str(len(checks)), failures=str(failures), errors="0"
    )
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", classname="dbpt.audit", name=OPTIONS[check.kind].lstrip("-"))
        if not check.passed:
            ElementTree.SubElement(case, "failure", message=str(check), type="gate")
        else:
            ElementTree.SubElement(case, "system-out").text = str(check)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
