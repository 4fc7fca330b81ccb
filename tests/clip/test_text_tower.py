"""Every text path equals the model's own encode_text, in value and in the context's gradient."""

from functools import cache, partial

import open_clip
import pytest
import torch
from prompt_reference import assert_same_tower, reference_features

from dbpt.clip.prompt_tokens import context_token_ids, prompt_token_ids
from dbpt.clip.shared_prefix_tower import build_text_tower, text_path
from dbpt.clip.text_tower import token_embedding
from dbpt.errors import InputError

VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 3}
SIGLIP = {"context_length": 16, "vocab_size": 64, "no_causal_mask": True, "pool_type": "last", "proj_bias": True}
DECODER = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 1}
COCA = {"context_length": 76, "embed_cls": True, "output_tokens": True}
TOWERS = {
    "plain": (open_clip.CLIP, {}, "shared-prefix"),
    "quick-gelu": (open_clip.CLIP, {"quick_gelu": True}, "shared-prefix"),
    "layer-scale": (open_clip.CLIP, {"text": {"ls_init_value": 0.5}}, "shared-prefix"),
    "eos-pooling": (open_clip.CLIP, {"text": {"pool_type": "eos", "eos_id": 49407}}, "shared-prefix"),
    "projection-bias": (open_clip.CustomTextCLIP, {"text": {"proj_bias": True}}, "shared-prefix"),
    "no-start-token": (open_clip.CLIP, {"text": {"pool_type": "eos", "eos_id": 1, "vocab_size": 64}}, "shared-prefix"),
    "custom-text": (open_clip.CustomTextCLIP, {}, "shared-prefix"),
    "custom-blocks": (open_clip.CustomTextCLIP, {"text": {"qk_norm": True, "scale_attn": True}}, "general"),
    "no-causal-mask": (open_clip.CustomTextCLIP, {"text": {"no_causal_mask": True}}, "general"),
    "last-pooling": (open_clip.CustomTextCLIP, {"text": {"pool_type": "last"}}, "general"),
    "cls-token": (open_clip.CustomTextCLIP, {"text": {"embed_cls": True}}, "general"),
    "coca": (open_clip.CoCa, {"multimodal_cfg": DECODER, "text": COCA}, "general"),
    "siglip": (open_clip.CustomTextCLIP, {"text": SIGLIP}, "general"),
    "hugging-face": (open_clip.CustomTextCLIP, {"text": {"hf_pooler_type": "mean_pooler"}}, "general"),
}
WORDINGS = ["landbird", "waterbird", "dog", "an extraordinarily long name of a kind of seabird"]
N_CTX = 5


class WordTokenizer:
    """A word's id is ``first`` + its place among the words seen; ``bos``, ``eos`` and ``pad`` around them."""

    def __init__(self, bos, eos, pad, length, first=3):
        self.bos, self.eos, self.pad, self.length, self.first = bos, eos, pad, length, first
        self.words: dict[str, int] = {}

    def __call__(self, texts):
        rows = []
        for text in texts:
            words = text.replace(".", " .").split()
            ids = [self.words.setdefault(word, self.first + len(self.words)) for word in words]
            ids = [*self.bos, *ids][: self.length - len(self.eos)] + self.eos
            rows.append(ids + [self.pad] * (self.length - len(ids)))
        return torch.tensor(rows)


@cache
def tokenizer_of(name):
    if name == "siglip":  # no start token, padded with the end token
        return WordTokenizer(bos=[], eos=[1], pad=1, length=16)
    if name == "no-start-token":
        return WordTokenizer(bos=[], eos=[1], pad=0, length=77)
    if name == "hugging-face":
        return WordTokenizer(bos=[1], eos=[2], pad=0, length=24)
    return open_clip.SimpleTokenizer(context_length=76 if name == "coca" else 77)


