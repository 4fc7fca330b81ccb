"""argmax and k-means of the Rust core: parity with plain references, mapped files, threads, memory, bad input."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from sklearn.cluster import KMeans

from dbpt._core import assign_argmax, assign_nearest, kmeans
from dbpt.errors import InputError


def blobs(rows, columns, clusters=3, seed=0, spread=3.0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, spread, (clusters, columns))
    return (centers[rng.integers(0, clusters, rows)] + rng.normal(size=(rows, columns))).astype(np.float32)


def centred(logits):
    logits = logits.astype(np.float64)
    return logits - logits.mean(axis=1, keepdims=True)


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def everything(logits, **keywords):
    found = kmeans(logits, centred(logits[:3]), **keywords)
    labels, posterior = np.zeros(len(logits), np.uint8), np.zeros((len(logits), 3), np.float32)
    assign_nearest(logits, found[0], 0.5, labels_out=labels, posterior_out=posterior, **keywords)
    argmax, softmax = np.zeros(len(logits), np.int32), np.zeros(logits.shape, np.float32)
    offsets = np.arange(logits.shape[1]) / 2
    assign_argmax(logits, offsets=offsets, labels_out=argmax, posterior_out=softmax, **keywords)
    return [*found, labels, posterior, argmax, softmax]


@pytest.mark.parametrize(("rows", "columns", "k"), [(500, 2, 2), (5000, 8, 4), (700, 17, 3)])
def test_kmeans_equals_reference_and_scikit_learn(rows, columns, k):
    logits = blobs(rows, columns) + np.random.default_rng(1).normal(20, 9, (rows, 1)).astype(np.float32)
    start = centred(logits[:k])
    centers, counts, inertia, iterations = kmeans(logits, start, max_iter=300)
    labels, expected, expected_inertia, expected_iterations = reference.lloyd(centred(logits), start, 300)
    np.testing.assert_allclose(centers, expected, atol=1e-4)
    assert np.abs(counts - np.bincount(labels, minlength=k)).max() <= 1e-3 * rows
    assert inertia == pytest.approx(expected_inertia, rel=1e-5)
    assert abs(iterations - expected_iterations) <= 3
    peer = KMeans(k, init=start, n_init=1, tol=0, max_iter=300, algorithm="lloyd").fit(centred(logits))
    assert inertia == pytest.approx(peer.inertia_, rel=1e-4)


def test_half_and_single_precision_give_the_same_bits():
    half = blobs(9000, 4).astype(np.float16)
    assert equal(everything(half), everything(half.astype(np.float32)))


@pytest.mark.parametrize("rows", [3, 16, 4097, 30_000])
def test_the_result_is_the_same_for_any_number_of_threads(rows):
    logits = blobs(rows, 3)
    one = everything(logits, num_threads=1)
    for num_threads in (2, 5):
        assert equal(one, everything(logits, num_threads=num_threads))


MEMORY = """
import numpy as np
from dbpt._core import assign_argmax, assign_nearest, kmeans

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def work(logits, labels):
    centers = kmeans(logits, np.array([[1.0, -1.0], [-1.0, 1.0]]), max_iter=3, num_threads=2)[0]
    assign_nearest(logits, centers, 1.0, labels_out=labels, num_threads=2)
    assign_argmax(logits, labels_out=labels, num_threads=2)

rows = 8_000_000
logits, labels = np.empty((rows, 2), np.float16), np.zeros(rows, np.uint8)
labels += 1
for part in np.split(logits, 800):
    part[:] = np.random.default_rng(0).random((10_000, 2), np.float32)
work(logits[:100_000], labels[:100_000])
before = peak()
work(logits, labels)
print((peak() - before) / rows)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.full
def test_nothing_is_kept_for_each_row():
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 0.5  # bytes


LOGITS = np.arange(12, dtype=np.float32).reshape(6, 2)
CENTERS = np.array([[0.0, 1.0], [8.0, 9.0]])


