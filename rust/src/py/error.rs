//! The one mapping of errors: bad input becomes `dbpt.errors.InputError`, which is a `ValueError`.

use numpy::{
    Element, PyReadonlyArray, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
    ndarray::Dimension,
};
use pyo3::{PyErr, PyResult};

use crate::Error;

pyo3::import_exception!(dbpt.errors, InputError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        InputError::new_err(error.to_string())
    }
}

/// The elements of a contiguous one-dimensional array.
pub(super) fn vector<'a, T: Element>(
    argument: &str,
    array: &'a PyReadonlyArray1<'_, T>,
) -> PyResult<&'a [T]> {
    contiguous(argument, array)
}

/// The elements of a C-contiguous two-dimensional array in row order, and its number of columns.
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

fn contiguous<'a, T: Element, D: Dimension>(
    argument: &str,
    array: &'a PyReadonlyArray<'_, T, D>,
) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| not_contiguous(argument))
}

fn not_contiguous(argument: &str) -> PyErr {
    InputError::new_err(format!(
        "{argument} is not C-contiguous; expected a contiguous array (numpy.ascontiguousarray makes one)"
    ))
}
