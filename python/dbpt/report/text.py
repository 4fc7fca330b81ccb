"""Numbers, names and colours as readers see them, and the environment of the HTML templates."""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from textwrap import wrap
from unicodedata import east_asian_width

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from dbpt.evaluation.accuracy_by_group import CodedSummary
from dbpt.evaluation.explained_by_attribute import ExplainedErrors
from dbpt.guesses.base import Provenance
from dbpt.guesses.linear_probe import CrossValidated
from dbpt.settings.config import FitConfig
from dbpt.settings.fields import Command

COLORS = {
    "page": "#ffffff",
    "panel": "#f5f6f8",
    "ink": "#1b1f24",
    "muted": "#5a626c",
    "rule": "#dde1e6",
    "strong-rule": "#aab1ba",
    "notice": "#fff6e0",
    "notice-rule": "#d9a514",
    "zero-shot": "#8a929c",
    "erm": "#d55e00",
    "chosen": "#0072b2",
    "other-0": "#009e73",
    "other-1": "#b3568c",
    "other-2": "#b98500",
    "other-3": "#3f93c4",
    "hue-0": "#00875f",
    "hue-1": "#7b4fb3",
    "hue-2": "#b88600",
    "hue-3": "#2f8fcf",
    "hue-4": "#c0507f",
    "hue-5": "#6b6f1f",
}
"""The colours of light pages and of files. A chart finds the name of a colour by its value, so all are different."""


def color_variables() -> Markup:
    """Return the CSS that defines the colours as variables; the style sheet has those of dark pages."""
    return Markup(f":root {{ {'; '.join(f'--{name}: {value}' for name, value in COLORS.items())} }}")


MISSING = "–"
WIDTH = 80
LONGEST_GROUP_NAME = 44
INTERVAL = re.compile(r"(\[[^][, ]+,) ([^][, ]+\])")


def percent(fraction: float | None) -> str:
    """Format a fraction as per cent with one decimal, without the sign; None is a dash."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def in_words(fraction: float | None) -> str:
    """Format a fraction for running text: per cent with the sign, after a no-break space."""
    return f"{percent(fraction)}\u00a0%"


def cross_validation_text(probe: CrossValidated, values: Sequence[str]) -> str:
    """Return what cross-validation says about a probe's guesses of one attribute with these ``values``."""
    cells = zip(values, probe.precision, probe.n_guessed, strict=True)
    precision = ", ".join(f"{value} {percent(share)} of {count(n)}" for value, share, n in cells)
    return f"out of fold on {count(probe.n_known)} known images {percent(probe.accuracy)} right, precision {precision}"