@cache
def build(name, folder=None):
    torch.manual_seed(0)
    kind, options, _ = TOWERS[name]
    options = dict(options)
    text = TEXT | options.pop("text", {})
    if name == "hugging-face":
        text |= {"hf_model_name": str(folder), "hf_model_pretrained": False, "hf_proj_type": "linear"}
    model = kind(embed_dim=16, vision_cfg=VISION, text_cfg=text, **options).eval().requires_grad_(False)
    table = token_embedding(model).weight
    table += torch.randn(table.shape)  # SigLIP's tables begin so small that nothing would depend on them
    return model


@pytest.fixture(params=TOWERS)
def tower(request):
    """(name, model, tokenizer)"""
    name = request.param
    folder = request.getfixturevalue("bert_folder") if name == "hugging-face" else None
    return name, build(name, folder), tokenizer_of(name)


def test_the_chosen_path(tower):
    name, model, _ = tower
    assert text_path(model) == TOWERS[name][2]


CASES = {
    "one class": (WORDINGS[:1], "end", False),
    "end": (WORDINGS, "end", False),
    "a common first word": (["sea gull", "sea eagle"], "end", False),
    "middle": (WORDINGS, "middle", False),
    "end, own context": (WORDINGS, "end", True),
    "front, own context": (WORDINGS, "front", True),
}


def laid_out(tokenizer, wordings, position, specific):
    owners = range(len(wordings)) if specific else None
    return prompt_token_ids(tokenizer, wordings, N_CTX, class_position=position, owners=owners)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_those_of_encode_text(tower, case):
    name, model, tokenizer = tower
    wordings, position, specific = CASES[case]
    layout = laid_out(tokenizer, wordings, position, specific)
    torch.manual_seed(1)
    context = torch.randn(*[len(wordings)] * specific, N_CTX, TEXT["width"])
    weights = torch.randn(len(wordings), 16)
    start = int(name not in ("siglip", "no-start-token"))
    features_of = partial(reference_features, model, tokenizer, wordings, start=start, position=position)
    for path in {"general", TOWERS[name][2]}:
        assert_same_tower(build_text_tower(model, layout, path), features_of, context, weights)


@pytest.mark.parametrize(
    ("position", "specific", "shared"),
    [("end", False, 1 + 5 + 1), ("middle", False, 1 + 2 + 1), ("front", False, 1 + 1), ("end", True, 1)],
)
def test_the_shared_prefix_covers_start_token_context_and_common_words(position, specific, shared):
    layout = laid_out(tokenizer_of("plain"), ["sea gull", "sea eagle"], position, specific)
    assert build_text_tower(build("plain"), layout).shared_positions == shared


def test_one_long_name_does_not_lengthen_the_others():
    def positions(names):
        return build_text_tower(build("plain"), prompt_token_ids(tokenizer_of("plain"), names, N_CTX)).num_positions

    short = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("dog", "cat", "house")]
    long = "very " * 50 + "long"
    assert positions([*short, long]) == positions(short) + 51 + 2  # and its full stop and EOS


def test_a_hugging_face_tower_runs_no_padding(bert_folder):
    layout = prompt_token_ids(tokenizer_of("hugging-face"), ["sea gull", "sea bird cliff"], 5)
    assert build_text_tower(build("hugging-face", bert_folder), layout).num_positions == 2 * (1 + 5 + 3 + 1 + 1)
    layout = prompt_token_ids(tokenizer_of("siglip"), ["sea gull", "sea bird cliff"], 5)
    assert build_text_tower(build("siglip"), layout).num_positions == 2 * 16  # it sees the padding


def test_the_tower_trains_nothing_of_the_model(tower):
    _, model, tokenizer = tower
    assert list(build_text_tower(model, prompt_token_ids(tokenizer, WORDINGS, 4)).parameters()) == []


