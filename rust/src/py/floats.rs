//! Arrays of several float types, taken as they lie in memory or in a mapped file.

use half::f16;
use numpy::{PyArray2, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::error::{matrix, readonly};
use crate::cluster::{Matrix, Values};

impl<'py> FromPyObject<'_, 'py> for Floats<'py> {
    type Error = PyErr;

    fn extract(found: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = found.extract() {
            return Ok(Self::F16(array));
        }
        if let Ok(array) = found.extract() {
            return Ok(Self::F32(array));
        }
        let described = match found.cast::<PyUntypedArray>() {
            Ok(array) => format!("an array of shape {:?} and {}", array.shape(), array.dtype()),
            Err(_) => format!("a {}", found.get_type().name()?),
        };
        Err(PyTypeError::new_err(format!(
            "{described}; expected a two-dimensional NumPy array of float16 or float32 in native byte order"
        )))
    }
}

/// A two-dimensional array of one of the two types.
pub(super) enum Floats<'py> {
    F16(Bound<'py, PyArray2<f16>>),
    F32(Bound<'py, PyArray2<f32>>),
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
