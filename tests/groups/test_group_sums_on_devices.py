"""What is observed on a device is added up there, to the bits of the host, without waiting for it.

No GPU is needed: ``on_device`` sends CPU tensors the way of a GPU's, and fake tensors say they are on one.
"""

import numpy as np
import pytest
import torch
from observed_rows import NAN, RULES, content, observe, rows
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from dbpt.errors import InputError
from dbpt.groups import sums


@pytest.fixture
def on_device(monkeypatch):
    monkeypatch.setattr("dbpt.groups.tensors.HOST_DEVICES", ())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_device_sums_up_to_the_same_bits(on_device, rule, dtype):
    host, device = rule(), rule()
    for seed in range(5):
        groups, labels, posterior, values = (torch.from_numpy(array) for array in rows(seed, dtype=np.float64))
        posterior, values = posterior.to(dtype), values.to(dtype)
        observe(device, groups, labels, posterior, values)
        observe(host, groups.numpy(), labels.numpy(), posterior.double().numpy(), values.double().numpy())
        if seed % 2:
            assert device._sums._devices
            assert not host._sums._devices
            for weights in (host, device):
                weights.step()
    assert content(device) == content(host)


def test_a_device_sums_up_any_loss_exactly(on_device):
    host, device = RULES[1](), RULES[1]()
    losses = [1e9, -1e9, 2.0**-31, 3 * 2.0**-31, -(2.0**-30), 12345.678]
    for groups in ([0, 0, 0, 0, 1, 3], [5, 4, 3, 1, 0, -1]):
        host.observe(groups, losses)
        device.observe(torch.tensor(groups), torch.tensor(losses, dtype=torch.float64))
    assert content(device) == content(host)


@pytest.mark.parametrize("rule", RULES)
def test_a_device_gives_the_same_sample_weights(on_device, rule):
    host, device = rule(), rule()
    groups, labels, posterior, values = rows(3)
    for weights in (host, device):
        weights.observe(groups, values)
        weights.step()
    tensors = [torch.from_numpy(array) for array in (groups, labels, posterior)]
    for found, expected in [
        (device.sample_weights(tensors[0]), host.sample_weights(groups)),
        (
            device.sample_weights(tensors[0].int(), labels, num_classes=3),
            host.sample_weights(groups, labels, num_classes=3),
        ),
        (device.soft_sample_weights(tensors[2], tensors[1]), host.soft_sample_weights(posterior, labels)),
    ]:
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_host_and_device_and_mixed_arguments_add_up(on_device):
    mixed, host = RULES[0](), RULES[0]()
    groups, _, _, values = rows(3)
    mixed.observe(groups.tolist(), torch.from_numpy(values))
    mixed.observe(torch.from_numpy(groups).int(), values.tolist())
    mixed.observe(groups, values)
    for _ in range(3):
        host.observe(groups, values)
    assert content(mixed) == content(host)


def test_nothing_waits_for_a_device_but_the_step():
    """A fake tensor has no values: whatever needs one, or mixes devices, raises."""
    for rule in RULES:
        weights = rule()
        with FakeTensorMode(allow_non_fake_inputs=True):
            groups, values = torch.zeros(7, dtype=torch.int64, device="cuda"), torch.rand(7, device="cuda")
            posterior = torch.rand(7, 2, device="cuda")
            weights.observe(groups, values)
            weights.observe_soft(posterior, groups, values)
            found = [
                weights.sample_weights(groups),
                weights.sample_weights(groups, groups, num_classes=3),
                weights.soft_sample_weights(posterior, groups),
            ]
            assert all(each.is_cuda and each.dtype == torch.float32 for each in found)
            with pytest.raises(DataDependentOutputException):
                values.sum().item()


def test_a_device_works_with_gradients_and_without_and_in_inference_mode(on_device):
    weights, expected = RULES[0](), RULES[0]()
    groups, _, _, values = rows(0)
    with torch.inference_mode():
        weights.observe(torch.from_numpy(groups), torch.from_numpy(values) * 1)
    weights.observe(groups, torch.from_numpy(values).requires_grad_() * 1)
    with torch.no_grad():
        weights.observe(groups, torch.from_numpy(values))
    for _ in range(3):
        expected.observe(groups, values)
    assert content(weights) == content(expected)


