"""Can words tell what a classifier leans on before any error shows it? Planted attributes, and tasks without one.

In each task a logistic regression on CLIP's features tells two classes apart in 26 to 52 images. It starts at the text
weights and stays near them, as in BEE (arXiv 2410.18970). Planted: each class comes in one style of its own, so that
the style goes with the class without exception. Without: both classes come in the same two styles, half each, or in one
style. The change of the weights is projected on the words of the catalogue, each less the mean of its family and
without the direction of the classes' own words, as a covariance over the training images; a lean is reported if a word
is beyond all 20 repetitions with permuted labels. Peer: the difference of the class means, without any classifier. Run
by hand, on a table with the columns path, label and attribute, the style, which the families `photo-or-drawing` and
`medium` name:

    python benches/lean_table.py TASKS table.csv model.json weights.safetensors
"""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from dbpt.evaluation.audit_subject import subject_of
from dbpt.guesses.catalogue import read_catalogue

FAMILIES, FIRST, PERMUTATIONS, PULL = ("photo-or-drawing", "medium"), 5, 20, 0.005
NAMES = {"sketch": ("sketch", "drawing")}
Drift = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main(tasks: int, table: str, model: str, weights: str) -> None:
    """Print the table."""
    given = {"model": model, "pretrained": weights, "image_precision": "float32"}
    subject = subject_of("zero-shot", table, given, "all", None)
    dataset, backbone = subject.dataset, subject.embedded.backbone
    features = np.asarray(subject.embedded.features[:])
    words = [
        (family.name, name, [template.replace("{}", text) for text in texts for template in family.templates])
        for family in read_catalogue()
        for name, texts in family.attributes.items()
    ]
    embedded = np.stack([backbone.encode_text(texts).numpy().mean(axis=0) for *_, texts in words])
    of_family = np.array([family for family, *_ in words])
    for family in set(of_family):
        embedded[of_family == family] -= embedded[of_family == family].mean(axis=0)

    print(
        "| measure | images | tasks | planted style among the first 5 words | a lean is reported |\n" + 5 * "|---" + "|"
    )
    for how in ("planted", "both styles in both classes", "one style"):
        hits, reported = np.zeros(2, int), np.zeros(2, int)
        for task in range(tasks):
            random = np.random.default_rng([task, 3])
            classes, styles = (
                random.permutation(dataset.num_classes)[:2],
                random.permutation(dataset.num_attributes)[:2],
            )
            rows = [drawn(dataset, random, c, styles, how, i) for i, c in enumerate(classes.tolist())]
            shown, labels = features[np.concatenate(rows)], np.repeat([0, 1], [len(part) for part in rows])
            names = [dataset.class_names[c] for c in classes.tolist()]
            start = np.subtract(*(backbone.encode_text([f"a photo of a {n}."]).numpy()[0] for n in names[::-1]))
            own = start / np.linalg.norm(start)
            apart = embedded - np.outer(embedded @ own, own)
            measures: tuple[Drift, Drift] = (partial(drift_of_probe, start, backbone.logit_scale), difference_of_means)
            names = [dataset.attribute_names[style] for style in styles.tolist()]
            true = {word for name in names for word in NAMES.get(name, (name,))}
            for number, measure in enumerate(measures):
                found = np.abs(apart @ measure(shown, labels))
                first = np.argsort(-found)[:FIRST].tolist()
                hits[number] += any(words[i][0] in FAMILIES and words[i][1] in true for i in first)
                null = [np.abs(apart @ measure(shown, random.permutation(labels))).max() for _ in range(PERMUTATIONS)]
                reported[number] += found.max() > max(null)
        for name, hit, lean in zip(("drift of the probe", "difference of class means"), hits, reported, strict=True):
            print(f"| {name} | {how} | {tasks} | {hit if how == 'planted' else '–'} | {lean} |", flush=True)


def drawn(dataset, random: np.random.Generator, label: int, styles: np.ndarray, how: str, place: int) -> np.ndarray:
    """Return the images of a class, in the styles that ``how`` says."""
    chosen = {"planted": [styles[place]], "one style": [styles[0]]}.get(how, styles)
    of_style = [np.flatnonzero((dataset.labels == label) & (dataset.attributes == style)) for style in chosen]
    return np.concatenate([random.permutation(rows)[: 26 // len(of_style)] for rows in of_style])


def difference_of_means(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean of the second class less that of the first."""
    return np.asarray(features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0))


def drift_of_probe(start: np.ndarray, scale: float, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the covariance of the features with the change of the logits."""
    centred = features - features.mean(axis=0)
    return np.asarray(centred.T @ (centred @ trained(features, labels, start, scale)))


def trained(features: np.ndarray, labels: np.ndarray, start: np.ndarray, scale: float) -> np.ndarray:
    """Return the change of the weights by a logistic regression that is pulled to the ``start``."""
    inputs, targets, begun = (torch.from_numpy(each.astype(np.float32)) for each in (features, labels, start))
    weights, bias = begun.clone().requires_grad_(), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = scale * (inputs @ weights) + bias
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
        loss = loss + PULL * scale**2 * ((weights - begun) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return (weights - begun).detach().numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), *sys.argv[2:])
