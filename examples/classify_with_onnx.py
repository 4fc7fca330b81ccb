"""Classify images with the file that `dbpt export RUN --onnx model.onnx` writes: onnxruntime, Pillow and NumPy only.

    python classify_with_onnx.py model.onnx FOLDER > predictions.csv

prints a line for each image: its path, the class and the probability of each class. The file says how to prepare the
images, as open_clip does.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
BATCH_SIZE = 32


def resized(image, mode, height, width, resampling):
    """The image as open_clip resizes it before it crops or pads."""
    if mode == "squash":
        return image.resize((width, height), resampling)
    if mode == "shortest" and height == width:
        short = min(image.size)
        return image.resize([int(height * side / short) for side in image.size], resampling)
    ratios = image.height / height, image.width / width
    ratio = max(ratios) if mode == "longest" else min(ratios)
    resampling = resampling if mode == "longest" else Image.Resampling.BICUBIC
    return image.resize([round(side / ratio) for side in image.size], resampling)


def prepared(path, preprocessing):
    """An image file as (3, H, W) float32."""
    with Image.open(path) as file:
        height, width = preprocessing["size"]
        resampling = Image.Resampling[preprocessing["interpolation"].upper()]
        if file.mode.startswith("I;16"):  # Pillow would cut 16 bits to 8 instead of scaling them
            file = Image.fromarray((np.asarray(file) >> 8).astype(np.uint8))
        image = resized(file, preprocessing["resize_mode"], height, width, resampling)
    missing = max(0, width - image.width), max(0, height - image.height)
    if any(missing):
        fill = (preprocessing["fill_color"],) * len(image.getbands())
        canvas = Image.new(image.mode, (image.width + missing[0], image.height + missing[1]), fill)
        canvas.paste(image, (missing[0] // 2, missing[1] // 2))
        image = canvas
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    pixels = np.asarray(image.crop((left, top, left + width, top + height)).convert("RGB"), np.float32) / 255
    mean, std = (np.array(preprocessing[name], np.float32) for name in ("mean", "std"))
    return ((pixels - mean) / std).transpose(2, 0, 1)


def main(model, folder):
    session = onnxruntime.InferenceSession(model)
    metadata = session.get_modelmeta().custom_metadata_map
    classes, preprocessing = (json.loads(metadata[name]) for name in ("classes", "preprocessing"))
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["path", "prediction", *(f"p_{name}" for name in classes)])
    for start in range(0, len(paths), BATCH_SIZE):
        batch = {}
        for path in paths[start : start + BATCH_SIZE]:
            try:
                batch[path] = prepared(path, preprocessing)
            except OSError as error:
                print(f"{path}: left out ({error})", file=sys.stderr)
        if not batch:
            continue
        (probabilities,) = session.run(["probabilities"], {"images": np.stack(list(batch.values()))})
        for path, row in zip(batch, probabilities, strict=True):
            table.writerow([path, classes[row.argmax()], *(f"{value:.6f}" for value in row)])


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[2]).is_dir():
        sys.exit("usage: python classify_with_onnx.py model.onnx FOLDER")
    main(*sys.argv[1:])
