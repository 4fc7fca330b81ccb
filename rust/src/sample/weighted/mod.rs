//! Draws by a weight of each row: with replacement from an alias table, without by exponential keys.

mod alias;
mod digest;
mod exact_sum;
mod exponential;
mod shares;
mod stream;
mod successive;

pub use alias::AliasTable;
pub use stream::WeightedStream;
pub use successive::{SampleWeights, SuccessiveStream};

use crate::error::shown;
use crate::{Error, Result};

/// A number that can be a weight, in whatever type the caller keeps it.
pub trait Weight: Copy + Into<f64> + Send + Sync {}

impl<T: Copy + Into<f64> + Send + Sync> Weight for T {}

/// The weight of `row`, unless it is negative, infinite or no number.
fn checked(row: usize, weight: f64) -> Result<f64> {
    if weight >= 0.0 && weight.is_finite() {
        return Ok(weight);
    }
    Err(Error::Element {
        argument: "weights",
        row,
        found: shown(weight),
        expected: "a finite number, 0 or above",
    })
}

fn no_weight(argument: &'static str, expected: &'static str) -> Error {
    Error::Scalar { argument, found: "0".to_string(), expected }
}
