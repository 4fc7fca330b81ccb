"""``--attributes clusters``: clusters within each class of a data set, named by the nearest words; those of a run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.clip.zero_shot import zero_shot_weights
from dbpt.data import Dataset
from dbpt.data.stored_features import StoredFeatures
from dbpt.discovery.catalogue import read_catalogue
from dbpt.errors import InputError
from dbpt.files.tensors import read_tensors, write_tensors
from dbpt.files.typed_json import typed_json
from dbpt.pseudo_attributes.class_clusters import ClassClusters, find_class_clusters
from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION, WAY_OUT

FILE = "clusters.safetensors"
ARRAYS = ("weights", "biases", "separation")


def find_clusters(dataset: Dataset, features: StoredFeatures, backbone: Backbone, number: int) -> ClassClusters:
    """Return ``number`` clusters in each class, 0 for as many as fit, of the (N, D) features of ``backbone``.

    They are fitted on all rows but those of the test split, and named by words of the catalogue.
    """
    fitted = dataset.rows_to_fit
    class_weights = zero_shot_weights(backbone, *dataset.words.class_texts())
    found = find_class_clusters(features[fitted], dataset.labels[fitted], class_weights, dataset.class_names, number)
    texts = {
        name: family.templates[0].replace("{}", wordings[0])
        for family in read_catalogue()
        for name, wordings in family.attributes.items()
    }
    return found.named(list(texts), zero_shot_weights(backbone, list(texts.values()), np.arange(len(texts))))


def write_clusters(run: Path, clusters: ClassClusters) -> None:
    """Write the clusters of a run, so that other images can be assigned to them."""
    tensors: dict[str, NDArray[Any]] = {name: getattr(clusters, name) for name in ARRAYS}
    write_tensors(run / FILE, tensors, {"names": json.dumps(clusters.names)}, version=TENSORS_SCHEMA_VERSION)


def read_clusters(run: Path, num_classes: int) -> ClassClusters:
    """Read the clusters of a run. Raises `InputError` if they are missing or were changed."""
    tensors, metadata = read_tensors(
        run / FILE, "run's clusters", version=TENSORS_SCHEMA_VERSION, way_out=WAY_OUT, needs=ARRAYS
    )
    names = typed_json(metadata, "names", list[list[str]], run / FILE, WAY_OUT)
    weights, biases, separation = (tensors[name] for name in ARRAYS)
    number = len(names[0]) if names else 0
    shapes = (weights.shape[:2], biases.shape, separation.shape, tuple({len(of_class) for of_class in names}))
    if (
        weights.ndim != 3
        or not number
        or shapes != ((num_classes, number), (num_classes, number), (num_classes,), (number,))
        or len(names) != num_classes
        or any(array.dtype != np.float32 or not np.isfinite(array).all() for array in (weights, biases))
    ):
        raise InputError(f"{run / FILE}: does not belong to this run; {WAY_OUT}")
    return ClassClusters(weights, biases, separation, tuple(map(tuple, names)))
