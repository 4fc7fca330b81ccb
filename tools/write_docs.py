"""Write the generated parts of the documentation, and the typed keywords of `dbpt.fit`.

That is docs/reference/settings.md, docs/reference/combinations.md, python/dbpt/settings/keywords.py and, given a run,
an audit and a search of the demo, their output in README.md, docs/how_to/audit.md and docs/how_to/discover.md.

Run: python tools/write_docs.py [runs/demo [audits/demo [discoveries/demo]]]
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from dbpt.commands.audit.result import Audit
from dbpt.commands.compare.plan import BY_THE_PLAN
from dbpt.commands.discover.result import Discovery, DiscoveryFigures
from dbpt.commands.result import Result
from dbpt.evaluation.audit_fields import AuditFigures
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.settings.all_settings import APPLICATIONS, GROUP_SOURCES, SECTIONS
from dbpt.settings.combinations import CHOICES, combinations, why_refused
from dbpt.settings.config import PATHS, RECIPES, FitConfig
from dbpt.settings.fields import main_first
from dbpt.storage.typed_json import read_json, typed

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- demo output: begin (written by tools/write_docs.py) -->\n```text\n"
END = "\n```\n<!-- demo output: end -->"
MATRIX_BEGIN = "<!-- combinations: begin (written by tools/write_docs.py from dbpt.settings.config) -->\n"
MATRIX_END = "<!-- combinations: end -->"
LIMITS = {"low": "at least {}", "above": "above {}", "high": "at most {}", "below": "below {}"}
SETTINGS = """# Settings

<!-- written by tools/write_docs.py from dbpt.settings.all_settings -->

Every setting of a run. A setting has the same name everywhere: `dbpt.fit(..., lr=0.1)`, `dbpt fit ... --lr 0.1`, and
`lr = 0.1` in a TOML file for `--config`. Options on the command line override the file. Lists are several arguments
(`--attributes land water`), or an array in TOML; in Python words and columns may be dicts. `--recipe coop` sets several
at once. The settings in **bold** are the main ones, which `dbpt fit --help` shows; `dbpt fit --help-all` shows all.
[Training defaults](../explanation/defaults.md) says how the defaults were chosen.
"""
TABLE = "\n| setting | type | default | meaning |\n|---|---|---|---|\n"

KEYWORDS = '''"""The settings as keywords, so that editors and type checkers know each of them.

Written by tools/write_docs.py from dbpt.settings.all_settings. Types are those that `make_config` takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from dbpt.clip import Backbone
    from dbpt.data.columns import ColumnNames
    from dbpt.data.words import Names


class SharedSettings(TypedDict, total=False):
    """The settings of `dbpt.compare`, which all its rows share."""

'''
KEYWORDS_OF_FIT = '''

class FitSettings(SharedSettings, total=False):
    """The settings of `dbpt.fit`."""

