"""Sentences that do not fit are refused, with every kind of tokenizer; a tokenizer.json is read as its package does."""

import json

import open_clip
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dbpt.clip import load_backbone, load_backbone_from_spec
from dbpt.errors import InputError

LENGTH = 8
CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 16},
    "text_cfg": {"context_length": LENGTH, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
WORDS = ["a", "photo", "of", "dog", "cat", "in", "the", "x"]
# name: (special tokens in the order of their ids, the template, the padding token)
KINDS = {
    "start and end": (["<pad>", "<s>", "</s>"], "<s> $A </s>", "<pad>"),
    "end is padding": (["<unk>", "</s>"], "$A </s>", "</s>"),
    "no special tokens": (["<pad>"], "$A", "<pad>"),
}


def backbone_with(folder, kind):
    """A random backbone; ``clip`` with CLIP's own tokenizer, else with a tokenizer.json of `KINDS`."""
    folder.mkdir(exist_ok=True)
    (folder / "c.json").write_text(json.dumps(CONFIG))
    if kind == "clip":
        return load_backbone(folder / "c.json", "random")
    special, template, pad = KINDS[kind]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    if template != "$A":
        pairs = [(token, vocabulary[token]) for token in special if token in template.split()]
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=pairs)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": pad}))
    return load_backbone(folder / "c.json", "random", tokenizer=folder)


IDS = {"start and end": [1, 3, 6, 7, 2, 0, 0, 0], "end is padding": [2, 5, 6, 1, 1, 1, 1, 1]}
IDS["no special tokens"] = [1, 4, 5, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("kind", "expected"), IDS.items())
def test_a_tokenizer_file_gives_the_ids_of_cleaned_sentences_padded(tmp_path, kind, expected):
    backbone = backbone_with(tmp_path, kind)
    assert backbone.token_ids(["a\n  dog cat"]).tolist() == [expected]
    assert backbone.tokenizer(["a  dog\tcat"], context_length=6).tolist() == [expected[:6]]
    assert backbone.encode_text(["a dog", "a cat"]).shape == (2, 8)


def test_a_rebuilt_backbone_needs_its_tokenizer_only_for_text(tmp_path):
    backbone, file = backbone_with(tmp_path, "start and end"), tmp_path / "tokenizer.json"
    assert backbone.spec["tokenizer"]["path"] == str(file)
    again = load_backbone_from_spec(backbone.spec)
    assert again.spec == backbone.spec
    ids = again.token_ids(["a dog"])
    file.write_text("[]")
    assert torch.equal(again.token_ids(["a dog"]), ids)  # loaded once
    with pytest.raises(InputError, match="changed since"):
        load_backbone_from_spec(backbone.spec).encode_text(["a"])
    with pytest.raises(InputError, match="not a tokenizer.json"):
        load_backbone(tmp_path / "c.json", "random", tokenizer=file)
    file.unlink()
    gone = load_backbone_from_spec(backbone.spec)
    assert gone.encode_image(torch.zeros(1, 3, 16, 16)).shape == (1, 8)
    with pytest.raises(InputError, match="cannot read the tokenizer: No such file"):
        gone.encode_text(["a"])


def test_a_separator_that_the_model_does_not_know_becomes_padding(tmp_path):
    """CLIPA's models have BERT's tokenizer without its end token, as `open_clip.tokenizer.HFTokenizer` gives it."""
    backbone_with(tmp_path, "start and end")
    stripped = CONFIG["text_cfg"] | {"tokenizer_kwargs": {"strip_sep_token": True}}
    (tmp_path / "c.json").write_text(json.dumps(CONFIG | {"text_cfg": stripped}))
    with pytest.raises(InputError, match=r"tokenizer.json: has no \[SEP\] token"):
        load_backbone(tmp_path / "c.json", "random", tokenizer=tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>", "sep_token": "</s>"}))
    backbone = load_backbone(tmp_path / "c.json", "random", tokenizer=tmp_path)
    assert backbone.token_ids(["a dog cat"]).tolist() == [[1, 3, 6, 7, 0, 0, 0, 0]]


SPECIAL = {"clip": 2, "start and end": 2, "end is padding": 1, "no special tokens": 0}


@pytest.mark.parametrize(("kind", "special"), SPECIAL.items())
def test_a_sentence_that_just_fits_passes_and_one_more_word_is_refused(tmp_path, kind, special):
    backbone = backbone_with(tmp_path, kind)
    fits = " ".join((WORDS * 3)[: LENGTH - special])
    assert backbone.token_ids(["a dog", fits]).shape == (2, LENGTH)
    told = f"^sentence '{fits} dog' does not fit into the text tower's 8 tokens; shorten it$"
    with pytest.raises(InputError, match=told):
        backbone.encode_text(["a dog", fits, f"{fits} dog", f"{fits} cat"])


def test_without_a_context_length_the_text_tower_has_open_clips(tmp_path):
    text = {name: value for name, value in CONFIG["text_cfg"].items() if name != "context_length"}
    (tmp_path / "c.json").write_text(json.dumps(CONFIG | {"text_cfg": text}))
    backbone, texts = load_backbone(tmp_path / "c.json", "random"), ["a dog", "dog " * 75]
    assert backbone.token_ids(texts).tolist() == open_clip.SimpleTokenizer()(texts).tolist()
    assert backbone.encode_text(texts).shape == (2, 8)


def test_a_very_long_sentence_is_named_in_one_short_line(tmp_path):
    with pytest.raises(InputError, match=r"^sentence 'dog dog .*\.\.\.' does not fit") as caught:
        backbone_with(tmp_path, "clip").token_ids(["dog " * 1000 + "\n"])
    assert len(str(caught.value)) < 200
