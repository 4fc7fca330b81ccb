//! The extension module `dbpt._core`: the only code that knows Python. Each method converts,
//! releases the interpreter lock where a call can take over a millisecond, calls, and maps the error.
// pyo3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

mod batches;
mod cluster;
mod detached;
mod error;
mod floats;
mod groups;
mod sample;
mod weighted;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
mod _core {
    #[pymodule_export]
    const __version__: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    use super::batches::{PyBatchStream, batch_quotas};
    #[pymodule_export]
    use super::cluster::{assign_argmax, assign_nearest, kmeans};
    #[pymodule_export]
    use super::groups::{PyGroupIndex, group_sums};
    #[pymodule_export]
    use super::sample::{PyGroupStream, PyIndependentStream, quotas};
    #[pymodule_export]
    use super::weighted::{PyAliasTable, PyWeightedStream};
}
