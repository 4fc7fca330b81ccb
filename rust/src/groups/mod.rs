//! Groups (class × attribute): who is in them, and what their members weigh.

mod counting;
mod counts;
mod floats;
mod group_dro;
mod index;
mod number;
mod observe;
mod pages;
mod quantity;
mod soft;
mod sums;
mod weights;

pub use floats::Floats;
pub use group_dro::{GroupDro, GroupDroState};
pub use index::GroupIndex;
pub(crate) use index::Members;
pub use number::GroupNumber;
pub use observe::soft_counts;
pub(crate) use pages::Pages;
pub use quantity::Quantity;
pub use soft::{SoftRows, soft_sample_weights};
pub use sums::GroupSums;
pub use weights::{GroupWeights, GroupWeightsState};
