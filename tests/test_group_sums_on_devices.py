"""What is observed on a device is added up there, to the bits of the host, without waiting for it.

No GPU is needed: ``on_device`` sends CPU tensors the way of a GPU's, and fake tensors say they are on one.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from observed_rows import NAN, NUM_GROUPS, RULES, content, observe, rows
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dbpt._core import GroupSums
from dbpt.errors import InputError
from dbpt.group_weights import device_sums


@pytest.fixture
def on_device(monkeypatch):
    monkeypatch.setattr("dbpt.group_weights.tensors.HOST_DEVICES", ())


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
            for weights in (host, device):
                weights.step()
    assert device._observed._devices
    assert not host._observed._devices
    assert content(device) == content(host)


def test_a_device_sums_up_any_loss_exactly(on_device):
    host, device = RULES[1](), RULES[1]()
    losses = [1e9, -1e9, 2.0**-25, 3 * 2.0**-25, -(2.0**-24), 12345.678]
    for groups in ([0, 0, 0, 0, 1, 3], [5, 4, 3, 1, 0, -1]):
        host.observe(groups, losses)
        device.observe(torch.tensor(groups), torch.tensor(losses, dtype=torch.float64))
    assert content(device) == content(host)


def test_host_and_device_and_mixed_arguments_add_up(on_device):
    mixed, host = RULES[0](), RULES[0]()
    groups, labels, posterior, values = rows(3)
    mixed.observe(groups.tolist(), torch.from_numpy(values))
    mixed.observe(torch.from_numpy(groups).int(), values.tolist())
    mixed.observe(groups, values)
    mixed.observe_soft(posterior, torch.from_numpy(labels), values)
    for _ in range(3):
        host.observe(groups, values)
    host.observe_soft(posterior, labels, values)
    assert content(mixed) == content(host)


class Operations(TorchDispatchMode):
    """Collects the names of the operations that run, those inside other operations included."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.add(operation.overloadpacket._qualified_op_name.removeprefix("aten::"))
        if any(isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1:2])):
            self.names.add(f"{operation.__name__} by a mask")
        return operation(*args, **(kwargs or {}))


# Their results have a size or a type that the host must know.
WAITING_OPERATIONS = {
    "index.Tensor by a mask",
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
}
WAITS = ("item", "cpu", "numpy", "tolist", "__bool__", "__int__", "__float__", "__index__", "__array__", "nonzero")


def test_observing_and_weighing_never_wait_for_the_device(on_device, monkeypatch):
    weights, batch = RULES[0](), [torch.from_numpy(array) for array in rows(0)]
    weights.sample_weights(batch[0], batch[1], num_classes=3)
    expected = RULES[0]()
    observe(expected, *batch)
    with monkeypatch.context() as patch:
        for name in WAITS:
            patch.setattr(torch.Tensor, name, lambda *a, name=name, **k: pytest.fail(f"Tensor.{name} waits"))
        with Operations() as operations:
            observe(weights, *batch)
            hard = weights.sample_weights(batch[0], batch[1], num_classes=3)
            soft = weights.soft_sample_weights(batch[2], batch[1])
        assert "index_add_" in operations.names
        assert not operations.names & WAITING_OPERATIONS
        with pytest.raises(pytest.fail.Exception, match=r"Tensor\.cpu waits"):
            weights.step()
    assert content(weights) == content(expected)
    assert hard.dtype == soft.dtype == torch.float32


def test_the_check_above_would_see_a_wait():
    with Operations() as operations:
        assert torch.ones(2)[torch.tensor([True, False])].sum() > 0
    assert operations.names >= {"_local_scalar_dense", "index.Tensor by a mask"}


def test_the_sums_cross_once_at_the_step(on_device, monkeypatch):
    weights, crossings, cpu = RULES[0](), [], torch.Tensor.cpu
    for seed in range(5):
        observe(weights, *(torch.from_numpy(array) for array in rows(seed)))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: crossings.append(tensor.shape) or cpu(tensor))
    weights.step()
    assert crossings == [(NUM_GROUPS + 2, 5)]


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


def test_a_device_gives_the_same_sample_weights(on_device):
    weights = RULES[0]()
    groups, labels, posterior, values = rows(0)
    weights.observe(groups, values)
    weights.step()
    tensors = [torch.from_numpy(array) for array in (groups, labels, posterior)]
    for found, expected in [
        (weights.sample_weights(tensors[0]), weights.sample_weights(groups)),
        (
            weights.sample_weights(tensors[0].int(), labels, num_classes=3),
            weights.sample_weights(groups, labels, num_classes=3),
        ),
    ]:
        assert found.tolist() == expected.astype(np.float32).tolist()
    soft = weights.soft_sample_weights(tensors[2], tensors[1])
    np.testing.assert_allclose(soft, weights.soft_sample_weights(posterior, labels), rtol=1e-6)


