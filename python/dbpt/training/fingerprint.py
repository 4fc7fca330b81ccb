"""What a checkpoint must agree on with the run that goes on from it."""

import hashlib
import json
from dataclasses import asdict

import numpy as np

from dbpt.training.records import Rows, TrainingSettings


def training_fingerprint(outer: str, training: Rows, validation: Rows, settings: TrainingSettings) -> str:
    """A digest of ``outer``, every row, and the settings but for ``lr``, which may be lowered on the way."""
    digest = hashlib.sha256(outer.encode())
    fixed = {name: value for name, value in asdict(settings).items() if name != "lr"}
    digest.update(json.dumps(fixed, sort_keys=True).encode())
    for rows in (training, validation):
        arrays = (rows.features, rows.labels, rows.groups, rows.posterior)
        for array in (array for array in arrays if array is not None):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
