"""Clustering by the Rust core: mapped files, threads, processes, memory, bad input."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from points_to_cluster import blobs, equal, nearest

from dbpt._core import assign_centers, assign_gmm, gmm, kmeans, silhouette
from dbpt.errors import InputError


def everything(points):
    centers = kmeans(points, 2, contrasts=True, num_threads=2)[0]
    labels, posterior = np.zeros(len(points), np.uint8), np.zeros((len(points), 2), np.float32)
    fit = gmm(points, 2, contrasts=True, centers=centers, max_iter=3, num_threads=2)
    assign_gmm(points, *fit[:3], contrasts=True, labels_out=labels, posterior_out=posterior, num_threads=2)
    return [centers, *fit, labels, posterior, silhouette(points, centers, contrasts=True, num_threads=2)]


def test_mapped_files_give_the_same_as_memory(tmp_path):
    logits = blobs(20_000, 3).astype(np.float16)
    np.save(tmp_path / "logits.npy", logits)
    mapped = np.load(tmp_path / "logits.npy", mmap_mode="r")
    assert equal(everything(mapped), everything(logits))
    labels = np.lib.format.open_memmap(tmp_path / "labels.npy", "w+", np.uint8, (20_000,))
    centers = kmeans(mapped, 2)[0]
    assign_centers(mapped, centers, 1.0, labels_out=labels)
    labels.flush()
    assert np.array_equal(np.load(tmp_path / "labels.npy"), nearest(logits, centers))


MEMORY = """
import numpy as np
from dbpt._core import assign_centers, assign_gmm, gmm, kmeans, silhouette

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def cluster(points, labels):
    kmeans(points, 4, n_init=2, max_iter=3, num_threads=2)

def others(points, labels):
    centers = points[:4].astype(np.float64)
    fit = gmm(points, len(centers), centers=centers, max_iter=2, num_threads=2)
    assign_centers(points, centers, 1.0, labels_out=labels, num_threads=2)
    assign_gmm(points, *fit[:3], labels_out=labels, num_threads=2)
    silhouette(points, centers, sample_size=100)

rows = 8_000_000
points, labels = np.empty((rows, 2), np.float16), np.zeros(rows, np.uint8)
labels += 1
for part in np.split(points, 800):
    part[:] = np.random.default_rng(0).random((10_000, 2), np.float32)
for work in (others, cluster):  # what takes less first: a peak stays
    work(points[:100_000], labels[:100_000])
    before = peak()
    work(points, labels)
    print((peak() - before) / rows)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_grows_with_the_rows_in_kmeans_alone_by_a_byte():
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    # Bytes for each row; that of k-means is its cluster. One float32 of each, kept by any of the calls, would be 4.
    others, kmeans = map(float, found.stdout.split())
    assert others < 0.5
    assert kmeans < 1.5


