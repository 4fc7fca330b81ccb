//! Arrays of several float types, taken as they lie in memory or in a mapped file.

use half::f16;
use numpy::{PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::error::{matrix, readonly, vector};
use crate::cluster::{Matrix, Values};
use crate::groups;

/// A two-dimensional array of one of the two types.
pub(super) enum Floats<'py> {
    F16(Bound<'py, PyArray2<f16>>),
    F32(Bound<'py, PyArray2<f32>>),
}

impl<'py> FromPyObject<'_, 'py> for Floats<'py> {
    type Error = PyErr;

    // Not derived: that message has a line for each type, and says of none what is wrong.
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.cast::<PyArray2<f16>>() {
            return Ok(Self::F16(array.to_owned()));
        }
        if let Ok(array) = object.cast::<PyArray2<f32>>() {
            return Ok(Self::F32(array.to_owned()));
        }
        let found = match object.cast::<PyUntypedArray>() {
            Ok(array) => format!("an array of shape {:?} and {}", array.shape(), array.dtype()),
            Err(_) => format!("a {}", object.get_type().name()?),
        };
        Err(PyTypeError::new_err(format!(
            "{found}; expected a two-dimensional NumPy array of float16 or float32 in native byte order"
        )))
    }
}

/// The same, while nobody may write to it.
pub(super) enum ReadonlyFloats<'py> {
    F16(PyReadonlyArray2<'py, f16>),
    F32(PyReadonlyArray2<'py, f32>),
}

impl<'py> Floats<'py> {
    pub(super) fn readonly(&self, argument: &str) -> PyResult<ReadonlyFloats<'py>> {
        Ok(match self {
            Self::F16(array) => ReadonlyFloats::F16(readonly(argument, array)?),
            Self::F32(array) => ReadonlyFloats::F32(readonly(argument, array)?),
        })
    }
}

impl ReadonlyFloats<'_> {
    /// Its elements, without a copy.
    pub(super) fn matrix(&self, argument: &'static str) -> PyResult<Matrix<'_>> {
        let (values, columns) = match self {
            Self::F16(array) => {
                let (values, columns) = matrix(argument, array)?;
                (Values::F16(values), columns)
            }
            Self::F32(array) => {
                let (values, columns) = matrix(argument, array)?;
                (Values::F32(values), columns)
            }
        };
        Ok(Matrix::new(argument, values, columns)?)
    }
}

/// A one-dimensional array of a float type.
#[derive(FromPyObject)]
pub(super) enum FloatVector<'py> {
    #[pyo3(transparent, annotation = "NDArray[float16]")]
    F16(PyReadonlyArray1<'py, f16>),
    #[pyo3(transparent, annotation = "NDArray[float32]")]
    F32(PyReadonlyArray1<'py, f32>),
    #[pyo3(transparent, annotation = "NDArray[float64]")]
    F64(PyReadonlyArray1<'py, f64>),
}

impl FloatVector<'_> {
    /// Its elements, without a copy.
    pub(super) fn floats(&self, argument: &str) -> PyResult<groups::Floats<'_>> {
        Ok(match self {
            Self::F16(array) => groups::Floats::F16(vector(argument, array)?),
            Self::F32(array) => groups::Floats::F32(vector(argument, array)?),
            Self::F64(array) => groups::Floats::F64(vector(argument, array)?),
        })
    }
}

/// A two-dimensional array of a float type.
#[derive(FromPyObject)]
pub(super) enum FloatMatrix<'py> {
    #[pyo3(transparent, annotation = "NDArray[float16]")]
    F16(PyReadonlyArray2<'py, f16>),
    #[pyo3(transparent, annotation = "NDArray[float32]")]
    F32(PyReadonlyArray2<'py, f32>),
    #[pyo3(transparent, annotation = "NDArray[float64]")]
    F64(PyReadonlyArray2<'py, f64>),
}

impl FloatMatrix<'_> {
    /// Its elements in row order, without a copy, and its number of columns.
    pub(super) fn floats(&self, argument: &str) -> PyResult<(groups::Floats<'_>, usize)> {
        Ok(match self {
            Self::F16(array) => {
                let (values, columns) = matrix(argument, array)?;
                (groups::Floats::F16(values), columns)
            }
            Self::F32(array) => {
                let (values, columns) = matrix(argument, array)?;
                (groups::Floats::F32(values), columns)
            }
            Self::F64(array) => {
                let (values, columns) = matrix(argument, array)?;
                (groups::Floats::F64(values), columns)
            }
        })
    }
}
