"""The towers with tensors on ``cuda``, without a GPU: no tensor is left on the CPU. See `pretended_gpu`."""

import copy
import json

import numpy as np
import pytest
import torch
from pretended_gpu import pretended_gpu
from test_text_tower import TOWERS, VISION, WORDINGS, build, tokenizer_of

from dbpt.clip import load_backbone
from dbpt.clip.chunked_text_tower import ChunkedTower, fit_text_tower
from dbpt.clip.prompt_tokens import prompt_token_ids
from dbpt.clip.shared_prefix_tower import text_path

BY_DEFAULT = ("plain", "hugging-face")
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # copying a module does


def test_a_tensor_on_the_cpu_is_found():
    """The pretended GPU refuses what a real one refuses, and allows what that allows."""
    with pretended_gpu():
        on_gpu, on_cpu = torch.ones(2, 3, device="cuda"), torch.ones(2, 3)
        with pytest.raises(RuntimeError, match="two devices"):
            on_gpu + on_cpu
        with pytest.raises(RuntimeError, match="two devices"):
            torch.nn.Linear(3, 2)(on_gpu)
        with pytest.raises((TypeError, RuntimeError), match="numpy"):
            on_gpu.numpy()
        assert (on_gpu + torch.tensor(1.0)).device.type == "cuda"  # a number
        assert on_gpu[torch.tensor([0])].device.type == "cuda"  # an index
        assert on_gpu.cpu().numpy().shape == (2, 3) and isinstance(on_gpu.sum().item(), float)


@pytest.mark.parametrize("name", [x if x in BY_DEFAULT else pytest.param(x, marks=pytest.mark.full) for x in TOWERS])
def test_a_text_tower(name, request):
    folder = request.getfixturevalue("bert_folder") if name == "hugging-face" else None
    model, tokenizer, count = build(name, folder), tokenizer_of(name), len(WORDINGS)
    for position, shape, precision, memory_mb in (("end", (), "float32", 1000), ("middle", (count,), "bf16", 1e-9)):
        owners = range(count) if shape else None
        layout = prompt_token_ids(tokenizer, WORDINGS, 5, class_position=position, owners=owners)
        with pretended_gpu():
            context = torch.randn(*shape, 5, 32, device="cuda", requires_grad=True)
            on_gpu = copy.deepcopy(model).to("cuda")
            tower = fit_text_tower(on_gpu, layout, context, precision=precision, memory_mb=memory_mb)
            assert isinstance(tower, ChunkedTower) == (memory_mb < 1)
            features = tower(context)
            assert (features.device.type, features.shape) == ("cuda", (count, 16)) and features.requires_grad


@pytest.mark.parametrize(
    ("tower", "precisions"),
    [
        ("transformer", ("float32", "bf16", "fp16")),
        ("resnet", ("bf16",)),
        ("timm", ("bf16",)),
        pytest.param("resnet", ("float32", "fp16"), marks=pytest.mark.full),
        pytest.param("timm", ("float32", "fp16"), marks=pytest.mark.full),
    ],
)
def test_an_image_tower(tower, precisions, tmp_path):
    vision = {
        "transformer": VISION,
        "resnet": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 64},
        "timm": {"image_size": 32, "timm_model_name": "resnet10t", "timm_pool": "", "timm_proj": "linear"},
    }[tower]
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    for precision in precisions:
        with pretended_gpu() as gpu:
            backbone = load_backbone(config, "random", device="cuda", image_precision=precision)
            crops = np.stack([np.zeros((32, 32, 3), np.uint8)] * 2)
            features = backbone.encode_image(crops), backbone.encode_image(torch.zeros(2, 3, 32, 32))
            assert gpu.operations > 20
            assert {(each.device.type, each.shape) for each in features} == {("cpu", (2, 16))}


@pytest.mark.parametrize("path", ["shared-prefix", "general"])
def test_sentences(path, tmp_path):
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    text["no_causal_mask"] = path == "general"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"embed_dim": 16, "vision_cfg": VISION, "text_cfg": text, "custom_text": True}))
    with pretended_gpu() as gpu:
        backbone = load_backbone(config, "random", device="cuda")
        assert text_path(backbone.model) == path
        features = backbone.encode_text(["a drawing of a bird", "a dog"])
        assert gpu.operations > 20 and (features.device.type, features.shape) == ("cpu", (2, 16))
