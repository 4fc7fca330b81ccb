"""Figures of an audit that never happened, with pictures, for what is shown of them."""

from itertools import product

import numpy as np
from by_position import group_metrics
from made_up_guesses import guesses_of
from made_up_results import worded

from dbpt.evaluation.audit_fields import AuditedData, AuditFigures, NextStep, Suspicious, Verdict
from dbpt.evaluation.explained_by_attribute import ExplainedErrors
from dbpt.evaluation.results import BackboneSummary
from dbpt.report.group_pictures import contact_sheets, group_examples
from dbpt.report.thumbnails import ImageFiles

OPTIONS = "pets.csv --attributes 'day, night' --out"


def figures_of(classes=("cat", "dog"), attributes=("day", "night"), right=(95, 40, 80, 90), n=100, **changes):
    """The figures of ``n`` images for each group, of which the given numbers are right."""
    num_attributes, num_groups = len(attributes), len(classes) * len(attributes)
    groups = np.repeat(np.arange(num_groups), n)
    labels, guessed = np.divmod(groups, num_attributes)
    correct = np.tile(np.arange(n), num_groups) < np.resize(right, num_groups)[groups]
    predictions = np.where(correct, labels, (labels + 1) % len(classes))
    metrics = group_metrics(
        predictions, labels, guessed, num_classes=len(classes), num_attributes=num_attributes,
        confidence=np.full(len(groups), 0.9), train_counts=np.ones(num_groups),
        group_names=list(product(classes, attributes)),
    )  # fmt: skip
    confusion = np.zeros((len(classes),) * 2, dtype=int)
    np.add.at(confusion, (labels, predictions), 1)
    names = {"classes": [*classes], "attributes": [*attributes]}
    guesses = guesses_of(shares=[1 / num_attributes] * num_attributes)
    explained = ExplainedErrors(
        n=len(groups), errors=95, share=0.4, p_value=0.001, permutations=999, p_is_bound=True, share_low=0.312,
        share_high=0.485,
    )  # fmt: skip
    values = {"schema_version": 1, "dbpt_version": "0.1.0", "predictions_by": "zero-shot", "predictions_from": ""}
    values |= {"group_kind": "pseudo", "average": "plain", "metrics": metrics, "guesses": guesses}
    values |= {
        "gap_low": 0.02,
        "gap_high": 0.4,
        "cramers_v": 0.25,
        "training_cramers_v": 0.87,
        "explained": explained,
        "settings": {"Device": "cpu"},
    }
    values |= {"words": {"cat": ["cat", "kitten"], "day": ["day", "daylight"]}, "templates": ["a photo of a {}"]}
    values |= {"attribute_templates": ["a photo taken at {}"], "command": f"dbpt audit {OPTIONS} audits/pets"}
    values["data"] = AuditedData(
        name="pets", root="/pets", split="test", n=len(groups), failed_images=0, notes=[], **names
    )
    values["backbone"] = BackboneSummary(model="ViT-B-32", pretrained="openai", embed_dim=512, image_precision="bf16")
    values["verdict"] = Verdict(kind="bias", sentence="the classifier fails for cats at night", group=1)
    values["suspicious"] = Suspicious(share_wrong=0.0, wrong_labels=0, rare_cases=0, hard_cases=0)
    values["next_step"] = NextStep(
        "train", "Train another:", [f"dbpt fit {OPTIONS} runs/pets"], label=["dbpt label runs/pets"]
    )
    values["confusion"] = {
        name: {other: int(n) for other, n in zip(classes, taken, strict=True) if n}
        for name, taken in zip(classes, confusion, strict=True)
    }
    return AuditFigures(**values | changes | {"warnings": worded(*changes.get("warnings", ()))})


def sheets_of(names, folder, n=30, page=None):
    groups = np.repeat(np.arange(len(names)), n)
    paths = [f"{row % 4}.png" for row in range(len(groups))]
    confidence = np.linspace(0.4, 1, len(groups), dtype=np.float32)
    return contact_sheets(ImageFiles(paths, folder, page), groups, confidence, group_names=names)


def examples_of(figures, folder, n=12, page=None, num_classifiers=1):
    """The first half of each group is right."""
    groups, classes = np.repeat(np.arange(len(figures.groups)), n), figures.data.classes
    labels, right = groups // len(figures.data.attributes), np.tile(np.arange(n) < n // 2, len(figures.groups))
    predictions = np.where(right, labels, (labels + 1) % len(classes))
    images = ImageFiles([f"{row % 4}.png" for row in range(len(groups))], folder, page)
    names = {"group_names": figures.data.groups, "classes": classes}
    p_true = np.linspace(0.125, 0, len(groups))
    return group_examples(images, groups, [predictions] * num_classifiers, p_true=p_true, **names)
