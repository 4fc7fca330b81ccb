"""The plan of a comparison: methods × heads × seeds and draws as cells, each with the settings of a `dbpt fit`.

Nothing here reads data or imports torch, so that a bad plan is refused at once.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from dbpt.arguments import integer
from dbpt.errors import InputError, nearest, plain_number
from dbpt.evaluation.repeats import rows_named
from dbpt.evaluation.results import Row
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES, TRAINING_FREE
from dbpt.settings.all_settings import (
    GROUP_SOURCES,
    GroupSettings,
    HeadSettings,
    TrainingSettings,
    method_name,
    method_title,
)
from dbpt.settings.combinations import why_not_mixed, why_refused
from dbpt.settings.config import FitConfig, make_config, readers
from dbpt.settings.fields import check_setting, flag_of, value_in_words, varied_in_words

BASELINE = "erm"
MOST_SEEDS = 1000  # a larger number is taken for one seed
METHODS = ("zero-shot", "erm", "balanced", "dbpt", "gla:mixed", "groupdro", "jtt")
"""The default: methods that need no annotation, the mixed ones only where groups have words and a head is linear."""
DEFAULT_HEADS, DEFAULT_SEEDS = ("prompt",), 1

MIXED = "--methods NAME:mixed"

BY_THE_PLAN = {
    "objective": "methods",
    "group_source": "methods, for example groupdro:true or gla:ppa",
    "prompts": "methods, for example balanced:group",
    "head": "heads",
    "seed": "seeds",
    "baselines": "methods",
}
"""Settings of `FitConfig` that a plan gives to each cell, and the argument that they come from."""
VARIABLE = {each.name: each for section in (GroupSettings, HeadSettings, TrainingSettings) for each in fields(section)}
for _name in (*BY_THE_PLAN, "model_selection", "start_from", "text_memory_mb"):  # baselines is in another section
    VARIABLE.pop(_name, None)
Varied = tuple[tuple[str, Any], ...]
"""Names and values of the settings that ``--vary`` gives to a row."""


@dataclass(frozen=True)
class Method:
    """One of `TRAINING_FREE`, or else an objective with its ``group_source`` and its ``prompts``."""

    objective: str | None
    group_source: str | None
    training_free: str = ""
    prompts: str = "class"
    is_mixed: bool = False

    @property
    def name(self) -> str:
        """The name in ``methods``."""
        if self.objective is None:
            return self.training_free
        name = method_name(self.objective, self.prompts) + (":mixed" if self.is_mixed else "")
        return name if self.group_source == "pseudo" else f"{name}:{self.group_source}"

    @property
    def title(self) -> str:
        """The name in tables."""
        if self.objective is None:
            return TRAINING_FREE[self.training_free].title
        mixed = ["mixed"] if self.is_mixed else []
        groups = [] if self.group_source == "pseudo" else [f"{self.group_source} groups"]
        return method_title(self.objective, self.prompts, [], mixed, groups)


@dataclass(frozen=True)
class Cell:
    """One training with its settings. ``head`` is None for a method without training.

    A cell with a ``draw`` trains on half of the training and validation rows. Its seed is the number of the draw.
    """

    method: Method
    head: str | None
    config: FitConfig
    draw: int | None = None
    varied: Varied = ()

    @property
    def name(self) -> str:
        """The name of its files, without a colon, which Windows doesn't allow."""
        number = f"seed-{self.config.seed}" if self.draw is None else f"draw-{self.draw}"
        return cell_name(self.method.name, self.head, self.varied, number)


def cell_name(method: str, head: str | None, varied: Varied, number: str) -> str:
    """Return the name of the files of a row's cell with a ``number`` such as ``seed-3``."""
    settings = ",".join(f"{name.replace('_', '-')}={_in_file_name(value)}" for name, value in varied)
    return "_".join(part for part in (method.replace(":", "-"), head, settings, number) if part)


def _in_file_name(value: Any) -> str:
    text = value_in_words(value)
    return text if re.fullmatch(IN_FILE_NAME, text) else hashlib.sha256(text.encode()).hexdigest()[:16]


IN_FILE_NAME = r"[a-z0-9.+-]{1,24}"