def test_out_of_range_weighs_nan_on_a_device(on_device):
    weights = RULES[0]()
    groups, labels = torch.tensor([6, -2, -1, -1, 0]), torch.tensor([0, 0, 3, 0, 9])
    assert weights.sample_weights(groups, labels, num_classes=3).isnan().tolist() == [True, True, True, False, False]
    posterior = torch.tensor([[0.5, 0.5], [NAN, NAN], [NAN, NAN]])
    found = weights.soft_sample_weights(posterior, torch.tensor([3, 0, -1]))
    assert found.isnan().tolist() == [True, False, True]


BAD = [
    (lambda w: w.observe(torch.tensor([0, 6, -2]), [0.5] * 3), "^groups of 2 rows observed on cpu .* out of range"),
    (lambda w: w.observe(torch.tensor([0]), [1.5]), "^p_true of 1 rows .* NaN or out of range; expected a probability"),
    (lambda w: w.observe(torch.tensor([-1]), [NAN]), "^p_true of 1 rows"),
    (lambda w: w.observe_soft(torch.tensor([[0.5, 0.5]]), [3], [0.5]), "^labels of 1 rows .* out of range"),
    (lambda w: w.observe_soft(torch.tensor([[0.5, 0.6]]), [0], [0.5]), "^posterior of 1 rows .* add up to 1"),
    (lambda w: w.observe_soft(torch.tensor([[0.5, NAN]]), [0], [0.5]), "^posterior of 1 rows"),
    (lambda w: w.observe_soft(torch.tensor([[-0.5, 1.5]]), [0], [0.5]), "^posterior of 1 rows"),
]


@pytest.mark.parametrize(("use", "message"), BAD)
@pytest.mark.parametrize("end", ["step", "state"])
def test_bad_values_on_a_device_are_told_at_the_step_and_dropped(on_device, use, message, end):
    weights = RULES[0]()
    start = content(weights)
    weights.observe([0], [0.5])
    weights.observe(torch.tensor([0]), [0.5])
    use(weights)
    with pytest.raises(InputError, match=message) as caught:
        getattr(weights, end)()
    assert "\n" not in str(caught.value)
    assert content(weights) == start
    weights.observe(torch.tensor([0]), [0.5])
    weights.step()
    assert weights.mean_p_true[0] == 0.5


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            lambda w: w.observe(torch.tensor([0.0]), [0.5]),
            r"^groups has shape \(1,\) and dtype torch.float32; expected",
        ),
        (lambda w: w.observe(torch.tensor([[0]]), [0.5]), r"^groups has shape \(1, 1\)"),
        (
            lambda w: w.observe(torch.tensor([0]), [0.5, 0.5]),
            r"^p_true has length 2; expected 1 \(the rows of groups\)",
        ),
        (lambda w: w.observe([0], torch.tensor([True])), r"^p_true has shape \(1,\) and dtype torch.bool"),
        (
            lambda w: w.observe_soft(torch.ones(1, 4), [0], [0.5]),
            r"^posterior has shape \(1, 4\); expected .* = 6 groups",
        ),
        (lambda w: w.observe_soft(torch.ones(2), [0], [0.5]), r"^posterior has shape \(2,\)"),
        (lambda w: w.observe_soft(torch.ones(1, 1), [0, 0], [0.5]), "^labels has length 2; expected 1"),
        (lambda w: w.observe_soft(torch.ones(1, 1), [0], [0.5, 0.5]), "^p_true has length 2; expected 1"),
        (lambda w: w.sample_weights(torch.tensor([0.5])), "^groups has .* expected .* integers"),
        (lambda w: w.sample_weights(torch.tensor([0]), [0, 1], num_classes=3), "^labels has length 2; expected 1"),
        (lambda w: w.soft_sample_weights(torch.ones(1, 4), [0]), r"^posterior has shape \(1, 4\)"),
        (lambda w: w.soft_sample_weights(torch.ones(1, 2), [0, 0]), "^labels has length 2; expected 1"),
    ],
)
def test_a_device_refuses_shapes_and_types_at_once(on_device, use, message):
    weights = RULES[0]()
    start = content(weights)
    with pytest.raises(InputError, match=message):
        use(weights)
    assert content(weights) == start


def test_more_rows_than_a_table_holds_go_into_another(on_device, monkeypatch):
    monkeypatch.setattr(device_sums, "MAX_ROWS", 3)
    weights, expected = RULES[0](), RULES[0]()
    for groups in ([0, 1], [1, 3], [3], [0, 0, 1]):
        weights.observe(torch.tensor(groups), [0.25] * len(groups))
        expected.observe(groups, [0.25] * len(groups))
    (tables,) = weights._observed._devices[torch.device("cpu")]._idle.values()
    assert len(tables) == 3
    with pytest.raises(InputError, match="^4 rows were observed on cpu at once; expected at most 3"):
        weights.observe(torch.tensor([0] * 4), [0.5] * 4)
    assert content(weights) == content(expected)


