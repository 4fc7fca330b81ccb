//! Labels from cached logits: the largest logit, or the nearest of k-means' centres. Logits are read block
//! by block, so that they may be mapped from a file larger than memory, and only the requested outputs need
//! memory per row. Blocks are fixed and their sums are added in order, so the number of threads
//! never changes a bit of the result.

mod argmax;
mod kmeans;
mod logits;
mod nearest;
mod outputs;

pub use argmax::assign_argmax;
pub use kmeans::{KMeans, assign_nearest, kmeans};
pub use logits::{Logits, Values};
pub use outputs::Outputs;

/// Rows in a block: the unit of parallel work and of summation.
pub(crate) const BLOCK: usize = 4096;
