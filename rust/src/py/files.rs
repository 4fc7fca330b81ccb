//! `stat_files` and `row_ids`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

use super::cluster::Integers;
use super::detached::detached;
use super::error::vector;
use crate::files;

type Stats<'py> = (Integers<'py>, Integers<'py>, Bound<'py, PyArray1<i32>>);

/// Sizes and modification times (N,) int64, and errors (N,) int32, of files below a root.
#[pyfunction]
#[pyo3(signature = (root, names, *, num_threads = 1))]
pub(super) fn stat_files<'py>(
    py: Python<'py>,
    root: &[u8],
    names: &[u8],
    num_threads: usize,
) -> PyResult<Stats<'py>> {
    let found = detached(py, num_threads, |workers| files::stat_files(root, names, workers))?;
    Ok((
        found.sizes.into_pyarray(py),
        found.mtimes_ns.into_pyarray(py),
        found.errors.into_pyarray(py),
    ))
}

/// What names the content of each file: (N, 2) uint64.
#[pyfunction]
#[pyo3(signature = (names, sizes, mtimes_ns, *, num_threads = 1))]
pub(super) fn row_ids<'py>(
    py: Python<'py>,
    names: &[u8],
    sizes: PyReadonlyArray1<'py, i64>,
    mtimes_ns: PyReadonlyArray1<'py, i64>,
    num_threads: usize,
) -> PyResult<Bound<'py, PyArray2<u64>>> {
    let (sizes, mtimes_ns) = (vector("sizes", &sizes)?, vector("mtimes_ns", &mtimes_ns)?);
    let ids =
        detached(py, num_threads, |workers| files::row_ids(names, sizes, mtimes_ns, workers))?;
    let rows = ids.len();
    ids.into_flattened().into_pyarray(py).reshape([rows, 2])
}
