"""The lines above and below the table of a run or a comparison: whose groups, which images, how it was computed."""

from dbpt.evaluation.results import Metrics
from dbpt.groups import group_name
from dbpt.guesses.base import OWN_VALUES, Provenance
from dbpt.guesses.figures import FactorGuesses
from dbpt.objectives import OBJECTIVES, Objective
from dbpt.report.result_rows import SPLIT_NAMES, Summary, named
from dbpt.report.text import coded_in_words, count_of, cross_validation_text, guesser, interval_text, percent, points
from dbpt.settings.all_settings import DEFAULT_SELECTIONS, PSEUDO_SELECTIONS, TRUE_SELECTIONS
from dbpt.settings.fields import AUTO, varied_in_words

MINIMUM_NOTE = "a worst group is a minimum: its accuracy is biased downward, most if groups are small and similar"
WORST_OF = {"wgp": "probability of the true class", "wga": "accuracy"}
"""The figure of the worst group that model selection takes."""


def split_line(summary: Summary) -> str:
    """Return a line that names the split of the figures and its number of images."""
    metrics = summary.metrics
    shown = [row.record.shown for row in summary.rows if row.record.shown is not None]
    images = f", {count_of(max(figures.n for figures in shown), 'image')}" if shown else ""
    name = f"{SPLIT_NAMES[metrics.split]} split{images}"
    if metrics.split == "test":
        return name
    if metrics.split == "train":
        return f"{name} (no other split; if the classifier was trained on it, the figures are too high)"
    selected = metrics.model_selection != "last" and any(row.record.best_epoch for row in summary.rows)
    flattery = "; it also selected the epochs, so the figures are too high" if selected else ""
    return f"{name} (no test split{flattery})"


def heading(summary: Summary) -> list[str]:
    """Return the lines above the table: which images, whose groups, what the figures are."""
    metrics, spread = summary.metrics, ""
    shots = metrics.dataset.shots
    trained_on = "" if shots is None else f"; trained on {shots} image{'s' if shots > 1 else ''} of each class"
    if metrics.draws:
        spread = (
            f", of one seed with all rows ± standard deviation over {len(metrics.draws)} draws of half of the training "
            "and validation rows"
        )
    elif len(metrics.seeds) > 1:
        spread = f", mean ± standard deviation over {len(metrics.seeds)} seeds"
    elif metrics.saved is None:
        spread = ", of one seed"
    return [
        f"{metrics.dataset.name}: {split_line(summary)}{trained_on}",
        f"{groups_line(metrics)}; figures in per cent{spread}",
    ]


def how_computed(summary: Summary) -> list[str]:
    """Return the notes about figures and rows that have results."""
    metrics = summary.metrics
    if metrics.saved is None:
        return [
            *_about_differences(metrics),
            MINIMUM_NOTE,
            *_about_factors(summary),
            average_note(metrics.average),
            *_about_training(metrics),
            *_about_methods(metrics),
            *_about_seeds(metrics),
            pseudo_note(metrics),
        ]
    marks = "* worst group of the row"
    if len(summary.rows) > 1:
        marks += f"   ◂ the {'chosen' if metrics.saved.choice else 'requested'} row, which is saved"
    trained = [row.record for row in summary.rows if row.record.best_epoch is not None]
    best = ", ".join(f"{row.title} {row.best_epoch} of {row.epochs}" for row in trained)
    return [
        marks,
        "interval: with 95 % confidence, the accuracy of the worst group lies here, whichever group that is",
        MINIMUM_NOTE,
        average_note(metrics.average),
        *([f"best epoch, by {selected_by(metrics)}: {best}"] if trained else []),
        *filter(None, [choice_note(metrics)]),
        pseudo_note(metrics),
    ]


def notes(summary: Summary, *, warnings: bool = True) -> list[str]:
    """Return the lines below the table."""
    metrics = summary.metrics
    failed = list[str]()
    for each in metrics.failed:
        head = f", head {each.head}" if each.head else ""
        failed.append(f"failed: {each.method}{varied_in_words(each.varied)}{head}, {each.number}: {each.reason}")
    return [
        *how_computed(summary),
        *(f"left out: {reason}" for reason in metrics.left_out),
        *failed,
        *(f"warning: {warning}" for warning in (summary.warnings if warnings else [])),
    ]


def is_varied(metrics: Metrics) -> bool:
    """Return whether rows differ in settings."""
    return any(row.varied for row in metrics.rows)


