//! `softmax_argmax` and `kmeans`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2};
use pyo3::prelude::*;

use super::detached::detached;
use super::error::matrix;
use super::floats::Floats;
use crate::cluster::{self, KMeans, SoftmaxArgmax};

type PySoftmaxArgmax<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);
type PyKMeans<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<f64>>, f64, usize);

/// Labels (N,), posterior (N, A), and confidence (N,), the posterior of the label.
#[pyfunction]
#[pyo3(signature = (logits, num_threads = 1))]
pub(super) fn softmax_argmax<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    num_threads: usize,
) -> PyResult<PySoftmaxArgmax<'py>> {
    let logits = logits.matrix("logits")?;
    let SoftmaxArgmax { labels, posterior, confidence } =
        detached(py, num_threads, |workers| cluster::softmax_argmax(logits, workers))?;
    let posterior = posterior.into_pyarray(py).reshape([logits.rows(), logits.width()])?;
    Ok((labels.into_pyarray(py), posterior, confidence.into_pyarray(py)))
}

/// Labels (N,), centers (k, A), inertia, iterations; fewer centers if there are fewer distinct points.
#[pyfunction]
#[pyo3(signature = (points, k, seed = 0, max_iter = 100, n_init = 1, num_threads = 1))]
pub(super) fn kmeans<'py>(
    py: Python<'py>,
    points: PyReadonlyArray2<'py, f32>,
    k: usize,
    seed: u64,
    max_iter: usize,
    n_init: usize,
    num_threads: usize,
) -> PyResult<PyKMeans<'py>> {
    let (values, columns) = matrix("points", &points)?;
    let KMeans { labels, centers, inertia, iterations } = detached(py, num_threads, |workers| {
        cluster::kmeans(values, columns, k, seed, max_iter, n_init, workers)
    })?;
    let centers = centers.into_pyarray(py);
    let clusters = centers.len()? / columns;
    Ok((labels.into_pyarray(py), centers.reshape([clusters, columns])?, inertia, iterations))
}
