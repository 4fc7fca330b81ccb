"""`discover`: which attributes of a catalogue, that nobody named, explain a classifier's errors; its files."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.commands.auto_attributes import ignoring_attributes
from dbpt.commands.discover.families import Families, families_of, parse_search
from dbpt.commands.discover.page import MOST_SHOWN, render_discovery
from dbpt.commands.discover.result import SCHEMA_VERSION, TO_LOOK_AT, Discovery, DiscoveryFigures
from dbpt.data import SPLITS, DataLike
from dbpt.data.dataset import Split
from dbpt.errors import InputError
from dbpt.evaluation.audit_subject import ALL, OF_THE_RUN, Subject, figures_of_subject, opened_subject
from dbpt.evaluation.discovery_fields import Confirmation, TriedFamily
from dbpt.evaluation.explained_by_attribute import Distribution
from dbpt.evaluation.family_guesses import GuessedFamily, Images
from dbpt.evaluation.family_proposal import Score, tried_family
from dbpt.evaluation.family_ranking import errors_of, score_families
from dbpt.guesses.catalogue import read_catalogue
from dbpt.guesses.doubts import class_word_doubts
from dbpt.report.discovery_sentences import families_in_words
from dbpt.report.group_pictures import GroupExamples, group_examples
from dbpt.report.page_size import FEW
from dbpt.report.tables import csv_of_lines
from dbpt.report.text import count_of, setting_texts
from dbpt.report.thumbnails import ImageFiles
from dbpt.runs.output_folder import Marker, OutputFolder
from dbpt.settings.all_settings import DISCOVER_SETTINGS
from dbpt.settings.config import FitConfig, shows_settings
from dbpt.settings.fields import Command
from dbpt.settings.keywords import FitSettings
from dbpt.storage.files import write_atomically, write_json
from dbpt.study.stages import log_warnings

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)

WHO = {"probe": "a linear probe", "file": "the classifier"}
"""Who errs, in the verdict; for others the title of the predictions."""

MOST_CONFIRMED = 8
"""Families that are tested in another split."""

DISCOVERY_FOLDER = OutputFolder(
    title="discovery",
    verb="discover",
    marker="status.json",
    record=Marker,
    schema_version=SCHEMA_VERSION,
    is_file=lambda name: name in ("discover.html", "discover.json", "families.csv"),
    subfolders={},
    can_resume=False,
)


@shows_settings(FitSettings, DISCOVER_SETTINGS)
def discover(
    data: "DataLike | None" = None,
    *,
    predictions: str | os.PathLike[str] | NDArray[Any] | Sequence[Any] = "zero-shot",
    search: str | Sequence[str] | None = None,
    catalogue: str | Path | None = None,
    captions: str | Path | None = None,
    out: str | Path | None = None,
    split: str | None = None,
    overwrite: bool = False,
    weights: str | Path | None = None,
    **settings: "Unpack[FitSettings]",
) -> Discovery:
    """Search for attributes that explain a classifier's errors.

    A family of attributes is a set of words, of which CLIP guesses one for each image; a column of the data without a
    role; a property of the pixels or of the file; or a word in captions. It is proposed if errors depend on it within
    the classes, corrected for all that is tried. Guesses must be trusted, and say more than the class names. Attributes
    of the data are not read.

    Args:
        data: as for `dbpt.audit`; no attribute is needed.
        predictions: whose errors, as for `dbpt.audit`.
        search: some of "words", "columns", "pixels" and "captions"; by default all that are there.
        catalogue: a TOML file of families of words, which replaces or extends the package's.
        captions: a column of the data, or a table with the columns ``path`` and ``caption``; by default the column
            "caption", "captions", "tags", "alt" or "alt_text", if there is one.
        out: a folder for ``discover.html``, ``discover.json`` and ``families.csv``; it must not exist
            unless ``overwrite``.
        split: "train", "val", "test" or "all", as for `dbpt.audit`.
        overwrite: replace the search in ``out``.
        weights: with a run, the present path of the backbone's local weights file, if it has moved.
        settings: those listed below.

    Returns:
        The families that were tried, and those that are proposed.

    Raises:
        InputError: for wrong settings, data, predictions or a wrong catalogue, and if ``out`` can't be used.
    """
    searched = parse_search(search)
    for option, value, source in (("catalogue", catalogue, "words"), ("captions", captions, "captions")):
        if value is not None and source not in searched:
            raise InputError(f"--{option} {value}: --search {' '.join(searched)} leaves {source} out; add them to it")
    words = read_catalogue(catalogue) if "words" in searched else ()
    why = "dbpt discover looks for the attribute, and trains no prompt"
    of = {"predictions": predictions, "data": data, "split": split, "weights": weights}
    with opened_subject(
        DISCOVERY_FOLDER,
        DISCOVER_SETTINGS,
        why,
        settings,
        out=out,
        overwrite=overwrite,
        other_columns="columns" in searched or "captions" in searched,
        measure="pixels" in searched,
        **of,
    ) as subject:
        families = families_of(subject, searched, words, captions)
        images = families.images(subject.audited)
        tried, shown = count_of(len(families), "family", "families"), count_of(len(images.labels), "image")
        logger.info(f"{tried} of attributes, and pairs of them, on {shown}")
        right = subject.predictions.predictions == images.labels
        guessed = families.of(images, subject.audited)
        scores = score_families(guessed, images, right, is_foreign=subject.by == "file", pairs=True)
        named = None if catalogue is None else os.fspath(catalogue)
        given = {"search": None if search is None else searched, "catalogue": named, "captions": captions}
        command = subject.command("discover", **given, weights=weights, out=out)
        figures = _figures(families, images, scores, right, named, command)
        discovery = Discovery(figures, None if out is None else Path(out))
        if out is not None:
            page = render_discovery(figures, _examples(subject, figures, images, scores, Path(out)))
            _write(Path(out), discovery, page, subject.config, overwrite=overwrite)
    log_warnings(discovery.warnings, subject.logged)
    return discovery


def _figures(
    families: Families,
    images: Images,
    scores: list[Score],
    right: NDArray[np.bool_],
    catalogue: str | None,
    command: str,
) -> DiscoveryFigures:
    """Return the figures of a search that ``command`` repeats."""
    subject, tried = families.subject, list[TriedFamily]()
    for score in scores:
        family = tried_family(score, images, right, subject.dataset.class_names)
        values = families.numbers.get(family.name) if family.source == "measured" else None
        distribution = None if values is None else Distribution.of(values[subject.audited], right)
        tried.append(replace(family, distribution=distribution))
    if (split := _split_to_check(subject)) is not None:
        tried = confirmed(families, split, tried)
    best = next((family for family in tried if family.finding in TO_LOOK_AT), None)
    audit, fit = (None, None) if best is None else _next_commands(subject, best)
    errors = int((~right).sum())
    return DiscoveryFigures(
        schema_version=SCHEMA_VERSION,
        verdict=families_in_words(tried, WHO.get(subject.by, subject.title), errors, len(images.labels)),
        errors=errors,
        catalogue=catalogue,
        families=tried,
        left_out=families.left_out,
        warnings=[*_class_doubts(subject, images, scores), *subject.logged],
        audit_command=audit,
        fit_command=fit,
        settings=setting_texts(subject.config, sorted(DISCOVER_SETTINGS)),
        **figures_of_subject(subject, command),
    )


def _class_doubts(subject: Subject, images: Images, scores: list[Score]) -> tuple[Caution, ...]:
    """Return the `class_word_doubts`, among images with the same guess of the first family."""
    first, zero_shot = scores[0].of.guessed, subject.embedded.zero_shot
    guesses = np.zeros_like(images.labels) if first is None else first.guesses.astype(np.int64)
    return class_word_doubts(zero_shot.logits(images.features), images.labels, guesses, subject.dataset.class_names)


def _next_commands(subject: Subject, best: TriedFamily) -> tuple[str | None, str | None]:
    """Return the commands that audit the attribute of ``best`` and train with it, None where no option names it.

    There is none to train with a doubted one either.
    """
    config, words = subject.asked, best.options
    if not words:
        return None, None
    if subject.dataset.attribute_names:  # the data's own attribute is another one
        config = ignoring_attributes(config)
    of_audit = DISCOVER_SETTINGS.difference(OF_THE_RUN if subject.by == "run" else ())
    name = f"{subject.dataset.name}-{best.name}"
    arguments = {"out": f"audits/{name}"} | subject.whose() | config.given(of_audit) | words
    fit = Command("fit", subject.source, {"out": f"runs/{name}"} | config.given(DISCOVER_SETTINGS) | words)
    return str(Command("audit", subject.source, arguments)), str(fit) if best.finding == "proposed" else None


def _split_to_check(subject: Subject) -> Split | None:
    """Return the largest split that was not searched; None if there is none, or if nothing predicts it.

    A run has learnt its training images, and the user's own classifier probably too. A probe of other images would be
    another classifier.
    """
    if subject.predict is None or subject.split == ALL or subject.by == "probe":
        return None
    unfit = {subject.split, *(["train"] if subject.by in ("run", "file") else [])}
    sizes = np.bincount(subject.dataset.splits, minlength=len(SPLITS)).tolist()
    others = [(size, name) for name, size in zip(get_args(Split), sizes, strict=True) if size and name not in unfit]
    return max(others, key=lambda other: other[0], default=(0, None))[1]


def confirmed(families: Families, split: Split, tried: Sequence[TriedFamily]) -> list[TriedFamily]:
    """Return the families, those that are proposed with their test in the images of another ``split``.

    A table of predictions may lack these; then there is no test.
    """
    subject = families.subject
    chosen = [family for family in tried if family.is_distinct][:MOST_CONFIRMED]
    rows = np.flatnonzero(subject.dataset.splits == SPLITS.index(split))
    assert subject.predict is not None
    try:
        right = subject.predict(rows).predictions == subject.dataset.labels[rows]
    except InputError:
        return list(tried)
    images = families.images(rows)
    keys = {key for family in chosen for key in (family.parts or [family.key])}
    guessed = {of.key: of for of in families.of(images, rows, keys)} if keys else {}
    found = dict[str, Confirmation]()
    for family in chosen:
        parts = [guessed[key] for key in family.parts]
        of = GuessedFamily.pair(*parts) if parts else guessed[family.key]
        if of is not None and (explained := errors_of(of, images, right)) is not None:
            p_value = None if explained.p_value is None else min(1.0, explained.p_value * len(chosen))
            is_alike = _is_alike(of, family, images, right, subject.dataset.class_names)
            found[family.key] = Confirmation(split=split, explained=explained, p_value=p_value, is_alike=is_alike)
    return [replace(family, confirmation=found.get(family.key)) for family in tried]


def _is_alike(
    of: GuessedFamily, family: TriedFamily, images: Images, right: NDArray[np.bool_], class_names: Sequence[str]
) -> bool:
    """Return whether the worse of the groups that differ most in the searched images is worse in these, too."""
    assert of.guessed is not None and family.worst_and_best is not None
    names = of.family.only(of.guessed.kept).names
    correct_CA, counts_CA = of.guessed.tables(images, right)
    if any(group.attribute not in names for group in family.worst_and_best):
        return False
    worse, better = (
        (class_names.index(group.class_name), names.index(group.attribute)) for group in family.worst_and_best
    )
    both = counts_CA[worse] > 0 and counts_CA[better] > 0
    return bool(both and correct_CA[worse] / counts_CA[worse] < correct_CA[better] / counts_CA[better])


def _examples(
    subject: Subject, figures: DiscoveryFigures, images: Images, scores: list[Score], page: Path
) -> list[list[GroupExamples]] | None:
    """Return pictures of the worst and the best group of the first families that are shown; None without images."""
    if not subject.config.opens_images:
        return None
    dataset, examples = subject.dataset, list[list[GroupExamples]]()
    guessed = {score.of.key: score.of.guessed for score in scores}
    for family in figures.shown[:MOST_SHOWN]:
        of_family, pair = guessed[family.key], family.worst_and_best
        assert of_family is not None and pair is not None
        known = of_family.guesses >= 0
        groups_N = np.where(known, images.labels * len(family.names) + of_family.guesses, -1)
        groups = group_examples(
            ImageFiles(dataset.paths_of(subject.audited), dataset.root, page),
            np.select([groups_N == group.index for group in pair], [0, 1], -1),
            [subject.predictions.predictions],
            group_names=[(group.class_name, group.attribute) for group in pair],
            classes=dataset.class_names,
            p_true=subject.p_true,
            seed=images.seed,
            most_wrong=FEW,
        )
        examples.append(groups)
    return examples


def _write(out: Path, discovery: Discovery, page: str, config: FitConfig, *, overwrite: bool) -> None:
    """Write the files of the held folder ``out``."""
    DISCOVERY_FOLDER.start(out, {}, config, resume=False, overwrite=overwrite)
    write_json(out / "discover.json", asdict(discovery.figures))
    write_atomically(out / "families.csv", csv_of_lines(discovery.family_rows()))
    write_atomically(out / "discover.html", page)
    DISCOVERY_FOLDER.finish(out, {}, config)
