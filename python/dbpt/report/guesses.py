"""The page ``guesses.html``, by which people check the guesses before training: contact sheets, doubts, what to do."""

import logging
from pathlib import Path

from dbpt.report import sections, text
from dbpt.report.pictures import GuessSheets, contact_sheets
from dbpt.storage.files import is_missing, write_atomically
from dbpt.study.study import Study

logger = logging.getLogger(__name__)


def guess_sheets(study: Study) -> GuessSheets:
    """Return the judged guesses of all but the test rows, with contact sheets if there are images.

    Of clusters, add class, cluster and its share of the class for each.
    """
    dataset, pseudo, rows = study.dataset, study.pseudo, study.dataset.rows_to_fit
    assert study.guesses is not None and pseudo.confidence is not None
    grouping = study.grouping("pseudo")
    groups, pairs = grouping.groups[rows], grouping.pairs
    sheets, clusters = None, list[tuple[str, str, float]]()
    if study.config.opens_images and grouping.provenance != "none":
        paths, seed = [dataset.paths[row] for row in rows], study.config.seed
        sheets = contact_sheets(paths, dataset.root, groups, pseudo.confidence[rows], group_names=pairs, seed=seed)
    if grouping.provenance == "clusters":
        counts_CK = grouping.counts(rows).reshape(dataset.num_classes, -1)
        shares_G = (counts_CK / counts_CK.sum(axis=1, keepdims=True).clip(1)).ravel()
        clusters = [(y, a, share) for (y, a), share in zip(pairs, shares_G.tolist(), strict=True)]
    return GuessSheets(study.guesses, {} if clusters else dataset.words.guessed(), sheets, clusters)


def write_guesses(out: Path, sheets: GuessSheets, name: str, label_commands: str, *, again: bool = False) -> None:
    """Write ``guesses.html`` if there are images, so that people can check the guesses during training.

    Args:
        out: the folder.
        sheets: the guesses, with pictures if there are images.
        name: of the data set.
        label_commands: those with which people label a sample, one a line.
        again: replace a page that is there.
    """
    if sheets.sheets is None:
        return
    page = out / "guesses.html"
    if again or is_missing(page):
        write_atomically(page, render_guesses(sheets, name, label_commands))
    shown = str(page).encode("utf-8", "backslashreplace").decode()  # most handlers of logs refuse other names
    logger.info(f"{text.whose_guesses(sheets.guesses.provenance)}, to check before training: {shown}")


def render_guesses(shown: GuessSheets, name: str, label_commands: str) -> str:
    """Return the page for the data set ``name``, to look at before training; ``label_commands`` are the next step."""
    guesses = shown.guesses
    names = [factor.name for factor in guesses.named] or list(shown.words)
    titles = {"clusters": "Clusters within each class", "file": f"Labelled {' and '.join(names)}"}
    took = f"What {text.guesser(guesses.provenance)} took for {' and for '.join(names)}"
    title = titles.get(guesses.provenance, took)
    head = sections.headline(f"{name} · before training", None, title, sections.section("look_first", guesses=guesses))
    box = sections.doubts(guesses, "pseudo", is_untrusted=True)
    by_clusters = guesses.provenance == "clusters"
    step = sections.next_step_section("guesses", by_clusters=by_clusters, label_command=label_commands)
    return sections.render_page(f"Guesses: {name} · dbpt", head, [box, sections.guessed(shown), step])
