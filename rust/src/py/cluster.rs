//! Pseudo attributes: `assign_argmax`, `assign_proportional`, `estimate_proportions` and `kmeans`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{matrix, vector};
use super::floats::Floats;
use super::outputs::{PosteriorOut, with_labels};
use crate::cluster::{self, KMeans, Outputs, Rows};

type PyKMeans<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<f64>>, f64, usize);

/// Write the column of the largest logit into labels_out (N,), the softmax into posterior_out (N, A), the posterior
/// of the label into confidence_out (N,), for all rows or those of rows (M,) int64.
#[pyfunction]
#[pyo3(signature = (logits, *, rows = None, labels_out, posterior_out = None, confidence_out = None, num_threads = 1))]
pub(super) fn assign_argmax<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    rows: Option<PyReadonlyArray1<'py, i64>>,
    labels_out: &Bound<'py, PyAny>,
    posterior_out: Option<Bound<'py, PyArray2<f32>>>,
    confidence_out: Option<Bound<'py, PyArray1<f32>>>,
    num_threads: usize,
) -> PyResult<()> {
    let logits = logits.matrix("logits")?;
    let rows = rows.as_ref().map(|rows| vector("rows", rows)).transpose()?;
    let mut out = PosteriorOut::new(posterior_out.as_ref(), confidence_out.as_ref())?;
    let (posterior, confidence) = out.slices()?;
    with_labels!(labels_out, labels => {
        let outputs = Outputs::new(logits.rows(), logits.width(), labels, posterior, confidence)?;
        detached(py, num_threads, |workers| {
            cluster::assign_argmax(Rows::new(logits, rows)?, outputs, workers)
        })
    })
}

/// Label the rows so that counts (A,) int64 of them get each column, and return the offsets (A,) float64 to the logits
/// that do it; otherwise as assign_argmax.
#[pyfunction]
#[pyo3(signature = (
    logits, counts, *, rows = None, labels_out, posterior_out = None, confidence_out = None, num_threads = 1
))]
#[allow(clippy::too_many_arguments)]
pub(super) fn assign_proportional<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    counts: PyReadonlyArray1<'py, i64>,
    rows: Option<PyReadonlyArray1<'py, i64>>,
    labels_out: &Bound<'py, PyAny>,
    posterior_out: Option<Bound<'py, PyArray2<f32>>>,
    confidence_out: Option<Bound<'py, PyArray1<f32>>>,
    num_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let logits = logits.matrix("logits")?;
    let counts = vector("counts", &counts)?;
    let rows = rows.as_ref().map(|rows| vector("rows", rows)).transpose()?;
    let mut out = PosteriorOut::new(posterior_out.as_ref(), confidence_out.as_ref())?;
    let (posterior, confidence) = out.slices()?;
    with_labels!(labels_out, labels => {
        let outputs = Outputs::new(logits.rows(), logits.width(), labels, posterior, confidence)?;
        let offsets = detached(py, num_threads, |workers| {
            cluster::assign_proportional(Rows::new(logits, rows)?, counts, outputs, workers)
        })?;
        Ok(offsets.into_pyarray(py))
    })
}

/// The proportions (A,) float64 under which the logits are most likely, iterations, and whether they converged.
#[pyfunction]
#[pyo3(signature = (logits, *, rows = None, tolerance = 1e-6, max_iter = 1000, num_threads = 1))]
pub(super) fn estimate_proportions<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    rows: Option<PyReadonlyArray1<'py, i64>>,
    tolerance: f64,
    max_iter: usize,
    num_threads: usize,
) -> PyResult<(Bound<'py, PyArray1<f64>>, usize, bool)> {
    let logits = logits.matrix("logits")?;
    let rows = rows.as_ref().map(|rows| vector("rows", rows)).transpose()?;
    let found = detached(py, num_threads, |workers| {
        cluster::estimate_proportions(Rows::new(logits, rows)?, tolerance, max_iter, workers)
    })?;
    Ok((found.proportions.into_pyarray(py), found.iterations, found.converged))
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
