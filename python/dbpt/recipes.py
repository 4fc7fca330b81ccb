"""Named sets of training settings. A setting that is given counts more than the recipe."""

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


def apply_recipe(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` and what the recipe says of the others. Words to start from take the place of random tokens."""
    recipe = dict(RECIPES[name])
    if settings.get("ctx_init") is not None:
        recipe.pop("n_ctx", None)
    return recipe | dict(settings)