def test_it_works_in_several_python_threads_at_once():
    points, found = blobs(30_000, 3), {}
    expected = everything(points)

    def work(i):
        found[i] = everything(points)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(equal(found[i], expected) for i in range(4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_it_works_after_a_fork():
    script = """
import os, sys
import numpy as np
from dbpt._core import kmeans
points = np.random.default_rng(0).random((50_000, 3), np.float32)
expected = kmeans(points, 3, num_threads=2)
child = os.fork()
found = kmeans(points, 3, num_threads=2)
same = all(np.array_equal(a, b) for a, b in zip(found, expected))
if child == 0:
    os._exit(0 if same else 1)
sys.exit(not same or os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=600, check=False).returncode == 0


def test_outputs_must_not_be_in_use():
    points = np.zeros((10, 2), np.float32)
    centers = np.zeros((1, 2))
    with pytest.raises(InputError, match="^posterior_out is being written to by another call"):
        assign_centers(points, centers, 1.0, labels_out=np.zeros(10, np.uint8), posterior_out=points)


POINTS = np.arange(12, dtype=np.float32).reshape(6, 2)
CENTERS = np.array([[0.0, 1.0], [8.0, 9.0]])
EYE = np.array([np.eye(2), np.eye(2)])
HALVES = np.array([0.5, 0.5])


def labels_of(rows=6, dtype=np.uint8):
    return np.zeros(rows, dtype)


def changed(array, position, value):
    array = array.copy()
    array[position] = value
    return array


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e15])
@pytest.mark.parametrize("contrasts", [False, True])
def test_bad_values_name_row_and_column(bad, contrasts):
    points = changed(np.tile(POINTS, (2000, 1)), (9001, 1), bad)
    centers = np.zeros((2, 2 - contrasts))
    centers[1] = 5
    some = {"contrasts": contrasts, "rows": np.arange(1, 12_000, 2)}
    fit = (HALVES, centers, np.ones_like(centers))
    calls = [
        lambda: kmeans(points, 2, **some),
        lambda: gmm(points, 2, centers=centers, **some),
        lambda: silhouette(points, centers, sample_size=6000, **some),
        lambda: assign_centers(points, centers, 1.0, labels_out=labels_of(12_000), **some),
        lambda: assign_gmm(points, *fit, labels_out=labels_of(12_000), **some),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"^points\[9001, 1\] is (NaN|-?inf|2e15|2000000000000000)"):
            call()
    some["rows"] -= 1
    for call in calls:
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kmeans(POINTS, 0), "^k is 0; expected at least 1"),
        (lambda: kmeans(POINTS, 7), "^k is 7; expected at most the number of points"),
        (lambda: kmeans(POINTS, 2, rows=np.array([3])), "^k is 2; expected at most the number of points"),
        (lambda: kmeans(POINTS[:0], 1), "^k is 1; expected at most the number of points"),
        (lambda: kmeans(POINTS, 1, rows=np.array([], int)), "^k is 1; expected at most the number of points"),
        (lambda: kmeans(POINTS, 1, max_iter=0), "^max_iter is 0"),
        (lambda: kmeans(POINTS, 1, n_init=0), "^n_init is 0"),
        (lambda: kmeans(POINTS, 2, centers=CENTERS, n_init=2), "^n_init is 2 with centers; expected 1"),
        (lambda: kmeans(POINTS, 3, centers=CENTERS), "^centers has 2 rows; expected k, which is 3"),
        (lambda: kmeans(POINTS, 2, centers=CENTERS, contrasts=True), "^centers has 2 columns; expected 1"),
        (lambda: kmeans(POINTS, 2, centers=changed(CENTERS, (1, 0), np.nan)), r"^centers\[1, 0\] is NaN"),
        (lambda: kmeans(POINTS[:, :1].copy(), 1, contrasts=True), "^points has 1 column with contrasts=True"),
        (lambda: kmeans(np.zeros((3, 0), np.float32), 1), "^columns is 0"),
        (lambda: kmeans(POINTS, 1, rows=np.array([0, 6])), r"^rows\[1\] is 6; expected ascending row numbers below 6"),
        (lambda: kmeans(POINTS, 1, rows=np.array([-1])), r"^rows\[0\] is -1"),
        (lambda: kmeans(POINTS, 1, rows=np.array([2, 2])), r"^rows\[1\] is 2"),
        (lambda: kmeans(POINTS, 1, rows=np.array([2, 1])), r"^rows\[1\] is 1"),
        (lambda: gmm(POINTS, 2), "^the start is not clear; expected centers, or weights, means and precisions"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, weights=HALVES), "^the start is not clear"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, covariance="tied"), "^covariance is \"tied\"; expected 'full'"),
        (lambda: gmm(POINTS, 1, centers=CENTERS), "^centers has 2 rows; expected k, which is 1"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, tol=-1), "^tol is -1"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, reg_covar=np.nan), "^reg_covar is NaN"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, max_iter=0), "^max_iter is 0"),
        (lambda: gmm(POINTS[:1], 2, centers=CENTERS), "^k is 2; expected at most the number of points"),
        (
            lambda: gmm(POINTS, 2, weights=HALVES, means=CENTERS, precisions=EYE[0]),
            r"^precisions has shape \[2, 2\]; expected \[2, 2, 2\]",
        ),
        (
            lambda: gmm(POINTS, 2, weights=HALVES, means=CENTERS, precisions=-EYE),
            r"^precisions\[0\] is no positive definite matrix",
        ),
        (
            lambda: gmm(
                POINTS, 2, weights=HALVES, means=CENTERS, precisions=changed(EYE[0], (1, 1), 0), covariance="diagonal"
            ),
            r"^precisions\[0\] is no positive finite",
        ),
        (
            lambda: gmm(POINTS, 2, weights=np.array([1.5, -0.5]), means=CENTERS, precisions=EYE),
            r"^weights\[0\] is 1.5; expected a share",
        ),
        (lambda: silhouette(POINTS, CENTERS[:1]), "^the number of centers is 1; expected at least 2"),
        (lambda: silhouette(POINTS, CENTERS, sample_size=0), "^sample_size is 0"),
        (lambda: silhouette(POINTS[:0], CENTERS), "^the number of points is 0"),
        (lambda: assign_centers(POINTS, CENTERS[:0], 1.0, labels_out=labels_of()), "^the number of centers is 0"),
        (lambda: assign_centers(POINTS, CENTERS, -1.0, labels_out=labels_of()), "^variance is -1"),
        (lambda: assign_centers(POINTS, CENTERS, np.nan, labels_out=labels_of()), "^variance is NaN"),
        (lambda: assign_centers(POINTS, CENTERS, 1.0, labels_out=labels_of(5)), "^labels_out has length 5; expected 6"),
        (
            lambda: assign_centers(POINTS, CENTERS, 1.0, labels_out=labels_of(), names=np.arange(3)),
            "^names has length 3; expected 2",
        ),
        (
            lambda: assign_centers(POINTS, CENTERS, 1.0, labels_out=labels_of(), names=np.array([0, -1])),
            r"^names\[1\] is -1; expected a number that the type of labels_out holds",
        ),
        (
            lambda: assign_centers(
                POINTS, CENTERS, 1.0, labels_out=labels_of(), posterior_out=np.zeros((6, 1), np.float32)
            ),
            r"^names\[1\] is 1; expected a column of posterior_out",
        ),
        (
            lambda: assign_centers(
                POINTS,
                CENTERS,
                1.0,
                labels_out=labels_of(),
                names=np.array([1, 1]),
                posterior_out=np.zeros((6, 2), np.float32),
            ),
            r"^names\[1\] is 1; expected a column of posterior_out for each cluster",
        ),
        (
            lambda: assign_centers(
                POINTS, CENTERS, 1.0, labels_out=labels_of(), posterior_out=np.zeros((5, 2), np.float32)
            ),
            "^posterior_out has length 5; expected 6",
        ),
        (
            lambda: assign_centers(
                POINTS, CENTERS, 1.0, labels_out=labels_of(), confidence_out=np.zeros(7, np.float32)
            ),
            "^confidence_out has length 7; expected 6",
        ),
        (
            lambda: assign_gmm(POINTS, HALVES, CENTERS, -EYE, labels_out=labels_of()),
            "^the covariance of component 0 is singular",
        ),
        (
            lambda: assign_gmm(POINTS, HALVES, CENTERS, EYE[:1], labels_out=labels_of()),
            r"^covariances has shape \[1, 2, 2\]; expected \[2, 2, 2\]",
        ),
        (
            lambda: assign_gmm(POINTS, HALVES, changed(CENTERS, (0, 0), np.inf), EYE, labels_out=labels_of()),
            r"^means\[0, 0\] is inf",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_arrays_of_other_types_are_refused():
    for points in (POINTS.astype(np.float64), POINTS.astype(int), POINTS[0], POINTS.astype(">f4"), POINTS.tolist()):
        with pytest.raises(TypeError, match="points"):
            kmeans(points, 1)
    with pytest.raises(InputError, match="^points is not C-contiguous"):
        kmeans(POINTS[:, ::-1], 1)
    with pytest.raises(TypeError, match="labels_out"):
        assign_centers(POINTS, CENTERS, 1.0, labels_out=np.zeros(6))
    read_only = labels_of()
    read_only.flags.writeable = False
    with pytest.raises(InputError, match="^labels_out is read-only"):
        assign_centers(POINTS, CENTERS, 1.0, labels_out=read_only)
    with pytest.raises(TypeError, match="covariances"):
        assign_gmm(POINTS, HALVES, CENTERS, EYE.astype(np.float32), labels_out=labels_of())
