"""`FitConfig`: every setting under one name in Python, on the command line and in TOML; recipes."""

import inspect
import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import wraps
from inspect import Parameter
from pathlib import Path
from textwrap import fill
from typing import Any, TypeVar, cast

from dbpt.arguments import expanded
from dbpt.data import entries_of, factor_entries, parse_columns, parse_factors
from dbpt.data.words import parse_vocabulary
from dbpt.errors import InputError, nearest
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.registry import Registry
from dbpt.settings.all_settings import DEFAULT_DRO_STEP
from dbpt.settings.combinations import Settings, why_config_refused
from dbpt.settings.fields import AUTO, asked_word, flag_of, main_first
from dbpt.settings.keywords import FitSettings
from dbpt.storage.typed_json import read_toml


def readers(setting: str) -> list[str]:
    """Return the only choices that use ``setting``, as options; empty if it applies to all."""
    if setting == "sgd_momentum":
        return ["--optimizer sgd"]
    if setting in ("epochs", "batch_size", "optimizer", "lr", "weight_decay", "warmup_epochs", "model_selection"):
        return [f"--objective {name}" for name, kind in OBJECTIVES.loaded.items() if not kind.refits]
    return [
        f"--{registry.setting} {name}"
        for registry in (HEADS, OBJECTIVES)
        for name, kind in registry.loaded.items()
        if setting in kind.settings
    ]


RECIPES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "paper": {"prompts": "class", "objective": "dbpt"},
    "coop": {
        "prompts": "class",
        "optimizer": "sgd",
        "lr": 0.002,
        "sgd_momentum": 0.9,
        "weight_decay": 5e-4,
        "batch_size": 32,
        "epochs": 200,
        "warmup_epochs": 1,
        "n_ctx": 16,
    },
}
"""``default`` leaves every setting at its own default, ``paper`` trains class prompts with the paper's weights, and
``coop`` has the settings of CoOp (Zhou et al., 2022, section 4.1).
"""

EXCLUSIVE = ({"n_ctx", "ctx_init", "start_from"}, {"attributes", "factors"})
"""Settings of which one can be given."""