def labels_of(rows=6, dtype=np.uint8):
    return np.zeros(rows, dtype)


def changed(array, position, value):
    array = array.copy()
    array[position] = value
    return array


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e15])
def test_bad_values_name_row_and_column(bad):
    logits = changed(np.tile(LOGITS, (2000, 1)), (9001, 1), bad)
    odd = np.arange(1, 12_000, 2)
    calls = [
        lambda: kmeans(logits, CENTERS),
        lambda: kmeans(logits, CENTERS, rows=odd),
        lambda: assign_nearest(logits, CENTERS, 1.0, labels_out=labels_of(12_000)),
        lambda: assign_argmax(logits, labels_out=labels_of(12_000)),
        lambda: assign_argmax(logits, offsets=np.zeros(2), labels_out=labels_of(12_000)),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"^logits\[9001, 1\] is (NaN|-?inf|2e15|2000000000000000)"):
            call()
    kmeans(logits, CENTERS, rows=odd - 1)


def nearest(centers=CENTERS, variance=1.0, rows=6, **outputs):
    return assign_nearest(LOGITS, centers, variance, labels_out=labels_of(rows), **outputs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kmeans(LOGITS, CENTERS, max_iter=0), "^max_iter is 0"),
        (lambda: kmeans(LOGITS, CENTERS[:0]), "^centers has length 0; expected 2"),
        (lambda: kmeans(LOGITS, CENTERS[:, :1].copy()), "^centers has 1 columns; expected 2"),
        (lambda: kmeans(LOGITS, changed(CENTERS, (1, 0), np.nan)), r"^centers\[1, 0\] is NaN"),
        (lambda: kmeans(LOGITS, changed(CENTERS, (1, 0), np.inf)), r"^centers\[1, 0\] is inf"),
        (lambda: kmeans(np.zeros((3, 0), np.float32), np.zeros((1, 0))), "^the number of columns is 0"),
        (lambda: kmeans(LOGITS, CENTERS, rows=np.array([0, 6])), r"^rows\[1\] is 6; expected a row of logits"),
        (lambda: kmeans(LOGITS, CENTERS, rows=np.array([-1])), r"^rows\[0\] is -1"),
        (lambda: nearest(variance=-1.0), "^variance is -1"),
        (lambda: nearest(variance=np.nan), "^variance is NaN"),
        (lambda: nearest(rows=5), "^labels_out has length 5; expected 6"),
        (lambda: nearest(posterior_out=np.zeros((6, 1), np.float32)), "^posterior_out has length 6; expected 12"),
        (lambda: nearest(confidence_out=np.zeros(7, np.float32)), "^confidence_out has length 7; expected 6"),
        (lambda: assign_argmax(LOGITS, offsets=np.zeros(3), labels_out=labels_of()), "^offsets has length 3; expected"),
        (
            lambda: assign_argmax(np.zeros((6, 129), np.float16), labels_out=labels_of(dtype=np.int8)),
            "^the number of labels is 129; expected labels that the type",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_arrays_of_other_types_are_refused():
    others = (LOGITS.astype(np.float64), LOGITS.astype(int), LOGITS[0], LOGITS.astype(">f4"), LOGITS.tolist())
    for logits in others:
        with pytest.raises(TypeError, match="logits"):
            kmeans(logits, CENTERS)
    with pytest.raises(InputError, match="^logits is not C-contiguous"):
        kmeans(LOGITS[:, ::-1], CENTERS)
    with pytest.raises(TypeError, match="labels_out"):
        assign_argmax(LOGITS, labels_out=np.zeros(6))
    read_only = labels_of()
    read_only.flags.writeable = False
    with pytest.raises(InputError, match="^labels_out is read-only"):
        assign_argmax(LOGITS, labels_out=read_only)
    with pytest.raises(InputError, match="^logits is being written to by another call|^posterior_out is being"):
        assign_nearest(LOGITS, CENTERS, 1.0, labels_out=labels_of(), posterior_out=LOGITS)
