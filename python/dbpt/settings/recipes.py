"""Named sets of training settings, and what counts more than what where settings are given in several places."""

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
CONTEXT_START = ("n_ctx", "ctx_init")


def apply_recipe(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` and what the recipe says of the others.

    Words to start from take the place of random tokens, and only a prompt has any.
    """
    recipe = dict(RECIPES[name])
    if settings.get("ctx_init") is not None or settings.get("head", "prompt") != "prompt":
        recipe.pop("n_ctx", None)
    return recipe | dict(settings)


def override(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``settings``, of a file, with those that are ``given`` on the command line, which count more.

    So does a recipe that is given there. ``n_ctx`` and ``ctx_init`` are two ways to say one thing.
    """
    replaced = {*given, *RECIPES.get(given.get("recipe", "default"), ())}
    if not replaced.isdisjoint(CONTEXT_START):
        replaced.update(CONTEXT_START)
    return {name: value for name, value in settings.items() if name not in replaced} | dict(given)