def apply_recipe(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``settings``, completed by the recipe. Its random tokens only apply to a new prompt without words."""
    recipe = dict(RECIPES[name])
    has_start = any(settings.get(given) is not None for given in ("ctx_init", "start_from"))
    if has_start or settings.get("head", "prompt") != "prompt":
        recipe.pop("n_ctx", None)
    return recipe | dict(settings)


def override(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``settings`` of a file, overridden by those ``given`` on the command line and by a recipe there.

    A setting that is given also replaces those that it excludes.
    """
    # A config.toml of a run names every setting, which would hide all that a recipe sets.
    recipe = set(RECIPES.get(given.get("recipe", "default"), ()))
    named, replaced = recipe | {name for name, value in given.items() if value is not None}, recipe | {*given}
    for names in EXCLUSIVE:
        if not names.isdisjoint(named):
            replaced |= names
    return {name: value for name, value in settings.items() if name not in replaced} | dict(given)


F = TypeVar("F", bound=Callable[..., Any])
PATHS = (
    *("data", "root", "embeddings", "model", "pretrained", "tokenizer", "cache"),
    *("pseudo_attributes", "label_model", "label_pretrained", "start_from"),
)


@dataclass(frozen=True, kw_only=True)
class FitConfig(Settings):
    """The settings of `dbpt.fit`; ``help(dbpt.fit)`` describes each.

    Raises:
        InputError: for bad values and invalid combinations.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if refusal := why_config_refused(self):
            raise InputError(refusal)

    @property
    def label_backbone(self) -> dict[str, Any] | None:
        """Return the arguments of `dbpt.load_backbone` for ``label_model``, or None."""
        names = {"model": self.label_model, "pretrained": self.label_pretrained, "tokenizer": None}
        return None if self.label_model is None else self.backbone | names

    @property
    def default_lr(self) -> float:
        """Return the default learning rate of optimizer and head."""
        return HEADS[self.head].default_lr[self.optimizer]

    @property
    def peak_lr(self) -> float:
        """Return the learning rate, the default resolved."""
        return self.default_lr if self.lr is None else self.lr

    @property
    def weights_fade(self) -> bool:
        """Return whether weights in the loss fade: in small batches, AdamW divides by the size of recent gradients."""
        return self.optimizer == "adamw" and self.batch_size > 0

    def application(self, objective: str) -> str | None:
        """Return how an objective applies its weights, "loss" or "sampling"; None if it has none.

        Args:
            objective: its name.
        """
        if not OBJECTIVES[objective].can_sample:
            return None
        return self.apply or ("sampling" if self.weights_fade else "loss")

    def for_one(self, prompts: str) -> "FitConfig":
        """Return the settings with which the training with these prompts would be the only one.

        Args:
            prompts: "class" or "group".
        """
        objective = next(name for name, trained_prompts in self.trained if trained_prompts == prompts)
        apply = self.apply if OBJECTIVES[objective].can_sample else None
        alpha = self.alpha if prompts == "group" else None
        return replace(self, objective=objective, prompts=prompts, apply=apply, alpha=alpha)

    def resolved(self) -> "FitConfig":
        """Return the settings with the defaults that depend on other settings filled in."""
        return replace(
            self,
            lr=self.peak_lr,
            objective=self.objective if self.prompts == AUTO else self.trained_objective,
            apply=self.apply if self.prompts == AUTO else self.application(self.trained_objective),
            dro_step_size=DEFAULT_DRO_STEP[self.batch_size > 0] if self.dro_step_size is None else self.dro_step_size,
            identification_epochs=self.identification_epochs or max(1, self.epochs // 4),
        )

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """Return resolved settings by name.

        Args:
            names: the names of the settings.
        """
        resolved = self.resolved()
        return {name: getattr(resolved, name) for name in names}

    def identity(self) -> dict[str, Any]:
        """Return the resolved settings that determine a training, except those that only name files."""
        return self.values(setting.name for setting in fields(self) if setting.metadata["identity"])

    def given(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the settings that don't have their default, by name, as a `Command` takes them.

        Args:
            names: the settings to look at; others are left out.
        """
        wanted = frozenset(names)
        others = [setting for setting in fields(self) if getattr(self, setting.name) != setting.default]
        return {setting.name: getattr(self, setting.name) for setting in others if setting.name in wanted}

    def to_toml(self) -> str:
        """Return the settings as TOML for `read_config`, without those that are None."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        # JSON of these values is TOML, but for two differences: no surrogate pairs, and DEL is escaped.
        lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in given.items())
        return "".join(lines).replace("\x7f", "\\u007f")


ALIASES = {"learning_rate": "lr"}
"""Names elsewhere of settings whose own is not near."""


def make_config(settings: Mapping[str, Any], verb: str = "fit") -> FitConfig:
    """Build a `FitConfig` from names and values, completed by a ``recipe``. Refuses names unknown to the ``verb``."""
    given = dict(settings)
    recipe = given.pop("recipe", "default")
    valid = [setting.name for setting in fields(FitConfig)]
    for name in given:
        if name not in valid:
            if isinstance(given[name], dict):
                raise InputError(f"settings in a table [{name}]: write them at the top, without [{name}]")
            hint = nearest(ALIASES.get(name, name), ["recipe", *valid])
            is_option = name in ("out", "resume", "overwrite")
            hint = hint or f"; {f'give --{name}' if is_option else f'dbpt {verb} --help-all lists all settings'}"
            raise InputError(f"unknown setting {name!r}{hint}")
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise InputError(f"--recipe: {recipe!r} is none of {', '.join(RECIPES)}{nearest(str(recipe), list(RECIPES))}")
    if (clip := sys.modules.get("dbpt.clip.backbone")) and isinstance(given.get("model"), clip.Backbone):
        given = _without_backbone(given)
    plain = {name: _plain(name, value) for name, value in apply_recipe(recipe, given).items()}
    if isinstance(columns := given.get("columns"), Mapping):
        parse_columns(columns, parse_factors(factors) if (factors := plain.get("factors")) else ())
    return FitConfig(**plain | {name: expanded(plain[name]) for name in PATHS if isinstance(plain.get(name), str)})


def refuse_unread(given: dict[str, Any], read: frozenset[str], why: str) -> None:
    """Refuse settings of `FitConfig` that a command doesn't ``read``."""
    if unread := [name for name in given if name not in read and name in FitSettings.__annotations__]:
        raise InputError(f"{flag_of(unread[0])}: {why}, so it is not read; leave it out")


def shows_settings(keywords: type, read: Collection[str] | None = None) -> Callable[[F], F]:
    """Decorate a function: its signature shows the ``keywords``, a `TypedDict`, its docstring those ``read`` or all."""
    defaults = {setting.name: setting.default for setting in fields(FitConfig)} | {"recipe": "default"}
    types = keywords.__annotations__
    settings = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name], annotation=types[name].__forward_arg__)
        for name in ("recipe", *(setting.name for setting in main_first(fields(FitConfig))))
        if name in types
    ]
    recipe = {"help": "named set of training settings; settings that you give win"}
    metadata = {setting.name: setting.metadata for setting in fields(FitConfig)} | {"recipe": recipe}
    listed = [
        _described(setting, metadata[setting.name]) for setting in settings if read is None or setting.name in read
    ]

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [parameter for parameter in signature.parameters.values() if parameter.kind is not Parameter.VAR_KEYWORD]
        names = [parameter.name for parameter in (*own, *settings)]

        @wraps(function)
        def checked(*values: Any, **given: Any) -> Any:
            for name in [name for name in given if name not in names and name not in metadata][:1]:
                raise InputError(
                    f"unknown argument {name!r}{nearest(ALIASES.get(name, name), names) or '; help() lists all'}"
                )
            return function(*values, **given)

        checked.__signature__ = signature.replace(parameters=[*own, *settings])  # type: ignore[attr-defined]
        if function.__doc__:  # python -OO has removed it
            text, example, code = (inspect.getdoc(function) or "").partition("\n\nExample::")
            checked.__doc__ = "\n".join([f"{text}\n\nSettings:", *listed]) + example + code
        return cast(F, checked)

    return decorate


