"""Targets: image files, and features that the user has."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import repairs
from fuzz_target import Parse, Workplace, target

from dbpt.data import load_dataset
from dbpt.features import images
from dbpt.features.given import read_given_features

BACKBONE = SimpleNamespace(embed_dim=4, spec={"model": "tiny"})


@target(repairs.png)
def image(place: Workplace) -> Parse:
    """Of the six formats; every file goes by one name, because its content alone counts."""

    def read(path: Path) -> None:
        with images.pillow_warnings():
            width, height = images.read_size(path)
            image = images.read_image(path)
        assert image.size == (width, height) and 0 < width * height <= images.MAX_PIXELS
        assert image.mode in images.MODES

    return place.parser_of("image", read)


def given(place: Workplace, name: str) -> Parse:
    """Features of four rows."""
    table = place.folder / "rows.csv"
    table.write_text("path,label,split\nimg/a,x,train\nimg/b,y,train\nimg/c,x,val\nimg/d,y,test\n")
    dataset = load_dataset(table, images=False)

    def read(path: Path) -> None:
        source = path if path.parent == place.folder else path.parents[1]
        features = read_given_features(source, dataset, BACKBONE)
        assert features.shape == (4, 4) and features.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)

    return place.parser_of(name, read)


@target()
def given_npy(place: Workplace) -> Parse:
    return given(place, "features.npy")


@target(repairs.safetensors)
def given_safetensors(place: Workplace) -> Parse:
    return given(place, "features.safetensors")


@target()
def clip_retrieval_metadata(place: Workplace) -> Parse:
    parse = given(place, "folder/metadata/metadata_0.parquet")
    (place.folder / "folder/img_emb").mkdir()
    np.save(place.folder / "folder/img_emb/img_emb_0.npy", np.eye(4, dtype=np.float16))
    return parse
