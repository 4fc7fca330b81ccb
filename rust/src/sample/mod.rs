//! The streams: which row is draw i of epoch e, as a pure function.

mod batches;
mod composition;
mod independent;
mod owners;
mod permutation;
mod quotas;
mod rows;
mod stream;
mod weighted;

pub use batches::BatchStream;
pub use composition::batch_quotas;
pub use independent::IndependentStream;
pub use quotas::quotas;
pub use rows::Draws;
pub use stream::GroupStream;
pub use weighted::{AliasTable, Weight, WeightedStream};

use crate::{Error, Result};

/// The most draws an epoch can have, 2⁴⁸: half an index of the permutation fits in 24 bits.
pub const MAX_DRAWS: u64 = 1 << 48;

fn check_length(length: u64) -> Result<()> {
    if (1..=MAX_DRAWS).contains(&length) {
        return Ok(());
    }
    let (found, expected) = (length.to_string(), "1 to 2^48");
    Err(Error::Scalar { argument: "length", found, expected })
}
