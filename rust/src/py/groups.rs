//! `GroupIndex` and `GroupWeights`.

use std::sync::Arc;

use numpy::{Element, IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::detached::detached;
use super::error::{InputError, readonly, vector};
use crate::Workers;
use crate::groups::{GroupIndex, GroupNumber, GroupWeights, GroupWeightsState};

/// The members of each group, 4 bytes a row; rows of group -1 are outside.
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
        py.detach(|| self.0.groups(-1, |group| group as i64)).into_pyarray(py)
    }

    /// 63 bits by which a checkpoint recognises the groups.
    #[pyo3(signature = (num_threads = 1))]
    fn digest(&self, py: Python<'_>, num_threads: usize) -> PyResult<u64> {
        detached(py, num_threads, |workers| self.0.digest(workers))
    }

    /// For pickle, which calls `__new__` with these: the groups in few bytes.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyAny>, usize) {
        let num_groups = self.num_groups();
        let groups = match num_groups {
            0..=0x80 => self.groups_as(py, -1, |group| group as i8),
            0x81..=0x8000 => self.groups_as(py, -1, |group| group as i16),
            _ => self.groups_as(py, -1, |group| group as i32),
        };
        (groups, num_groups)
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
    ) -> Bound<'py, PyAny> {
        py.detach(|| self.0.groups(outside, number)).into_pyarray(py).into_any()
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

/// What one sample of each group weighs (arXiv 2503.08368).
///
/// GroupWeights(counts, eta, momentum) starts balanced. target_g is proportional to exp(eta * (1 - p_g)) / N_g over the
/// groups observed since the last step, with the total of N_g * w_g they had; step() moves
/// w_g += (1 - momentum) * (target_g - w_g). A group that was not observed keeps its weight; an empty group weighs 0.
#[pyclass(name = "GroupWeights", module = "dbpt._core")]
pub(super) struct PyGroupWeights(GroupWeights);

#[pymethods]
impl PyGroupWeights {
    #[new]
    fn new(counts: PyReadonlyArray1<'_, f64>, eta: f64, momentum: f64) -> PyResult<Self> {
        Ok(Self(GroupWeights::new(vector("counts", &counts)?, eta, momentum)?))
    }

    /// (G,) float64, the current weights; the sum of N_g * w_g is the sum of N_g.
    #[getter]
    fn group_weights<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, &self.0.state().group_weights)
    }

    /// (G,) float64, p_g at the last step that observed the group, NaN where there was none.
    #[getter]
    fn mean_p_true<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, &self.0.state().mean_p_true)
    }

    /// Accumulate groups (B,) int64 and p_true (B,) float64, the probabilities of the true class; -1 does not count.
    fn observe(
        &mut self,
        py: Python<'_>,
        groups: PyReadonlyArray1<'_, i64>,
        p_true: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        let (groups, p_true) = (vector("groups", &groups)?, vector("p_true", &p_true)?);
        Ok(py.detach(|| self.0.observe(groups, p_true))?)
    }

    /// Move the weights towards the target of what was observed and start observing anew.
    fn step(&mut self) {
        self.0.step();
    }

    /// Four (G,) arrays: group_weights, mean_p_true, sums, observed.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (dict, state) = (PyDict::new(py), self.0.state());
        dict.set_item("group_weights", PyArray1::from_slice(py, &state.group_weights))?;
        dict.set_item("mean_p_true", PyArray1::from_slice(py, &state.mean_p_true))?;
        dict.set_item("sums", PyArray1::from_slice(py, &state.sums))?;
        dict.set_item("observed", PyArray1::from_slice(py, &state.observed))?;
        Ok(dict)
    }

    /// Continue from a state, bit for bit.
    fn load_state(&mut self, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let field = |name: &str| -> PyResult<Vec<f64>> {
            let invalid = |found: &str| {
                InputError::new_err(format!(
                    "state[{name:?}] is {found}; expected a float64 array (G,)"
                ))
            };
            let value = state.get_item(name)?.ok_or_else(|| invalid("missing"))?;
            let array: PyReadonlyArray1<'_, f64> =
                value.extract().map_err(|_| invalid("something else"))?;
            Ok(array.as_array().to_vec())
        };
        Ok(self.0.load_state(GroupWeightsState {
            group_weights: field("group_weights")?,
            mean_p_true: field("mean_p_true")?,
            sums: field("sums")?,
            observed: field("observed")?,
        })?)
    }
}
