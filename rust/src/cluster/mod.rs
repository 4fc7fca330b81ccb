//! Pseudo attributes from logits. Rows are cut into fixed blocks and what the blocks add up to is
//! combined in a fixed order, so the number of threads never changes a bit of the result. Nothing
//! is kept for each row but what the caller asks for.

mod argmax;
mod assign;
mod checks;
mod cholesky;
mod exp;
mod gaussians;
mod gmm;
mod kmeans;
mod matrix;
mod members;
mod moment_lanes;
mod moments;
mod nearest;
mod outputs;
mod panel;
mod points;
mod proportional;
mod responsibilities;
mod seeding;
mod silhouette;
mod softmax;
mod ties;
mod transport;

pub use argmax::assign_argmax;
pub use assign::{assign_centers, assign_gmm};
pub use gaussians::{Covariance, Gaussians};
pub use gmm::{EmOptions, Gmm, GmmStart, gmm};
pub use kmeans::{KMeans, KMeansStart, kmeans};
pub use matrix::{Matrix, Values, centred_logits};
pub use outputs::Outputs;
pub use points::Points;
pub use proportional::assign_proportional;
pub use silhouette::silhouette;

/// Rows in a block: the unit of parallel work and of summation.
pub(crate) const BLOCK: usize = 4096;
