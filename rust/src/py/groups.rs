//! `GroupIndex` and `group_sums`.

use std::sync::Arc;

use numpy::{Element, IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{readonly, vector};
use crate::Workers;
use crate::groups::{self, GroupIndex, GroupNumber};
use crate::memory::with_capacity;

/// The members of each group, in 4 bytes per row; rows of group -1 are outside.
#[pyclass(name = "GroupIndex", module = "dbpt._core", frozen)]
pub(super) struct PyGroupIndex(pub(super) Arc<GroupIndex>);

#[pymethods]
impl PyGroupIndex {
    #[new]
    #[pyo3(signature = (groups, num_groups = None, num_threads = 1))]
    fn new(
        groups: &Bound<'_, PyAny>,
        num_groups: Option<usize>,
        num_threads: usize,
    ) -> PyResult<Self> {
        macro_rules! index_if {
            ($($integer:ty),*) => {$(
                if let Ok(array) = groups.cast::<PyArray1<$integer>>() {
                    return index(array, num_groups, num_threads);
                }
            )*};
        }
        index_if!(i64, i32, u8, i8, i16, u16, u32, u64);
        Err(PyTypeError::new_err(format!(
            "groups is a {}; expected a one-dimensional NumPy array of integers in native byte order",
            groups.get_type().name()?
        )))
    }

    /// Number of groups G.
    #[getter]
    fn num_groups(&self) -> usize {
        self.0.num_groups()
    }

    /// Number of rows N.
    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    /// Number of rows of group -1.
    #[getter]
    fn num_outside(&self) -> usize {
        self.0.num_outside()
    }

    /// The first row of group -1, or None.
    #[getter]
    fn first_outside(&self) -> Option<usize> {
        self.0.first_outside()
    }

    /// (G,) int64, the number of members of each group.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let mut counts = with_capacity(self.0.num_groups())?;
        counts.extend((0..self.0.num_groups()).map(|g| self.0.count(g) as i64));
        Ok(counts.into_pyarray(py))
    }

    /// (N_g,) int64, the rows of the group, ascending.
    fn members<'py>(&self, py: Python<'py>, group: usize) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let found = detached(py, 1, |workers| self.0.members(group, workers))?;
        Ok(found.into_pyarray(py))
    }

    /// (N,) int64, the group of each row again, -1 for those outside.
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.groups_as(py, -1, |group| group as i64)
    }

    /// 63 bits by which a checkpoint recognises the groups.
    #[pyo3(signature = (num_threads = 1))]
    fn digest(&self, py: Python<'_>, num_threads: usize) -> PyResult<u64> {
        detached(py, num_threads, |workers| self.0.digest(workers))
    }

    /// The arguments with which pickle calls `__new__`: the groups in few bytes.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, usize)> {
        let num_groups = self.num_groups();
        let groups = match num_groups {
            0..=0x80 => self.groups_as(py, -1, |group| group as i8),
            0x81..=0x8000 => self.groups_as(py, -1, |group| group as i16),
            _ => self.groups_as(py, -1, |group| group as i32),
        }?;
        Ok((groups, num_groups))
    }

    fn __repr__(&self) -> String {
        format!("GroupIndex(num_rows={}, num_groups={})", self.num_rows(), self.num_groups())
    }
}

impl PyGroupIndex {
    fn groups_as<'py, T: Element + Copy>(
        &self,
        py: Python<'py>,
        outside: T,
        number: impl Fn(usize) -> T + Send,
    ) -> PyResult<Bound<'py, PyAny>> {
        let groups = detached(py, 1, |workers| self.0.groups(outside, number, workers))?;
        Ok(groups.into_pyarray(py).into_any())
    }
}

fn index<T: Element + GroupNumber>(
    groups: &Bound<'_, PyArray1<T>>,
    num_groups: Option<usize>,
    num_threads: usize,
) -> PyResult<PyGroupIndex> {
    let borrowed = readonly("groups", groups)?;
    let values = vector("groups", &borrowed)?;
    let build = |workers: &Workers| GroupIndex::new(values, num_groups, workers);
    Ok(PyGroupIndex(Arc::new(detached(groups.py(), num_threads, build)?)))
}

/// (G, 3) int64, the sum of values (B,) float32 or float64 by group, in units of 2**-30: high * 2**32 + low, and rows.
///
/// groups is (B,) int64; rows of group -1 do not count. Values must be from least to most; argument is their name.
#[pyfunction]
#[pyo3(signature = (groups, values, num_groups, *, argument, least, most, num_threads = 1))]
#[allow(clippy::too_many_arguments)]
pub(super) fn group_sums<'py>(
    py: Python<'py>,
    groups: &Bound<'py, PyArray1<i64>>,
    values: &Bound<'py, PyAny>,
    num_groups: usize,
    argument: &str,
    least: f64,
    most: f64,
    num_threads: usize,
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let groups = readonly("groups", groups)?;
    let groups = vector("groups", &groups)?;
    let range = least..=most;
    macro_rules! sum_if {
        ($($float:ty),*) => {$(
            if let Ok(values) = values.cast::<PyArray1<$float>>() {
                let values = readonly(argument, values)?;
                let values = vector(argument, &values)?;
                let sums = detached(py, num_threads, |workers| {
                    groups::group_sums(groups, argument, values, &range, num_groups, workers)
                })?;
                let mut numbers = with_capacity(sums.len().saturating_mul(3))?;
                numbers.extend(sums.into_iter().flat_map(|sum| [sum.high, sum.low, sum.rows]));
                return numbers.into_pyarray(py).reshape([num_groups, 3]);
            }
        )*};
    }
    sum_if!(f32, f64);
    Err(PyTypeError::new_err(format!(
        "{argument} is a {}; expected a one-dimensional NumPy array of float32 or float64 in native byte order",
        values.get_type().name()?
    )))
}
