"""Open an audited data set in FiftyOne: labels, predictions, groups, guesses, and the labels that may be wrong.

    python examples/fiftyone_dataset.py NAME photos.csv zero-shot --attributes photo drawing
    python examples/fiftyone_dataset.py NAME photos.csv runs/photos
    python examples/fiftyone_dataset.py NAME photos.csv mine.csv --model ViT-B-32 --pretrained weights.safetensors

NAME is that of a new data set in FiftyOne, which `pip install fiftyone` brings. Then come the data, whose predictions,
and some of the options of `dbpt audit`. Sort by `label_quality`, or filter by the tags "wrong label" and "rare
case". Images in archives have no files for FiftyOne.
"""

import argparse
from pathlib import Path

import fiftyone

import dbpt


def dataset(name, found):
    """Return the images of an audit as a new data set of FiftyOne."""
    root, table, samples = Path(found.figures.data.root), found.images, []
    suspicious = {path: row for row, path in enumerate(found.suspicious["path"])}
    for row, path in enumerate(table["path"]):
        label, prediction = table["label"][row], table["prediction"][row]
        sample = fiftyone.Sample(filepath=str(root / path), tags=[table["split"][row]])
        sample["group"] = f"{label} · {table['attribute'][row]}"
        sample["ground_truth"] = fiftyone.Classification(label=label)
        probability = float(table[f"p_{prediction}"][row]) if f"p_{prediction}" in table else None
        sample["prediction"] = fiftyone.Classification(label=prediction, confidence=probability)
        if "pseudo_attribute" in table:
            confidence = float(table["confidence"][row])
            sample["guess"] = fiftyone.Classification(label=table["pseudo_attribute"][row], confidence=confidence)
        if path in suspicious:
            sample.tags.append(found.suspicious["looks_like"][suspicious[path]] or "error")
            sample["label_quality"] = float(found.suspicious["label_quality"][suspicious[path]])
        samples.append(sample)
    result = fiftyone.Dataset(name, persistent=True)
    result.add_samples(samples)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for argument in ("name", "data", "predictions", "--model", "--pretrained"):
        parser.add_argument(argument)
    for words in ("--classes", "--attributes"):
        parser.add_argument(words, nargs="+")
    asked = {setting: value for setting, value in vars(parser.parse_args()).items() if value is not None}
    name = asked.pop("name")
    if fiftyone.dataset_exists(name):
        parser.error(f"FiftyOne has a data set {name!r} already; choose another name")
    try:
        found = dbpt.audit(**asked)
    except dbpt.InputError as error:
        parser.error(str(error))
    fiftyone.launch_app(dataset(name, found)).wait()