def groups_line(metrics: Metrics) -> str:
    """Return a line that tells whether groups are those of true or pseudo attributes."""
    if not metrics.dataset.has_attributes:
        return "groups: classes (no attribute named)"
    if metrics.group_kind == "true":
        return "groups: true attributes"
    guesses = metrics.guesses
    of_others: dict[Provenance, str] = {
        "clusters": "clusters within each class (found by the model)",
        "file": "pseudo attributes (from a file)",
        "probe": "pseudo attributes (guessed by a probe)",
    }
    groups = f"groups: {of_others.get(guesses.provenance, 'pseudo attributes (guessed by CLIP)')}"
    if metrics.dataset.coded is not None:
        return f"groups: values of {coded_in_words(metrics.dataset.coded)}"
    if not guesses.doubts:
        return groups
    some = metrics.doubted_factors if len(guesses.doubted_factors) < len(guesses.factors) else ["which"]
    return f"{groups}, {' and '.join(some)} can't be trusted here"


def selection_text(selection: str, *, by_class: bool) -> str:
    """Return the rule by which the best epoch was chosen; ``by_class`` says that its groups are the classes."""
    return f"{selection} over classes" if by_class else selection


def selected_by(metrics: Metrics) -> str:
    """Return the rule by which the best epochs of a run or a comparison were chosen, and the rows with another one."""
    selection, others = metrics.model_selection, list[str]()
    if selection == AUTO:  # rows of a comparison may have both defaults
        rules = {row.model_selection for row in metrics.rows if row.objective is not None}
        selection = DEFAULT_SELECTIONS[DEFAULT_SELECTIONS[True] in rules]
        others = ["methods without groups"] if len(rules) > 1 else []
    else:
        others = [row.title for row in metrics.rows if row.model_selection not in (None, selection)]
    by_ppa = any(row.group_source == "ppa" for row in metrics.rows)
    by_class = selection in PSEUDO_SELECTIONS and not metrics.dataset.has_attributes and not by_ppa
    text = selection_text(selection, by_class=by_class)
    return f"{text} ({' and '.join(others)} by average)" if others else text


def selecting_figure(metrics: Metrics) -> tuple[str, str, str]:
    """Return the figure that selects the epoch, in words, the groups that it is over, and its key in the history."""
    groups, _, figure = metrics.model_selection.partition("-")
    if groups == "pseudo" and any(row.group_source == "ppa" for row in metrics.rows):
        groups = "ppa"
    if figure not in WORST_OF:
        return "average accuracy", "", "val_average"
    if groups == "pseudo" and not metrics.dataset.has_attributes:
        return f"worst-class {WORST_OF[figure]}", "", f"val_{figure}"
    return f"worst-group {WORST_OF[figure]}", f", over {groups} groups", f"val_{figure}"


def average_note(kind: str) -> str:
    """Return a note about the average and gap in a table."""
    weights = {"plain": "over all images", "adjusted": "each group weighted by its share of the training images"}
    return f"average and gap: {kind}, {weights[kind]}"


def pseudo_note(metrics: Metrics) -> str:
    """Describe the pseudo attributes: method, shares, and their accuracy if true attributes are known."""
    if not metrics.dataset.has_attributes:
        return "pseudo attributes: none, because no attribute is named"
    quality, guesses = metrics.pseudo_quality, metrics.guesses
    out_of_fold = map(cross_validation_text, guesses.cross_validations, (each.values for each in guesses.factors))
    others = {"file": "attributes from a", **dict.fromkeys(OWN_VALUES, "groups:")}  # followed by the method
    whose = others.get(guesses.provenance, f"{guesser(guesses.provenance)}'s guesses,")
    text = "; ".join([f"{whose} {pseudo_text(metrics)}", *out_of_fold])
    if quality is None or quality.smallest_group is None:
        return text
    if guesses.named[1:]:
        shares = ", ".join(f"{factor.name} {percent(factor.accuracy)}" for factor in guesses.named)
        text += f"; right by factor: {shares}"
    smallest, name = quality.groups[quality.smallest_group], metrics.dataset.group_names[quality.smallest_group]
    interval = interval_text(smallest.precision_low, smallest.precision_high)
    right = f"{percent(quality.accuracy)} % are right{cluster_note(metrics)}"
    group = f"smallest pseudo-group ({name}, {count_of(smallest.n, 'image')})"
    return f"{text}; {right}; {group}: precision {percent(smallest.precision)} {interval}"


