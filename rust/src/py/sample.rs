//! `quotas`, `GroupStream` and `IndependentStream`.

use numpy::{Element, IntoPyArray, PyArray, PyArray1, ndarray::Dimension};
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{elements, readonly, readwrite, vector};
use super::groups::PyGroupIndex;
use crate::sample::{self, Draws};
use crate::{Result, Workers};

/// (G,) int64 whole draws that add up to num_samples, by largest remainder; ties go to the lower group.
#[pyfunction]
pub(super) fn quotas<'py>(
    py: Python<'py>,
    shares: &Bound<'py, PyArray1<f64>>,
    counts: &Bound<'py, PyArray1<i64>>,
    num_samples: u64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let (shares, counts) = (readonly("shares", shares)?, readonly("counts", counts)?);
    let (shares, counts) = (vector("shares", &shares)?, vector("counts", &counts)?);
    Ok(detached(py, 1, |_| sample::quotas(shares, counts, num_samples))?.into_pyarray(py))
}

/// The draws of one epoch: draw i is a pure function of (seed, epoch, i, quotas, groups).
#[pyclass(name = "GroupStream", module = "dbpt._core", frozen)]
pub(super) struct PyGroupStream(sample::GroupStream);

#[pymethods]
impl PyGroupStream {
    #[new]
    fn new(
        py: Python<'_>,
        index: &PyGroupIndex,
        quotas: &Bound<'_, PyArray1<i64>>,
        seed: u64,
        epoch: u64,
    ) -> PyResult<Self> {
        let (index, quotas) = (index.0.clone(), readonly("quotas", quotas)?);
        let quotas = vector("quotas", &quotas)?;
        Ok(Self(detached(py, 1, |_| sample::GroupStream::new(index, quotas, seed, epoch))?))
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

/// Independent draws: group g with probability quotas[g] / sum(quotas), then each of its members alike.
#[pyclass(name = "IndependentStream", module = "dbpt._core", frozen)]
pub(super) struct PyIndependentStream(sample::IndependentStream);

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
    ) -> PyResult<Self> {
        let (index, quotas) = (index.0.clone(), readonly("quotas", quotas)?);
        let quotas = vector("quotas", &quotas)?;
        Ok(Self(detached(py, 1, |_| {
            sample::IndependentStream::new(index, quotas, length, seed, epoch)
        })?))
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

/// `out`, or a new array for these draws. If they are no valid draws it is empty, and filling it says so.
pub(super) fn buffer<'py>(
    py: Python<'py>,
    out: Option<Bound<'py, PyArray1<i64>>>,
    draws: Draws,
    length: u64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    match out {
        Some(out) => Ok(out),
        None => zeros(py, (draws.count(length).unwrap_or(0),), "i8"),
    }
}

/// A new array, made by NumPy itself: where the memory is lacking it raises a `MemoryError`.
pub(super) fn zeros<'py, T: Element, D: Dimension>(
    py: Python<'py>,
    shape: impl IntoPyObject<'py>,
    dtype: &str,
) -> PyResult<Bound<'py, PyArray<T, D>>> {
    let array = py.import("numpy")?.call_method1("zeros", (shape, dtype))?;
    Ok(array.cast_into::<PyArray<T, D>>()?)
}

/// `out`, filled without the interpreter lock.
pub(super) fn filled<T: Element + Send, D: Dimension>(
    out: Bound<'_, PyArray<T, D>>,
    num_threads: usize,
    fill: impl FnOnce(&mut [T], &Workers) -> Result<()> + Send,
) -> PyResult<Bound<'_, PyArray<T, D>>> {
    let mut borrowed = readwrite("out", &out)?;
    let values = elements("out", &mut borrowed)?;
    detached(out.py(), num_threads, |workers| fill(values, workers))?;
    drop(borrowed);
    Ok(out)
}
