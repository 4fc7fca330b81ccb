"""Open an audited data set in FiftyOne: labels, predictions, groups, guesses, and the labels that look wrong.

    dbpt audit photos.csv --attributes photo drawing --out audits/photos
    python examples/fiftyone_dataset.py audits/photos

It needs `pip install fiftyone`. Sort by `label_quality`, or filter by the tags "wrong label" and "rare case".
"""

import csv
import json
import sys
from pathlib import Path

import fiftyone


def rows(table):
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def dataset(audit):
    suspicious = {row["path"]: row for row in rows(audit / "suspicious.csv")}
    figures = json.loads((audit / "audit.json").read_text(encoding="utf-8"))
    root, samples = Path(figures["data"]["root"]), []
    for row in rows(audit / "images.csv"):
        sample = fiftyone.Sample(filepath=str(root / row["path"]), tags=[row["split"]])
        sample["group"] = f"{row['label']} · {row['attribute']}"
        probability = {"confidence": float(row[f"p_{row['prediction']}"])} if f"p_{row['prediction']}" in row else {}
        sample["ground_truth"] = fiftyone.Classification(label=row["label"])
        sample["prediction"] = fiftyone.Classification(label=row["prediction"], **probability)
        if row.get("pseudo_attribute"):
            confidence = float(row["confidence"])
            sample["guess"] = fiftyone.Classification(label=row["pseudo_attribute"], confidence=confidence)
        if row["path"] in suspicious:
            sample.tags.append(suspicious[row["path"]]["looks_like"])
            sample["label_quality"] = float(suspicious[row["path"]]["label_quality"])
        samples.append(sample)
    result = fiftyone.Dataset(audit.resolve().name, persistent=True, overwrite=True)
    result.add_samples(samples)
    return result


if __name__ == "__main__":
    fiftyone.launch_app(dataset(Path(sys.argv[1]))).wait()
