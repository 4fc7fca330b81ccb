//! `kmeans`, `gmm`, their assignment passes, and `silhouette`.

use numpy::{
    Element, IntoPyArray, PyArray1, PyArray2, PyArrayDyn, PyArrayMethods, PyReadonlyArray1,
    PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::detached::detached;
use super::error::{InputError, contiguous, elements, matrix, readonly, readwrite, vector};
use super::floats::{Floats, ReadonlyFloats};
use crate::cluster::{
    self, Covariance, EmOptions, Gaussians, Gmm, GmmStart, KMeans, KMeansStart, Matrix, Outputs,
    Points,
};
use crate::{Result, Workers};

pub(super) type Integers<'py> = Bound<'py, PyArray1<i64>>;
type Numbers<'py> = Bound<'py, PyArray1<f64>>;
type Table<'py> = Bound<'py, PyArray2<f64>>;
type PyKMeans<'py> = (Table<'py>, Integers<'py>, f64, usize);
type PyGmm<'py> = (Numbers<'py>, Table<'py>, Bound<'py, PyAny>, f64, usize, bool);

/// What every function takes: a matrix, and which of its rows count how.
pub(super) struct Input<'py> {
    argument: &'static str,
    points: ReadonlyFloats<'py>,
    contrasts: bool,
    rows: Option<PyReadonlyArray1<'py, i64>>,
}

impl<'py> Input<'py> {
    fn new(points: &Floats<'py>, contrasts: bool, rows: Option<&Integers<'py>>) -> PyResult<Self> {
        Self::named("points", points, contrasts, rows)
    }

    /// Logits as they are.
    pub(super) fn logits(logits: &Floats<'py>, rows: Option<&Integers<'py>>) -> PyResult<Self> {
        Self::named("logits", logits, false, rows)
    }

    fn named(
        argument: &'static str,
        points: &Floats<'py>,
        contrasts: bool,
        rows: Option<&Integers<'py>>,
    ) -> PyResult<Self> {
        let rows = rows.map(|rows| readonly("rows", rows)).transpose()?;
        Ok(Self { argument, points: points.readonly(argument)?, contrasts, rows })
    }

    fn matrix(&self) -> PyResult<Matrix<'_>> {
        let matrix = self.points.matrix(self.argument)?;
        if !self.contrasts {
            return Ok(matrix);
        }
        if matrix.width() < 2 {
            return Err(InputError::new_err(
                "points has 1 column with contrasts=True; expected at least 2 columns",
            ));
        }
        Ok(matrix.contrasts())
    }

    fn rows(&self) -> PyResult<Option<&[i64]>> {
        self.rows.as_ref().map(|rows| vector("rows", rows)).transpose()
    }

    /// Run `work` on the points without the interpreter lock.
    pub(super) fn detached<R: Send>(
        &self,
        py: Python<'py>,
        num_threads: usize,
        work: impl FnOnce(Points, &Workers) -> Result<R> + Send,
    ) -> PyResult<R> {
        let (matrix, rows) = (self.matrix()?, self.rows()?);
        detached(py, num_threads, |workers| work(Points::new(matrix, rows)?, workers))
    }
}

/// The elements of a (k, width) array of float64.
fn table<'a>(
    argument: &'static str,
    array: &'a PyReadonlyArray2<'_, f64>,
    width: usize,
) -> PyResult<&'a [f64]> {
    let (values, columns) = matrix(argument, array)?;
    if columns != width {
        return Err(InputError::new_err(format!(
            "{argument} has {columns} columns; expected {width}, as the points have"
        )));
    }
    Ok(values)
}

fn must_be_k(argument: &str, found: usize, k: usize) -> PyResult<()> {
    if found != k {
        return Err(InputError::new_err(format!(
            "{argument} has {found} rows; expected k, which is {k}"
        )));
    }
    Ok(())
}

