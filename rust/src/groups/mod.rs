//! Groups (class × attribute): who is in them, and what their members weigh.

mod counting;
mod counts;
mod group_dro;
mod index;
mod number;
mod pages;
mod soft;
mod sums;
mod weights;

pub use group_dro::{GroupDro, GroupDroState};
pub use index::GroupIndex;
pub(crate) use index::Members;
pub use number::GroupNumber;
pub(crate) use pages::Pages;
pub use soft::{SoftRows, soft_counts, soft_sample_weights};
pub use sums::{GroupSums, Quantity};
pub use weights::{GroupWeights, GroupWeightsState};
