"""What is observed of groups is added up exactly: in any order, on any device, over threads, batches and ranks.

No GPU is needed: ``on_device`` sends CPU tensors the way of a GPU's.
"""

import threading

import numpy as np
import pytest
import reference
import torch
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import dbpt
from dbpt._core import GroupSums
from dbpt.errors import InputError
from dbpt.group_weights import device_sums

NUM_CLASSES, NUM_ATTRIBUTES, NUM_GROUPS = 3, 2, 6
COUNTS = [500, 40, 0, 90, 7, 210]
NAN = float("nan")
RULES = [lambda: dbpt.GroupWeights(COUNTS, 1.5, 0.25), lambda: dbpt.GroupDRO(COUNTS, 0.5, 2.0)]


@pytest.fixture
def on_device(monkeypatch):
    monkeypatch.setattr("dbpt.group_weights.tensors.HOST_DEVICES", ())


def rows(seed, count=60, dtype=np.float32):
    """Groups, labels, posteriors and values of some samples, some of them without a group."""
    rng = np.random.default_rng(seed)
    labels, posterior = rng.integers(0, NUM_CLASSES, count), rng.dirichlet(np.ones(NUM_ATTRIBUTES), count)
    groups = labels * NUM_ATTRIBUTES + posterior.argmax(1)
    outside = rng.random(count) < 0.2
    groups[outside], posterior[outside] = -1, NAN
    return groups, labels, posterior.astype(dtype), rng.random(count).astype(dtype)


def content(weights):
    return {name: values.tobytes() for name, values in weights.state().items()}


def observe(weights, groups, labels, posterior, values, convert=lambda array: array):
    weights.observe(convert(groups), convert(values))
    weights.observe_soft(convert(posterior), convert(labels), convert(values))


# --- order, batches, threads, size ----------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**32), batches=st.integers(1, 9))
@settings(max_examples=30)
def test_neither_order_nor_batches_change_a_bit(rule, seed, batches):
    arrays = rows(seed, dtype=np.float64)
    whole, parts = rule(), rule()
    observe(whole, *arrays)
    order = np.random.default_rng(seed).permutation(60)
    for part in np.array_split(order, batches):
        observe(parts, *(array[part] for array in arrays))
    assert content(parts) == content(whole)
    for weights in (whole, parts):
        weights.step()
    assert content(parts) == content(whole)


@pytest.mark.parametrize("device", ["host", "device"])
def test_threads_lose_nothing(device, request):
    if device == "device":
        request.getfixturevalue("on_device")
    convert = torch.from_numpy if device == "device" else np.asarray
    shared, alone = RULES[0](), RULES[0]()
    batches = [rows(seed, 500) for seed in range(8)]
    for batch in batches * 25:
        observe(alone, *batch)

    def work(batch):
        for _ in range(25):
            observe(shared, *batch, convert)
            assert shared.sample_weights([0]) == shared.group_weights[0]

    threads = [threading.Thread(target=work, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(shared) == content(alone)


def test_steps_and_states_of_other_threads_see_whole_observations():
    """Every sample has p = 1, so each mean is 1 and each sum is its count, whenever somebody looks."""
    weights, stop = dbpt.GroupWeights([5, 5], 1.0, 0.0), threading.Event()

    def work():
        while not stop.is_set():
            weights.observe([0, 1, 1], [1.0, 1.0, 1.0])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            (values, members), others = reference.whole_numbers(weights.state()["observed"])
            assert values == members * 2**32
            assert others == (2 * values, 2 * members)
            weights.step()
            assert set(weights.mean_p_true) <= {1.0}
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_ten_million_rows_of_a_thousand_groups():
    rng = np.random.default_rng(0)
    groups, p_true = rng.integers(0, 1000, 10**7), rng.random(10**7, dtype=np.float32)
    weights = dbpt.GroupWeights(np.bincount(groups), 1.0, 0.5)
    weights.observe(groups, p_true)
    weights.step()
    expected = np.bincount(groups, p_true) / np.bincount(groups)
    np.testing.assert_allclose(weights.mean_p_true, expected, rtol=1e-9)


# --- on a device ----------------------------------------------------------------------------------


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


# --- ranks ----------------------------------------------------------------------------------------


def work_on_a_rank(rank, world_size, path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}/rendezvous", rank=rank, world_size=world_size
    )
    group = torch.distributed.group.WORLD
    for number, rule in enumerate(RULES):
        weights = rule()
        for epoch in range(3):
            arrays = rows(epoch, 61)
            mine = [array[rank::world_size] for array in arrays]
            observe(weights, *mine, torch.from_numpy)
            weights.step(process_group=group)
        observe(weights, *rows(9)[:4])
        np.savez(path / f"rule{number}-rank{rank}.npz", **weights.state())
    bad = RULES[0]()
    bad.observe([0], [0.5])
    if rank == 1:  # on a device, a bad value is known at the step alone
        dbpt.group_weights.tensors.HOST_DEVICES = ()
        bad.observe(torch.tensor([0]), torch.tensor([2.0]))
    with pytest.raises(InputError) as caught:
        bad.step(process_group=group)
    (path / f"message{rank}").write_text(str(caught.value))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_get_the_weights_of_one_process_bit_for_bit(tmp_path):
    torch.multiprocessing.start_processes(work_on_a_rank, (2, tmp_path), nprocs=2, start_method="spawn")
    for number, rule in enumerate(RULES):
        alone = rule()
        for epoch in range(3):
            observe(alone, *rows(epoch, 61))
            alone.step()
        observe(alone, *rows(9))
        for rank in range(2):
            with np.load(tmp_path / f"rule{number}-rank{rank}.npz") as found:
                assert {name: found[name].tobytes() for name in found} == content(alone)
    assert (tmp_path / "message0").read_text().startswith("what another rank observed since the last step is not valid")
    assert (tmp_path / "message1").read_text().startswith("p_true of 1 rows observed on cpu")
