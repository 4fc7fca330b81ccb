"""Zero-shot logits for other loops: what open_clip computes, ensembled over sentences; bad input is named."""

from functools import partial

import numpy as np
import pytest
import torch
from traced_memory import traced

import dbpt
from dbpt.errors import InputError

SENTENCES = ["a bird on land", "a bird in a forest", "a bird on water"]


def features(backbone, rows=5):
    return backbone.encode_image(torch.randn(rows, 3, 64, 64, generator=torch.Generator().manual_seed(0))).numpy()


@pytest.fixture(scope="module")
def backbone():
    from dbpt.data.demo import mini_clip_paths

    return dbpt.load_backbone(*mini_clip_paths())


def test_logits_are_those_of_the_model(backbone):
    images_ND = features(backbone)
    with torch.inference_mode():
        texts_PD = backbone.model.encode_text(backbone.token_ids(SENTENCES), normalize=True)
        expected = backbone.model.logit_scale.exp() * torch.from_numpy(images_ND) @ texts_PD.T
    logits = dbpt.zero_shot_logits(backbone, images_ND, SENTENCES)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=3e-5)
    assert np.array_equal(dbpt.zero_shot_logits(backbone, torch.from_numpy(images_ND), tuple(SENTENCES)), logits)


def test_sentences_of_a_name_are_averaged_as_unit_vectors(backbone):
    images_ND = features(backbone)
    texts_PD = backbone.encode_text(SENTENCES).numpy()
    means = np.stack([texts_PD[:2].mean(axis=0), texts_PD[2]])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    logits = dbpt.zero_shot_logits(backbone, images_ND, SENTENCES, [0, 0, 1])
    np.testing.assert_allclose(logits, backbone.logit_scale * images_ND @ means.T, rtol=0, atol=3e-5)


def test_logits_of_a_name_s_sentences_are_averaged_when_asked(backbone):
    images_ND, owners = features(backbone), [0, 0, 1]
    of_sentences = dbpt.zero_shot_logits(backbone, images_ND, SENTENCES)
    logits = dbpt.zero_shot_logits(backbone, images_ND, SENTENCES, owners, combine="logits")
    expected = np.stack([of_sentences[:, :2].mean(axis=1), of_sentences[:, 2]], axis=1)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=3e-5)
    embedded = dbpt.zero_shot_logits(backbone, images_ND, SENTENCES, owners)
    assert np.array_equal(embedded, dbpt.zero_shot_logits(backbone, images_ND, SENTENCES, owners, combine="embeddings"))
    assert not np.allclose(logits[:, 0], embedded[:, 0])


def test_some_rows_are_taken_in_blocks(backbone, monkeypatch):
    images_ND, rows = features(backbone, 7), [6, 0, 3, 3, 1]
    expected = dbpt.zero_shot_logits(backbone, images_ND[rows], SENTENCES)
    monkeypatch.setattr("dbpt.data.stored_features.BLOCK_ROWS", 2)
    for dtype, atol in ((np.float32, 3e-5), (np.float16, 0.1)):
        found = dbpt.zero_shot_logits(backbone, images_ND.astype(dtype), SENTENCES, rows=rows)
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
    assert dbpt.zero_shot_logits(backbone, images_ND, SENTENCES, rows=[]).shape == (0, 3)
    np.testing.assert_allclose(dbpt.zero_shot_logits(backbone, images_ND, SENTENCES)[rows], expected, rtol=0, atol=3e-5)


def test_mapped_features_are_not_copied(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("dbpt.data.stored_features.BLOCK_ROWS", 64)
    np.save(tmp_path / "f.npy", np.ones((6400, backbone.embed_dim), np.float16))
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
    for rows in (None, np.arange(0, 6400, 2)):
        _, _, peak = traced(partial(dbpt.zero_shot_logits, backbone, mapped, SENTENCES, rows=rows))
        assert peak < mapped.nbytes / 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((2, 3), np.float32)}, r"^features has shape \(2, 3\) and dtype float32; expected \(N, "),
        ({"features": np.zeros(3)}, r"^features has shape \(3,\)"),
        ({"features": [[1, 2], [3]]}, "^features is ragged"),
        ({"texts": "a bird"}, "^texts is 'a bird'; expected a list of sentences"),
        ({"texts": []}, r"^texts is \[\]"),
        ({"texts": torch.ones(3, 9)}, r"^texts is tensor\(.*; expected a list of sentences"),
        ({"owners": [0, 1]}, r"^owners has 2 entries, .*each of the 3 sentences"),
        ({"owners": [0, 0, 2]}, r"^owners has 3 entries, of the names \[0, 2\]; .*without a gap"),
        ({"owners": [-1, 0, 1]}, r"^owners has 3 entries, of the names \[-1, 0, 1\]"),
        ({"owners": [0.0, 1.0, 2.0]}, r"^owners has shape \(3,\) and dtype float64"),
        ({"rows": [0, 5]}, r"^rows has indices in 0..5; expected 0..4"),
        ({"rows": [-1]}, r"^rows has indices in -1..-1; expected 0..4"),
        ({"rows": [True, False, True, True, True]}, r"^rows has shape \(5,\) and dtype bool"),
        ({"combine": "logit"}, r"^combine is 'logit'; expected .* \(did you mean 'logits'\?\)"),
        ({"texts": ["word " * 200] * 3}, "^sentence 'word .*does not fit"),
    ],
)
def test_bad_input_is_named(backbone, change, message):
    arguments = {"features": features(backbone), "texts": SENTENCES, "owners": [0, 0, 1], **change}
    with pytest.raises(InputError, match=message):
        dbpt.zero_shot_logits(backbone, **arguments)
