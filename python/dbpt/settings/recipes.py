"""Recipes, which are named sets of training settings, and the precedence of settings from several sources."""

from collections.abc import Mapping
from typing import Any

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "coop": {
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
"""``default`` leaves every setting at its own default; ``coop`` has those of CoOp (Zhou et al., 2022, section 4.1)."""

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

    Of settings that exclude each other, each overrides all.
    """
    recipe = set(RECIPES.get(given.get("recipe", "default"), ()))
    chosen, replaced = recipe | {name for name, value in given.items() if value is not None}, recipe | {*given}
    for names in EXCLUSIVE:
        if not names.isdisjoint(chosen):
            replaced |= names
    return {name: value for name, value in settings.items() if name not in replaced} | dict(given)