def is_cell_file(name: str) -> bool:
    """Return whether a file may be a cell's result or checkpoint."""
    varied = rf"[a-z-]+={IN_FILE_NAME}"
    cell = re.fullmatch(rf"([^_]+)(?:_([^_]+)(?:_{varied}(?:,{varied})*)?)?_(?:seed|draw)-[0-9]+\.safetensors", name)
    if cell is None or cell[2] is None:
        return cell is not None and cell[1] in TRAINING_FREE
    objective = re.sub(rf"(-group)?(-mixed)?(-({'|'.join(GROUP_SOURCES)}))?$", "", cell[1])
    return cell[2] in HEADS and (objective in OBJECTIVES or cell[1] in OBJECTIVES)


@dataclass(frozen=True)
class PlannedRow:
    """A row of the table: a method with a head and perhaps ``varied`` settings; a cell for each seed and each draw."""

    method: Method
    head: str | None
    cells: tuple[Cell, ...]
    draws: tuple[Cell, ...]
    varied: Varied = ()

    @property
    def without_figures(self) -> Row:
        """The row of the table before anything is trained."""
        from dbpt.evaluation.study_metrics import trained_row  # imports much, and dbpt --help reads this file

        method, own, config = self.method, dict(self.varied), self.cells[0].config
        named: dict[str, Any] = {"method": method.name, "group_source": method.group_source, "varied": own}
        named["title"] = method.title + varied_in_words(own)
        trained = self.head is not None
        return replace(trained_row(config, *config.trained[0]), **named) if trained else Row(**named)


@dataclass(frozen=True)
class Plan:
    """Everything to compare, in the order of the table. ``left_out`` has the reason for each refused pair.

    ``draws`` of half of the training and validation rows show the spread of the figures with all rows. ``against`` is
    as in `Metrics`.
    """

    config: FitConfig
    methods: tuple[Method, ...]
    heads: tuple[str, ...]
    seeds: tuple[int, ...]
    draws: int
    rows: tuple[PlannedRow, ...]
    left_out: tuple[str, ...]
    vary: dict[str, list[Any]]
    against: str | None = None

    @property
    def cells(self) -> list[Cell]:
        """All cells, seed by seed and draw by draw, so that an interrupted comparison is one with fewer of them."""
        of_seeds = [row.cells[number] for number in range(len(self.seeds)) for row in self.rows]
        return of_seeds + [row.draws[number] for number in range(self.draws) for row in self.rows]


def shared_settings(settings: Mapping[str, object]) -> FitConfig:
    """Return the settings that all cells share. Raises `InputError` for one that each cell gets from the plan."""
    for name, argument in BY_THE_PLAN.items():
        if name in settings and (name, settings[name]) != ("prompts", "class"):  # as rows are without :group
            raise InputError(f"{flag_of(name)}: each row of a comparison has its own; name them in --{argument}")
    return make_config({name: value for name, value in settings.items() if name != "prompts"}, "compare")


