"""Tar shards for the tests, as WebDataset writes them."""

import io
import json
import tarfile


def write_tar(path, files):
    """``files``: (name, bytes) in order; a dict instead of bytes becomes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def write_shards(tiny, folder, shards_a_split):
    """The images of the tiny task, of each split so many shards: ``train-000.tar`` ..."""
    for split in ("train", "val", "test"):
        rows = [row for row in tiny.rows() if row["split"] == split]
        for number in range(shards_a_split):
            files = []
            for index, row in enumerate(rows[number::shards_a_split]):
                files.append((f"./{index:04d}.png", (tiny.table.parent / row["path"]).read_bytes()))
                files.append((f"./{index:04d}.cls", row["label"].encode()))
                files.append((f"./{index:04d}.json", {"attribute": row["attribute"]}))
            write_tar(folder / f"{split}-{number:03d}.tar", files)
