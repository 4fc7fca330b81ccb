//! The caller's arrays for labels, posterior and confidence.

use numpy::{PyArray1, PyArray2, PyReadwriteArray1, PyReadwriteArray2};
use pyo3::prelude::*;

use super::error::{readwrite, readwrite_matrix};

/// `posterior_out` (N, columns) and `confidence_out` (N,), where given.
pub(super) struct PosteriorOut<'py> {
    posterior: Option<PyReadwriteArray2<'py, f32>>,
    confidence: Option<PyReadwriteArray1<'py, f32>>,
}

type Slices<'a> = (Option<&'a mut [f32]>, Option<&'a mut [f32]>);

impl<'py> PosteriorOut<'py> {
    pub(super) fn new(
        posterior: Option<&Bound<'py, PyArray2<f32>>>,
        confidence: Option<&Bound<'py, PyArray1<f32>>>,
    ) -> PyResult<Self> {
        Ok(Self {
            posterior: posterior
                .map(|array| readwrite_matrix("posterior_out", array))
                .transpose()?,
            confidence: confidence.map(|array| readwrite("confidence_out", array)).transpose()?,
        })
    }

    pub(super) fn slices(&mut self) -> PyResult<Slices<'_>> {
        let posterior = self.posterior.as_mut().map(|array| array.as_slice_mut()).transpose()?;
        let confidence = self.confidence.as_mut().map(|array| array.as_slice_mut()).transpose()?;
        Ok((posterior, confidence))
    }
}

/// Run `$work` with `$labels`, the elements of the one-dimensional integer array `$array`, whatever its type.
macro_rules! with_labels {
    ($array:expr, $labels:ident => $work:expr) => {
        with_labels!($array, $labels => $work, i64, i32, u8, i8, i16, u16, u32, u64)
    };
    ($array:expr, $labels:ident => $work:expr, $($integer:ty),*) => {{
        let array: &pyo3::Bound<'_, pyo3::PyAny> = $array;
        $(if let Ok(array) = array.cast::<numpy::PyArray1<$integer>>() {
            let mut array = $crate::py::error::readwrite("labels_out", array)?;
            let $labels = array.as_slice_mut()?;
            return $work;
        })*
        Err($crate::py::outputs::not_labels(array))
    }};
}
pub(super) use with_labels;

pub(super) fn not_labels(array: &Bound<'_, PyAny>) -> PyErr {
    let name = array.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    pyo3::exceptions::PyTypeError::new_err(format!(
        "labels_out is a {name}; expected a one-dimensional NumPy array of integers in native byte order"
    ))
}
