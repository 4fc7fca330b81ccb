"""The model card ``README.md`` of a run, for the Hugging Face Hub."""

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING

from dbpt import clip
from dbpt.evaluation.results import Metrics
from dbpt.report.result_rows import SPLIT_NAMES, Summary, group_size
from dbpt.report.table_notes import MINIMUM_NOTE, average_note, groups_line, pseudo_note, selected_by, split_line
from dbpt.report.text import capitalize_first, count, count_of, interval_text, percent, points, sentence
from dbpt.runs.pretrained import (
    ORIGIN,
    origin_line,
)

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

PAPER = "[Debiased Prompt Tuning in Vision-Language Model without Annotations](https://arxiv.org/abs/2503.08368)"
MOST_CLASSES = 50


def model_card(metrics: Metrics, command: str, *, is_drawn: bool, weights: str | None) -> str:
    """Return the model card of a run, which ``command`` made: figures by group, guesses and doubts, data and limits.

    Images that are ``is_drawn`` are a demo's. ``weights`` is the path of the local weights file of CLIP; None for
    published ones. Files are named without their folders.
    """
    summary = Summary(metrics)
    name = _in_markdown(metrics.dataset.name)
    asks = "" if weights is None else f', weights="{PurePath(weights).name}"'
    short = shlex.join(PurePath(word).name if PurePath(word).is_absolute() else word for word in shlex.split(command))
    parts = [
        f"---\n{_metadata(summary, is_drawn=is_drawn).to_yaml()}\n---",
        f"# CLIP for {name}, with fewer spurious features",
        " ".join(_description(summary)),
        "## Use",
        "Install dbpt, and give the name of this folder or repository:",
        f"```python\nimport dbpt\n\nclassifier = dbpt.Classifier.from_pretrained(FOLDER{asks})\n"
        'print(classifier.predict("photo.jpg").prediction)\n```',
        "## Accuracy by group",
        *_figures(summary),
        "## How the attributes were guessed",
        *map(sentence, _guesses(summary)),
        "## Training data",
        "\n".join(_data(metrics, name, is_drawn=is_drawn)),
        "## Limits",
        "\n".join(f"- {sentence(text)}" for text in _limits(summary)),
        "## License and base model",
        "\n".join(map(origin_line, ORIGIN, (None, _base_model(metrics)))),
        "## Made by",
        f"dbpt {metrics.dbpt_version}, after {PAPER}:",
        f"```text\n{short}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(summary: Summary, *, is_drawn: bool) -> "ModelCardData":
    """Return what the Hub reads: the library, the task, and the figures of the chosen row on real test images."""
    from huggingface_hub import EvalResult, ModelCardData

    metrics, chosen = summary.metrics, summary.chosen
    figures = {"worst-group accuracy": chosen.worst_group_accuracy, "average accuracy": chosen.average_accuracy}
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=metrics.dataset.name,
            dataset_name=metrics.dataset.name,
            dataset_split=metrics.split,
            metric_type="accuracy",
            metric_name=name,
            metric_value=round(value, 4),
        )
        for name, value in figures.items()
        if value is not None and metrics.split == "test" and not is_drawn
    ]
    return ModelCardData(
        library_name="dbpt",
        pipeline_tag="image-classification",
        base_model=_base_model(metrics),
        tags=["clip", "dbpt", "group-robustness", "prompt-tuning"],
        model_name=f"CLIP for {metrics.dataset.name}" if results else None,
        eval_results=results or None,
    )


def _base_model(metrics: Metrics) -> str | None:
    """Return the repository of the Hub that has the weights of CLIP; None for local and random ones."""
    return clip.published_repository(metrics.backbone.model, metrics.backbone.pretrained)


