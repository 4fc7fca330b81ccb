"""`discover`: which attributes of a catalogue, that nobody named, explain a classifier's errors; its files."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.clip import zero_shot_weights
from dbpt.commands.discover.result import MOST_SHOWN, SCHEMA_VERSION, Discovery, DiscoveryFigures, render_discovery
from dbpt.commands.request import ignoring_attributes
from dbpt.data import SPLITS, DataLike
from dbpt.evaluation.audit import TriedFamily
from dbpt.evaluation.findings import images_to_search, stronger_alike, tried_family
from dbpt.evaluation.scoring import Images, Score, guess_families, score_families
from dbpt.evaluation.subject import ALL, OF_THE_RUN, Subject, figures_of_subject, opened_subject
from dbpt.guesses.catalogue import embed_families, read_catalogue
from dbpt.guesses.doubts import class_word_doubts
from dbpt.report.findings import families_in_words
from dbpt.report.pictures import GroupExamples, group_examples
from dbpt.report.tables import csv_of_lines
from dbpt.report.text import setting_texts
from dbpt.runs.output_folder import Marker, OutputFolder
from dbpt.settings.config import FitConfig, shows_settings
from dbpt.settings.fields import Command
from dbpt.settings.keywords import FitSettings
from dbpt.settings.sections import DISCOVER_SETTINGS
from dbpt.storage.files import write_atomically, write_json
from dbpt.study.stages import log_warnings

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)

WHO = {"probe": "a linear probe", "file": "the classifier"}
"""Who errs, in the verdict; for others the title of the predictions."""

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
    catalogue: str | Path | None = None,
    out: str | Path | None = None,
    split: str | None = None,
    overwrite: bool = False,
    weights: str | Path | None = None,
    **settings: "Unpack[FitSettings]",
) -> Discovery:
    """Search a catalogue for attributes that explain a classifier's errors.

    CLIP guesses each family of attributes. A family is proposed if the guesses can be trusted, errors depend on them
    within the classes, and do so without what the class names say. Attributes of the data are not read.

    Args:
        data: as for `dbpt.audit`; no attribute is needed.
        predictions: whose errors, as for `dbpt.audit`.
        catalogue: a TOML file of families, which replaces or extends the package's.
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
    families = read_catalogue(catalogue)
    why = "dbpt discover looks for the attribute, and trains no prompt"
    of = {"predictions": predictions, "data": data, "split": split, "weights": weights}
    with opened_subject(
        DISCOVERY_FOLDER, DISCOVER_SETTINGS, why, settings, out=out, overwrite=overwrite, **of
    ) as subject:
        backbone, features = subject.embedded.backbone, subject.embedded.stored
        images = images_to_search(backbone, subject.dataset, features, subject.audited, subject.config.seed)
        logger.info(f"{len(families)} families of attributes are tried on {len(images.labels)} images")
        embedded = embed_families(backbone, families)
        right = subject.predictions.predictions == images.labels
        guessed = guess_families(embedded, images, subject.dataset.words)
        scores = score_families(guessed, images, right, is_foreign=subject.by == "file")
        named = None if catalogue is None else os.fspath(catalogue)
        command = subject.command("discover", catalogue=named, weights=weights, out=out)
        figures = _figures(subject, images, scores, right, named, command)
        discovery = Discovery(figures, None if out is None else Path(out))
        if out is not None:
            page = render_discovery(figures, _examples(subject, figures, images, scores))
            _write(Path(out), discovery, page, subject.config, overwrite=overwrite)
    log_warnings(discovery.warnings, subject.logged)
    return discovery


def _figures(
    subject: Subject,
    images: Images,
    scores: list[Score],
    right: NDArray[np.bool_],
    catalogue: str | None,
    command: str,
) -> DiscoveryFigures:
    """Return the figures of a search that ``command`` repeats."""
    dataset = subject.dataset
    families = [
        tried_family(score, images, right, dataset.class_names, like)
        for score, like in zip(scores, stronger_alike(scores), strict=True)
    ]
    best = next((family for family in families if family.finding in ("proposed", "may be the class")), None)
    check, audit, fit = (None, None, None) if best is None else _next_commands(subject, best)
    errors = int((~right).sum())
    return DiscoveryFigures(
        schema_version=SCHEMA_VERSION,
        verdict=families_in_words(families, WHO.get(subject.by, subject.title), errors, len(images.labels)),
        errors=errors,
        catalogue=catalogue,
        families=families,
        warnings=[*_class_doubts(subject, images, scores), *subject.logged],
        check_command=check,
        audit_command=audit,
        fit_command=fit,
        settings=setting_texts(subject.config, sorted(DISCOVER_SETTINGS)),
        **figures_of_subject(subject, command),
    )


