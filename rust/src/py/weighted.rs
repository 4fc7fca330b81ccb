//! `AliasTable` and `WeightedStream`.

use std::sync::Arc;

use numpy::{Element, PyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{readonly, vector};
use super::sample::{buffer, filled, zeros};
use crate::sample::{self, Draws, Weight};
use crate::{Result, Workers};

/// Values that are copied at a time.
const COPIED: usize = 1 << 20;

type Entries<'py> = (Bound<'py, PyArray1<u64>>,);

/// Draws rows by weight in one look, 8 bytes a row.
#[pyclass(name = "AliasTable", module = "dbpt._core", frozen)]
pub(super) struct PyAliasTable(Arc<sample::AliasTable>);

#[pymethods]
impl PyAliasTable {
    #[new]
    #[pyo3(signature = (weights, num_threads = 1))]
    fn new(weights: &Bound<'_, PyAny>, num_threads: usize) -> PyResult<Self> {
        let built = if let Ok(array) = weights.cast::<PyArray1<f64>>() {
            of_weights(array, num_threads, sample::AliasTable::new)
        } else if let Ok(array) = weights.cast::<PyArray1<f32>>() {
            of_weights(array, num_threads, sample::AliasTable::new)
        } else {
            Err(not_floats(weights)?)
        };
        Ok(Self(Arc::new(built?)))
    }

    /// The table with these entries, which a pickle has.
    #[staticmethod]
    fn from_entries(py: Python<'_>, entries: &Bound<'_, PyArray1<u64>>) -> PyResult<Self> {
        let borrowed = readonly("entries", entries)?;
        let entries = vector("entries", &borrowed)?;
        Ok(Self(Arc::new(detached(py, 1, |_| sample::AliasTable::from_entries(entries))?)))
    }

    /// (N,) uint64, for each row its threshold and alias in one word.
    fn entries<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let entries = self.0.entries();
        let out = zeros(py, (entries.len(),), "u8")?;
        filled(out, 1, |out, workers| {
            let tasks = out.chunks_mut(COPIED).zip(entries.chunks(COPIED));
            workers.for_each(tasks, |(out, entries)| out.copy_from_slice(entries))
        })
    }

    fn __len__(&self) -> usize {
        self.0.entries().len()
    }

    /// 63 bits by which a checkpoint recognises the law.
    #[pyo3(signature = (num_threads = 1))]
    fn digest(&self, py: Python<'_>, num_threads: usize) -> PyResult<u64> {
        detached(py, num_threads, |workers| self.0.digest(workers))
    }

    /// For pickle, which calls the first with the second.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Entries<'py>)> {
        let from_entries = py.get_type::<Self>().getattr("from_entries")?;
        Ok((from_entries, (self.entries(py)?,)))
    }
}

/// Draws with replacement: draw i is a pure function of (seed, epoch, i, table).
#[pyclass(name = "WeightedStream", module = "dbpt._core", frozen)]
pub(super) struct PyWeightedStream(sample::WeightedStream);

#[pymethods]
impl PyWeightedStream {
    #[new]
    fn new(table: &PyAliasTable, length: u64, seed: u64, epoch: u64) -> PyResult<Self> {
        Ok(Self(sample::WeightedStream::new(table.0.clone(), length, seed, epoch)?))
    }

    fn __len__(&self) -> usize {
        self.0.len() as usize
    }

    /// int64, the rows of the draws start, start + step, ... below stop; written to `out` if it is given.
    #[pyo3(signature = (start, stop, step = 1, num_threads = 1, out = None))]
    fn indices<'py>(
        &self,
        py: Python<'py>,
        start: u64,
        stop: u64,
        step: u64,
        num_threads: usize,
        out: Option<Bound<'py, PyArray1<i64>>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let draws = Draws { start, stop, step };
        let out = buffer(py, out, draws, self.0.len())?;
        filled(out, num_threads, |out, workers| self.0.fill(draws, out, workers))
    }
}

/// `build` from the weights where they lie.
fn of_weights<T: Element + Weight, R: Send>(
    weights: &Bound<'_, PyArray1<T>>,
    num_threads: usize,
    build: impl FnOnce(&[T], &Workers) -> Result<R> + Send,
) -> PyResult<R> {
    let borrowed = readonly("weights", weights)?;
    let values = vector("weights", &borrowed)?;
    detached(weights.py(), num_threads, |workers| build(values, workers))
}

fn not_floats(weights: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    Ok(PyTypeError::new_err(format!(
        "weights is a {}; expected a one-dimensional NumPy array of float64 or float32 in native byte order",
        weights.get_type().name()?
    )))
}
