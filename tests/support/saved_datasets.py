"""Hugging Face data sets for the tests, of images that are only bytes, and of those of the tiny task."""

import datasets
import pyarrow as pa

datasets.disable_progress_bars()

NAMES = ("dog", "cat")


def made(labels, images=None, names=NAMES, **columns):
    """A Dataset; ``images`` are bytes, paths or None, ``b"0"``, ``b"1"`` ... if not given. A list is a column."""
    images = [str(row).encode() for row in range(len(labels))] if images is None else images
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(names)) if names else datasets.Value(kind_of(labels)),
        **{name: datasets.Value(kind_of(values)) for name, values in columns.items()},
    }
    return datasets.Dataset.from_dict(
        {"image": [stored(image) for image in images], "label": labels, **columns}, datasets.Features(features)
    )


def kind_of(values):
    return {str: "string", int: "int64", bool: "bool", float: "float64"}[type(values[0])]


def stored(image):
    return {"bytes": image, "path": None} if isinstance(image, bytes) else image


def of_splits(**splits):
    return datasets.DatasetDict(splits)


def of_tiny(tiny, as_paths=False):
    """The tiny task's images as bytes, or as paths."""
    splits = {}
    for split in ("train", "val", "test"):
        rows = [row for row in tiny.rows() if row["split"] == split]
        files = [tiny.table.parent / row["path"] for row in rows]
        splits[split] = made(
            [("box", "disc").index(row["label"]) for row in rows],
            [str(file) if as_paths else file.read_bytes() for file in files],
            ("box", "disc"),
            attribute=[row["attribute"] for row in rows],
        )
    return of_splits(**splits)


def rewrite(file, change, max_chunksize=None, **options):
    """Write what ``change`` makes of the table in an Arrow file."""
    table = change(pa.ipc.open_stream(file.read_bytes()).read_all())
    options = pa.ipc.IpcWriteOptions(**options)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize)


def with_images(folder, images):
    """Let an array be the column of images: save_to_disk of today makes bytes of paths."""
    rewrite(
        folder / "data-00000-of-00001.arrow",
        lambda table: table.set_column(table.schema.get_field_index("image"), "image", images),
    )
    return folder
