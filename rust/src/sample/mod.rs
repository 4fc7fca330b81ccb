//! The streams: the row of draw i in epoch e, as a pure function.

mod batch_composition;
mod batches;
mod epoch_order;
mod epoch_quotas;
mod independent;
mod owners;
mod permutation;
mod quota_rounding;
mod rows;
mod stream;
mod weighted;

pub use batches::BatchStream;
pub use epoch_quotas::quotas;
pub use independent::IndependentStream;
pub use rows::{Draws, Epoch, MAX_DRAWS};
pub use stream::GroupStream;
pub use weighted::{AliasTable, Weight, WeightedStream};