def _description(summary: Summary) -> list[str]:
    """Return what the classifier does, its tower and its head, a part of a sentence in each line."""
    classes, backbone, row = summary.metrics.dataset.classes, summary.metrics.backbone, summary.chosen.record
    names = ", ".join(map(_in_markdown, classes[:MOST_CLASSES])) + (", ..." if len(classes) > MOST_CLASSES else "")
    model, weights = (PurePath(path).name if path else "" for path in (backbone.model, backbone.pretrained))
    tower = _in_markdown(f"{model} ({weights})" if weights else model)
    return [
        f"It names the class of an image, one of {count_of(len(classes), 'class', 'classes')}: {names}.",
        f"The image tower of CLIP, {tower}, is as it was; the head `{row.head}` on its features was trained:",
        f"{row.title}, {row.prompts} prompts.",
    ]


def _figures(summary: Summary) -> list[str]:
    """Return the table by group, and the figures of the worst group and on average beside zero-shot CLIP."""
    metrics, chosen, zero_shot = summary.metrics, summary.chosen, summary.zero_shot
    counts = metrics.dataset.counts.get("train", [])
    lines = ["| group | training images | images | accuracy, % | 95 % interval |", "|---|---|---|---|---|"]
    for g in chosen.worst_first:
        group, size = metrics.dataset.group_names[g], group_size(summary.rows, g)
        shown = chosen.groups[g] if chosen.groups else None
        accuracy = percent(shown.accuracy) if shown else ""
        bounds = interval_text(shown.low, shown.high) if shown else ""
        lines.append(
            f"| {_in_markdown(group)} | {count(counts[g]) if counts else ''} | {size} | {accuracy} | {bounds} |"
        )
    before = "" if zero_shot is None else f" (zero-shot CLIP: {percent(zero_shot.worst_group_accuracy)})"
    worst = f"Worst group {percent(chosen.worst_group_accuracy)} %{before}"
    average = f"average {percent(chosen.average_accuracy)} %, gap {points(chosen.gap)} points"
    notes = ["intervals are exact and hold for all groups at once", MINIMUM_NOTE, average_note(metrics.average)]
    return [
        sentence(f"{capitalize_first(split_line(summary))}; {groups_line(metrics)}"),
        "\n".join(lines),
        f"{worst}; {average}.",
        " ".join(map(sentence, notes)),
    ]


TRAINED_ON = {
    "ppa": "training used groups from the errors of a probe (PPA), not these attributes",
    "true": "training used the true attributes, not these guesses",
}


def _guesses(summary: Summary) -> list[str]:
    """Return sentences about the guesses, the doubts about them, and the groups that training used instead."""
    metrics, source = summary.metrics, summary.chosen.record.group_source
    doubts = [f"doubted: {doubt}" for doubt in metrics.guesses.doubts]
    was_judged = metrics.dataset.has_attributes and metrics.dataset.coded is None
    doubts = ["no doubt was found"] if was_judged and not doubts else doubts
    return [pseudo_note(metrics), *doubts, *([TRAINED_ON[source]] if source in TRAINED_ON else [])]


def _data(metrics: Metrics, name: str, *, is_drawn: bool) -> list[str]:
    sizes = ", ".join(
        f"{count(sum(of_groups))} {SPLIT_NAMES[split]}" for split, of_groups in metrics.dataset.counts.items()
    )
    notes = [f"- {sentence(note)}" for note in metrics.dataset.notes]
    return [
        f"- {name}: {sizes} images{', drawn by dbpt' if is_drawn else ''}.",
        *notes,
        f"- Best epoch by {selected_by(metrics)}.",
    ]


def _limits(summary: Summary) -> list[str]:
    metrics = summary.metrics
    guessed = metrics.group_kind == "pseudo" and metrics.dataset.has_attributes
    return [
        "every image gets one of these classes, also one that shows none of them",
        "other images, groups that are not named here, and other attributes may have lower figures",
        *(["the groups are those of guessed attributes, so wrong guesses make wrong figures"] if guessed else []),
        *summary.warnings,
    ]


def _in_markdown(text: str) -> str:
    """Return a name in which Markdown sees no table, link, heading or HTML."""
    return "".join(f"\\{letter}" if letter in "\\|`*_[]<>#" else letter for letter in " ".join(text.split()))