@pytest.mark.parametrize("quantity", ["p_true", "losses"])
def test_the_digits_of_the_most_rows_a_table_holds_do_not_overflow(quantity):
    """2**31 - 1 rows of the largest value, by construction."""
    sums, rows_ = GroupSums(np.ones(1), quantity), 2**31 - 1
    largest = 10**9 if quantity == "losses" else 1
    sums.observe(np.array([0]), np.array([float(largest)]))
    digits = sums.digits()
    assert all(digit * rows_ < 2**63 for digit in digits[0].tolist())
    sums.add_digits(digits * (rows_ - 1))
    assert sums.means(sums.digits()).tolist() == [largest]


# --- CUDA, without a GPU --------------------------------------------------------------------------


class CopiesFromTheHost(TorchDispatchMode):
    """Counts copies to another device: of what isn't pinned they wait."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        sources = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]
        if "copy" in operation.__name__ and sources and sources[0].device != found.device:
            self.count += 1
        return found


def test_nothing_waits_on_a_fake_cuda_device(monkeypatch):
    """A fake tensor has no values: whatever needs one, or mixes devices, raises."""
    for module in ("device_sums", "weight_table"):
        monkeypatch.setattr(f"dbpt.group_weights.{module}.current_stream", lambda device: None)
    for rule in RULES:
        weights = rule()
        with FakeTensorMode(allow_non_fake_inputs=True), CopiesFromTheHost() as copies:
            groups, values = torch.zeros(7, dtype=torch.int64, device="cuda"), torch.rand(7, device="cuda")
            posterior = torch.rand(7, 2, device="cuda")
            for crossings in (2, 2):  # the weights, once with classes and once without
                weights.observe(groups, values)
                weights.observe_soft(posterior, groups, values)
                found = [
                    weights.sample_weights(groups),
                    weights.sample_weights(groups, groups, num_classes=3),
                    weights.soft_sample_weights(posterior, groups),
                ]
                assert all(each.is_cuda and each.dtype == torch.float32 for each in found)
                assert copies.count == crossings
            weights.sample_weights(groups, [0] * 7, num_classes=3)
            assert copies.count == 3
            with pytest.raises(DataDependentOutputException):
                values.sum().item()


class Stream:
    """A stream that writes down for which others it was told to wait."""

    def __init__(self):
        self.waited_for = []

    def wait_stream(self, stream):
        self.waited_for.append(stream)


def test_each_stream_has_sums_and_weights_of_its_own_and_the_step_waits_for_them(on_device, monkeypatch):
    streams, now = [Stream(), Stream(), Stream()], [0]
    for module in ("device_sums", "weight_table"):
        monkeypatch.setattr(f"dbpt.group_weights.{module}.current_stream", lambda device: streams[now[0]])
    weights, expected = RULES[0](), RULES[0]()
    for number in (0, 1, 0, 1):
        now[0] = number
        observe(weights, *(torch.from_numpy(array) for array in rows(number)))
        weights.sample_weights(torch.tensor([0]))
        observe(expected, *rows(number))
    sums = weights._observed._devices[torch.device("cpu")]
    assert [(stream, len(tables)) for stream, tables in sums._idle.items()] == [(streams[0], 1), (streams[1], 1)]
    copies = weights._tables[0]._on_device
    assert [stream for _, stream in copies] == streams[:2]
    first, second = copies.values()
    assert first.data_ptr() != second.data_ptr()
    now[0] = 2
    weights.step()
    expected.step()
    assert streams[2].waited_for == streams[:2]
    assert content(weights) == content(expected)
    assert not any(sums._idle.values())


# --- the checks are those of the host -------------------------------------------------------------

posterior_rows = st.one_of(
    st.lists(st.sampled_from([0.0, 1.0, 0.5, 0.25, 0.01, 0.99, -0.0, -1e-9, 1.0 + 1e-7, NAN]), min_size=2, max_size=2),
    st.floats(0, 1).map(lambda p: [p, 1 - p]),
    st.tuples(st.floats(0, 1), st.floats(0.985, 1.015)).map(lambda pair: [pair[0] * pair[1], (1 - pair[0]) * pair[1]]),
    st.floats(-4 * 2.0**-30, 4 * 2.0**-30).map(lambda more: [0.25, 0.76 + more]),
)


@given(row=posterior_rows, label=st.integers(-1, 3), value=st.sampled_from([0.0, 0.3, 1.0, 1.0001, -1e-12, NAN]))
@settings(max_examples=300)
def test_a_device_refuses_and_counts_what_the_host_does(row, label, value):
    host, device = RULES[0](), RULES[0]()
    weights = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbpt.group_weights.tensors.HOST_DEVICES", ())
        device.observe_soft(torch.tensor([row], dtype=torch.float64), [label], [value])
        weights.append(device.soft_sample_weights(torch.tensor([row], dtype=torch.float64), [label]).item())
    try:
        host.observe_soft([row], [label], [value])
    except InputError as error:
        with pytest.raises(InputError, match=str(error).partition("[")[0]):
            device.state()
    else:
        assert content(device) == content(host)
    try:
        weights.append(np.float32(host.soft_sample_weights([row], [label])[0]))
    except InputError:
        weights.append(NAN)
    assert weights[0] == pytest.approx(weights[1], rel=1e-6, nan_ok=True)
