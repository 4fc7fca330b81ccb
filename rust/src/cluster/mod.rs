//! Pseudo attributes from logits. Rows are cut into fixed blocks and what the blocks add up to is
//! combined in a fixed order, so the number of threads never changes a bit of the result.

mod argmax;
mod kmeans;
mod matrix;
mod outputs;
mod prior_shift;
mod proportional;
mod rows;
mod seeding;
mod softmax;
mod ties;
mod transport;

pub use argmax::assign_argmax;
pub use kmeans::{KMeans, kmeans};
pub use matrix::{Matrix, Values, centred_logits};
pub use outputs::{Label, Outputs};
pub use prior_shift::{Proportions, estimate_proportions};
pub use proportional::assign_proportional;
pub use rows::Rows;

use crate::{Error, Result};

/// Rows in a block: the unit of parallel work and of summation.
pub(crate) const BLOCK: usize = 4096;
/// Values beyond this are refused, so that squared distances stay finite in float32.
const MAX_VALUE: f32 = 1e15;

/// N × A values in row order, checked to be finite.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) columns: usize,
}

impl<'a> Dense<'a> {
    fn new(argument: &'static str, values: &'a [f32], columns: usize) -> Result<Self> {
        if columns == 0 || values.len() % columns != 0 {
            let found = columns.to_string();
            let expected = "at least 1, and a divisor of the number of values";
            return Err(Error::Scalar { argument: "columns", found, expected });
        }
        if let Some(bad) = values.iter().position(|v| v.is_nan() || v.abs() > MAX_VALUE) {
            let (row, column) = (bad / columns, bad % columns);
            return Err(Error::Value { argument, row, column, found: values[bad] });
        }
        Ok(Self { values, columns })
    }

    pub(crate) fn rows(self) -> usize {
        self.values.len() / self.columns
    }

    pub(crate) fn row(self, row: usize) -> &'a [f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// The rows of block number `block`.
    pub(crate) fn block(self, block: usize) -> Self {
        let start = block * BLOCK * self.columns;
        let stop = self.values.len().min(start + BLOCK * self.columns);
        Self { values: &self.values[start..stop], columns: self.columns }
    }
}
