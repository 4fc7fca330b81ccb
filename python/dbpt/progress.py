"""Progress bars on standard error, on a terminal and in notebooks."""

import logging
from collections.abc import Iterable
from typing import Any
from warnings import catch_warnings, simplefilter

with catch_warnings():
    simplefilter("ignore")  # a notebook without ipywidgets has no bars, which is no reason to warn
    from tqdm.auto import tqdm

DELAY = 1.0  # seconds, so that what is quick shows no bar


def progress_bar(
    title: str, unit: str, items: Iterable[Any] | None = None, *, hidden: bool = False, **keywords: Any
) -> tqdm:
    """Return a tqdm bar over ``items``, or with ``keywords`` such as ``total``; closing it removes it.

    It is shown on a terminal and in a notebook, unless it is ``hidden`` or the level of the logger ``dbpt`` is above
    INFO.
    """
    hidden = hidden or logging.getLogger("dbpt").level > logging.INFO
    disable = hidden or None  # None: without a terminal
    return tqdm(items, desc=title, unit=unit, disable=disable, leave=False, delay=DELAY, **keywords)