def test_more_rows_than_digits_hold_cross_to_the_host(on_device, monkeypatch):
    monkeypatch.setattr(sums, "MAX_ROWS", 3)
    weights, expected = RULES[0](), RULES[0]()
    for groups in ([0, 1], [1, 3], [3], [0, 0, 1]):
        weights.observe(torch.tensor(groups), [0.25] * len(groups))
        expected.observe(groups, [0.25] * len(groups))
    assert weights._sums._host.any()
    assert content(weights) == content(expected)


def test_out_of_range_weighs_nan_on_a_device(on_device):
    weights = RULES[0]()
    groups, labels = torch.tensor([6, -2, -1, -1, 0]), torch.tensor([0, 0, 3, 0, 9])
    assert weights.sample_weights(groups, labels, num_classes=3).isnan().tolist() == [True, True, True, False, False]
    posterior = torch.tensor([[0.5, 0.5], [NAN, NAN], [NAN, NAN], [0.5, 0.6]])
    found = weights.soft_sample_weights(posterior, torch.tensor([3, 0, -1, 0]))
    assert found.isnan().tolist() == [True, False, True, True]


BAD = [
    lambda w: w.observe(torch.tensor([0, 6]), [0.5] * 2),
    lambda w: w.observe(torch.tensor([-2]), [0.5]),
    lambda w: w.observe(torch.tensor([0]), [1.5]),
    lambda w: w.observe(torch.tensor([-1]), [NAN]),
    lambda w: w.observe_soft(torch.tensor([[0.5, 0.5]]), [3], [0.5]),
    lambda w: w.observe_soft(torch.tensor([[0.5, 0.5]]), [0], [1.5]),
    lambda w: w.observe_soft(torch.tensor([[0.5, 0.6]]), [0], [0.5]),
    lambda w: w.observe_soft(torch.tensor([[0.5, NAN]]), [0], [0.5]),
    lambda w: w.observe_soft(torch.tensor([[-0.5, 1.5]]), [0], [0.5]),
    lambda w: w.observe_soft(torch.tensor([[NAN, NAN]]), [-1], [0.5]),
]


@pytest.mark.parametrize("use", BAD)
@pytest.mark.parametrize("end", ["step", "state"])
def test_bad_values_on_a_device_are_told_at_the_step_and_dropped(on_device, use, end):
    weights = RULES[0]()
    start = content(weights)
    weights.observe([0], [0.5])
    use(weights)
    weights.observe(torch.tensor([0]), [0.5])
    with pytest.raises(InputError, match="^some rows observed on a device .* and p_true a number from 0 to 1$"):
        getattr(weights, end)()
    assert content(weights) == start
    weights.observe(torch.tensor([0]), [0.5])
    weights.step()
    assert weights.mean_p_true[0] == 0.5


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda w: w.observe(torch.tensor([0.0]), [0.5]), r"^groups has shape \(1,\) and dtype torch.float32"),
        (lambda w: w.observe(torch.tensor([[0]]), [0.5]), r"^groups has shape \(1, 1\)"),
        (lambda w: w.observe(torch.tensor([0]), [0.5, 0.5]), "^p_true has length 2; expected 1"),
        (lambda w: w.observe([0], torch.tensor([True])), r"^p_true has shape \(1,\) and dtype torch.bool"),
        (lambda w: w.observe_soft(torch.ones(1, 4), [0], [0.5]), r"^posterior has shape \(1, 4\); .* = 6 groups"),
        (lambda w: w.observe_soft(torch.ones(2), [0], [0.5]), r"^posterior has shape \(2,\)"),
        (lambda w: w.observe_soft(torch.ones(1, 1), [0, 0], [0.5]), "^labels has length 2; expected 1"),
        (lambda w: w.sample_weights(torch.tensor([0]), [0, 1], num_classes=3), "^labels has length 2; expected 1"),
        (lambda w: w.soft_sample_weights(torch.ones(1, 2), [0, 0]), "^labels has length 2; expected 1"),
    ],
)
def test_a_device_refuses_shapes_and_types_at_once(on_device, use, message):
    weights = RULES[0]()
    start = content(weights)
    with pytest.raises(InputError, match=message):
        use(weights)
    assert content(weights) == start