def _described(setting: Parameter, metadata: Mapping[str, Any]) -> str:
    """Return the entry of a setting in a docstring: its name, type, default and help, and dbpt's own choices."""
    text, choices = metadata["help"], metadata.get("choices")
    default = "" if "[default: " in text else f", default {setting.default!r}"
    names = f" ({', '.join(choices.own)})" if isinstance(choices, Registry) else ""  # the type has other choices
    entry = f"{setting.name} ({setting.annotation}{default}): {text}{names}"
    return fill(entry, 110, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False)


def read_config(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file, as `make_config` takes them. Raises `InputError` if it refuses them."""
    settings = read_toml(path, "TOML config")
    try:
        make_config(settings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return {name: _plain(name, value) for name, value in settings.items()}


def _without_backbone(given: dict[str, Any]) -> dict[str, Any]:
    """Replace a `Backbone` in ``model`` by its names; refuse other settings of the backbone beside it."""
    from dbpt.clip.load import names_of

    names = names_of(given["model"])
    for name, value in names.items():
        if name != "model" and given.get(name) not in (None, "auto") and _plain(name, given[name]) != value:
            raise InputError(f"{flag_of(name)} {given[name]}: the Backbone given as model has {value}; leave it out")
    return given | names


def _plain(name: str, value: Any) -> Any:
    """Return the value in a form for TOML: paths as strings, sequences and arrays as tuples, dicts as entries."""
    if isinstance(value, Mapping) and name == "columns":
        return tuple(f"{role}={column}" for role, column in value.items())
    if isinstance(value, Mapping) and name == "factors":
        return factor_entries(parse_factors(value))
    if isinstance(value, Mapping) and name in ("classes", "attributes"):
        return entries_of(parse_vocabulary(value, flag_of(name)), flag_of(name))
    if name == "attributes" and isinstance(value, str) and asked_word([value]):
        return (value,)
    if callable(tolist := getattr(value, "tolist", None)):
        value = tolist()
    if isinstance(value, Path) or (name == "device" and type(value).__name__ == "device"):  # torch is not imported
        return str(value)
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
