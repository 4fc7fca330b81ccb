"""Commands that train nothing read features in blocks: their memory doesn't grow by a matrix of all features."""

import pickle

import numpy as np
import pytest

import dbpt
from dbpt.data.stored_features import StoredFeatures, map_blocks
from dbpt.features import EmbeddedFiles, embed_images

N, BLOCK = 20_000, 4_000
ROWS = np.array([3, 1, 99, 0, 98])


def test_they_index_as_an_array_does(tiny, tiny_backbone):
    data = dbpt.load_dataset(tiny.table)
    folder = tiny.cache / "features"
    whole = embed_images(tiny_backbone, data.root, data.paths, cache_dir=folder, batch_size=16).features
    found = EmbeddedFiles(tiny_backbone, data.root, data.paths, folder, max_failures=0)
    assert found.complete(batch_size=16) == 0
    stored, failures = found.features(), found.failures()
    assert (stored.shape, stored.dtype, stored.ndim, failures) == (whole.shape, whole.dtype, whole.ndim, ())
    for found, expected in (
        (stored[:], whole),
        (stored[ROWS], whole[ROWS]),
        (stored[5:9], whole[5:9]),
        (stored.take(ROWS)[1:3], whole[ROWS][1:3]),
        (np.asarray(stored), whole),
        # as the ranks of a training get them
        (pickle.loads(pickle.dumps(stored.take(ROWS).for_other_processes()))[:], whole[ROWS]),
    ):
        np.testing.assert_array_equal(found, expected)


def test_blocks_are_computed_one_below_the_other(monkeypatch):
    monkeypatch.setattr("dbpt.data.stored_features.BLOCK_ROWS", 3)
    array = np.arange(14, dtype=np.float32).reshape(7, 2)
    sizes = []

    def total(block):
        sizes.append(len(block))
        return block.sum(axis=1)

    stored = StoredFeatures.of(array)
    np.testing.assert_array_equal(map_blocks(stored, total), array.sum(axis=1))
    assert sizes == [3, 3, 1]
    assert map_blocks(stored.take(np.empty(0, np.int64)), total).shape == (0,)


@pytest.fixture(scope="module")
def many(tiny_backbone, tmp_path_factory):
    """A table of many rows without images, with features near the texts of class and attribute."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    labels, places = rng.integers(0, 2, N), rng.integers(0, 2, N)
    texts = tiny_backbone.encode_text(["disc", "box", "meadow", "lake"]).numpy()
    features = texts[labels] + texts[2 + places] + rng.normal(size=(N, tiny_backbone.embed_dim)) / 5
    np.save(folder / "features.npy", features.astype(np.float32))
    rows = [f"{number}.png,{('disc', 'box')[label]}\n" for number, label in enumerate(labels.tolist())]
    (folder / "table.csv").write_text("path,label\n" + "".join(rows))
    (folder / "catalogue.toml").write_text('[place]\nattributes = ["meadow", "lake"]\n')
    return folder


@pytest.fixture
def read_at_once(monkeypatch):
    """The number of rows of each read of features."""
    sizes, read = [], StoredFeatures.read
    for name in ("data.stored_features", "guesses.linear_probe"):
        monkeypatch.setattr(f"dbpt.{name}.BLOCK_ROWS", BLOCK)
    monkeypatch.setattr("dbpt.evaluation.family_guesses.ROWS_OF_SAMPLE", BLOCK)
    monkeypatch.setattr("dbpt.guesses.linear_probe.MOST_ROWS_TO_FIT", BLOCK)

    def counted(features, rows, out):
        sizes.append(len(rows))
        read(features, rows, out)

    monkeypatch.setattr(StoredFeatures, "read", counted)
    return sizes


COMMANDS = {
    "audit of a probe": {"attributes": ["meadow", "lake"], "predictions": "probe"},
    "discover": {"catalogue": "catalogue.toml"},
    "guess_attributes": {"attributes": ["meadow", "lake"]},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_reads_all_features_at_once(name, many, tiny, read_at_once, monkeypatch):
    monkeypatch.chdir(many)
    getattr(dbpt, name.split()[0])("table.csv", embeddings="features.npy", **tiny.backbone, **COMMANDS[name])
    assert sum(read_at_once) >= N and max(read_at_once) <= BLOCK


def test_doubts_read_the_judged_rows_only(many, tiny, read_at_once, monkeypatch):
    monkeypatch.chdir(many)
    monkeypatch.setattr("dbpt.guesses.doubts.MOST_ROWS_TO_JUDGE", BLOCK)
    dbpt.guess_attributes("table.csv", embeddings="features.npy", **tiny.backbone, **COMMANDS["guess_attributes"])
    # the check; the guesses; the judged rows by own, five other sentences, words; and by the words of the classes
    assert sum(read_at_once) == 2 * N + 8 * BLOCK
