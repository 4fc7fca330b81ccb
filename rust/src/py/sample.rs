//! `quotas`, the streams, and the `AliasTable` that one of them draws from.

use std::sync::Arc;

use numpy::{Element, IntoPyArray, PyArray, PyArray1, PyArrayDyn, ndarray::Dimension};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{elements, readonly, readwrite, vector};
use super::groups::PyGroupIndex;
use crate::sample::{self, Draws, Epoch, Weight};
use crate::{Result, Workers};

/// Values that are copied at a time.
const COPIED: usize = 1 << 20;

type Entries<'py> = (Bound<'py, PyArray1<u64>>,);

/// (G,) int64 whole draws in `epoch` that add up to num_samples, `least` to `most` for each group with a share.
#[pyfunction]
#[pyo3(signature = (shares, counts, num_samples, seed, epoch, *, least = 0, most = None))]
#[expect(clippy::too_many_arguments, reason = "by name in Python")]
pub(super) fn quotas<'py>(
    py: Python<'py>,
    shares: &Bound<'py, PyArray1<f64>>,
    counts: &Bound<'py, PyArray1<i64>>,
    num_samples: u64,
    seed: u64,
    epoch: u64,
    least: u64,
    most: Option<u64>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let (shares, counts) = (readonly("shares", shares)?, readonly("counts", counts)?);
    let (shares, counts) = (vector("shares", &shares)?, vector("counts", &counts)?);
    let bounds = least..=most.unwrap_or(num_samples);
    let of_epoch = |_: &Workers| sample::quotas(shares, counts, num_samples, bounds, seed, epoch);
    Ok(detached(py, 1, of_epoch)?.into_pyarray(py))
}

/// The draws of one epoch, each a pure function of its number.
#[pyclass(name = "Stream", module = "dbpt._core", frozen, subclass)]
pub(super) struct PyStream(Box<dyn Epoch>);

impl PyStream {
    fn of<E: Epoch + 'static>(
        py: Python<'_>,
        build: impl FnOnce() -> Result<E> + Send,
    ) -> PyResult<PyClassInitializer<Self>> {
        Ok(Self(Box::new(detached(py, 1, |_| build())?)).into())
    }
}

#[pymethods]
impl PyStream {
    fn __len__(&self) -> usize {
        self.0.len() as usize
    }

    /// int64, the rows of the draws start, start + step, ... below stop: (draws,), or of batches (draws, batch_size).
    #[pyo3(signature = (start, stop, step = 1, num_threads = 1))]
    fn indices<'py>(
        &self,
        py: Python<'py>,
        start: u64,
        stop: u64,
        step: u64,
        num_threads: usize,
    ) -> PyResult<Bound<'py, PyArrayDyn<i64>>> {
        let draws = Draws { start, stop, step };
        // If they are no valid draws the array is empty, and filling it says so.
        let mut shape = vec![draws.count(self.0.len()).unwrap_or(0)];
        shape.extend(self.0.batch_size());
        filled(py, shape, "i8", num_threads, |out, workers| self.0.fill(draws, out, workers))
    }
}

/// An epoch with exact quotas: draw i is a pure function of (seed, epoch, i, quotas, groups).
#[pyclass(name = "GroupStream", module = "dbpt._core", frozen, extends = PyStream)]
pub(super) struct PyGroupStream;

#[pymethods]
impl PyGroupStream {
    #[new]
    fn new(
        py: Python<'_>,
        index: &PyGroupIndex,
        quotas: &Bound<'_, PyArray1<i64>>,
        seed: u64,
        epoch: u64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let (index, quotas) = (index.0.clone(), readonly("quotas", quotas)?);
        let quotas = vector("quotas", &quotas)?;
        let build = || sample::GroupStream::new(index, quotas, seed, epoch);
        Ok(PyStream::of(py, build)?.add_subclass(Self))
    }
}

/// Independent draws: group g with probability quotas[g] / sum(quotas), then each member with equal probability.
#[pyclass(name = "IndependentStream", module = "dbpt._core", frozen, extends = PyStream)]
pub(super) struct PyIndependentStream;

#[pymethods]
impl PyIndependentStream {
    #[new]
    fn new(
        py: Python<'_>,
        index: &PyGroupIndex,
        quotas: &Bound<'_, PyArray1<i64>>,
        length: u64,
        seed: u64,
        epoch: u64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let (index, quotas) = (index.0.clone(), readonly("quotas", quotas)?);
        let quotas = vector("quotas", &quotas)?;
        let build = || sample::IndependentStream::new(index, quotas, length, seed, epoch);
        Ok(PyStream::of(py, build)?.add_subclass(Self))
    }
}

/// The batches of one epoch: batch b is a pure function of (seed, epoch, b, quotas, batch_size, groups).
#[pyclass(name = "BatchStream", module = "dbpt._core", frozen, extends = PyStream)]
pub(super) struct PyBatchStream;

