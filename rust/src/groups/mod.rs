//! Groups (class × attribute): their members, and exact sums over these.

mod counting;
mod index;
mod number;
mod pages;
mod sums;

pub use index::GroupIndex;
pub(crate) use index::Members;
pub use number::GroupNumber;
pub use sums::{GroupSum, UNIT_BITS, group_sums};
