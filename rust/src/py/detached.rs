//! Long calls: the interpreter lock is released, and Ctrl-C gets through.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::error::caught;
use crate::{Result, Workers};

/// Run `work` without the interpreter lock, on up to `num_threads` threads. If a signal handler
/// raises meanwhile, `work` is stopped and the exception returned. A panic becomes an error.
pub(super) fn detached<R: Send>(
    py: Python<'_>,
    num_threads: usize,
    work: impl FnOnce(&Workers) -> Result<R> + Send,
) -> PyResult<R> {
    let raised = Mutex::new(None);
    let found = py.detach(|| {
        let wants_to_stop = || {
            let error = Python::attach(|py| py.check_signals().err());
            let stop = error.is_some();
            *raised.lock().unwrap_or_else(PoisonError::into_inner) = error;
            stop
        };
        caught(|| work(&Workers::interruptible(num_threads, &wants_to_stop)))
    });
    let raised = raised.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.map_err(|error| raised.unwrap_or_else(|| error.into()))
}
