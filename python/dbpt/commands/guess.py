"""`guess_attributes`: CLIP's guess of an attribute for each image of a data set, and whether to trust the guesses."""

import logging
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt.commands.auto_attributes import with_found_attributes
from dbpt.data import Dataset
from dbpt.data.loading import DataLike, import_pandas
from dbpt.data.paths import import_pyarrow
from dbpt.data.writing import Column, csv_of_columns, parquet_of_columns
from dbpt.errors import InputError
from dbpt.guesses import GuessedFactors, Guesses
from dbpt.guesses.base import BY_VALUES, OWN_VALUES
from dbpt.guesses.grouping import Grouping
from dbpt.report import text
from dbpt.report.discovery_sentences import doubts_in_words
from dbpt.report.tables import Shown
from dbpt.settings.all_settings import AUDIT_SETTINGS, GUESS_SETTINGS
from dbpt.settings.config import make_config, refuse_unread, shows_settings
from dbpt.settings.fields import Command
from dbpt.settings.keywords import FitSettings
from dbpt.storage.files import check_output, write_atomically
from dbpt.study.checks import check_before_reading
from dbpt.study.data import open_dataset, resolve_demo, rows_with_known, with_data
from dbpt.study.stages import image_columns, judged_class_words, judged_guesses, log_warnings
from dbpt.study.study import configured_backbone, embedded_rows

