"""The texts on the pages of a comparison: the commands that made it and that go on, and the settings."""

import shlex
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from dbpt.data.words import Words
from dbpt.experiments.comparison.plan import BY_THE_PLAN, Plan, PlannedRow
from dbpt.report.comparison_page import NextSteps
from dbpt.report.guesses import GuessSheets, label_command
from dbpt.report.made_by import Entries, made_by_entries, setting_texts
from dbpt.settings.config import FitConfig
from dbpt.settings.sections import GUESS_SETTINGS

SETTINGS = [each.name for each in fields(FitConfig) if each.name not in ("data", *BY_THE_PLAN)]
"""The settings of every row."""


def command_of(out: Path, asked: FitConfig, plan: Plan) -> str:
    """Return the command that makes the comparison; ``asked`` are the settings before a demo was drawn."""
    own = ["--methods", *(method.name for method in plan.methods), "--heads", *plan.heads]
    own += ["--seeds", *_seeds(plan.seeds), *(["--resample", str(plan.draws)] if plan.draws else [])]
    return shlex.join(["dbpt", "compare", asked.data, "--out", str(out), *own, *asked.options(SETTINGS)])


def next_steps(out: Path, asked: FitConfig, plan: Plan) -> NextSteps:
    """Return the commands that go on from the comparison in ``out``."""
    row = _row_to_fit(plan)
    run = Path(f"{out}-{row.method.name.replace(':', '-')}") if row else None
    has_guesses = asked.pseudo_attributes is None and asked.label_model is None
    guess = ["dbpt", "guess", asked.data, "--out", f"{out}-guesses.csv", *asked.options(GUESS_SETTINGS)]
    return NextSteps(
        fit=_fit_command(run, asked, row) if row and run else "",
        label=label_command(run) if run and asked.opens_images else "",
        guess=shlex.join(guess) if has_guesses else "",
        resume=shlex.join(["dbpt", "compare", "--resume", "--out", str(out)]),
    )


def settings_of(plan: Plan, words: Words, sheets: GuessSheets, failed_images: int) -> Entries:
    """Return names and texts of the plan, the words and sentences, and every setting."""
    return [
        ("Methods", ", ".join(method.name for method in plan.methods)),
        ("Heads", ", ".join(plan.heads)),
        ("Images that could not be read", str(failed_images)),
        *made_by_entries(
            [*words.classes.items(), *sheets.words.items()],
            words.templates,
            words.attribute_templates,
            setting_texts(plan.config, SETTINGS),
        ),
    ]


def _seeds(seeds: Sequence[int]) -> list[str]:
    """Return the arguments of ``--seeds``: a number for the first ones, and a list otherwise."""
    if list(seeds) == list(range(len(seeds))):
        return [str(len(seeds))]
    return [f"{seeds[0]},"] if len(seeds) == 1 else list(map(str, seeds))


def _row_to_fit(plan: Plan) -> PlannedRow | None:
    """Return the row that the page is about if it was trained, else the last one that was."""
    trained = [row for row in plan.rows if row.head is not None]
    return next((row for row in trained if row.method.name == "dbpt"), trained[-1] if trained else None)


def _fit_command(run: Path, asked: FitConfig, row: PlannedRow) -> str:
    names = [name for name in BY_THE_PLAN if name != "baselines"]
    config = replace(asked, **{name: getattr(row.cells[0].config, name) for name in names})
    return shlex.join(["dbpt", "fit", asked.data, "--out", str(run), *config.options([*SETTINGS, *names])])
