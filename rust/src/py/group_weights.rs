//! `GroupSums`, and the rules that make weights of their means: `GroupWeights` and `GroupDRO`. Any
//! number of Python threads may use an instance: whatever changes is behind a lock that is taken only
//! with the interpreter lock held, and never while Python is called. So nobody waits for it, and a
//! forked child never finds it taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{InputError, matrix, vector};
use super::floats::{FloatMatrix, FloatVector};
use crate::groups::{
    self, GroupDro, GroupDroState, GroupSums, GroupWeights, GroupWeightsState, Quantity, SoftRows,
};

type Numbers<'py> = Bound<'py, PyArray1<f64>>;

/// Exact sums of what was observed of each group.
///
/// GroupSums(counts, quantity): quantity is "p_true" or "losses". Groups whose count (G,) is 0 are left out.
#[pyclass(name = "GroupSums", module = "dbpt._core", frozen)]
pub(super) struct PyGroupSums {
    quantity: Quantity,
    counted: Vec<bool>,
    sums: Mutex<GroupSums>,
}

impl PyGroupSums {
    fn add(&self, sums: &GroupSums) -> PyResult<()> {
        Ok(lock(&self.sums).add(sums, |group| self.counted[group])?)
    }

    fn read(&self, digits: &PyReadonlyArray2<'_, i64>) -> PyResult<GroupSums> {
        let (digits, _) = matrix("digits", digits)?;
        Ok(GroupSums::from_digits(self.counted.len(), digits)?)
    }
}

#[pymethods]
impl PyGroupSums {
    #[new]
    fn new(counts: PyReadonlyArray1<'_, f64>, quantity: &str) -> PyResult<Self> {
        let quantity = match quantity {
            "p_true" => Quantity::PTrue,
            "losses" => Quantity::Loss,
            _ => {
                let expected = "expected 'p_true' or 'losses'";
                return Err(InputError::new_err(format!("quantity is {quantity:?}; {expected}")));
            }
        };
        let counted: Vec<bool> = vector("counts", &counts)?.iter().map(|n| *n > 0.0).collect();
        let sums = Mutex::new(GroupSums::new(counted.len()));
        Ok(Self { quantity, counted, sums })
    }

    /// Add groups (B,) int64 and values (B,) float16, float32 or float64; a row of group -1 does not count.
    #[pyo3(signature = (groups, values, num_threads = 1))]
    fn observe(
        &self,
        py: Python<'_>,
        groups: PyReadonlyArray1<'_, i64>,
        values: FloatVector<'_>,
        num_threads: usize,
    ) -> PyResult<()> {
        let groups = vector("groups", &groups)?;
        let values = values.floats(self.quantity.argument())?;
        let found = detached(py, num_threads, |workers| {
            GroupSums::of_rows(self.counted.len(), groups, self.quantity, values, workers)
        })?;
        self.add(&found)
    }

    /// Add values (B,) to each group (label, a) by posterior (B, A), both of any float type; a row of NaN does not
    /// count.
    #[pyo3(signature = (posterior, labels, values, num_threads = 1))]
    fn observe_soft(
        &self,
        py: Python<'_>,
        posterior: FloatMatrix<'_>,
        labels: PyReadonlyArray1<'_, i64>,
        values: FloatVector<'_>,
        num_threads: usize,
    ) -> PyResult<()> {
        let (posterior, columns) = posterior.floats("posterior")?;
        let rows =
            SoftRows::new(posterior, columns, vector("labels", &labels)?, self.counted.len())?;
        let values = values.floats(self.quantity.argument())?;
        let found = detached(py, num_threads, |workers| {
            GroupSums::of_soft_rows(&rows, self.quantity, values, workers)
        })?;
        self.add(&found)
    }