fn into_table(py: Python<'_>, values: Vec<f64>, width: usize) -> PyResult<Table<'_>> {
    let rows = values.len() / width;
    values.into_pyarray(py).reshape([rows, width])
}

/// Centers (k, W), counts (k,), inertia, iterations; fewer centers if there are fewer distinct points.
#[pyfunction]
#[pyo3(signature = (points, k, *, contrasts = false, rows = None, centers = None, seed = 0, max_iter = 100,
    n_init = 1, num_threads = 1))]
#[allow(clippy::too_many_arguments)]
pub(super) fn kmeans<'py>(
    py: Python<'py>,
    points: Floats<'py>,
    k: usize,
    contrasts: bool,
    rows: Option<Integers<'py>>,
    centers: Option<Table<'py>>,
    seed: u64,
    max_iter: usize,
    n_init: usize,
    num_threads: usize,
) -> PyResult<PyKMeans<'py>> {
    let input = Input::new(&points, contrasts, rows.as_ref())?;
    let width = input.matrix()?.width();
    let centers = centers.map(|centers| readonly("centers", &centers)).transpose()?;
    let start = match &centers {
        None => KMeansStart::PlusPlus { k, seed, n_init },
        Some(_) if n_init != 1 => {
            let message =
                format!("n_init is {n_init} with centers; expected 1, as the start is given");
            return Err(InputError::new_err(message));
        }
        Some(centers) => {
            must_be_k("centers", centers.shape()[0], k)?;
            KMeansStart::Centers(table("centers", centers, width)?)
        }
    };
    let KMeans { centers, counts, inertia, iterations } =
        input.detached(py, num_threads, |points, workers| {
            cluster::kmeans(points, start, max_iter, workers)
        })?;
    let counts: Vec<i64> = counts.into_iter().map(|n| n as i64).collect();
    Ok((into_table(py, centers, width)?, counts.into_pyarray(py), inertia, iterations))
}

/// Weights (k,), means (k, W), covariances (k, W, W) or (k, W), mean log likelihood, iterations, whether it converged.
#[pyfunction]
#[pyo3(signature = (points, k, *, covariance = "full", contrasts = false, rows = None, centers = None,
    weights = None, means = None, precisions = None, reg_covar = 1e-6, tol = 1e-3, max_iter = 100,
    num_threads = 1))]
#[allow(clippy::too_many_arguments)]
pub(super) fn gmm<'py>(
    py: Python<'py>,
    points: Floats<'py>,
    k: usize,
    covariance: &str,
    contrasts: bool,
    rows: Option<Integers<'py>>,
    centers: Option<Table<'py>>,
    weights: Option<Numbers<'py>>,
    means: Option<Table<'py>>,
    precisions: Option<Bound<'py, PyAny>>,
    reg_covar: f64,
    tol: f64,
    max_iter: usize,
    num_threads: usize,
) -> PyResult<PyGmm<'py>> {
    let input = Input::new(&points, contrasts, rows.as_ref())?;
    let width = input.matrix()?.width();
    let form = match covariance {
        "full" => Covariance::Full,
        "diagonal" => Covariance::Diagonal,
        _ => {
            let expected = "expected 'full' or 'diagonal'";
            return Err(InputError::new_err(format!("covariance is {covariance:?}; {expected}")));
        }
    };
    let options = EmOptions { reg_covar, tol, max_iter };
    let fit = |start: GmmStart| {
        input.detached(py, num_threads, |points, workers| {
            cluster::gmm(points, start, form, options, workers)
        })
    };
    let found = match (centers, weights, means, precisions) {
        (Some(centers), None, None, None) => {
            let centers = readonly("centers", &centers)?;
            must_be_k("centers", centers.shape()[0], k)?;
            fit(GmmStart::Centers(table("centers", &centers, width)?))?
        }
        (None, Some(weights), Some(means), Some(precisions)) => {
            must_be_k("weights", weights.len(), k)?;
            let start = gaussians(form, &weights, &means, ("precisions", &precisions), width)?;
            fit(GmmStart::Precisions(&start))?
        }
        _ => {
            return Err(InputError::new_err(
                "the start is not clear; expected centers, or weights, means and precisions together",
            ));
        }
    };
    let Gmm { gaussians: Gaussians { weights, means, covariances, .. }, .. } = found;
    let covariances = covariances.into_pyarray(py);
    let covariances = match form {
        Covariance::Full => covariances.reshape([weights.len(), width, width])?.into_any(),
        Covariance::Diagonal => covariances.reshape([weights.len(), width])?.into_any(),
    };
    let (weights, means) = (weights.into_pyarray(py), into_table(py, means, width)?);
    Ok((weights, means, covariances, found.log_likelihood, found.iterations, found.converged))
}

