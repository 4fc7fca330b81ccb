//! The streams: the row of draw i in epoch e, as a pure function.

mod alias_table;
mod batch_composition;
mod batch_stream;
mod epoch_order;
mod epoch_quotas;
mod group_stream;
mod independent_stream;
mod owners;
mod permutation;
mod quota_rounding;
mod rows;

pub use alias_table::{AliasTable, Weight, WeightedStream};
pub use batch_stream::BatchStream;
pub use epoch_quotas::quotas;
pub use group_stream::GroupStream;
pub use independent_stream::IndependentStream;
pub use rows::{Draws, Epoch, MAX_DRAWS};
