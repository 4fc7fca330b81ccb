//! `batch_quotas` and `BatchStream`.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{readonly, vector};
use super::groups::PyGroupIndex;
use super::sample::{filled, zeros};
use crate::sample::{self, Draws};

/// (G,) int64 whole draws that add up to batch_size * num_batches, at least min_per_group a batch for groups with a share.
#[pyfunction]
pub(super) fn batch_quotas<'py>(
    py: Python<'py>,
    shares: &Bound<'py, PyArray1<f64>>,
    counts: &Bound<'py, PyArray1<i64>>,
    batch_size: usize,
    num_batches: u64,
    min_per_group: usize,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let (shares, counts) = (readonly("shares", shares)?, readonly("counts", counts)?);
    let (shares, counts) = (vector("shares", &shares)?, vector("counts", &counts)?);
    let found = detached(py, 1, |workers| {
        sample::batch_quotas(shares, counts, batch_size, num_batches, min_per_group, workers)
    })?;
    Ok(found.into_pyarray(py))
}

/// The batches of one epoch: batch b is a pure function of (seed, epoch, b, quotas, batch_size, groups).
#[pyclass(name = "BatchStream", module = "dbpt._core", frozen)]
pub(super) struct PyBatchStream(sample::BatchStream);

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
    ) -> PyResult<Self> {
        let (index, quotas) = (index.0.clone(), readonly("quotas", quotas)?);
        let quotas = vector("quotas", &quotas)?;
        let build =
            || sample::BatchStream::new(index, quotas, batch_size, groups_per_batch, seed, epoch);
        Ok(Self(detached(py, 1, |_| build())?))
    }

    fn __len__(&self) -> usize {
        self.0.len() as usize
    }

    /// (batches, batch_size) int64, the rows of the batches start, start + step, ... below stop.
    #[pyo3(signature = (start, stop, step = 1, num_threads = 1))]
    fn indices<'py>(
        &self,
        py: Python<'py>,
        start: u64,
        stop: u64,
        step: u64,
        num_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let batches = Draws { start, stop, step };
        // If they are no valid batches the array is empty, and filling it says so.
        let count = batches.count(self.0.len()).unwrap_or(0);
        let out = zeros(py, (count, self.0.batch_size()), "i8")?;
        filled(out, num_threads, |out, workers| self.0.fill(batches, out, workers))
    }
}
