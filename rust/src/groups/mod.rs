//! Groups (class × attribute): their members, and exact sums over these.

mod counting;
mod huge_pages;
mod index;
mod number;
mod sums;

pub use index::GroupIndex;
pub(crate) use index::Members;
pub use number::GroupNumber;
pub use sums::{GroupSum, UNIT_BITS, group_sums};
