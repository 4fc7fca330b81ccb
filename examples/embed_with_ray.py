"""Embed a table of images with Ray Data on one machine or a cluster; dbpt reads the result with ``--embeddings OUT``.

    python examples/embed_with_ray.py photos.parquet s3://bucket/photos OUT --actors 16

The column ``path`` has paths below the root, which is a folder or a URL that fsspec opens. OUT gets Parquet files with
the columns path and features. Ray restarts a worker that dies and repeats its batch. The cluster needs a CPU more than
the actors have, for reading the table.
"""

import argparse
import io
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet
import ray
import torch
from PIL import Image

import dbpt


class Embed:
    """An actor that holds the backbone."""

    def __init__(self, root: str, model: str | None, pretrained: str | None, threads: int):
        torch.set_num_threads(threads)
        self.root, self.backbone = root.rstrip("/"), dbpt.load_backbone(model, pretrained)

    def __call__(self, batch):
        paths, images = [], []
        for path in batch["path"]:
            with fsspec.open(f"{self.root}/{path}") as file:  # what can't be read stops the job: the store may be down
                content = file.read()
            try:
                with Image.open(io.BytesIO(content)) as image:
                    images.append(self.backbone.preprocess(image))
            except Exception as error:  # Pillow raises nearly anything for a file that is no image
                print(f"left out: {path}: {error}")
                continue
            paths.append(path)
        features = (
            self.backbone.encode_image(torch.stack(images)) if images else torch.empty(0, self.backbone.embed_dim)
        )
        return {"path": np.array(paths, dtype=object), "features": features.numpy()}


def main(arguments=None, actor=Embed):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("table", "root", "out"):
        parser.add_argument(name)
    parser.add_argument("--model", default="ViT-B-32-quickgelu")
    parser.add_argument("--pretrained", default="openai")
    # cpus and gpus are those of an actor; rows are those of a file, at least
    for name, default in {"actors": 1, "cpus": 1, "gpus": 0, "batch": 64, "rows": 100_000}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args(arguments)
    if "://" in given.out or Path(given.out).exists():
        parser.error(f"OUT: {given.out!r} exists or is a URL; name a new folder")
    read = ray.data.read_parquet if given.table.endswith(".parquet") else ray.data.read_csv
    table = read(given.table).select_columns(["path"]).repartition(target_num_rows_per_block=given.batch)
    resources = {
        "compute": ray.data.ActorPoolStrategy(size=given.actors),
        "num_cpus": given.cpus,
        "num_gpus": given.gpus,
    }
    values = {"root": given.root, "model": given.model, "pretrained": given.pretrained, "threads": given.cpus}
    embedded = table.map_batches(actor, batch_size=given.batch, fn_constructor_kwargs=values, **resources)
    embedded.write_parquet(given.out, min_rows_per_file=given.rows)
    done = sum(pyarrow.parquet.read_metadata(file).num_rows for file in Path(given.out).glob("*.parquet"))
    print(f"{done} images embedded; {table.count() - done} left out")


if __name__ == "__main__":
    main()
