//! Labels without clusters: `assign_argmax`, `assign_proportional`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;

use super::cluster::{Input, Integers, PyOutputs, with_labels};
use super::error::vector;
use super::floats::Floats;
use crate::cluster;

type Numbers<'py> = Bound<'py, PyArray1<f64>>;

/// Write each row's column of the largest logit, and the softmax.
#[pyfunction]
#[pyo3(signature = (logits, *, rows = None, labels_out, posterior_out = None, confidence_out = None, num_threads = 1))]
pub(super) fn assign_argmax<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    rows: Option<Integers<'py>>,
    labels_out: Bound<'py, PyAny>,
    posterior_out: Option<Bound<'py, PyArray2<f32>>>,
    confidence_out: Option<Bound<'py, PyArray1<f32>>>,
    num_threads: usize,
) -> PyResult<()> {
    let input = Input::logits(&logits, rows.as_ref())?;
    let outputs = PyOutputs { posterior: posterior_out, confidence: confidence_out };
    with_labels!(labels_out, outputs, |outputs| {
        input.detached(py, num_threads, |points, workers| {
            cluster::assign_argmax(points, outputs, workers)
        })
    })
}

/// Label the rows so that counts (A,) int64 of them get each column, and return the offsets (A,) float64 to the logits
/// that do it.
#[pyfunction]
#[pyo3(signature = (
    logits, counts, *, rows = None, labels_out, posterior_out = None, confidence_out = None, num_threads = 1
))]
#[allow(clippy::too_many_arguments)]
pub(super) fn assign_proportional<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    counts: PyReadonlyArray1<'py, i64>,
    rows: Option<Integers<'py>>,
    labels_out: Bound<'py, PyAny>,
    posterior_out: Option<Bound<'py, PyArray2<f32>>>,
    confidence_out: Option<Bound<'py, PyArray1<f32>>>,
    num_threads: usize,
) -> PyResult<Numbers<'py>> {
    let input = Input::logits(&logits, rows.as_ref())?;
    let counts = vector("counts", &counts)?;
    let outputs = PyOutputs { posterior: posterior_out, confidence: confidence_out };
    with_labels!(labels_out, outputs, |outputs| {
        let offsets = input.detached(py, num_threads, |points, workers| {
            cluster::assign_proportional(points, counts, outputs, workers)
        })?;
        Ok(offsets.into_pyarray(py))
    })
}