def shorten_group(label: str, attribute: str, letters: int) -> str:
    """Return ``class · attribute``; if it is too long, the longer part is cut more, so that both stay legible."""
    if not attribute:
        return shorten(label, letters)
    room = letters - 3
    if len(label) + len(attribute) > room:
        of_attribute = min(len(attribute), max(room // 2, room - len(label)))
        label, attribute = shorten(label, room - of_attribute), shorten(attribute, of_attribute)
    return f"{label} · {attribute}"


def shorten(text: str, letters: int) -> str:
    """Return the text, cut with an ellipsis if it has more than ``letters``."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def interval_text(low: float | None, high: float | None) -> str:
    """Format an interval of fractions as ``[37.4, 45.0]`` per cent, or nothing if missing."""
    return "" if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def share_in_words(explained: ExplainedErrors) -> str:
    """Format the share of the errors that an attribute explains, with its interval: ``40.0 % [31.2, 48.5]``."""
    return f"{in_words(explained.share)} {interval_text(explained.share_low, explained.share_high)}".rstrip()


def p_text(explained: ExplainedErrors) -> str:
    """Format a p-value that is not None; the smallest one that the permutations allow is an upper bound."""
    p = explained.p_value
    assert p is not None
    return f"p {'≤' if explained.p_is_bound else '='} {p:.{4 if p < 0.01 else 2}f}"


def bound_text(value: float | None, explained: ExplainedErrors | None) -> str:
    """Format the p-value or q-value of a test, which is an upper bound if no permutation was as extreme."""
    if value is None or explained is None:
        return MISSING
    return f"{'≤ ' if explained.p_is_bound else ''}{value:.4f}"


def points(difference: float | None) -> str:
    """Format a signed difference of fractions in percentage points, with a real minus."""
    # What rounds to 0 has no sign.
    return MISSING if difference is None else f"{100 * difference:.1f}".replace("-", "−").replace("−0.0", "0.0")


def signed_points(difference: float | None) -> str:
    """Format a difference as `points` with its sign, plus too; None is empty."""
    text = "" if difference is None else points(difference)
    return text if text.startswith("−") or text in ("", "0.0") else f"+{text}"


def signed_interval(bounds: Sequence[float] | None) -> str:
    """Format an interval of differences as ``[+1.2, +3.4]`` percentage points; None is empty."""
    return "" if bounds is None else f"[{signed_points(bounds[0])}, {signed_points(bounds[1])}]"


def count(number: int) -> str:
    """Format a count with a thin space between thousands from 10 000 on."""
    return f"{number:,}".replace(",", "\u202f") if number >= 10_000 else str(number)


def count_of(number: int, one: str, several: str | None = None) -> str:
    """Format a count with its noun: "1 error", "2 errors"; ``several`` is a plural that doesn't only add an s."""
    return f"{count(number)} {one if number == 1 else several or one + 's'}"


def wrapped(texts: list[str], width: int = WIDTH) -> list[str]:
    """Wrap ``texts`` to lines of at most ``width``, with later lines indented and intervals unbroken."""
    lines = []
    for text in texts:
        whole, indent = INTERVAL.sub("\\1\u00a0\\2", text.strip()), " " * (len(text) - len(text.lstrip()))
        lines += wrap(whole, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
    return lines


def render_columns(columns: list[list[str]]) -> list[str]:
    """Return the lines of a table. A column has three header cells, which may be empty, then one for each row."""
    widths = [max(map(text_width, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        padding = [" " * (width - text_width(cell)) for cell, width in zip(cells, widths, strict=True)]
        aligned = [cells[0] + padding[0], *(pad + cell for pad, cell in zip(padding[1:], cells[1:], strict=True))]
        lines.append("  ".join(aligned).rstrip())
    head = [line for line in lines[:3] if line]
    return [*head, "─" * max(map(text_width, lines)), *lines[3:]]


def text_width(text: str) -> int:
    """Return the width of a text in a terminal, in which Chinese, Japanese and Korean letters are two wide."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def render(template: str, **context: object) -> str:
    """Return the HTML of a template, which is named by its file in templates/."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> Environment:
    loader = PackageLoader("dbpt.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "in_words": in_words, "points": points, "count": count}
    environment.filters |= {
        "sentence": sentence,
        "capitalize_first": capitalize_first,
        "breakable": _breakable,
        "command": _command,
    }
    environment.filters |= {"share": lambda fraction: f"{100 * fraction:.2f}%"}
    environment.filters |= {"data_url": _data_url, "as_name": lambda name: (name, "name")}
    environment.filters |= {"signed_points": signed_points, "signed_interval": signed_interval}
    environment.filters |= {"guesser": guesser, "whose_guesses": whose_guesses}
    environment.globals |= {"interval": interval_text, "color_variables": color_variables}
    environment.globals |= {"count_of": count_of, "share_in_words": share_in_words}
    environment.globals |= {"p_text": p_text, "bound_text": bound_text}
    environment.globals["parts"] = environment.get_template("parts.html.j2").module
    return environment


def guesser(provenance: Provenance) -> str:
    """Return who guessed, if anybody did."""
    return "the probe" if provenance == "probe" else "CLIP"


def whose_guesses(provenance: Provenance) -> str:
    """Return the name of the guesses in a sentence."""
    others = {"file": "the attributes in the file", "clusters": "the clusters"}
    others |= {"column": "the values of a column", "measured": "the values of a measured property"}
    return others.get(provenance, f"{guesser(provenance)}'s guesses")


def coded_in_words(coded: CodedSummary) -> str:
    """Return the name of a column or a measured property in a sentence."""
    return f"the column {coded.name!r}" if coded.source == "column" else f"the measured {coded.name}"


def sentence(text: str) -> str:
    """Return a text with a capital letter at its start and a full stop at its end."""
    return capitalize_first(text if text.endswith((".", "?", "!")) else f"{text}.")


def capitalize_first(text: str) -> str:
    """Return a text with a capital letter at its start, and names in it as they are.

    >>> capitalize_first("each group"), capitalize_first("dbpt: the best epoch")
    ('Each group', 'dbpt: the best epoch')
    """
    return text if re.match(r"dbpt\b", text) else text[:1].upper() + text[1:]


def _breakable(path: str) -> Markup:
    """Escape a path, and allow line breaks after its separators."""
    return Markup("<wbr>").join(piece for piece in re.split(r"(?<=[/\\_])", path) if piece)


def _command(line: str) -> Markup:
    """Escape a command, and keep each option on one line: a browser breaks lines after any hyphen."""
    return Markup(re.sub(r"(?<!\S)--[\w-]+", r"<span>\g<0></span>", str(escape(line))))


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"


def setting_texts(config: FitConfig, names: Iterable[str]) -> dict[str, str]:
    """Return the values of the settings ``names`` as texts; an unset one is ``None``."""
    values = {name: getattr(config, name) for name in names}
    return {
        name: ", ".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in values.items()
    }


def label_command(run: Path) -> str:
    """Return the command that draws a sample of the run's images to label by hand."""
    return str(Command("label", str(run), {"out": f"{run}-labels"}))
