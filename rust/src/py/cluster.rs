//! `assign_argmax`, `kmeans` and `assign_nearest`.

use numpy::{
    Element, IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
};
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{InputError, elements, matrix, readonly, readwrite, vector};
use super::floats::Floats;
use crate::cluster::{self, KMeans, Logits, Outputs};
use crate::{Result, Workers};

pub(super) type Integers<'py> = Bound<'py, PyArray1<i64>>;
type Table<'py> = Bound<'py, PyArray2<f64>>;
type PyKMeans<'py> = (Table<'py>, Integers<'py>, f64, usize);

/// Run `work` on the logits without the interpreter lock.
fn with_logits<'py, R: Send>(
    py: Python<'py>,
    logits: &Floats<'py>,
    num_threads: usize,
    work: impl FnOnce(Logits, &Workers) -> Result<R> + Send,
) -> PyResult<R> {
    logits.with_logits(|logits| detached(py, num_threads, |workers| work(logits, workers)))
}

/// Return the elements of an array of centres with as many columns as the logits.
fn centers_of<'a>(
    centers: &'a PyReadonlyArray2<'_, f64>,
    logits: &Floats<'_>,
) -> PyResult<&'a [f64]> {
    let (values, columns) = matrix("centers", centers)?;
    let expected = logits.columns();
    if columns != expected {
        let message =
            format!("centers has {columns} columns; expected {expected}, as the logits have");
        return Err(InputError::new_err(message));
    }
    Ok(values)
}

/// The arrays from Python that a labelling pass writes to.
struct PyOutputs<'py> {
    posterior: Option<Bound<'py, PyArray2<f32>>>,
    confidence: Option<Bound<'py, PyArray1<f32>>>,
}

impl<'py> PyOutputs<'py> {
    /// Run `work` on them.
    fn with<L: Element>(
        &self,
        labels: &Bound<'py, PyArray1<L>>,
        work: impl FnOnce(Outputs<L>) -> PyResult<()>,
    ) -> PyResult<()> {
        let mut labels = readwrite("labels_out", labels)?;
        let posterior = self.posterior.as_ref().map(|array| readwrite("posterior_out", array));
        let confidence = self.confidence.as_ref().map(|array| readwrite("confidence_out", array));
        let (mut posterior, mut confidence) = (posterior.transpose()?, confidence.transpose()?);
        work(Outputs {
            labels: elements("labels_out", &mut labels)?,
            posterior: posterior.as_mut().map(|p| elements("posterior_out", p)).transpose()?,
            confidence: confidence.as_mut().map(|c| elements("confidence_out", c)).transpose()?,
        })
    }
}

/// Run the generic `$work` on labels of any integer type.
macro_rules! with_labels {
    ($labels:expr, $outputs:expr, $work:expr) => {
        with_labels!($labels, $outputs, $work, u8, i64, i32, i16, i8, u16, u32, u64)
    };
    ($labels:expr, $outputs:expr, $work:expr, $($integer:ty),*) => {{
        $(
            if let Ok(labels) = $labels.cast::<numpy::PyArray1<$integer>>() {
                return $outputs.with(labels, $work);
            }
        )*
        Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "labels_out is a {}; expected a one-dimensional NumPy array of integers in native byte order",
            $labels.get_type().name()?
        )))
    }};
}

/// Write each row's column of the largest logit plus offset, and the softmax.
#[pyfunction]
#[pyo3(signature = (logits, *, offsets = None, labels_out, posterior_out = None, confidence_out = None, num_threads = 1))]
pub(super) fn assign_argmax<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    offsets: Option<PyReadonlyArray1<'py, f64>>,
    labels_out: Bound<'py, PyAny>,
    posterior_out: Option<Bound<'py, PyArray2<f32>>>,
    confidence_out: Option<Bound<'py, PyArray1<f32>>>,
    num_threads: usize,
) -> PyResult<()> {
    let offsets = offsets.as_ref().map(|offsets| vector("offsets", offsets)).transpose()?;
    let outputs = PyOutputs { posterior: posterior_out, confidence: confidence_out };
    with_labels!(labels_out, outputs, |outputs| {
        with_logits(py, &logits, num_threads, |logits, workers| {
            cluster::assign_argmax(logits, offsets, outputs, workers)
        })
    })
}

/// Centers (k, A), counts (k,), inertia, iterations of Lloyd's algorithm.
#[pyfunction]
#[pyo3(signature = (logits, centers, *, rows = None, max_iter = 100, num_threads = 1))]
pub(super) fn kmeans<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    centers: Table<'py>,
    rows: Option<Integers<'py>>,
    max_iter: usize,
    num_threads: usize,
) -> PyResult<PyKMeans<'py>> {
    let centers = readonly("centers", &centers)?;
    let centers = centers_of(&centers, &logits)?;
    let rows = rows.map(|rows| readonly("rows", &rows)).transpose()?;
    let rows = rows.as_ref().map(|rows| vector("rows", rows)).transpose()?;
    let found = with_logits(py, &logits, num_threads, |logits, workers| {
        let logits = if let Some(rows) = rows { logits.only(rows)? } else { logits };
        cluster::kmeans(logits, centers, max_iter, workers)
    })?;
    let KMeans { centers, counts, inertia, iterations } = found;
    let centers = centers.into_pyarray(py).reshape([counts.len(), logits.columns()])?;
    Ok((centers, counts.into_pyarray(py), inertia, iterations))
}

/// Write the number of each row's nearest center, and the posterior of equally weighted spherical Gaussians.
#[pyfunction]
#[pyo3(signature = (logits, centers, variance, *, labels_out, posterior_out = None, confidence_out = None,
    num_threads = 1))]
#[allow(clippy::too_many_arguments)]
pub(super) fn assign_nearest<'py>(
    py: Python<'py>,
    logits: Floats<'py>,
    centers: Table<'py>,
    variance: f64,
    labels_out: Bound<'py, PyAny>,
    posterior_out: Option<Bound<'py, PyArray2<f32>>>,
    confidence_out: Option<Bound<'py, PyArray1<f32>>>,
    num_threads: usize,
) -> PyResult<()> {
    let centers = readonly("centers", &centers)?;
    let centers = centers_of(&centers, &logits)?;
    let outputs = PyOutputs { posterior: posterior_out, confidence: confidence_out };
    with_labels!(labels_out, outputs, |outputs| {
        with_logits(py, &logits, num_threads, |logits, workers| {
            cluster::assign_nearest(logits, centers, variance, outputs, workers)
        })
    })
}
