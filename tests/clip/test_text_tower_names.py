"""Every text tower that open_clip names, against its own `encode_text`; the page that says which path each one takes.

By default the smallest tower of each build is tried; the others are marked `full`.

Text towers of full width with one block and random weights (test_text_tower.py has deeper ones); configs that then are
equal are built once. Vocabularies are parts of one table. Hugging Face models are built from a configuration of the
same class, since theirs lie on a hub, and tokenizers of a hub are replaced by one with the same special tokens.
"""

import json
from functools import cache, partial
from pathlib import Path

import open_clip
import pytest
import torch
from documentation import tool
from prompt_reference import assert_same_tower, reference_features
from test_text_tower import WordTokenizer

from dbpt.clip.model import build_model
from dbpt.clip.prompt_tokens import prompt_token_ids
from dbpt.clip.shared_prefix_tower import build_text_tower, text_path
from dbpt.clip.text_tower import token_embedding

ROOT = Path(__file__).resolve().parents[2]
WORDINGS = ["waterbird", "dog", "an extraordinarily long name of a kind of seabird"]
N_CTX = 5
VOCABULARY, WIDEST = 49408, 1280
FRAMES = {  # of a hub's tokenizer: start tokens, end tokens, padding
    "SigLIP": ([], [1], 1),
    "bert": ([101], [], 0),
    "xlm-v": ([0], [2], 1),
    "mt5": ([], [1], 0),
    "roberta": ([0], [2], 1),
    "nllb": ([5], [2], 1),
}


def shallow(name: str) -> dict:
    """The name's config with one block and a stub of an image tower, but for what the tokenizer alone reads."""
    config = tool("write_text_towers").text_config(name)
    text = config["text_cfg"]
    tokenizer = text.pop("hf_tokenizer_name", None)
    frame = next(kind for kind in FRAMES if kind in tokenizer) if tokenizer else None
    text.pop("tokenizer_kwargs", None)
    text |= {"layers": 1, "vocab_size": 8}
    return config | {"frame": frame}


def distinct() -> dict[str, list[str]]:
    """Names by their shallow config."""
    names: dict[str, list[str]] = {}
    for name in open_clip.list_models():
        names.setdefault(json.dumps(shallow(name), sort_keys=True), []).append(name)
    return names


def build(config: str) -> str:
    """The path and the special tokens of a shallow config; towers of other modules are in test_text_tower.py."""
    config = json.loads(config)
    text, name = config["text_cfg"], config["text_cfg"].get("hf_model_name", "")
    of_hub = next((kind for kind in ("mt5", "nllb", "xlm", "roberta") if kind in name), None)
    return json.dumps([of_hub, config["frame"], text.get("no_causal_mask"), text.get("embed_cls")])


def size(config: str) -> tuple[int, int]:
    """The width of a tower as far as its config tells, and that of the features that it gives."""
    config = json.loads(config)
    return config["text_cfg"].get("width", 0), config["embed_dim"]


def towers() -> list:
    """A pytest parameter for each distinct config, with its names."""
    smallest: dict[str, str] = {}
    configs = distinct()
    for config in sorted(configs, key=size):
        smallest.setdefault(build(config), config)
    return [
        pytest.param((config, names), id=names[0], marks=() if config in smallest.values() else pytest.mark.full)
        for config, names in configs.items()
    ]


@cache
def table() -> torch.Tensor:
    return 0.5 * torch.randn(VOCABULARY, WIDEST, generator=torch.Generator().manual_seed(0))


def hugging_face(kind: str, folder: Path) -> str:
    """A folder with a configuration of the class that ``kind`` has on the hub, and of its size but for the depth."""
    transformers = pytest.importorskip("transformers", reason="a Hugging Face tower needs transformers")
    large = kind.endswith(("large", "xl", "1.3B"))
    if "mt5" in kind:
        shape = {"d_model": 2048, "d_ff": 5120, "num_heads": 32} if large else {"d_model": 768, "d_ff": 2048}
        config = transformers.MT5Config(vocab_size=1000, num_layers=1, num_decoder_layers=1, **shape)
    elif "nllb" in kind:
        shape = {"d_model": 1024, "encoder_ffn_dim": 8192 if large else 4096, "encoder_attention_heads": 16}
        config = transformers.M2M100Config(vocab_size=1000, encoder_layers=1, decoder_layers=1, **shape)
    else:
        shape = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096} if large else {}
        of_class = transformers.XLMRobertaConfig if "xlm" in kind else transformers.RobertaConfig
        config = of_class(vocab_size=1000, num_hidden_layers=1, max_position_embeddings=514, **shape)
    config.save_pretrained(folder)
    return str(folder)


def documented_path(name: str) -> str:
    """The path that docs/reference/text_towers.md gives a name."""
    page = (ROOT / "docs/reference/text_towers.md").read_text(encoding="utf-8").partition("| names |\n")[2]
    (row,) = [line for line in page.splitlines() if f"`{name}`" in line.rpartition(" | ")[2]]
    return row.split(" | ")[0].removeprefix("| ")


@pytest.fixture(params=towers())
def named(request, tmp_path):
    """(its names, the model, the tokenizer, the number of start tokens)"""
    config, names = json.loads(request.param[0]), request.param[1]
    frame, text = config.pop("frame"), config["text_cfg"]
    if "hf_model_name" in text:
        text["hf_model_name"] = hugging_face(text["hf_model_name"], tmp_path)
    torch.manual_seed(0)
    model = build_model(config, names[0]).eval().requires_grad_(False)
    embedding = token_embedding(model)
    if "hf_model_name" not in text:
        embedding.weight.data = table()[:, : embedding.embedding_dim]
    length = text.get("context_length", 77)
    if frame is None:
        return names, model, open_clip.SimpleTokenizer(context_length=length), 1
    start, end, pad = FRAMES[frame]
    return names, model, WordTokenizer(start, end, pad, length, first=6), len(start)


def test_every_named_tower_gives_what_encode_text_gives(named):
    names, model, tokenizer, start = named
    assert all(documented_path(name) == text_path(model).replace("-", " ") for name in names)
    generator = torch.Generator().manual_seed(1)
    for position, specific in (("end", False), ("middle", True)):
        owners = range(len(WORDINGS)) if specific else None
        layout = prompt_token_ids(tokenizer, WORDINGS, N_CTX, class_position=position, owners=owners)
        width = token_embedding(model).embedding_dim
        context = torch.randn(*[len(WORDINGS)] * specific, N_CTX, width, generator=generator)
        weights = torch.randn(len(WORDINGS), model.visual.output_dim, generator=generator)
        features_of = partial(reference_features, model, tokenizer, WORDINGS, start=start, position=position)
        assert_same_tower(build_text_tower(model, layout), features_of, context, weights, rtol=5e-5)


def test_the_page_of_text_towers_is_that_of_the_registry():
    assert (ROOT / "docs/reference/text_towers.md").read_text(encoding="utf-8") == tool("write_text_towers").page()


def test_all_names_are_walked_over():
    names = [name for group in distinct().values() for name in group]
    assert sorted(names) == sorted(open_clip.list_models())
    assert len(names) >= 144
