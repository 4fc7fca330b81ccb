//! The one mapping of errors: bad input becomes `dbpt.errors.InputError`, which is a `ValueError`; too little
//! memory a `MemoryError`, and a panic a `RuntimeError`.

use numpy::{
    BorrowError, Element, PyArray, PyArrayMethods, PyReadonlyArray, PyReadonlyArray1,
    PyReadonlyArray2, PyReadwriteArray, PyUntypedArrayMethods, ndarray::Dimension,
};
use pyo3::exceptions::{PyMemoryError, PyRuntimeError};
use pyo3::{Bound, PyErr, PyResult};

use crate::Error;

pyo3::import_exception!(dbpt.errors, InputError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Memory { .. } => PyMemoryError::new_err(error.to_string()),
            Error::Panicked { .. } => PyRuntimeError::new_err(error.to_string()),
            _ => InputError::new_err(error.to_string()),
        }
    }
}

/// Return the array, unless another call is writing to it.
pub(super) fn readonly<'py, T: Element, D: Dimension>(
    argument: &str,
    array: &Bound<'py, PyArray<T, D>>,
) -> PyResult<PyReadonlyArray<'py, T, D>> {
    array.try_readonly().map_err(|_| in_use(argument))
}

/// Return the array for writing, unless it is read-only or in use.
pub(super) fn readwrite<'py, T: Element, D: Dimension>(
    argument: &str,
    array: &Bound<'py, PyArray<T, D>>,
) -> PyResult<PyReadwriteArray<'py, T, D>> {
    match array.try_readwrite() {
        Ok(array) if !array.data().is_aligned() => Err(not_aligned(argument)),
        Ok(array) if !array.is_c_contiguous() => Err(not_contiguous(argument)),
        Ok(array) => Ok(array),
        Err(BorrowError::NotWriteable) => Err(InputError::new_err(format!(
            "{argument} is read-only; expected an array that can be written to"
        ))),
        Err(_) => Err(in_use(argument)),
    }
}

/// Return the elements of an array from [`readwrite`].
pub(super) fn elements<'a, T: Element, D: Dimension>(
    argument: &str,
    array: &'a mut PyReadwriteArray<'_, T, D>,
) -> PyResult<&'a mut [T]> {
    array.as_slice_mut().map_err(|_| not_contiguous(argument))
}

/// Return the elements of a contiguous one-dimensional array.
pub(super) fn vector<'a, T: Element>(
    argument: &str,
    array: &'a PyReadonlyArray1<'_, T>,
) -> PyResult<&'a [T]> {
    contiguous(argument, array)
}

/// Return the elements of a C-contiguous two-dimensional array in row order, and its number of columns.
pub(super) fn matrix<'a, T: Element>(
    argument: &str,
    array: &'a PyReadonlyArray2<'_, T>,
) -> PyResult<(&'a [T], usize)> {
    let columns = array.shape()[1];
    if !array.is_c_contiguous() {
        return Err(not_contiguous(argument));
    }
    Ok((contiguous(argument, array)?, columns))
}

pub(super) fn contiguous<'a, T: Element, D: Dimension>(
    argument: &str,
    array: &'a PyReadonlyArray<'_, T, D>,
) -> PyResult<&'a [T]> {
    if !array.data().is_aligned() {
        return Err(not_aligned(argument));
    }
    array.as_slice().map_err(|_| not_contiguous(argument))
}

fn not_aligned(argument: &str) -> PyErr {
    InputError::new_err(format!(
        "{argument} is not aligned in memory; expected an aligned array (numpy.require makes one)"
    ))
}

fn in_use(argument: &str) -> PyErr {
    InputError::new_err(format!(
        "{argument} is being written to by another call; expected an array that is not in use"
    ))
}

fn not_contiguous(argument: &str) -> PyErr {
    InputError::new_err(format!(
        "{argument} is not C-contiguous; expected a contiguous array (numpy.ascontiguousarray makes one)"
    ))
}
