//! Arrays of several float types, taken as they lie in memory or in a mapped file.

use half::f16;
use numpy::{PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::error::{matrix, readonly, vector};
use crate::cluster::{Matrix, Values};
use crate::groups;

/// Take the first variant that fits. (What pyo3 derives has a line for each, and says of none what is wrong.)
macro_rules! first_that_fits {
    ($name:ident, [$($variant:ident),*], $expected:literal) => {
        impl<'py> FromPyObject<'_, 'py> for $name<'py> {
            type Error = PyErr;

            fn extract(found: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
                $(
                    if let Ok(array) = found.extract() {
                        return Ok(Self::$variant(array));
                    }
                )*
                Err(PyTypeError::new_err(format!(
                    "{}; expected a {} in native byte order", described(&found)?, $expected
                )))
            }
        }
    };
}

first_that_fits!(Floats, [F16, F32], "two-dimensional NumPy array of float16 or float32");
first_that_fits!(
    FloatVector,
    [F16, F32, F64],
    "one-dimensional NumPy array of float16, float32 or float64"
);
first_that_fits!(
    FloatMatrix,
    [F16, F32, F64],
    "two-dimensional NumPy array of float16, float32 or float64"
);

fn described(found: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(match found.cast::<PyUntypedArray>() {
        Ok(array) => format!("an array of shape {:?} and {}", array.shape(), array.dtype()),
        Err(_) => format!("a {}", found.get_type().name()?),
    })
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

/// A one-dimensional array of a float type.
pub(super) enum FloatVector<'py> {
    F16(PyReadonlyArray1<'py, f16>),
    F32(PyReadonlyArray1<'py, f32>),
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
pub(super) enum FloatMatrix<'py> {
    F16(PyReadonlyArray2<'py, f16>),
    F32(PyReadonlyArray2<'py, f32>),
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