@pytest.mark.parametrize(
    ("bos", "eos", "pad"),
    [([1], [2], 0), ([], [1], 1), ([1], [2], 2), ([], [2], 0), ([], [], 0), ([1], [], 0), ([1], [0], 0)],
)
def test_layout_of_any_tokenizer(bos, eos, pad):
    """A wording that just fits keeps its end token, even one that looks like padding; one more token is refused."""
    tokenizer = WordTokenizer(bos, eos, pad, length=10)
    n_ctx = 10 - len(bos) - 3 - len(eos)  # "sea gull."
    layout = prompt_token_ids(tokenizer, ["sea gull", "dog"], n_ctx)
    start = len(bos)
    plain = tokenizer(["sea gull.", "dog."])
    after = slice(start + n_ctx, None)
    assert layout.context_rows[0].tolist() == [-1] * start + list(range(n_ctx)) + [-1] * (10 - start - n_ctx)
    assert layout.ids[:, :start].tolist() == [bos, bos]
    assert torch.equal(layout.ids[:, after], plain[:, start : 10 - n_ctx])
    assert layout.ids[0, after].tolist() == [tokenizer.words[word] for word in ("sea", "gull", ".")] + eos
    context = layout.ids[:, start : start + n_ctx]
    assert not torch.isin(context, torch.tensor([*bos, *eos, pad])).any()
    with pytest.raises(InputError, match=rf"^class wording 'sea gull' takes {10 - n_ctx} of the .* 10 positions"):
        prompt_token_ids(tokenizer, ["dog", "sea gull"], n_ctx + 1)


def test_a_placeholder_is_never_padding_even_if_common_words_are_unknown():
    class Foreign(WordTokenizer):
        def __call__(self, texts):
            return super().__call__([" ".join(w for w in text.split() if w == "Möwe.") for text in texts])

    tokenizer = Foreign([1], [2], 0, length=8)
    layout = prompt_token_ids(tokenizer, ["Möwe"], 2)
    assert layout.ids[0, 1:3].tolist() == [tokenizer.words["Möwe"]] * 2
    with pytest.raises(InputError, match="doesn't know any word"):
        prompt_token_ids(tokenizer, ["gull"], 2)


def test_a_wording_that_does_not_fit_is_named():
    tokenizer = tokenizer_of("plain")
    with pytest.raises(InputError, match=r"'a dog' takes 5 of .* 77 positions, .*n_ctx = 74 .*: at most 72 fit; lower"):
        prompt_token_ids(tokenizer, ["dog", "a dog"], 74)
    assert prompt_token_ids(tokenizer, ["dog", "a dog"], 72).n_ctx == 72
    with pytest.raises(InputError, match=r"context tokens don't fit: shorten it$"):
        prompt_token_ids(tokenizer, ["dog " * 80], 4)


def test_a_full_stop_that_melts_into_the_name_belongs_to_it():
    class Melting(WordTokenizer):
        def __call__(self, texts):
            return super().__call__([text.replace("Inc.", "Incstop") for text in texts])

    tokenizer = Melting([1], [2], 0, length=10)
    layout = prompt_token_ids(tokenizer, ["Acme Inc", "Acme"], 2, class_position="front")
    acme, melted, stop = (tokenizer.words[word] for word in ("Acme", "Incstop", "."))
    assert layout.ids[0, [1, 2, 5]].tolist() == [acme, melted, 2]
    assert layout.context_rows[0].tolist() == [-1, -1, -1, 0, 1, -1, -1, -1, -1, -1]
    assert layout.ids[1, [1, 4, 5]].tolist() == [acme, stop, 2]
    assert layout.context_rows[1].tolist() == [-1, -1, 0, 1, -1, -1, -1, -1, -1, -1]


def test_words_of_a_context_are_tokens_not_words():
    tokenizer = tokenizer_of("plain")
    ids = context_token_ids(tokenizer, "a photo of a landbird")
    assert ids.tolist() == tokenizer(["a photo of a landbird"])[0, 1:7].tolist()
    for words, found in (("", "no token"), ("dog " * 80, "at least 75 tokens")):
        with pytest.raises(InputError, match=rf"^--ctx-init .*{found}; expected words that leave room"):
            context_token_ids(tokenizer, words)
