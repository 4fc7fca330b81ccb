//! Arrays of several float types, in memory or in a mapped file, without a copy.

use half::f16;
use numpy::{PyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::error::{matrix, readonly};
use crate::cluster::{Logits, Values};

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

impl Floats<'_> {
    /// Run `work` on its elements as logits, without a copy, unless another call writes to them.
    pub(super) fn with_logits<R>(&self, work: impl FnOnce(Logits) -> PyResult<R>) -> PyResult<R> {
        match self {
            Self::F16(array) => {
                let array = readonly("logits", array)?;
                let (values, columns) = matrix("logits", &array)?;
                work(Logits::new(Values::F16(values), columns)?)
            }
            Self::F32(array) => {
                let array = readonly("logits", array)?;
                let (values, columns) = matrix("logits", &array)?;
                work(Logits::new(Values::F32(values), columns)?)
            }
        }
    }

    /// The number of columns.
    pub(super) fn columns(&self) -> usize {
        match self {
            Self::F16(array) => array.shape()[1],
            Self::F32(array) => array.shape()[1],
        }
    }
}