#[pymethods]
impl PyBatchStream {
    #[new]
    #[pyo3(signature = (index, quotas, batch_size, seed, epoch, groups_per_batch = None))]
    fn new(
        py: Python<'_>,
        index: &PyGroupIndex,
        quotas: &Bound<'_, PyArray1<i64>>,
        batch_size: usize,
        seed: u64,
        epoch: u64,
        groups_per_batch: Option<usize>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let (index, quotas) = (index.0.clone(), readonly("quotas", quotas)?);
        let quotas = vector("quotas", &quotas)?;
        let build =
            || sample::BatchStream::new(index, quotas, batch_size, groups_per_batch, seed, epoch);
        Ok(PyStream::of(py, build)?.add_subclass(Self))
    }
}

/// Draws with replacement: draw i is a pure function of (seed, epoch, i, table).
#[pyclass(name = "WeightedStream", module = "dbpt._core", frozen, extends = PyStream)]
pub(super) struct PyWeightedStream;

#[pymethods]
impl PyWeightedStream {
    #[new]
    fn new(
        py: Python<'_>,
        table: &PyAliasTable,
        length: u64,
        seed: u64,
        epoch: u64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let table = table.0.clone();
        let build = || sample::WeightedStream::new(table, length, seed, epoch);
        Ok(PyStream::of(py, build)?.add_subclass(Self))
    }
}

/// An alias table, 8 bytes per row, which draws a row by weight with one look-up.
#[pyclass(name = "AliasTable", module = "dbpt._core", frozen)]
pub(super) struct PyAliasTable(Arc<sample::AliasTable>);

#[pymethods]
impl PyAliasTable {
    #[new]
    #[pyo3(signature = (weights, num_threads = 1))]
    fn new(weights: &Bound<'_, PyAny>, num_threads: usize) -> PyResult<Self> {
        if let Ok(array) = weights.cast::<PyArray1<f64>>() {
            return table(array, num_threads);
        }
        if let Ok(array) = weights.cast::<PyArray1<f32>>() {
            return table(array, num_threads);
        }
        Err(PyTypeError::new_err(format!(
            "weights is a {}; expected a one-dimensional NumPy array of float64 or float32 in native byte order",
            weights.get_type().name()?
        )))
    }

    /// Return the table with these entries, which a pickle stores.
    #[staticmethod]
    fn from_entries(py: Python<'_>, entries: &Bound<'_, PyArray1<u64>>) -> PyResult<Self> {
        let borrowed = readonly("entries", entries)?;
        let entries = vector("entries", &borrowed)?;
        Ok(Self(Arc::new(detached(py, 1, |_| sample::AliasTable::from_entries(entries))?)))
    }

    /// (N,) uint64, for each row its threshold and alias in one word.
    fn entries<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let entries = self.0.entries();
        filled(py, (entries.len(),), "u8", 1, |out, workers| {
            let tasks = out.chunks_mut(COPIED).zip(entries.chunks(COPIED));
            workers.for_each(tasks, |(out, entries)| out.copy_from_slice(entries))
        })
    }

    fn __len__(&self) -> usize {
        self.0.entries().len()
    }

    /// 63 bits by which a checkpoint recognises the distribution.
    #[pyo3(signature = (num_threads = 1))]
    fn digest(&self, py: Python<'_>, num_threads: usize) -> PyResult<u64> {
        detached(py, num_threads, |workers| self.0.digest(workers))
    }

    /// A function and its arguments, with which pickle rebuilds the table.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Entries<'py>)> {
        let from_entries = py.get_type::<Self>().getattr("from_entries")?;
        Ok((from_entries, (self.entries(py)?,)))
    }
}

/// Return the table of the weights, without a copy of them.
fn table<T: Element + Weight>(
    weights: &Bound<'_, PyArray1<T>>,
    num_threads: usize,
) -> PyResult<PyAliasTable> {
    let borrowed = readonly("weights", weights)?;
    let values = vector("weights", &borrowed)?;
    let build = |workers: &Workers| sample::AliasTable::new(values, workers);
    Ok(PyAliasTable(Arc::new(detached(weights.py(), num_threads, build)?)))
}

/// Return a new array, filled without the interpreter lock. NumPy allocates it or raises a `MemoryError`.
fn filled<'py, T: Element + Send, D: Dimension>(
    py: Python<'py>,
    shape: impl IntoPyObject<'py>,
    dtype: &str,
    num_threads: usize,
    fill: impl FnOnce(&mut [T], &Workers) -> Result<()> + Send,
) -> PyResult<Bound<'py, PyArray<T, D>>> {
    let array = py.import("numpy")?.call_method1("zeros", (shape, dtype))?;
    let array = array.cast_into::<PyArray<T, D>>()?;
    let mut borrowed = readwrite("out", &array)?;
    let values = elements("out", &mut borrowed)?;
    detached(py, num_threads, |workers| fill(values, workers))?;
    drop(borrowed);
    Ok(array)
}
