//! The one error type of the crate. Its messages are shown to users as they stand: each names the
//! argument, the value found, and what was expected.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The ways in which an argument can be wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// An array whose length doesn't fit the other arguments.
    Length {
        /// Name of the array.
        argument: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
        /// What the expected length counts, for example "groups".
        counts: &'static str,
    },
    /// A scalar outside its range.
    Scalar {
        /// Name of the scalar.
        argument: &'static str,
        /// Its value, as text.
        found: String,
        /// The valid range.
        expected: &'static str,
    },
    /// An element of a one-dimensional array outside its range.
    Element {
        /// Name of the array.
        argument: &'static str,
        /// Position of the first bad element.
        row: usize,
        /// Its value, as text.
        found: String,
        /// The valid range.
        expected: &'static str,
    },
    /// An element of an array whose range the caller gives.
    OutOfRange {
        /// Name of the array.
        argument: String,
        /// Position of the first bad element.
        row: usize,
        /// Its value, as text.
        found: String,
        /// The smallest valid value, as text.
        low: String,
        /// The largest valid value, as text.
        high: String,
    },
    /// A group number that is neither -1 nor below `num_groups`.
    Group {
        /// Position of the first bad group number.
        row: usize,
        /// The group number.
        found: i64,
        /// The number of groups.
        num_groups: usize,
    },
    /// A NaN, an infinity or an overlarge value in a matrix.
    Value {
        /// Name of the matrix.
        argument: &'static str,
        /// Row of the first bad value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value.
        found: f32,
    },
    /// Draws were asked from a group without members.
    EmptyGroup {
        /// Name of the argument that asks for them.
        argument: &'static str,
        /// The empty group.
        group: usize,
        /// What the argument says for this group, as text.
        found: String,
    },
    /// There is no room for an array.
    Memory {
        /// Its size.
        bytes: usize,
    },
    /// A bug of ours: the work panicked, and stopped. There is no result.
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// A batch has no room for the least number of members of each group.
    BatchSize {
        /// Its size.
        found: usize,
        /// How many of each group it must hold.
        min_per_group: usize,
        /// The number of groups with a share.
        num_groups: usize,
    },
    /// A range of draws that doesn't lie within the epoch.
    Range {
        /// First draw.
        start: u64,
        /// One past the last draw.
        stop: u64,
        /// Draws in the epoch.
        length: u64,
    },
    /// The caller stopped the work before its end; there is no result.
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { argument, found, expected, counts } => {
                write!(f, "{argument} has length {found}; expected {expected} ({counts})")
            }
            Self::Scalar { argument, found, expected } => {
                write!(f, "{argument} is {found}; expected {expected}")
            }
            Self::Element { argument, row, found, expected } => {
                write!(f, "{argument}[{row}] is {found}; expected {expected}")
            }
            Self::OutOfRange { argument, row, found, low, high } => {
                write!(f, "{argument}[{row}] is {found}; expected a number from {low} to {high}")
            }
            Self::Group { row, found, num_groups } => write!(
                f,
                "groups[{row}] is {found}; expected -1 (outside) or 0 to {} (num_groups is {num_groups})",
                *num_groups as i64 - 1
            ),
            Self::Value { argument, row, column, found } => {
                write!(
                    f,
                    "{argument}[{row}, {column}] is {found}; expected a finite number within ±1e15"
                )
            }
            Self::EmptyGroup { argument, group, found } => write!(
                f,
                "{argument}[{group}] is {found}, but group {group} has no members; expected 0 for an empty group"
            ),
            Self::Memory { bytes } => write!(f, "cannot allocate {bytes} bytes"),
            Self::Panicked { message } => write!(f, "a bug in dbpt: {message}"),
            Self::BatchSize { found, min_per_group, num_groups } => write!(
                f,
                "batch_size is {found}; expected {} or above: min_per_group is {min_per_group} and {num_groups} groups \
                 have a share (min_per_group = 0 lets batches do without some groups)",
                min_per_group.saturating_mul(*num_groups)
            ),
            Self::Range { start, stop, length } => write!(
                f,
                "start and stop are {start} and {stop}; expected 0 <= start <= stop <= {length}, the draws of the epoch"
            ),
            Self::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl std::error::Error for Error {}

/// What `work` returns; an error if it panics.
pub(crate) fn caught<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    // Whoever gets the error drops what the work was changing.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Panicked { message: message.unwrap_or_else(|| "panicked".to_owned()) })
    })
}

/// A number as short as it can be read back: 0.5 and 2, but 1e300 rather than its 301 digits.
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