def cluster_note(metrics: Metrics) -> str:
    """Return how clusters and values are compared with true attributes, after a figure; "" for guesses of these."""
    what = "cluster" if metrics.dataset.clusters else "value"
    return (
        f", if each {what} stands for its most common true attribute"
        if metrics.dataset.clusters or metrics.dataset.coded
        else ""
    )


def pseudo_text(metrics: Metrics) -> str:
    """Return the method of the pseudo attributes and the share of each, or what is known of the clusters.

    With factors, the shares are those of each factor's values.
    """
    if not metrics.dataset.has_attributes:
        return "none"
    if metrics.dataset.clusters is not None:
        known = [value for value in metrics.dataset.clusters.separation if value is not None]
        distinct = f", separation at least {min(known):.2f}" if known else ""
        return f"{len(metrics.dataset.clusters.names[0])} clusters within each class{distinct}"
    guesses = metrics.guesses
    shares = [f"{factor.name if guesses.named else ''} {_shares(factor)}".strip() for factor in guesses.factors]
    return f"{guesses.method}: {'; '.join(shares)}"


def _shares(factor: FactorGuesses) -> str:
    """Return ``69 % land, 31 % water``; only shares below 1 % have decimals."""
    digits = [f"{100 * share:.{0 if share >= 0.01 or not share else 2}f}" for share in factor.shares]
    return ", ".join(f"{number} % {name}" for name, number in zip(factor.values, digits, strict=True))


ONLY = {
    "no-attribute": "no attribute is named",
    "unnamed": "no words tell the groups of a class apart",
    "last": "with the last epoch of each, validation chooses nothing",
    "objective": "the objective can train nothing else",
}


def choice_note(metrics: Metrics) -> str:
    """Return which candidate ``--prompts auto`` kept, and why, in a sentence; "" if it was not asked for."""
    if metrics.saved is None:
        return ""
    if metrics.saved.only is not None:
        return f"--prompts auto trained only {metrics.saved.method}: {ONLY[metrics.saved.only]}"
    if (choice := metrics.saved.choice) is None:
        return ""
    titles = {row.method: row.title for row in metrics.rows}
    saved = f"{titles[metrics.saved.method]} is saved"
    lost = "; the words hardly fit the images, so only trained candidates count" if choice.why == "words" else ""
    if choice.figure == "last":
        return f"{saved}; with the last epoch of each candidate, validation chooses nothing{lost}"
    if choice.why in ("score", "words"):
        return f"{saved}: it has the highest {selecting_figure(metrics)[0]} on the validation images{lost}"
    if choice.why == "few":
        where = "the rarest group of validation" if choice.group else "validation"
        return f"{saved}: {where} has {count_of(choice.n, 'image')}, too few to prefer another candidate"
    figure, images = WORST_OF.get(choice.figure, "accuracy"), f"({count_of(choice.n, 'validation image')})"
    if choice.why == "better":
        hedge = titles[choice.hedge or ""]
        where = f"in the worst group of {hedge}, {choice.group}" if choice.group else "on average"
        difference = f"{points(choice.lead)} points above that of {hedge}"
        return f"{saved}: {where} {images}, its {figure} is {difference}; {points(choice.limit)} would be enough"
    where = f"in its worst group, {choice.group}" if choice.group else "on average"
    return f"{saved}: {where} {images}, no other candidate is clearly better"


def _about_factors(summary: Summary) -> list[str]:
    """Return the worst group by each of several factors alone, with mean accuracies over the seeds."""
    notes, of_means = [], " (means over seeds)" if len(summary.metrics.seeds) > 1 else ""
    evaluated = [row for row in summary.rows if row.factors]
    for i, factor in enumerate(evaluated[0].factors if evaluated else ()):
        worst = [(row.name, row.factors[i].worst) for row in evaluated]
        texts = [
            f"{name} {percent(group.accuracy)} ({group_name(group.class_name, group.attribute)})"
            for name, group in worst
            if group
        ]
        if texts:
            notes.append(f"worst group by {factor.name} alone{of_means}: {', '.join(texts)}")
    return notes