/// A copy of the arrays of a mixture, whose shapes must be those of its form.
fn gaussians(
    form: Covariance,
    weights: &Numbers<'_>,
    means: &Table<'_>,
    (argument, covariances): (&'static str, &Bound<'_, PyAny>),
    width: usize,
) -> PyResult<Gaussians> {
    let (weights, means) = (readonly("weights", weights)?, readonly("means", means)?);
    let k = weights.len();
    let expected = match form {
        Covariance::Full => vec![k, width, width],
        Covariance::Diagonal => vec![k, width],
    };
    let array = covariances.cast::<PyArrayDyn<f64>>().map_err(|_| {
        PyTypeError::new_err(format!(
            "{argument} is no NumPy array of float64 in native byte order"
        ))
    })?;
    let array = readonly(argument, array)?;
    if array.shape() != expected {
        return Err(InputError::new_err(format!(
            "{argument} has shape {:?}; expected {expected:?}",
            array.shape()
        )));
    }
    Ok(Gaussians {
        form,
        weights: vector("weights", &weights)?.to_vec(),
        means: table("means", &means, width)?.to_vec(),
        covariances: contiguous(argument, &array)?.to_vec(),
    })
}

/// The arrays that an assignment pass writes to, as Python hands them over.
pub(super) struct PyOutputs<'py> {
    pub(super) posterior: Option<Bound<'py, PyArray2<f32>>>,
    pub(super) confidence: Option<Bound<'py, PyArray1<f32>>>,
}

impl<'py> PyOutputs<'py> {
    /// Run `work` on them.
    pub(super) fn with<L: Element, R>(
        &self,
        labels: &Bound<'py, PyArray1<L>>,
        work: impl FnOnce(Outputs<L>) -> PyResult<R>,
    ) -> PyResult<R> {
        let mut labels = readwrite("labels_out", labels)?;
        let posterior = self.posterior.as_ref().map(|array| readwrite("posterior_out", array));
        let confidence = self.confidence.as_ref().map(|array| readwrite("confidence_out", array));
        let (mut posterior, mut confidence) = (posterior.transpose()?, confidence.transpose()?);
        let columns = posterior.as_ref().map_or(0, |array| array.shape()[1]);
        work(Outputs {
            labels: elements("labels_out", &mut labels)?,
            columns,
            posterior: posterior.as_mut().map(|p| elements("posterior_out", p)).transpose()?,
            confidence: confidence.as_mut().map(|c| elements("confidence_out", c)).transpose()?,
        })
    }
}

/// Run `$work`, which is generic, on labels of whatever integer type they are.
macro_rules! with_labels {
    ($labels:expr, $outputs:expr, $work:expr) => {
        with_labels!($labels, $outputs, $work, u8, i64, i32, i16, i8, u16, u32, u64)
    };
    ($labels:expr, $outputs:expr, $work:expr, $($integer:ty),*) => {{
        $(
            if let Ok(labels) = $labels.cast::<numpy::PyArray1<$integer>>() {
                return $outputs.with(labels, $work);
            }
        )*
        Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "labels_out is a {}; expected a one-dimensional NumPy array of integers in native byte order",
            $labels.get_type().name()?
        )))
    }};
}
pub(super) use with_labels;

/// Write each row's nearest center: its name, and the posterior of equally heavy spherical Gaussians.
#[pyfunction]
#[pyo3(signature = (points, centers, variance, *, contrasts = false, rows = None, names = None, labels_out,
    posterior_out = None, confidence_out = None, num_threads = 1))]
