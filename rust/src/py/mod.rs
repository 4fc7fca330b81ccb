//! The extension module `dbpt._core`: the only code that uses Python. Each method converts,
//! releases the interpreter lock if a call can take over a millisecond, calls, and maps the error.
// pyo3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

mod cluster;
mod detached;
mod error;
mod floats;
mod groups;
mod sample;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
mod _core {
    #[allow(non_upper_case_globals)]
    #[pymodule_export]
    const __version__: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    use super::cluster::{assign_argmax, assign_nearest, kmeans};
    #[pymodule_export]
    use super::groups::{PyGroupIndex, group_sums};
    #[pymodule_export]
    use super::sample::{
        PyAliasTable, PyBatchStream, PyGroupStream, PyIndependentStream, PyStream,
        PyWeightedStream, quotas,
    };
}
