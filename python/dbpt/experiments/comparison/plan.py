"""What is compared: methods × heads × seeds as cells, each with the settings of the one `dbpt fit` that it equals.

Nothing here reads data or imports torch, so that a plan that means nothing is refused at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dbpt.errors import InputError, nearest
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.settings.combinations import GROUP_SOURCES, why_refused
from dbpt.settings.config import FitConfig, make_config

ZERO_SHOT = "zero-shot"
BASELINE = "erm"
MOST_SEEDS = 1000
"""More are taken for the one seed that was meant."""
METHODS = (ZERO_SHOT, "erm", "balanced", "dbpt", "groupdro", "jtt")
"""Compared unless others are named: what any head can train, and needs no annotation."""

BY_THE_PLAN = {
    "objective": "methods",
    "group_source": "methods, for example groupdro:true",
    "head": "heads",
    "seed": "seeds",
    "baselines": "methods",
}
"""Settings of `FitConfig` that a plan gives to each cell, and the argument that says so."""


@dataclass(frozen=True)
class Method:
    """``zero-shot``, whose ``objective`` and ``group_source`` are None, or an objective and the groups that it sees.

    ``group_source`` is ``pseudo`` also of an objective without groups, as in `FitConfig`.
    """

    objective: str | None
    group_source: str | None

    @property
    def name(self) -> str:
        """As it is written in ``methods``."""
        if self.objective is None:
            return ZERO_SHOT
        return self.objective if self.group_source == "pseudo" else f"{self.objective}:{self.group_source}"

    @property
    def title(self) -> str:
        """As tables print it."""
        if self.objective is None:
            return ZERO_SHOT
        source = "" if self.group_source == "pseudo" else f" ({self.group_source} groups)"
        return OBJECTIVES[self.objective].title + source


@dataclass(frozen=True)
class Cell:
    """One training, or zero-shot with the groups of one seed: a method, a head (None for zero-shot), and settings."""

    method: Method
    head: str | None
    config: FitConfig

    @property
    def name(self) -> str:
        """Of its files; without a colon, which Windows doesn't allow."""
        parts = [self.method.name.replace(":", "-"), self.head, f"seed-{self.config.seed}"]
        return "_".join(part for part in parts if part)


def is_cell_file(name: str) -> bool:
    """Whether a file may be that of a cell's result or checkpoint."""
    methods, sources, heads = "|".join(OBJECTIVES), "|".join(GROUP_SOURCES), "|".join(HEADS)
    cell = rf"({ZERO_SHOT}|({methods})(-({sources}))?_({heads}))_seed-[0-9]+\.safetensors"
    return re.fullmatch(cell, name) is not None


@dataclass(frozen=True)
class Row:
    """What becomes one row of the table: a method with a head, and a cell for each seed."""

    method: Method
    head: str | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Plan:
    """All that is compared, in the order of the table; ``left_out`` has a reason for each pair that means nothing."""

    config: FitConfig
    methods: tuple[Method, ...]
    heads: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]

    @property
    def cells(self) -> list[Cell]:
        """Seed by seed, so that what is there after half of the time is a comparison with fewer seeds."""
        return [row.cells[number] for number in range(len(self.seeds)) for row in self.rows]

    @property
    def configs(self) -> list[FitConfig]:
        """The settings of all cells."""
        return [cell.config for cell in self.cells]


def shared_settings(settings: Mapping[str, object]) -> FitConfig:
    """What all cells share, from the names and values of `FitConfig`. Raises `InputError` for what the plan says."""
    for name, argument in BY_THE_PLAN.items():
        if name in settings:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: each row of a comparison has its own; name them in --{argument}")
    return make_config(settings)