#[allow(clippy::too_many_arguments)]
pub(super) fn assign_centers<'py>(
    py: Python<'py>,
    points: Floats<'py>,
    centers: Table<'py>,
    variance: f64,
    contrasts: bool,
    rows: Option<Integers<'py>>,
    names: Option<Integers<'py>>,
    labels_out: Bound<'py, PyAny>,
    posterior_out: Option<Bound<'py, PyArray2<f32>>>,
    confidence_out: Option<Bound<'py, PyArray1<f32>>>,
    num_threads: usize,
) -> PyResult<()> {
    let input = Input::new(&points, contrasts, rows.as_ref())?;
    let centers = readonly("centers", &centers)?;
    let centers = table("centers", &centers, input.matrix()?.width())?;
    let names = names.map(|names| readonly("names", &names)).transpose()?;
    let names = names.as_ref().map(|names| vector("names", names)).transpose()?;
    let outputs = PyOutputs { posterior: posterior_out, confidence: confidence_out };
    with_labels!(labels_out, outputs, |outputs| {
        input.detached(py, num_threads, |points, workers| {
            cluster::assign_centers(points, centers, variance, names, outputs, workers)
        })
    })
}

/// Write each row's likeliest component: its name, and posterior; the total log likelihood.
#[pyfunction]
#[pyo3(signature = (points, weights, means, covariances, *, contrasts = false, rows = None, names = None,
    labels_out, posterior_out = None, confidence_out = None, num_threads = 1))]
#[allow(clippy::too_many_arguments)]
pub(super) fn assign_gmm<'py>(
    py: Python<'py>,
    points: Floats<'py>,
    weights: Numbers<'py>,
    means: Table<'py>,
    covariances: Bound<'py, PyAny>,
    contrasts: bool,
    rows: Option<Integers<'py>>,
    names: Option<Integers<'py>>,
    labels_out: Bound<'py, PyAny>,
    posterior_out: Option<Bound<'py, PyArray2<f32>>>,
    confidence_out: Option<Bound<'py, PyArray1<f32>>>,
    num_threads: usize,
) -> PyResult<f64> {
    let input = Input::new(&points, contrasts, rows.as_ref())?;
    let width = input.matrix()?.width();
    let form = match covariances.cast::<PyUntypedArray>().map(PyUntypedArrayMethods::ndim) {
        Ok(3) => Covariance::Full,
        _ => Covariance::Diagonal,
    };
    let mixture = gaussians(form, &weights, &means, ("covariances", &covariances), width)?;
    let names = names.map(|names| readonly("names", &names)).transpose()?;
    let names = names.as_ref().map(|names| vector("names", names)).transpose()?;
    let outputs = PyOutputs { posterior: posterior_out, confidence: confidence_out };
    with_labels!(labels_out, outputs, |outputs| {
        input.detached(py, num_threads, |points, workers| {
            cluster::assign_gmm(points, &mixture, names, outputs, workers)
        })
    })
}

/// The mean silhouette of up to `sample_size` rows that belong to their nearest centers.
#[pyfunction]
#[pyo3(signature = (points, centers, *, contrasts = false, rows = None, sample_size = 2000, seed = 0,
    num_threads = 1))]
#[allow(clippy::too_many_arguments)]
pub(super) fn silhouette<'py>(
    py: Python<'py>,
    points: Floats<'py>,
    centers: Table<'py>,
    contrasts: bool,
    rows: Option<Integers<'py>>,
    sample_size: usize,
    seed: u64,
    num_threads: usize,
) -> PyResult<f64> {
    let input = Input::new(&points, contrasts, rows.as_ref())?;
    let centers = readonly("centers", &centers)?;
    let centers = table("centers", &centers, input.matrix()?.width())?;
    input.detached(py, num_threads, |points, workers| {
        cluster::silhouette(points, centers, sample_size, seed, workers)
    })
}