    /// (G, 5) int64, which add up to the same of several sums: v2, v1, v0, m1, m0 stand for values v2 * 2**64 +
    /// v1 * 2**32 + v0 and members m1 * 2**32 + m0.
    fn digits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let digits = lock(&self.sums).digits();
        digits.into_pyarray(py).reshape([self.counted.len(), 5])
    }

    /// Add what digits (G, 5) int64 from elsewhere stand for.
    fn add_digits(&self, digits: PyReadonlyArray2<'_, i64>) -> PyResult<()> {
        self.add(&self.read(&digits)?)
    }

    /// Take away what digits (G, 5) int64 that were these sums' stand for; what was observed since then is left.
    fn subtract_digits(&self, digits: PyReadonlyArray2<'_, i64>) -> PyResult<()> {
        let earlier = self.read(&digits)?;
        lock(&self.sums).subtract(&earlier);
        Ok(())
    }

    /// Become what digits (G, 5) int64 stand for, if somebody can have observed it.
    fn load_digits(&self, digits: PyReadonlyArray2<'_, i64>) -> PyResult<()> {
        let loaded = self.read(&digits)?;
        loaded.check(self.quantity)?;
        *lock(&self.sums) = loaded;
        Ok(())
    }

    /// (G,) float64, the means that digits (G, 5) int64 stand for, NaN where nothing was observed.
    fn means<'py>(
        &self,
        py: Python<'py>,
        digits: PyReadonlyArray2<'_, i64>,
    ) -> PyResult<Numbers<'py>> {
        Ok(self.read(&digits)?.means(self.quantity).into_pyarray(py))
    }
}

/// What one sample of each group weighs (arXiv 2503.08368).
///
/// GroupWeights(counts, eta, momentum) starts balanced. target_g is proportional to exp(eta * (1 - p_g)) / N_g over the
/// groups observed since the last step, with the total of N_g * w_g they had; step() moves
/// w_g += (1 - momentum) * (target_g - w_g). A group that was not observed keeps its weight; an empty group weighs 0.
#[pyclass(name = "GroupWeights", module = "dbpt._core", frozen)]
pub(super) struct PyGroupWeights {
    num_groups: usize,
    rule: Mutex<GroupWeights>,
}

#[pymethods]
impl PyGroupWeights {
    #[new]
    fn new(counts: PyReadonlyArray1<'_, f64>, eta: f64, momentum: f64) -> PyResult<Self> {
        let counts = vector("counts", &counts)?;
        let rule = Mutex::new(GroupWeights::new(counts, eta, momentum)?);
        Ok(Self { num_groups: counts.len(), rule })
    }

    /// (G,) float64, the current weights; the sum of N_g * w_g is the sum of N_g.
    #[getter]
    fn group_weights<'py>(&self, py: Python<'py>) -> Numbers<'py> {
        PyArray1::from_slice(py, &lock(&self.rule).state().group_weights)
    }

    /// (G,) float64, p_g at the last step that observed the group, NaN where there was none.
    #[getter]
    fn mean_p_true<'py>(&self, py: Python<'py>) -> Numbers<'py> {
        PyArray1::from_slice(py, &lock(&self.rule).state().mean_p_true)
    }

    /// Move the weights towards the target of mean_p_true (G,) float64, NaN for a group that was not observed.
    fn step(&self, mean_p_true: PyReadonlyArray1<'_, f64>) -> PyResult<()> {
        let means = of_each_group("mean_p_true", &mean_p_true, self.num_groups)?;
        lock(&self.rule).step(&means);
        Ok(())
    }

    /// Continue from group_weights and mean_p_true, (G,) float64 each, bit for bit.
    fn load_state(
        &self,
        group_weights: PyReadonlyArray1<'_, f64>,
        mean_p_true: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        Ok(lock(&self.rule).load_state(GroupWeightsState {
            group_weights: vector("group_weights", &group_weights)?.to_vec(),
            mean_p_true: vector("mean_p_true", &mean_p_true)?.to_vec(),
        })?)
    }
}

/// Group DRO's distribution over groups (arXiv 1911.08731).
///
/// GroupDRO(counts, step_size, size_adjustment) starts uniform. step() multiplies q_g of the observed groups by
/// exp(step_size * (mean loss_g + size_adjustment / sqrt(N_g))) and normalises q.
#[pyclass(name = "GroupDRO", module = "dbpt._core", frozen)]
pub(super) struct PyGroupDro {
    num_groups: usize,
    rule: Mutex<GroupDro>,
}

#[pymethods]
impl PyGroupDro {
    #[new]
    fn new(
        counts: PyReadonlyArray1<'_, f64>,
        step_size: f64,
        size_adjustment: f64,
    ) -> PyResult<Self> {
        let counts = vector("counts", &counts)?;
        let rule = Mutex::new(GroupDro::new(counts, step_size, size_adjustment)?);
        Ok(Self { num_groups: counts.len(), rule })
    }

