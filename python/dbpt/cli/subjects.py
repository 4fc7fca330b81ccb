"""The options that ``dbpt audit`` and ``dbpt discover`` share: whose predictions of which images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dbpt.cli.options import data_and_settings, settings_for
from dbpt.data import SPLITS


def subject_options(read: frozenset[str], *, verb: str, result: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a command with DATA, its predictions, and the settings ``read``; help says ``verb`` and ``result``."""
    options: list[Callable[[Any], Any]] = [
        click.option("--out", type=click.Path(path_type=Path), help="folder for the report and its tables"),
        click.option(
            "--predictions",
            default="zero-shot",
            show_default=True,
            help="whose errors: zero-shot CLIP; probe, a linear probe of CLIP's features, out of fold; the folder of a "
            "run; or a file of your classifier's predictions: a table with the columns path and prediction, and "
            "optionally p_CLASS for each class, or .npy in the order of DATA",
        ),
        click.option(
            "--split",
            type=click.Choice([*SPLITS, "all"]),
            help=f"images to {verb} [default: test, else val, else train; train first for a probe]",
        ),
        click.option("--overwrite", is_flag=True, help=f"replace the {result} in --out"),
        click.option(
            "--weights", type=click.Path(path_type=Path), help="with a run: the backbone's weights file, if moved"
        ),
        data_and_settings(read),
    ]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def subject_arguments(read: frozenset[str], **options: Any) -> dict[str, Any]:
    """Return the arguments of `dbpt.audit` or `dbpt.discover` that the ``options`` of `subject_options` ask for."""
    from dbpt.auditing.subject import OF_THE_RUN, kind_of

    own = {name: options.pop(name) for name in ("predictions", "out", "split", "overwrite", "weights")}
    by_run = kind_of(own["predictions"]) == "run"
    settings, data = settings_for(read.difference(OF_THE_RUN if by_run else ()), data_required=not by_run, **options)
    return {"data": data, **own, **settings}
