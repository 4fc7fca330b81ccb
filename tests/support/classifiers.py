"""Classifiers with random heads over 3 classes and 3 attributes, which need no training."""

import numpy as np
import torch
from torch.nn import functional as F

from dbpt.clip import Backbone
from dbpt.data.words import Words
from dbpt.heads import HEADS
from dbpt.objectives.base import EXCLUDED
from dbpt.runs.classifier import Classifier
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.settings.config import FitConfig

NAMES = [("disc", "box", "star"), ("meadow", "lake", "sand")]
WORDS = Words(*({name: (name,) for name in names} for names in NAMES), ("a {}.",), ("on {}.",))
HEADS_AND_PROMPTS = [(head, prompts) for head in ("prompt", "linear", "adapter") for prompts in ("class", "group")]


def tensors_of(head: str, prompts: str, width: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What a run of the head stores; with a bias for each output if it is linear, where one group is ruled out."""
    generator, outputs = torch.Generator().manual_seed(seed), (3, 3) if prompts == "group" else (3,)
    weights = F.normalize(torch.randn(*outputs, width, generator=generator), dim=-1)
    scale, bias = 30.0, torch.tensor([-2.0])
    if head == "linear":
        weights, scale, bias = scale * weights, 1.0, torch.randn(outputs, generator=generator)
        if prompts == "group":
            bias[1, 2] = EXCLUDED
    found = {"weights": weights, "logit_scale": torch.tensor([scale]), "logit_bias": bias}
    if head == "adapter":
        down, up = (torch.randn(*shape, generator=generator) for shape in ((width // 4, width), (width, width // 4)))
        found |= {"adapter.down": down, "adapter.up": up, "adapter.ratio": torch.tensor([0.2])}
    return {name: tensor.numpy() for name, tensor in found.items()}


def classifier_of(backbone: Backbone, head: str, prompts: str) -> Classifier:
    """A classifier with random tensors."""
    tensors = tensors_of(head, prompts, backbone.embed_dim)
    config = FitConfig(head=head, embed_batch_size=16)
    return Classifier(backbone, FeatureClassifier(tensors, HEADS[head]), WORDS, config)


def probabilities_of(classifier: Classifier, images: list) -> np.ndarray:
    """(N, C) of `predict`."""
    return np.stack([each.probabilities for each in classifier.predict(images)])


def preprocessed(classifier: Classifier, images: list) -> torch.Tensor:
    """(N, 3, H, W) float32."""
    from PIL import Image

    return torch.stack([classifier.backbone.preprocess(Image.open(image)) for image in images])