if TYPE_CHECKING:
    import pandas
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False, eq=False)
class GuessedAttributes(Shown):
    """The guesses for the N readable images of a data set. ``str()`` of it is a table of the groups.

    Attributes:
        dataset: the readable images.
        pseudo: the guesses, in the same order.
        guesses: the shares of the attributes, and the doubts about the guesses.
        warnings: a sentence each.
        audit_command: the command that shows the guesses as pictures; None if no images are opened.
    """

    dataset: Dataset
    pseudo: GuessedFactors
    guesses: Guesses
    warnings: tuple[str, ...]
    audit_command: str | None

    @cached_property
    def grouping(self) -> Grouping:
        """The groups of label and guess."""
        return Grouping.guessed(self.dataset, self.pseudo)

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) the groups y * A + a of label and guess, for samplers and group weights; -1 without a guess."""
        return self.grouping.groups

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns of the table, by name, with an entry for each image."""
        return image_columns(self.dataset, self.pseudo, self.guesses)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the columns as a data frame.

        Returns:
            A line for each image.

        Raises:
            InputError: if pandas, an extra of dbpt, is not installed.
        """
        return import_pandas().DataFrame(self.columns)

    def table(self) -> str:
        """Return shares and confidence in each group as text, without a final newline."""
        dataset, guesses = self.dataset, self.guesses
        pairs, counts_G = self.grouping.pairs, self.grouping.counts()
        sizes_C = np.bincount(dataset.labels, minlength=dataset.num_classes).clip(1)
        of_class_G = counts_G / sizes_C.repeat(self.grouping.num_attributes)
        known, confidence = self.groups >= 0, self.pseudo.confidence
        assert confidence is not None
        sums_G = np.bincount(self.groups[known], confidence[known], minlength=len(pairs))
        shown = [g for g, n in enumerate(counts_G.tolist()) if n or not guesses.named]
        titles = [text.shorten_group(y, a, text.LONGEST_GROUP_NAME) for y, a in pairs]
        means = [text.percent(total / n) if n else text.MISSING for total, n in zip(sums_G, counts_G, strict=True)]
        columns = [
            ["group", "", "", *(titles[g] for g in shown)],
            ["images", "", "", *(text.count(counts_G[g]) for g in shown)],
            ["of class", "", "", *(text.percent(of_class_G[g]) for g in shown)],
            ["confidence", "", "", *(means[g] for g in shown)],
        ]
        by_values = guesses.provenance in BY_VALUES
        how = guesses.method if by_values else f"guessed by {text.guesser(guesses.provenance)} ({guesses.method})"
        notes = [
            f"shares{f' of {each.name}' if guesses.named else ''}: "
            + ", ".join(f"{name} {text.percent(share)}" for name, share in zip(each.values, each.shares, strict=True))
            for each in guesses.factors
        ]
        if clusters := self.pseudo.class_clusters:
            how = "clusters within each class"
            by_class = zip(dataset.class_names, clusters.separation, strict=True)
            separation = ", ".join(f"{name} {value:.2f}" for name, value in by_class if not np.isnan(value))
            notes = [f"separation: {separation or 'unknown, too few images'}"]
            notes.append("a cluster is named by the words that fit it better than the rest of its class")
        notes += map(text.cross_validation_text, guesses.cross_validations, (each.values for each in guesses.factors))
        lines = [f"{dataset.name}: {text.count_of(len(dataset), 'image')}; {how}, in per cent"]
        if without := len(dataset) - int(known.sum()):
            why = "they have no value" if by_values else "confidence is below the minimum"
            notes.append(f"{text.count_of(without, 'image')} got no attribute, because {why}")
        if guesses.accuracy is not None:
            right, known_ones = text.percent(guesses.accuracy), text.count(guesses.n_known)
            what = "cluster" if guesses.provenance == "clusters" else "value"
            if_taken = f", if each {what} stands for its most common one" if guesses.provenance in OWN_VALUES else ""
            notes.append(f"right for {right} % of {known_ones} images with a true attribute{if_taken}")
            notes += [f"{factor.name} alone: right for {text.percent(factor.accuracy)} %" for factor in guesses.named]
        return "\n".join([*text.wrapped(lines), "", *text.render_columns(columns), "", *text.wrapped(notes)])

    def _brief(self) -> str:
        shares = zip(self.guesses.values, self.guesses.shares, strict=True)
        names = ", ".join(f"{name} {share:.2f}" for name, share in shares) or "clusters"
        return f"{self.dataset.name!r}, {names}"


@shows_settings(FitSettings, GUESS_SETTINGS)
def guess_attributes(
    data: DataLike, *, out: str | Path | None = None, overwrite: bool = False, **settings: "Unpack[FitSettings]"
) -> GuessedAttributes:
    """Let CLIP, or a probe, guess the attribute of each image, as `dbpt.fit` does before it trains.

    Args:
        data: as for `dbpt.fit`; no split is needed. Its true attributes influence only the guesses by a probe.
        out: a CSV file, or a Parquet file for a name in .parquet, with a row for each readable image: path, label,
            split, pseudo_attribute, its confidence, the doubts, and group, the number y * A + a of label and guess. It
            must not exist unless ``overwrite``.
        overwrite: replace ``out``.
        settings: those listed below.

    Returns:
        The guesses. ``warnings`` says if they can't be trusted, judged without true attributes.

    Raises:
        InputError: for wrong settings or data, without names of attributes, and if ``out`` can't be written.
    """
    given = dict[str, Any](settings)
    refuse_unread(given, GUESS_SETTINGS, "nothing is trained here")
    config = with_data(make_config(given), data, training=False)
    if out is not None:
        out = arguments.path("out", out)
        ending = ".parquet" if out.suffix == ".parquet" and import_pyarrow(out) else ".csv"
        named = (config.data, config.root, config.embeddings, config.model, config.pretrained)
        reads = [path for path in named if path]
        check_output("--out", out, overwrite=overwrite, reads=reads, ending=ending)
    config, notes = with_found_attributes(config, training=False)
    asked = config
    config = resolve_demo(config)
    check_before_reading(config)
    dataset, known = rows_with_known(config, open_dataset(config, training=False))
    logger.info(dataset.describe())
    dataset = replace(dataset, notes=(*dataset.notes, *notes))
    rows = embedded_rows(dataset, configured_backbone(config), config, known)
    readable = rows.dataset
    if not len(readable):
        raise InputError(f"{dataset.source}: none of its images can be read; nothing is left to guess")
    pseudo = rows.guess(config)
    guesses = judged_guesses(rows, pseudo, np.arange(len(readable)))
    class_doubts = judged_class_words(rows, pseudo, np.arange(len(readable)))
    of_rows = map(str, (*rows.warnings, *pseudo.warnings, *class_doubts))
    warnings = (*of_rows, *map(doubts_in_words, guesses.doubted_factors))
    log_warnings(warnings)
    audit = Command("audit", asked.data, {"out": f"audits/{dataset.name}"} | asked.given(AUDIT_SETTINGS))
    audit_command = str(audit) if config.opens_images else None
    guessed = GuessedAttributes(readable, pseudo, guesses, warnings, audit_command)
    if out is not None:
        table = parquet_of_columns if Path(out).suffix == ".parquet" else csv_of_columns
        write_atomically(Path(out), table(guessed.columns), overwrite=overwrite)
        logger.info(f"{len(readable)} guesses written to {os.fspath(out)}")
    return guessed
