//! The streams: the row of draw i in epoch e, as a pure function.

mod batches;
mod composition;
mod epoch_order;
mod independent;
mod owners;
mod permutation;
mod quotas;
mod rotation;
mod rows;
mod stream;
mod weighted;

pub use batches::BatchStream;
pub use independent::IndependentStream;
pub use quotas::quotas;
pub use rows::{Draws, Epoch, MAX_DRAWS};
pub use stream::GroupStream;
pub use weighted::{AliasTable, Weight, WeightedStream};
