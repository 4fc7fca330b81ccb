//! Groups (class × attribute): who is in them, and what their members weigh.

mod index;
mod number;
mod pages;
mod weights;

pub use index::GroupIndex;
pub(crate) use index::Members;
pub use number::GroupNumber;
pub use weights::{GroupWeights, GroupWeightsState};