    /// (G,) float64, the distribution over groups.
    #[getter]
    fn q<'py>(&self, py: Python<'py>) -> Numbers<'py> {
        let q = lock(&self.rule).q();
        q.into_pyarray(py)
    }

    /// (G,) float64, q_g / N_g times the sum of N_g; 0 for an empty group.
    #[getter]
    fn group_weights<'py>(&self, py: Python<'py>) -> Numbers<'py> {
        let weights = lock(&self.rule).group_weights();
        weights.into_pyarray(py)
    }

    /// (G,) float64, log(q_g / max q): 0 for the largest, minus infinity for an empty group.
    #[getter]
    fn log_q<'py>(&self, py: Python<'py>) -> Numbers<'py> {
        PyArray1::from_slice(py, &lock(&self.rule).state().log_q)
    }

    /// (G,) float64, mean loss at the last step that observed the group, NaN where there was none.
    #[getter]
    fn mean_loss<'py>(&self, py: Python<'py>) -> Numbers<'py> {
        PyArray1::from_slice(py, &lock(&self.rule).state().mean_loss)
    }

    /// Move q by mean_loss (G,) float64, NaN for a group that was not observed.
    fn step(&self, mean_loss: PyReadonlyArray1<'_, f64>) -> PyResult<()> {
        let means = of_each_group("mean_loss", &mean_loss, self.num_groups)?;
        lock(&self.rule).step(&means);
        Ok(())
    }

    /// Continue from log_q and mean_loss, (G,) float64 each, bit for bit.
    fn load_state(
        &self,
        log_q: PyReadonlyArray1<'_, f64>,
        mean_loss: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        Ok(lock(&self.rule).load_state(GroupDroState {
            log_q: vector("log_q", &log_q)?.to_vec(),
            mean_loss: vector("mean_loss", &mean_loss)?.to_vec(),
        })?)
    }
}

/// (G,) float64, the sum of posterior (N, A) of any float type over the rows of each group, labels (N,) int64 from 0
/// to num_classes - 1; a row of NaN does not count.
#[pyfunction]
#[pyo3(signature = (posterior, labels, num_classes, num_threads = 1))]
pub(super) fn soft_counts<'py>(
    py: Python<'py>,
    posterior: FloatMatrix<'py>,
    labels: PyReadonlyArray1<'py, i64>,
    num_classes: usize,
    num_threads: usize,
) -> PyResult<Numbers<'py>> {
    let (posterior, columns) = posterior.floats("posterior")?;
    let groups = num_classes.saturating_mul(columns);
    let rows = SoftRows::new(posterior, columns, vector("labels", &labels)?, groups)?;
    let counts = detached(py, num_threads, |workers| groups::soft_counts(&rows, workers))?;
    Ok(counts.into_pyarray(py))
}

/// (B,) float64, the mean under posterior (B, A) of group_weights (C * A,); of class_weights (C,) for a row of NaN.
#[pyfunction]
#[pyo3(signature = (posterior, labels, group_weights, class_weights, num_threads = 1))]
pub(super) fn soft_sample_weights<'py>(
    py: Python<'py>,
    posterior: FloatMatrix<'py>,
    labels: PyReadonlyArray1<'py, i64>,
    group_weights: PyReadonlyArray1<'py, f64>,
    class_weights: PyReadonlyArray1<'py, f64>,
    num_threads: usize,
) -> PyResult<Numbers<'py>> {
    let (posterior, columns) = posterior.floats("posterior")?;
    let group_weights = vector("group_weights", &group_weights)?;
    let rows = SoftRows::new(posterior, columns, vector("labels", &labels)?, group_weights.len())?;
    let class_weights =
        of_each_group("class_weights", &class_weights, group_weights.len() / columns)?;
    let weights = detached(py, num_threads, |workers| {
        groups::soft_sample_weights(&rows, group_weights, &class_weights, workers)
    })?;
    Ok(weights.into_pyarray(py))
}

fn of_each_group(
    argument: &str,
    values: &PyReadonlyArray1<'_, f64>,
    length: usize,
) -> PyResult<Vec<f64>> {
    let values = vector(argument, values)?;
    if values.len() != length {
        let found = values.len();
        return Err(InputError::new_err(format!(
            "{argument} has length {found}; expected {length}"
        )));
    }
    Ok(values.to_vec())
}

/// A panic elsewhere leaves whole values behind: they are only ever replaced or added to at the end.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
