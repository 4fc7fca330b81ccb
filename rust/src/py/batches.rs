//! `batch_quotas` and `BatchStream`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

use super::detached::detached;
use super::error::vector;
use super::groups::PyGroupIndex;
use crate::sample::{self, Draws};

/// (G,) int64 whole draws that add up to batch_size * num_batches, at least min_per_group a batch for groups with a share.
#[pyfunction]
pub(super) fn batch_quotas<'py>(
    py: Python<'py>,
    shares: PyReadonlyArray1<'py, f64>,
    counts: PyReadonlyArray1<'py, i64>,
    batch_size: usize,
    num_batches: u64,
    min_per_group: usize,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
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
    fn new(
        py: Python<'_>,
        index: &PyGroupIndex,
        quotas: PyReadonlyArray1<'_, i64>,
        batch_size: usize,
        seed: u64,
        epoch: u64,
    ) -> PyResult<Self> {
        let (index, quotas) = (index.0.clone(), vector("quotas", &quotas)?);
        Ok(Self(py.detach(|| sample::BatchStream::new(index, quotas, batch_size, seed, epoch))?))
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
        let rows = detached(py, num_threads, |workers| self.0.indices(batches, workers))?;
        let count = rows.len() / self.0.batch_size();
        rows.into_pyarray(py).reshape([count, self.0.batch_size()])
    }
}
