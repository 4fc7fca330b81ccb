"""Targets: what describes a model, its weights and its tokenizer."""

import json
from pathlib import Path

import repairs
import torch
from fuzz_target import Parse, Workplace, corpus_of, target

from dbpt import load_backbone
from dbpt.clip.spec import FileTokenizer

CONFIG = {
    "embed_dim": 4,
    "vision_cfg": {"layers": 1, "width": 8, "head_width": 4, "patch_size": 4, "image_size": 8},
    "text_cfg": {"context_length": 5, "vocab_size": 12, "width": 8, "heads": 2, "layers": 1},
}


@target()
def model_config(workplace: Workplace) -> Parse:
    return workplace.parser_of("model.json", lambda path: load_backbone(path, "random"))


@target(repairs.safetensors)
def model_weights(workplace: Workplace) -> Parse:
    config = workplace.folder / "model.json"
    config.write_text(json.dumps(CONFIG))

    def read(path: Path) -> None:
        state = load_backbone(config, path).model.state_dict()
        assert all(tensor.dtype in (torch.float32, torch.bool, torch.int64) for tensor in state.values())

    return workplace.parser_of("model.safetensors", read)


@target()
def tokenizer(workplace: Workplace) -> Parse:
    return workplace.parser_of("tokenizer.json", _tokenize)


@target()
def tokenizer_config(workplace: Workplace) -> Parse:
    """A tokenizer's second file, which names its padding."""
    (workplace.folder / "tokenizer.json").write_bytes(corpus_of("tokenizer")["good-words.json"])
    return workplace.parser_of("tokenizer_config.json", lambda path: _tokenize(path.with_name("tokenizer.json")))


def _tokenize(path: Path) -> None:
    ids = FileTokenizer(path, CONFIG)(["a dog", "", "x y z wug x y z"])
    assert ids.shape == (3, 5) and ids.dtype == torch.int64
