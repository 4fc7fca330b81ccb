"""From a demo's name to what a user would type for data and a model of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dbpt._core import __version__
from dbpt.data.demo import DEMO_NAMES, mini_clip_paths, write_demo
from dbpt.errors import InputError
from dbpt.settings.config import FitConfig


def resolve_demo(config: FitConfig, log: Callable[[str], None] = lambda line: None) -> FitConfig:
    """Draw the demo that ``config.data`` names, and name its files and the small CLIP instead.

    Settings that name no demo come back as they are; so does a model that they name. What is drawn stands in the
    cache, and is not drawn again.

    Raises:
        InputError: no demo is called so, ``root`` is given too, or the files cannot be written.
    """
    if not _names_a_demo(config.data):
        return config
    if config.root is not None:
        raise InputError(f"--root {config.root}: {config.data} is drawn into --cache; leave --root out")
    name = "demo-waterbirds" if config.data == "demo" else config.data
    root = config.cache_dir / "demo" / f"{name}-{__version__}"
    if not root.exists():
        if name in DEMO_NAMES:
            log(f"drawing {name} into {root}")
        try:
            write_demo(name, root)
        except InputError:
            if not root.exists():  # another run may have drawn it meanwhile
                raise
    config = replace(config, data=name.removeprefix("demo-"), root=str(root))
    if config.model:
        return config
    model, pretrained = mini_clip_paths()
    return replace(config, model=str(model), pretrained=config.pretrained or str(pretrained))


def _names_a_demo(data: str) -> bool:
    """Whether ``data`` is ``demo`` or ``demo-...``, and not a table that happens to be called so."""
    return data == "demo" or (data.startswith("demo-") and not Path(data).suffix)