def _about_differences(metrics: Metrics) -> list[str]:
    """Say what the columns against ERM or another row are, or why there are none."""
    rows = [row for row in metrics.rows if row.difference is not None]
    if not rows:
        if metrics.against or any(row.objective == "erm" for row in metrics.rows):
            return []
        return ["no difference to ERM: erm is not among the methods"]
    title = metrics.against_title
    same = "the same seed" if "," in (metrics.against or "") else "the same head and seed"
    if len(metrics.heads) > 1 and any(row.head is None for row in rows):
        same += f" (rows without training: head {metrics.heads[0]})"
    several = "would other seeds agree? (Student's t on the paired differences)"
    if metrics.draws:
        smallest = count_of(metrics.dataset.smallest_group, "training image")
        several = (
            "would other training images of the same kind agree? (difference ± t times the standard deviation of the "
            f"paired differences; the smallest pseudo-group has {smallest})"
        )
    return [
        f"against {title}: mean difference in worst-group accuracy to {title} with {same}, and its 95 % intervals",
        f"  over {metrics.repeat}s: {several if metrics.repeats > 1 else 'needs two or more'}",
        "  over images: would other images agree, with these classifiers? (paired answers, whichever group is worst)",
    ]


def _about_training(metrics: Metrics) -> list[str]:
    """Name the budget of all trained rows, and the rule for their best epoch."""
    trained = [row for row in metrics.rows if row.head is not None]
    if not trained:
        return []
    settings, rates = metrics.settings, metrics.settings.lr
    batch = f"batches of {settings.batch_size}" if settings.batch_size else "one batch of all rows"
    if len(set(rates.values())) == 1:
        rate = f"{next(iter(rates.values())):g}"
    else:
        rate = ", ".join(f"{value:g} ({head})" for head, value in rates.items())
    if (selection := metrics.model_selection) == "last":
        best = "best epoch: the last one, in every row"
    else:
        oracle = "; this choice is an oracle in every row" if selection in TRUE_SELECTIONS else ", oracles included"
        same = "" if selection == AUTO else f", the same rule in every row{oracle}"
        best = f"best epoch: by {selected_by(metrics)} on validation{same}"
    validation = "average accuracy" if selection == "last" else selected_by(metrics)
    varied = [f"validation: {validation}, on validation images at the best epoch"] if is_varied(metrics) else []
    named = " and where a row names another value" if varied else ""
    return [
        *varied,
        f"every row has the same budget, except as noted below{named}: {settings.epochs} epochs, {batch}, "
        f"{settings.optimizer}, learning rate {rate}; one training per {metrics.repeat}, no setting tuned for a method",
        best,
    ]


def _about_methods(metrics: Metrics) -> list[str]:
    """Name oracles, and rows with more epochs or another split to learn from."""
    epochs, methods = metrics.settings.epochs, {row.method: row for row in metrics.rows}
    titles = {name: row.title.removesuffix(varied_in_words(row.varied)) for name, row in methods.items()}
    oracles = [titles[name] for name, row in methods.items() if row.group_source == "true"]
    lines = [f"oracles, which see true attributes in training: {', '.join(oracles)}"] if oracles else []
    for name, row in methods.items():
        if row.objective is None:
            continue
        if (more := row.epochs - row.varied.get("epochs", epochs)) > 0:
            lines.append(f"{titles[name]} first trains {count_of(more, 'extra epoch')}")
        if (split := OBJECTIVES.get(row.objective, Objective).trains_on) != "train":
            flattery = "; it is judged on them here, so its figures prove nothing" if split == metrics.split else ""
            lines.append(f"{titles[name]} learns from rows of split {split!r}, all others from 'train'{flattery}")
    return lines


def _about_seeds(metrics: Metrics) -> list[str]:
    """Name rows that lack a seed or draw, so that their figures are over the others, and rows that no seed changes."""
    rows, lines = metrics.rows, []
    for row in rows:
        for what, done, wanted in (
            ("seeds", row.seed_repeats, metrics.seeds),
            ("draws", row.draw_repeats, metrics.draws),
        ):
            if len(done) < len(wanted):
                lines.append(f"{named(row.title, row.head, metrics)}: {len(done)} of {len(wanted)} {what}")
    trained = [row for row in rows if row.head is not None and len(row.seed_repeats) > 1]
    unmoved = [row for row in trained if not row.is_moved]
    if unmoved:
        names = [named(row.title, row.head, metrics) for row in unmoved]
        where = "any trained row" if len(unmoved) == len(trained) else "; ".join(names)
        whole = " (with one batch of all rows and a start from words, nothing is random)"
        because = "" if metrics.settings.batch_size else whole
        lines.append(f"seeds change no figure of {where}{because}, so there is no interval over seeds between them")
    return lines
