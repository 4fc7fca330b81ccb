"""Notes about the figures that ``--label-noise`` corrects."""

from collections.abc import Sequence

from dbpt.report.text import count, count_of, percent
from dbpt.runs.metrics import Metrics

NOISE_CAVEAT = (
    "the correction presumes that an image with a wrong attribute is classified like any other image of its true "
    "group: random errors are like that, but CLIP's own are not, and it doesn't help against these"
)


def noise_notes(
    metrics: Metrics, rows: Sequence[tuple[str, Sequence[float | None]]], *, caveat: bool = True
) -> list[str]:
    """Return notes about the figures that ``--label-noise`` corrects; none without it.

    ``rows`` are the titles of the rows of the table, each with its corrected accuracies (G,), if it has some.
    """
    noise, data = metrics.label_noise, metrics.dataset
    if noise is None:
        return []
    pairs = list(zip(data.group_names, data.train_counts_pseudo, noise.train_counts, strict=True))
    filled = [(round(n), name, pseudo) for name, pseudo, n in pairs if pseudo or round(n)]
    labelled = f"{count_of(noise.n_labelled, 'training image')} labelled by hand"
    notes = [f"label noise: by {labelled}"]
    if filled:
        n, name, pseudo = min(filled)
        about = f"about {count_of(n, 'image')} ({count(pseudo)} by pseudo attribute)"
        notes[0] += f"; smallest training group: {name}, {about}"
    worst = []
    for title, corrected in rows:
        known = [(each, name) for name, each in zip(data.group_names, corrected, strict=False) if each is not None]
        if known:
            accuracy, name = min(known)
            worst.append(f"{title} {percent(accuracy)} ({name})")
    if not worst:
        return [*notes, "accuracies are over true attributes, which need no correction for label noise"]
    notes.append("the accuracies above are as pseudo attributes give them, not corrected for label noise")
    return [*notes, f"worst group, corrected for label noise: {', '.join(worst)}", *([NOISE_CAVEAT] if caveat else [])]