'''
ACCEPTED = {
    "classes": "Names | None",
    "attributes": "Names | None",
    "columns": "ColumnNames | None",
    "model": "str | Path | Backbone | None",
}


def settings_page() -> str:
    """Return the text of docs/reference/settings.md."""
    text = SETTINGS
    for section in SECTIONS:
        text += f"\n## {section.title.capitalize()}\n{TABLE}" + "".join(map(_settings_row, main_first(fields(section))))
    return text


def keywords_module() -> str:
    """Return the text of python/dbpt/settings/keywords.py."""
    settings = [setting for setting in main_first(fields(FitConfig)) if setting.name != "data"]
    lines = {setting.name: f"    {setting.name}: {_accepted_type(setting)}\n" for setting in settings}
    own = "".join(lines.pop(setting.name) for setting in settings if setting.name in BY_THE_PLAN)
    return f"{KEYWORDS}    recipe: {_literal(RECIPES)}\n{''.join(lines.values())}{KEYWORDS_OF_FIT}{own}"


def _accepted_type(setting: Field[Any]) -> str:
    """Return the type of the values that `make_config` takes for a setting."""
    kind, choices = str(setting.type), setting.metadata.get("choices")
    if setting.name in ACCEPTED:
        return ACCEPTED[setting.name]
    if setting.name in PATHS:
        return kind.replace("str", "str | Path")
    if isinstance(choices, tuple):  # a registry takes more
        return kind.replace("str", _literal(choices))
    return kind.replace("tuple[str, ...]", "Sequence[str]").replace("tuple[float, ...]", "Sequence[float]")


def _literal(choices: Iterable[str]) -> str:
    return f"Literal[{', '.join(map(json.dumps, choices))}]"


def _settings_row(setting: Field[Any]) -> str:
    kind = (
        str(setting.type)
        .removesuffix(" | None")
        .replace("tuple[str, ...]", "list of str")
        .replace("tuple[float, ...]", "list of float")
    )
    default = "" if setting.default in (None, "") else f"`{json.dumps(setting.default)}`"
    meaning = [str(setting.metadata["help"])]
    if choices := setting.metadata.get("choices"):
        meaning.append(", ".join(f"`{choice}`" for choice in choices))
    meaning += [words.format(setting.metadata[key]) for key, words in LIMITS.items() if key in setting.metadata]
    name = f"**`{setting.name}`**" if setting.metadata["main"] else f"`{setting.name}`"
    return f"| {name} | {kind} | {default} | {'; '.join(meaning).replace('|', chr(92) + '|')} |\n"


def combinations_table() -> str:
    """Return the matrix of docs/reference/combinations.md and the reasons for refused combinations."""
    heads: dict[tuple[str, str, str], list[str]] = {}
    reasons: dict[str, None] = {}
    for choice in combinations():
        cell = heads.setdefault((choice["objective"], choice["apply"], choice["group_source"]), [])
        if refusal := why_refused(**choice):
            reasons[refusal] = None
        elif choice["prompts"] == OBJECTIVES[choice["objective"]].prompts[0]:
            cell.append(choice["head"])
    lines = [f"| objective | prompts | apply | {' | '.join(GROUP_SOURCES)} |", "|---" * (3 + len(GROUP_SOURCES)) + "|"]
    for objective in OBJECTIVES:
        for apply in APPLICATIONS:
            cells = (_heads(heads[objective, apply, source]) for source in GROUP_SOURCES)
            prompts = ", ".join(OBJECTIVES[objective].prompts)
            lines.append(f"| `{objective}` | {prompts} | `{apply}` | {' | '.join(cells)} |")
    by_objective = sorted(reasons, key=lambda reason: re.findall(r"--objective (\w+)", reason))
    text = "\n".join([*lines, "", "These combinations are refused:", "", *(f"- {reason}" for reason in by_objective)])
    return f"{text}\n"


def _heads(valid: list[str]) -> str:
    """Return the heads of a cell, each of which must work with every selection."""
    names = dict.fromkeys(valid)
    assert all(valid.count(name) == len(CHOICES["model_selection"]) for name in names)
    return "any head" if len(names) == len(HEADS) else ", ".join(f"`{name}`" for name in names) or "–"


def combinations_page(page: str) -> str:
    """Return the text of docs/reference/combinations.md with the combinations of the code."""
    before, _, rest = page.partition(MATRIX_BEGIN)
    _, _, behind = rest.partition(MATRIX_END)
    return before + MATRIX_BEGIN + combinations_table() + MATRIX_END + behind


def demo_output(run: Path) -> str:
    """Return the table that ``dbpt fit demo --out runs/demo`` prints."""
    lines = Result.read(run).table().splitlines()
    return "\n".join([*(line.rstrip() for line in lines), "", "report: runs/demo/report.html"])


def audit_output(folder: Path) -> str:
    """Return what ``dbpt audit demo --out audits/demo`` prints."""
    path = folder / "audit.json"
    found = Audit(typed(read_json(path, "audit"), AuditFigures, path, "dbpt audit again"), {}, {}, folder)
    return f"{found.table()}\n\nreport: audits/demo/audit.html"


def discover_output(folder: Path) -> str:
    """Return what ``dbpt discover demo --out discoveries/demo`` prints."""
    path = folder / "discover.json"
    figures = typed(read_json(path, "discovery"), DiscoveryFigures, path, "dbpt discover again")
    return f"{Discovery(figures, folder).table()}\n\nreport: discoveries/demo/discover.html"


OUTPUTS = {"README.md": demo_output, "docs/how_to/audit.md": audit_output, "docs/how_to/discover.md": discover_output}


def split_page(text: str) -> tuple[str, str, str]:
    """Return a page before, in and after the demo output."""
    before, _, rest = text.partition(BEGIN)
    output, _, behind = rest.partition(END)
    return before, output, behind


def main(arguments: list[str]) -> None:
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "python/dbpt/settings/keywords.py").write_text(keywords_module(), encoding="utf-8")
    (ROOT / "docs/reference/settings.md").write_text(settings_page(), encoding="utf-8")
    combined = ROOT / "docs/reference/combinations.md"
    combined.write_text(combinations_page(combined.read_text(encoding="utf-8")), encoding="utf-8")
    for (name, output), folder in zip(OUTPUTS.items(), arguments, strict=False):
        page = ROOT / name
        before, _, behind = split_page(page.read_text(encoding="utf-8"))
        page.write_text(before + BEGIN + output(Path(folder)) + END + behind, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
