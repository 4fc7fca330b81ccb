"""The features of a long list of sentences are kept, under everything that determines them."""

from dataclasses import replace

import pytest
import torch

from dbpt.clip import Backbone, load_backbone
from dbpt.storage.tensors import StoredArrays

SENTENCES = [f"a photo of {n} {thing}." for n in ("one", "two", "some", "many") for thing in ("dog", "cats")]


@pytest.fixture
def backbone(tiny_backbone, tmp_path) -> Backbone:
    return replace(tiny_backbone, stored_texts=StoredArrays(tmp_path / "texts"))


def forget_text_tower(monkeypatch) -> None:
    def compute(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(Backbone, "_text_features", compute)


def test_a_list_is_computed_once_and_gives_the_same_bits(backbone, tiny_backbone, monkeypatch):
    computed = tiny_backbone.encode_text(SENTENCES)
    torch.testing.assert_close(backbone.encode_text(SENTENCES), computed, rtol=0, atol=0)
    with monkeypatch.context() as patch:
        forget_text_tower(patch)
        torch.testing.assert_close(backbone.encode_text(SENTENCES), computed, rtol=0, atol=0)
        with pytest.raises(AssertionError, match="computed again"):
            backbone.encode_text(SENTENCES[::-1])
    assert len(backbone.stored_texts.files()) == 1


def test_few_sentences_and_a_backbone_without_a_store_leave_no_file(backbone, tiny_backbone):
    backbone.encode_text(SENTENCES[:7])
    tiny_backbone.encode_text(SENTENCES)
    assert not backbone.stored_texts.folder.exists()


def test_other_weights_and_other_towers_have_keys_of_their_own(backbone):
    ids, spec = backbone.token_ids(SENTENCES), backbone.spec
    config = spec["config"]
    others = [
        replace(backbone, spec=spec | {"weights": spec["weights"] | {"sha256": "0" * 64}}),
        replace(backbone, spec=spec | {"config": config | {"quick_gelu": True}}),
        replace(backbone, spec=spec | {"config": config | {"text_cfg": config["text_cfg"] | {"heads": 1}}}),
    ]
    keys = {each._text_key(ids) for each in (backbone, *others)}
    keys |= {backbone._text_key(ids.flip(0)), backbone._text_key(ids.reshape(4, -1))}
    assert len(keys) == 6
    same = replace(backbone, spec=spec | {"image_precision": "bf16", "model": "moved.json"})
    assert same._text_key(ids) == backbone._text_key(ids)


def test_every_command_keeps_them_in_its_cache(tiny, tiny_run, tmp_path):
    import dbpt

    wordings = {"meadow": ["meadow", "grass", "field", "lawn"], "lake": ["lake", "pond", "river", "sea"]}
    settings = {name: tiny.settings[name] for name in ("model", "pretrained", "embed_batch_size")}
    texts = StoredArrays(tmp_path / "guess" / "texts")
    dbpt.guess_attributes(tiny.table, cache=tmp_path / "guess", attributes=wordings, **settings)
    assert len(texts.files()) == 6  # one of the five sentences that test the trust is the words' own; and other words
    dbpt.audit(None, predictions=tiny_run, cache=tmp_path / "audit", attributes=wordings)
    assert len(StoredArrays(tmp_path / "audit" / "texts").files()) == 7  # and those of class and attribute
    assert load_backbone(tiny.model, tiny.weights).stored_texts is None
