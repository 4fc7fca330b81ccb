//! The last pass: each row's cluster, named, with posteriors, written where the caller wants them.

use super::checks::{at_least_one, check_centers, check_gaussians};
use super::gaussians::{Densities, Gaussians};
use super::nearest::{Nearest, distances_to, single};
use super::outputs::Names;
use super::panel::{Column, PANEL, for_each_panel, widen};
use super::points::Pool;
use super::responsibilities::normalise;
use super::{BLOCK, Outputs, Points};
use crate::{Error, Result, Workers};

/// Give each point the name of its nearest centre of (k, W), in float32, the first of equals.
///
/// Posteriors are those of equally heavy spherical Gaussians of this `variance` in each direction: the
/// softmax of -d² / (2·variance). So the label has the largest. With a variance of 0 the nearest centre
/// has all of it, or equally near ones share it. O(M·W·k).
///
/// # Errors
/// [`Error::Value`] for the first bad value of points or centres; [`Error::Scalar`] for a negative or infinite
/// variance; [`Error::Length`] or [`Error::Element`] for names or outputs that don't fit. Rows before a bad
/// value may have been written.
pub fn assign_centers<L: Copy + Send + Sync + TryFrom<i64>>(
    points: Points,
    centers: &[f64],
    variance: f64,
    names: Option<&[i64]>,
    outputs: Outputs<L>,
    workers: &Workers,
) -> Result<()> {
    let width = points.width();
    let k = centers.len() / width.max(1);
    at_least_one("the number of centers", k)?;
    check_centers("centers", centers, points)?;
    if !(variance >= 0.0 && variance.is_finite()) {
        let expected = "a finite number, 0 or above";
        return Err(Error::Scalar { argument: "variance", found: variance.to_string(), expected });
    }
    let names = outputs.names(names, k, points)?;
    let wants_posteriors = outputs.wants_posteriors();
    let rounded = single(centers);
    let of_block = |block, outputs: &mut Outputs<L>, values: &[f32]| {
        let mut posteriors = vec![[0.0; PANEL]; if wants_posteriors { k } else { 0 }];
        let mut nearest = Nearest::new();
        for_each_panel(
            values,
            width,
            #[inline(always)]
            |panel| {
                nearest.find(panel.columns, &rounded);
                if wants_posteriors {
                    spherical_logs(panel.columns, &rounded, &nearest, variance, &mut posteriors);
                    normalise(&mut posteriors, panel.len());
                }
                let clusters = &nearest.clusters[..panel.len()];
                write(points, (block, panel.first), clusters, &posteriors, &names, outputs);
            },
        );
    };
    let pool = Pool::default();
    workers.try_for_each(outputs.blocks(points), |(block, mut outputs)| {
        pool.with(|buffers| {
            of_block(block, &mut outputs, points.read(block, buffers)?);
            Ok(())
        })
    })
}

/// Log densities relative to that of the nearest centre.
#[inline(always)]
fn spherical_logs(
    columns: &[Column<f32>],
    centers: &[f32],
    nearest: &Nearest,
    variance: f64,
    logs: &mut [Column<f64>],
) {
    let mut distances = [0.0; PANEL];
    for (log, center) in logs.iter_mut().zip(centers.chunks_exact(columns.len())) {
        distances_to(columns, center, &mut distances);
        for lane in 0..PANEL {
            let farther = f64::from(distances[lane]) - f64::from(nearest.distances[lane]);
            log[lane] = if farther > 0.0 { -farther / (2.0 * variance) } else { 0.0 };
        }
    }
}

/// Write the points of a block from its number `first` on.
#[inline(always)]
fn write<L: Copy + TryFrom<i64>>(
    points: Points,
    (block, first): (usize, usize),
    clusters: &[u32],
    posteriors: &[Column<f64>],
    names: &Names<L>,
    outputs: &mut Outputs<L>,
) {
    let start = points.row(block * BLOCK);
    for (i, &cluster) in clusters.iter().enumerate() {
        let row = points.row(block * BLOCK + first + i) - start;
        outputs.write(row, cluster as usize, posteriors, i, names);
    }
}

/// Give each point the name of its likeliest component, the first of equals, and return the sum of the
/// points' log likelihoods. O(M·k·W²).
///
/// # Errors
/// As [`assign_centers`]; [`Error::Singular`] for a covariance that isn't positive definite.
pub fn assign_gmm<L: Copy + Send + Sync + TryFrom<i64>>(
    points: Points,
    gaussians: &Gaussians,
    names: Option<&[i64]>,
    outputs: Outputs<L>,
    workers: &Workers,
) -> Result<f64> {
    check_gaussians(gaussians, points)?;
    let densities = gaussians.densities(0.0)?;
    let names = outputs.names(names, densities.components(), points)?;
    let (pool, mut log_likelihood) = (Pool::default(), 0.0);
    workers.fold(
        outputs.blocks(points),
        |(block, mut outputs)| {
            pool.with(|buffers| {
                let values = points.read(block, buffers)?;
                Ok(assign_block(points, block, values, &densities, &names, &mut outputs))
            })
        },
        |part: f64| log_likelihood += part,
    )?;
    Ok(log_likelihood)
}

fn assign_block<L: Copy + TryFrom<i64>>(
    points: Points,
    block: usize,
    values: &[f32],
    densities: &Densities,
    names: &Names<L>,
    outputs: &mut Outputs<L>,
) -> f64 {
    let width = points.width();
    let mut wide = vec![[0.0; PANEL]; width];
    let mut posteriors = vec![[0.0; PANEL]; densities.components()];
    let mut log_likelihood = 0.0;
    for_each_panel(
        values,
        width,
        #[inline(always)]
        |panel| {
            widen(panel.columns, &mut wide);
            densities.logs(&wide, &mut posteriors);
            let clusters = largest(&posteriors);
            log_likelihood += normalise(&mut posteriors, panel.len());
            let clusters = &clusters[..panel.len()];
            write(points, (block, panel.first), clusters, &posteriors, names, outputs);
        },
    );
    log_likelihood
}

/// The component with the largest value for each point of a panel, the first of equals.
#[inline(always)]
fn largest(logs: &[Column<f64>]) -> Column<u32> {
    let (mut found, mut best) = ([0; PANEL], [f64::NEG_INFINITY; PANEL]);
    for (component, log) in logs.iter().enumerate() {
        for lane in 0..PANEL {
            let larger = log[lane] > best[lane];
            best[lane] = if larger { log[lane] } else { best[lane] };
            found[lane] = if larger { component as u32 } else { found[lane] };
        }
    }
    found
}
