"""A classifier as a PyTorch module and as weights for open_clip: what `predict` says, for each head and prompt."""

import numpy as np
import pytest
import torch
from classifiers import HEADS_AND_PROMPTS, classifier_of, preprocessed, probabilities_of, tensors_of
from torch import nn

import dbpt
from dbpt import InputError
from dbpt.heads import Head, LinearHead
from dbpt.objectives.base import EXCLUDED
from dbpt.runs.exports import TorchClassifier
from dbpt.runs.feature_classifier import FeatureClassifier

DYNAMIC = ({0: torch.export.Dim("batch")},)


@pytest.fixture(params=HEADS_AND_PROMPTS, ids="-".join)
def classifier(request, tiny_backbone):
    return classifier_of(tiny_backbone, *request.param)


def features_of(classifier, number: int) -> np.ndarray:
    features = np.random.default_rng(number).normal(size=(number, classifier.backbone.embed_dim)).astype(np.float32)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_the_module_says_what_predict_says(classifier, tiny):
    images, expected = preprocessed(classifier, tiny.images(9)), probabilities_of(classifier, tiny.images(9))
    np.testing.assert_allclose(classifier.to_torch()(images).softmax(dim=1), expected, atol=1e-4)


def test_the_module_can_be_exported_for_any_number_of_images(tiny_backbone, tiny):
    classifier = classifier_of(tiny_backbone, "linear", "group")
    module, images = classifier.to_torch(), preprocessed(classifier, tiny.images(9))
    program = torch.export.export(module, (images[:2],), dynamic_shapes=DYNAMIC).module()
    for number in (1, 9):
        np.testing.assert_allclose(program(images[:number]), module(images[:number]), atol=1e-3)


def test_the_module_of_features_takes_any_length_and_can_be_exported(classifier):
    module, features = classifier.to_torch(features=True), features_of(classifier, 7)
    expected = classifier.head.logits(features)
    np.testing.assert_allclose(module(7 * torch.from_numpy(features)), expected, atol=1e-4)
    program = torch.export.export(module, (torch.ones(2, features.shape[1]),), dynamic_shapes=DYNAMIC).module()
    for number in (1, 7):
        np.testing.assert_allclose(program(torch.from_numpy(features[:number])), expected[:number], atol=1e-4)


def test_the_state_is_plain_tensors_that_move_and_need_no_gradient(classifier):
    module = classifier.to_torch()
    state = module.state_dict()
    tower = {name for name in state if name.startswith("image_tower.")}
    assert {name.replace(".", "_") for name in classifier.head.tensors} == set(state) - tower
    assert {name.removeprefix("image_tower.") for name in tower} == set(classifier.backbone.model.visual.state_dict())
    assert all(type(value) in (torch.Tensor, nn.Parameter) for value in state.values())
    assert not module.training and not any(parameter.requires_grad for parameter in module.parameters())
    size = classifier.backbone.preprocess.size
    assert module.to("meta")(torch.zeros(2, 3, *size, device="meta")).device.type == "meta"
    assert not any(parameter.is_meta for parameter in classifier.backbone.model.parameters()), "it has a copy"


def test_a_tower_in_half_precision_becomes_float32_and_of_a_tuple_the_first_counts():
    class Tower(nn.Linear):
        def forward(self, images):
            return super().forward(images), "tokens"

    head, tower = FeatureClassifier(tensors_of("linear", "class", 16), LinearHead), Tower(5, 16).bfloat16()
    images = torch.randn(4, 5)
    found = TorchClassifier(head, tower)(images)
    expected = TorchClassifier(head)(nn.functional.linear(images, *map(torch.Tensor.float, tower.parameters())))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_the_weights_give_the_probabilities_of_predict(classifier, tiny):
    if classifier.config.head == "adapter":
        with pytest.raises(InputError, match="^zero_shot_weights: the head adapter is more than a matrix"):
            classifier.zero_shot_weights()
        return
    found, features = classifier.zero_shot_weights(), features_of(classifier, 5)
    groups = classifier.head.weights.shape[:-1]
    columns = torch.from_numpy(100 * features @ found.weights.numpy() + found.bias.numpy())
    assert [tensor.dtype for tensor in (found.weights, found.bias, found.class_of)] == 2 * [torch.float32] + [
        torch.int64
    ]
    assert found.weights.is_contiguous() and found.bias.is_contiguous()  # safetensors needs it
    expected = classifier.head.logits(features)
    if len(groups) == 1:
        np.testing.assert_allclose(columns, expected, atol=1e-4)
    else:
        np.testing.assert_allclose(
            columns, classifier.head.head.all_logits(classifier.head.tensors, features).reshape(5, -1), atol=2e-3
        )
        assert found.class_of.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert (found.bias.numpy() == EXCLUDED).tolist() == [False] * 5 + [classifier.config.head == "linear"] + [
            False
        ] * 3
    probabilities = torch.zeros(5, 3).index_add(1, found.class_of, columns.softmax(dim=1))
    np.testing.assert_allclose(probabilities, classifier.head.probabilities(features), atol=1e-5)


def doubled(tensors, features):
    return 2 * Head.logits(tensors, features).clip(0)


def by_numpy(tensors, features):
    return np.maximum(Head.logits(tensors, features), 0)


def by_a_number(tensors, features):
    return float(tensors["logit_scale"][0]) * (features @ tensors["weights"].T)


def otherwise(tensors, features):
    return Head.logits(tensors, features) + isinstance(features, torch.Tensor)


def registered(backbone, prompts, logits):
    dbpt.register_head("mine")(type("Mine", (LinearHead,), {"logits": staticmethod(logits)}))
    return classifier_of(backbone, "mine", prompts)


@pytest.mark.parametrize("prompts", ["class", "group"])
def test_a_registered_head_with_a_formula_for_both_can_be_handed_over(tiny_backbone, registries, prompts):
    classifier = registered(tiny_backbone, prompts, doubled)
    features = features_of(classifier, 3)
    found = classifier.to_torch(features=True)(torch.from_numpy(features))
    np.testing.assert_allclose(found, classifier.head.logits(features), atol=1e-4)
    with pytest.raises(InputError, match="^zero_shot_weights: the head mine is more than a matrix; use to_torch$"):
        classifier.zero_shot_weights()


@pytest.mark.parametrize(
    ("logits", "problem"),
    [
        (by_numpy, r"don't work with torch's tensors \(.*\)"),
        (by_a_number, r"don't work with torch's tensors \(RuntimeError: .*\)"),
        (otherwise, "differ between torch tensors and NumPy arrays"),
    ],
)
@pytest.mark.parametrize("features", [False, True])
def test_a_registered_head_with_another_formula_is_refused(tiny_backbone, registries, logits, problem, features):
    problem = f"^to_torch: the logits of the head mine {problem}; write them with .*extending.md\\)$"
    with pytest.raises(InputError, match=problem):
        registered(tiny_backbone, "class", logits).to_torch(features=features)