def make_plan(
    config: FitConfig,
    methods: str | Sequence[str] | None = None,
    heads: str | Sequence[str] = DEFAULT_HEADS,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    resample: int | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    against: str | None = None,
) -> Plan:
    """Return the plan of a comparison. The arguments are those of `dbpt.compare`; all cells share ``config``.

    A method with a head has a row for each combination of the settings in ``vary`` that it reads.
    """
    if resample is not None and config.shots is not None:
        raise InputError(f"--shots {config.shots} with --resample: each seed draws its shots already; use --seeds")
    parsed = [_parse_method(name) for name in _names("--methods", METHODS if methods is None else methods)]
    _refuse_repeats("--methods", [method.name for method in parsed])
    for method in parsed if config.lacks_words else ():
        if method.training_free and TRAINING_FREE[method.training_free].needs_attributes:
            lacking = "clusters lack" if config.coded is None else f"{':'.join(config.coded)} lacks"
            raise InputError(f"--methods {method.name}: needs names of attributes, which {lacking}; leave it out")
    head_names = _names("--heads", heads)
    for name in head_names:
        HEADS.check("--heads", name)
    _refuse_repeats("--heads", head_names)
    if methods is None and all(why_not_mixed(head, has_words=not config.has_unnamed_groups) for head in head_names):
        parsed = [method for method in parsed if not method.is_mixed]
    if vary is not None and not isinstance(vary, Mapping):
        raise InputError(f"--vary: found {vary!r:.200}; expected values by setting, such as {{'eta': [0, 1]}}")
    all_seeds = _seeds(seeds)
    draws = 0 if resample is None else integer("--resample", resample, 2, MOST_SEEDS)
    if draws and len(all_seeds) > 1:
        raise InputError(f"--resample {draws}: each draw has a seed of its own; leave --seeds out, or give one seed")
    # those without training, then head by head, so that a table's neighbours are comparable
    pairs: list[tuple[Method, str | None]] = [(method, None) for method in parsed if method.objective is None]
    pairs += [(method, head) for head in head_names for method in parsed if method.objective is not None]
    rows, left_out, values = [], [], {name: _values(name, given) for name, given in (vary or {}).items()}
    of_pairs = [(pair, [name for name in values if _reads(name, *pair, config, values)]) for pair in pairs]
    for name in values:
        if not any(name in read for _, read in of_pairs):
            default = MIXED if name == "alpha" else "--apply with an objective that has weights"
            only = " or ".join(readers(name)) or default
            raise InputError(f"--vary {name}: no row reads it; only {only} does")
    combined = [
        (*pair, tuple(zip(n, v, strict=True))) for pair, n in of_pairs for v in product(*(values[name] for name in n))
    ]
    # Refused combinations are left out, but a method that no head can train is an error (below).
    for method, head, varied in combined:
        shared = replace(config, **dict(varied))
        # cells without training have the settings that ask for the least
        objective, source = method.objective or BASELINE, method.group_source or "pseudo"
        # as in the ERM row of `fit`, an objective without weights is trained without them
        apply = shared.apply if OBJECTIVES[objective].can_sample else None
        choices = {"head": head or "linear", "prompts": method.prompts, "objective": objective, "group_source": source}
        start_from = None if head is None else config.start_from  # another head refuses it
        unmixed = (
            why_not_mixed(head, has_words=source != "ppa" and not shared.has_unnamed_groups)
            if head and method.is_mixed
            else None
        )
        if reason := unmixed or why_refused(**choices, apply=apply or "loss", model_selection=shared.model_selection):
            left_out.append((method, reason))
            continue
        alpha = shared.alpha if method.is_mixed else None
        own = {"apply": apply, "baselines": False, "start_from": start_from, "alpha": alpha}
        own_config = replace(shared, **choices, **own)  # type: ignore[arg-type]
        cells = tuple(Cell(method, head, replace(own_config, seed=seed), None, varied) for seed in all_seeds)
        drawn = tuple(Cell(method, head, replace(own_config, seed=draw), draw, varied) for draw in range(draws))
        rows.append(PlannedRow(method, head, cells, drawn, varied))
    fitting = {row.method for row in rows}
    for method, reason in left_out:
        if method not in fitting:
            raise InputError(f"--methods {method.name}: {reason}")
    reasons = tuple(dict.fromkeys(reason for _, reason in left_out))
    if against is not None:
        against = re.sub(r"\s*,\s*", ",", against.strip()) if isinstance(against, str) else against
        if against == "":
            raise InputError("--against '': no row has this name; leave it out, or give one, such as --against erm")
        rows_named("--against", [row.without_figures for row in rows], against)
    return Plan(config, tuple(parsed), tuple(head_names), all_seeds, draws, tuple(rows), reasons, values, against)


def check_kept(against: str | None, plan: Plan) -> None:
    """Refuse the row ``against`` of a comparison that is continued by ``plan``, if it is no longer there."""
    if against is not None and not any(row.without_figures.has_name(against) for row in plan.rows):
        other = min((row.method.name for row in plan.rows), key=lambda name: name != "erm")
        problem = f"the comparison was made with --against {against!r}, now no row"
        raise InputError(f"--resume: {problem}; give another, such as --against {other}")


