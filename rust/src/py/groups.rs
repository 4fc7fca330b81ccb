//! `GroupIndex`.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::error::vector;
use crate::groups::GroupIndex;

/// The members of each group, 4 bytes a row; rows of group -1 are outside.
#[pyclass(name = "GroupIndex", module = "dbpt._core", frozen)]
pub(super) struct PyGroupIndex(pub(super) Arc<GroupIndex>);

#[pymethods]
impl PyGroupIndex {
    #[new]
    fn new(py: Python<'_>, groups: PyReadonlyArray1<'_, i64>, num_groups: usize) -> PyResult<Self> {
        let groups = vector("groups", &groups)?;
        let index = py.detach(|| GroupIndex::new(groups, num_groups))?;
        Ok(Self(Arc::new(index)))
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

    /// (G,) int64, the number of members of each group.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let counts: Vec<i64> = (0..self.0.num_groups()).map(|g| self.0.count(g) as i64).collect();
        counts.into_pyarray(py)
    }

    /// (N_g,) int64, the rows of the group, ascending.
    fn members<'py>(&self, py: Python<'py>, group: usize) -> PyResult<Bound<'py, PyArray1<i64>>> {
        Ok(py.detach(|| self.0.members(group))?.into_pyarray(py))
    }

    /// (N,) int64, the group of each row again, -1 for those outside.
    fn groups<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        py.detach(|| self.0.groups()).into_pyarray(py)
    }

    /// 63 bits by which a checkpoint recognises the groups.
    fn digest(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.0.digest())
    }

    /// For pickle, which calls `__new__` with these.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyArray1<i64>>, usize) {
        (self.groups(py), self.num_groups())
    }

    fn __repr__(&self) -> String {
        format!("GroupIndex(num_rows={}, num_groups={})", self.num_rows(), self.num_groups())
    }
}
