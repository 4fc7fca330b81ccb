//! The error type of the crate. Users see its messages unchanged: each names the argument, the
//! value found, and what was expected.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The result of a fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why a call failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// A bad argument; the message names it, the value found, and what was expected.
    Input(String),
    /// There is not enough memory for an array.
    Memory {
        /// Its size.
        bytes: usize,
    },
    /// A bug of this crate: the work panicked.
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The caller stopped the work.
    Interrupted,
}

impl Error {
    /// A scalar outside its range.
    pub(crate) fn scalar(argument: &str, found: impl fmt::Display, expected: &str) -> Self {
        Self::Input(format!("{argument} is {found}; expected {expected}"))
    }

    /// An element of a one-dimensional array outside its range.
    pub(crate) fn element(
        argument: &str,
        row: usize,
        found: impl fmt::Display,
        expected: &str,
    ) -> Self {
        Self::Input(format!("{argument}[{row}] is {found}; expected {expected}"))
    }

    /// An array whose length doesn't fit the other arguments; `counts` is what the expected length counts.
    pub(crate) fn length(argument: &str, found: usize, expected: usize, counts: &str) -> Self {
        Self::Input(format!("{argument} has length {found}; expected {expected} ({counts})"))
    }

    /// A NaN, an infinity or an overlarge value in a matrix.
    pub(crate) fn value(argument: &str, row: usize, column: usize, found: f32) -> Self {
        Self::Input(format!(
            "{argument}[{row}, {column}] is {found}; expected a finite number within ±1e15"
        ))
    }

    /// A group number that is neither -1 nor below `num_groups`.
    pub(crate) fn group(row: usize, found: impl fmt::Display, num_groups: usize) -> Self {
        let last = num_groups as i64 - 1;
        let expected = format!("-1 (outside) or 0 to {last} (num_groups is {num_groups})");
        Self::element("groups", row, found, &expected)
    }

    /// Draws were requested from a group without members.
    pub(crate) fn empty_group(argument: &str, group: usize, found: impl fmt::Display) -> Self {
        Self::Input(format!(
            "{argument}[{group}] is {found}, but group {group} has no members; expected 0 for an empty group"
        ))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message) => write!(f, "{message}"),
            Self::Memory { bytes } => write!(f, "cannot allocate {bytes} bytes"),
            Self::Panicked { message } => write!(f, "a bug in dbpt: {message}"),
            Self::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl std::error::Error for Error {}

/// Return the result of `work`, or an error if it panics.
pub(crate) fn caught<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    // Whoever gets the error drops what the work was changing.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Panicked { message: message.unwrap_or_else(|| "panicked".to_owned()) })
    })
}

/// Format a number in the shortest form that reads back: 0.5 and 2, but 1e300 instead of 301 digits.
pub(crate) fn shown(number: f64) -> String {
    let text = format!("{number:?}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn numbers_are_short() {
        let found = [0.5, 2.0, -0.1, 1e300, 5e-324, f64::NAN, f64::NEG_INFINITY].map(shown);
        assert_eq!(found, ["0.5", "2", "-0.1", "1e300", "5e-324", "NaN", "-inf"]);
    }
}