def _values(name: str, given: Sequence[Any]) -> list[Any]:
    """Return the values of a setting in ``vary``, numbers perhaps as texts, in the setting's type."""
    flag = f"--vary {name}"
    if name in BY_THE_PLAN:
        raise InputError(f"{flag}: each row of a comparison has its own; name them in --{BY_THE_PLAN[name]}")
    if name not in VARIABLE:
        if name in (field_.name for field_ in fields(FitConfig)):
            raise InputError(f"{flag}: all rows share it; make a comparison for each value")
        raise InputError(
            f"{flag}: unknown setting{nearest(str(name), list(VARIABLE))}; valid are {', '.join(VARIABLE)}"
        )
    given = given.tolist() if isinstance(given, np.ndarray) else given  # such as np.geomspace(1e-4, 1e-2, 5)
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise InputError(f"{flag}: found {given!r:.200}; expected a list of values")
    setting, values = VARIABLE[name], list[Any]()
    kind = str(setting.type).removesuffix(" | None")
    for entry in given:
        value = entry
        try:
            if isinstance(value, str) and kind != "str":
                value = {"true": True, "false": False}[value] if kind == "bool" else plain_number(value)
        except (KeyError, ValueError):
            expected = "true or false" if kind == "bool" else "a number"
            raise InputError(f"{flag}: {entry!r} is not {expected}; write --vary {name}=VALUE,VALUE") from None
        if kind == "int" and isinstance(value, float) and value.is_integer():
            value = int(value)
        elif kind == "float" and type(value) is int:
            value = float(value)
        check_setting(setting, value)
        values.append(value)
    _refuse_repeats(flag, list(map(value_in_words, values)))
    return values


def _reads(name: str, method: Method, head: str | None, config: FitConfig, vary: Mapping[str, list[Any]]) -> bool:
    """Return whether the setting ``name`` changes the training of a method with a head."""
    if method.objective is None:
        return False
    objective, only = OBJECTIVES[method.objective], readers(name)
    if name == "apply":
        return objective.can_sample
    if name == "alpha":
        return method.is_mixed
    if only == ["--optimizer sgd"]:
        return not objective.refits and "sgd" in (config.optimizer, *vary.get("optimizer", ()))
    return not only or not {f"--objective {method.objective}", f"--head {head}"}.isdisjoint(only)


def _names(flag: str, given: str | Sequence[str]) -> list[str]:
    names = re.split(r"[\s,]+", given.strip(", ")) if isinstance(given, str) else given
    if (
        not isinstance(names, Collection)
        or not names
        or not all(isinstance(name, str) and name.strip() for name in names)
    ):
        raise InputError(f"{flag}: found {given!r}; expected names, separated by spaces or commas on the command line")
    return [name.strip() for name in names]


def _parse_method(text: str) -> Method:
    objective, *parts = text.split(":")
    if objective in TRAINING_FREE:
        if parts:
            raise InputError(f"--methods: {text!r}: {objective} is not trained and takes no groups; write {objective}")
        return Method(None, None, objective)
    if objective not in OBJECTIVES:
        valid = [*TRAINING_FREE, *OBJECTIVES]
        raise InputError(f"--methods: {text!r} is none of {', '.join(valid)}{nearest(objective, valid)}")
    choices = ["group", "mixed", *GROUP_SOURCES]
    for part in parts:
        if part not in choices:
            kinds = "group (group prompts), mixed (those between trained and untrained)"
            expected = f"expected after the colon {kinds}, or the groups: {', '.join(GROUP_SOURCES)}"
            raise InputError(f"--methods: {text!r}: {expected}{nearest(part, choices)}")
    sources = [part for part in parts if part in GROUP_SOURCES]
    if len(sources) > 1 or len(set(parts)) < len(parts):
        raise InputError(f"--methods: {text!r}: names the groups or 'group' twice; write NAME:group:true at most")
    is_group = not {"group", "mixed"}.isdisjoint(parts) or "class" not in OBJECTIVES[objective].prompts
    prompts, source = "group" if is_group else "class", sources[0] if sources else "pseudo"
    return Method(objective, source, prompts=prompts, is_mixed="mixed" in parts)


def _refuse_repeats(flag: str, names: list[str]) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise InputError(f"{flag}: {name!r} is given twice; keep one")


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    seeds = seeds.tolist() if isinstance(seeds, np.ndarray | np.integer) else seeds
    if isinstance(seeds, int):
        if seeds < 1:
            raise InputError(f"--seeds: found {seeds}; expected at least 1, how many there are, or a list such as 3 7")
        if seeds > MOST_SEEDS:
            raise InputError(f"--seeds: found {seeds}, so many seeds; for seed {seeds} alone write {seeds},")
        return tuple(range(seeds))
    if not isinstance(seeds, Collection) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise InputError(f"--seeds: found {seeds!r:.200}; expected how many there are, or a list such as 3 7")
    _refuse_repeats("--seeds", list(map(str, seeds)))
    return tuple(seeds)