def _class_doubts(subject: Subject, images: Images, scores: list[Score]) -> tuple[Caution, ...]:
    """Return the `class_word_doubts`, among images with the same guess of the first family."""
    words, first = subject.dataset.words, scores[0].of.guessed
    guesses = np.zeros_like(images.labels) if first is None else first.guesses.astype(np.int64)
    logits = images.logits(zero_shot_weights(images.backbone, *words.class_texts()))
    return class_word_doubts(logits, images.labels, guesses, subject.dataset.class_names)


def _next_commands(subject: Subject, best: TriedFamily) -> tuple[str | None, str, str | None]:
    """Return the commands that audit the attribute of ``best`` in another split and in this one, and train with it.

    Without another split the first one is None, and without a proposal the last one.
    """
    config = subject.asked
    if subject.dataset.attribute_names:  # the data's own attribute is another one
        config = ignoring_attributes(config)
    of_audit = DISCOVER_SETTINGS.difference(OF_THE_RUN if subject.by == "run" else ())
    words = {"attributes": best.attributes, "attribute_template": best.attribute_template}
    name = f"{subject.dataset.name}-{best.name}"

    def audit(split: str, out: str) -> str:
        arguments = {"out": out} | subject.whose(split) | config.given(of_audit) | words
        return str(Command("audit", subject.source, arguments))

    other = _split_to_check(subject)
    check = None if other is None else audit(other, f"audits/{name}-{other}")
    fit = Command("fit", subject.source, {"out": f"runs/{name}"} | config.given(DISCOVER_SETTINGS) | words)
    return check, audit(subject.split, f"audits/{name}"), str(fit) if best.finding == "proposed" else None


def _split_to_check(subject: Subject) -> str | None:
    """Return the largest split that was not searched; None if there is none, or if predictions of it may be missing.

    A run has learnt its training images.
    """
    if subject.by == "file" or subject.split == ALL:
        return None
    unfit = {subject.split, *(["train"] if subject.by == "run" else [])}
    sizes = np.bincount(subject.dataset.splits, minlength=len(SPLITS)).tolist()
    others = {name: size for name, size in zip(SPLITS, sizes, strict=True) if size and name not in unfit}
    return max(others, key=lambda name: others[name], default=None)


def _examples(
    subject: Subject, figures: DiscoveryFigures, images: Images, scores: list[Score]
) -> dict[str, list[GroupExamples]] | None:
    """Return pictures of the groups of the first families that are shown, worst first, by name; None without images."""
    if not subject.config.opens_images:
        return None
    dataset, examples = subject.dataset, dict[str, list[GroupExamples]]()
    paths = [dataset.paths[row] for row in subject.audited]
    guessed = {score.of.family.name: score.of.guessed for score in scores}
    for family in (figures.distinct or figures.to_look_at)[:MOST_SHOWN]:
        of_family = guessed[family.name]
        assert of_family is not None
        order = sorted(range(len(family.groups)), key=lambda g: (not family.groups[g].n, family.groups[g].accuracy))
        groups = group_examples(
            paths,
            dataset.root,
            images.labels * len(family.names) + of_family.guesses,
            [subject.predictions.predictions],
            group_names=[(group.class_name, group.attribute) for group in family.groups],
            classes=dataset.class_names,
            seed=images.seed,
            first=order,
        )
        examples[family.name] = [groups[g] for g in order]
    return examples


def _write(out: Path, discovery: Discovery, page: str, config: FitConfig, *, overwrite: bool) -> None:
    """Write the files of the held folder ``out``."""
    DISCOVERY_FOLDER.start(out, {}, config, resume=False, overwrite=overwrite)
    write_json(out / "discover.json", asdict(discovery.figures))
    write_atomically(out / "families.csv", csv_of_lines(discovery.family_rows()))
    write_atomically(out / "discover.html", page)
    DISCOVERY_FOLDER.finish(out, {}, config)
