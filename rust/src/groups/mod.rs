//! Groups (class × attribute): who is in them, and exact sums over their members.

mod counting;
mod index;
mod number;
mod pages;
mod sums;

pub use index::GroupIndex;
pub(crate) use index::Members;
pub use number::GroupNumber;
pub use sums::{GroupSum, UNIT_BITS, group_sums};