def make_plan(
    config: FitConfig, methods: str | Sequence[str], heads: str | Sequence[str], seeds: int | Sequence[int]
) -> Plan:
    """Combine ``methods``, ``heads`` and ``seeds`` under the settings that they share.

    Args:
        config: what `shared_settings` gave.
        methods: ``zero-shot``, ``OBJECTIVE`` or ``OBJECTIVE:GROUP_SOURCE``.
        heads: names of heads. Where a method cannot train one, the pair is left out.
        seeds: their number, counted from 0, or the seeds themselves.

    Raises:
        InputError: an unknown or repeated name, or a method that fits no given head.
    """
    chosen = [_parse_method(name) for name in _names("--methods", methods)]
    _refuse_repeats("--methods", [method.name for method in chosen])
    chosen_heads = [_known_head(name) for name in _names("--heads", heads)]
    _refuse_repeats("--heads", chosen_heads)
    all_seeds = _seeds(seeds)
    rows, left_out = [], []
    for method, head in _pairs(chosen, chosen_heads):
        if reason := _why_left_out(config, method, head):
            left_out.append((method, reason))
        else:
            rows.append(
                Row(method, head, tuple(Cell(method, head, _config(config, method, head, seed)) for seed in all_seeds))
            )
    fitting = {row.method for row in rows}
    for method, reason in left_out:
        if method not in fitting:
            raise InputError(f"--methods {method.name}: {reason}")
    reasons = tuple(reason for _, reason in left_out)
    return Plan(config, tuple(chosen), tuple(chosen_heads), all_seeds, tuple(rows), reasons)


def _pairs(methods: list[Method], heads: list[str]) -> Iterator[tuple[Method, str | None]]:
    """Zero-shot, then head by head, so that a table's neighbours are comparable."""
    yield from ((method, None) for method in methods if method.objective is None)
    yield from ((method, head) for head in heads for method in methods if method.objective is not None)


def _why_left_out(config: FitConfig, method: Method, head: str | None) -> str | None:
    if method.objective is None or head is None:
        return None
    assert method.group_source is not None
    return why_refused(
        head=head,
        objective=method.objective,
        group_source=method.group_source,
        apply=_apply(config, method.objective) or "loss",
        select=config.select,
    )


def _config(config: FitConfig, method: Method, head: str | None, seed: int) -> FitConfig:
    """The settings of one cell. Zero-shot trains nothing, so it has those that ask for the least."""
    objective, source = method.objective or BASELINE, method.group_source or "pseudo"
    return replace(
        config,
        objective=objective,
        group_source=source,
        head=head or "linear",
        apply=_apply(config, objective),
        seed=seed,
        baselines=False,
    )


def _apply(config: FitConfig, objective: str) -> str | None:
    """As `fit` trains its ERM row under ``apply = "sampling"``: what has no weights is trained without them."""
    return config.apply if OBJECTIVES[objective].can_sample else None


def _names(flag: str, given: str | Sequence[str]) -> list[str]:
    names = [name.strip() for name in (given.split(",") if isinstance(given, str) else given)]
    if not names or not all(names):
        raise InputError(f"{flag}: found {given!r}; expected names, separated by commas on the command line")
    return names


def _parse_method(text: str) -> Method:
    objective, colon, source = text.partition(":")
    valid = [ZERO_SHOT, *OBJECTIVES]
    if objective not in valid:
        raise InputError(f"--methods: {text!r} is none of {', '.join(valid)}{nearest(objective, valid)}")
    if objective == ZERO_SHOT:
        if colon:
            raise InputError(f"--methods: {text!r}: zero-shot is not trained and sees no groups; write zero-shot")
        return Method(None, None)
    if colon and source not in GROUP_SOURCES:
        choices = ", ".join(GROUP_SOURCES)
        raise InputError(f"--methods: {text!r}: groups are {choices}{nearest(source, list(GROUP_SOURCES))}")
    return Method(objective, source or "pseudo")


def _known_head(name: str) -> str:
    if name not in HEADS:
        raise InputError(f"--heads: {name!r} is none of {', '.join(HEADS)}{nearest(name, list(HEADS))}")
    return name


def _refuse_repeats(flag: str, names: list[str]) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise InputError(f"{flag}: {name!r} is given twice; keep one")


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, int):
        if seeds < 1:
            raise InputError(f"--seeds: found {seeds}; expected at least 1, how many there are, or a list such as 3,7")
        if seeds > MOST_SEEDS:
            raise InputError(f"--seeds: found {seeds}, so many seeds; for seed {seeds} alone write {seeds},")
        return tuple(range(seeds))
    if not seeds:
        raise InputError("--seeds: found no seed; expected how many there are, or a list such as 3,7")
    _refuse_repeats("--seeds", list(map(str, seeds)))
    return tuple(seeds)
