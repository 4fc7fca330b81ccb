//! `quotas` and `GroupStream`.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::detached::detached;
use super::error::vector;
use super::groups::PyGroupIndex;
use crate::sample;

/// (G,) int64 whole draws that add up to num_samples, by largest remainder; ties go to the lower group.
#[pyfunction]
pub(super) fn quotas<'py>(
    py: Python<'py>,
    shares: PyReadonlyArray1<'py, f64>,
    counts: PyReadonlyArray1<'py, i64>,
    num_samples: u64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let (shares, counts) = (vector("shares", &shares)?, vector("counts", &counts)?);
    Ok(sample::quotas(shares, counts, num_samples)?.into_pyarray(py))
}

/// The draws of one epoch: draw i is a pure function of (seed, epoch, i, quotas, groups).
#[pyclass(name = "GroupStream", module = "dbpt._core", frozen)]
pub(super) struct PyGroupStream(sample::GroupStream);

#[pymethods]
impl PyGroupStream {
    #[new]
    fn new(
        index: &PyGroupIndex,
        quotas: PyReadonlyArray1<'_, i64>,
        seed: u64,
        epoch: u64,
    ) -> PyResult<Self> {
        let quotas = vector("quotas", &quotas)?;
        Ok(Self(sample::GroupStream::new(index.0.clone(), quotas, seed, epoch)?))
    }

    fn __len__(&self) -> usize {
        self.0.len() as usize
    }

    #[pyo3(signature = (start, stop, num_threads = 1))]
    /// (stop - start,) int64, the rows of the draws from start up to stop.
    fn indices<'py>(
        &self,
        py: Python<'py>,
        start: u64,
        stop: u64,
        num_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let rows = detached(py, num_threads, |workers| self.0.indices(start, stop, workers))?;
        Ok(rows.into_pyarray(py))
    }
}
