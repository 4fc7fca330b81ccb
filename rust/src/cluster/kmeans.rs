//! k-means by Lloyd's algorithm (1982) on row-centred logits, and the pass that labels rows by its centres.

use super::nearest::{TILE, Tile, single};
use super::{Logits, Outputs};
use crate::memory::{copied, filled};
use crate::simd::dispatch;
use crate::{Error, Result, Workers};

/// The result of [`kmeans`], for k clusters of A row-centred logits.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// (k, A) the mean of each cluster; a cluster without rows keeps its centre.
    pub centers: Vec<f64>,
    /// (k,) the number of rows nearest to each centre; a tie goes to the first.
    pub counts: Vec<i64>,
    /// Sum of squared distances of the rows to their centres.
    pub inertia: f64,
    /// Number of times that the centres were moved.
    pub iterations: usize,
}

/// Move (k, A) `centers` to the means of the rows nearest to them until no centre changes by a bit, at most
/// `max_iter` times.
///
/// Distances are float32, sums of rows float64. An iteration takes O(N·A·k) and no memory per row.
///
/// # Errors
/// [`Error::Input`] for the first bad value of logits or centres, if `max_iter` or the number of centres is 0, or
/// for centres that aren't (k, A); [`Error::Memory`].
pub fn kmeans(
    logits: Logits,
    centers: &[f64],
    max_iter: usize,
    workers: &Workers,
) -> Result<KMeans> {
    check_centers(centers, logits.columns(), false)?;
    if max_iter == 0 {
        return Err(Error::scalar("max_iter", 0, "at least 1"));
    }
    let (mut centers, mut iterations) = (copied(centers)?, 0);
    loop {
        let totals = add_up(logits, &centers, workers)?;
        let moved = totals.means(&centers)?;
        if moved == centers || iterations == max_iter {
            let Totals { counts, inertia, .. } = totals;
            return Ok(KMeans { centers, counts, inertia, iterations });
        }
        centers = moved;
        iterations += 1;
    }
}

/// The sums of the rows nearest to each of k centres.
struct Totals {
    /// (k, A).
    sums: Vec<f64>,
    /// (k,).
    counts: Vec<i64>,
    inertia: f64,
}

impl Totals {
    fn none(length: usize, columns: usize) -> Result<Self> {
        let (sums, counts) = (filled(0.0, length)?, filled(0, length / columns)?);
        Ok(Self { sums, counts, inertia: 0.0 })
    }

    /// Add the first rows of a tile to the totals of their nearest centres.
    #[inline(always)]
    fn add_nearest(&mut self, tile: &Tile, num_rows: usize) {
        let columns = tile.columns.len();
        for lane in 0..num_rows {
            let cluster = tile.nearest[lane] as usize;
            self.counts[cluster] += 1;
            self.inertia += f64::from(tile.distances[lane]);
            let sums = &mut self.sums[cluster * columns..][..columns];
            sums.iter_mut().zip(&tile.columns).for_each(|(sum, c)| *sum += f64::from(c[lane]));
        }
    }

    fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.inertia += other.inertia;
    }

    /// Return the mean of each cluster's rows, or its centre if it has none.
    fn means(&self, centers: &[f64]) -> Result<Vec<f64>> {
        let columns = centers.len() / self.counts.len();
        let mut means = copied(centers)?;
        let clusters = means.chunks_exact_mut(columns).zip(self.sums.chunks_exact(columns));
        for ((mean, sums), &count) in clusters.zip(&self.counts).filter(|(_, count)| **count > 0) {
            mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = sum / count as f64);
        }
        Ok(means)
    }
}

fn add_up(logits: Logits, centers: &[f64], workers: &Workers) -> Result<Totals> {
    let (columns, rounded) = (logits.columns(), single(centers)?);
    let mut all = Totals::none(centers.len(), columns)?;
    let of_block = |block| {
        let (mut buffer, mut tile) = (Vec::new(), Tile::new(columns)?);
        let mut part = Totals::none(centers.len(), columns)?;
        let values = logits.read(block, &mut buffer)?;
        dispatch(
            #[inline(always)]
            || {
                for rows in values.chunks(TILE * columns) {
                    tile.load(rows);
                    tile.find_nearest(&rounded);
                    part.add_nearest(&tile, rows.len() / columns);
                }
            },
        );
        Ok(part)
    };
    workers.fold(0..logits.blocks(), of_block, |part| all.add(&part))?;
    Ok(all)
}

/// Label each row with the number of its nearest centre of (k, A), the first if tied.
///
/// Posteriors are those of equally weighted spherical Gaussians of this `variance` in each direction: the softmax
/// of -d² / (2·variance). So the label has the largest. With a variance of 0 the nearest centre has all of it,
/// or equally near ones share it. A centre at infinity is never the nearest. O(N·A·k).
///
/// # Errors
/// [`Error::Input`] for the first bad value of logits or centres, a negative or infinite variance, or centres or
/// outputs that don't fit; [`Error::Memory`]. Rows before a bad value may have been written.
pub fn assign_nearest<L: Copy + Send + Sync + TryFrom<i64>>(
    logits: Logits,
    centers: &[f64],
    variance: f64,
    outputs: Outputs<L>,
    workers: &Workers,
) -> Result<()> {
    let columns = logits.columns();
    check_centers(centers, columns, true)?;
    if !(variance >= 0.0 && variance.is_finite()) {
        return Err(Error::scalar("variance", variance, "a finite number, 0 or above"));
    }
    let (k, rounded) = (centers.len() / columns, single(centers)?);
    let (names, wants_posterior) = (outputs.names(k, logits.len())?, outputs.wants_posterior());
    workers.try_for_each(outputs.blocks(k), |(block, mut outputs)| {
        let (mut buffer, mut tile) = (Vec::new(), Tile::new(columns)?);
        let mut scores = filled(0.0, k)?;
        for (number, rows) in logits.read(block, &mut buffer)?.chunks(TILE * columns).enumerate() {
            tile.load(rows);
            tile.find_nearest(&rounded);
            for lane in 0..rows.len() / columns {
                let (row, label) = (number * TILE + lane, tile.nearest[lane] as usize);
                outputs.labels[row] = names[label];
                if wants_posterior {
                    for (score, center) in scores.iter_mut().zip(rounded.chunks_exact(columns)) {
                        let farther = tile.distance(lane, center) - tile.distances[lane];
                        let squared = f64::from(farther);
                        *score = if squared > 0.0 { -squared / (2.0 * variance) } else { 0.0 };
                    }
                    outputs.write_posterior(row, label, &mut scores);
                }
            }
        }
        Ok(())
    })
}

/// Check for at least one centre of (k, A), finite, or infinite if that is allowed.
fn check_centers(centers: &[f64], columns: usize, may_be_infinite: bool) -> Result<()> {
    let found = centers.len();
    if found == 0 || found % columns != 0 {
        let expected = found.div_ceil(columns).max(1) * columns;
        return Err(Error::length("centers", found, expected, "k·A"));
    }
    let is_good = |center: &f64| center.abs() <= 1e15 || (may_be_infinite && center.is_infinite());
    match centers.iter().position(|center| !is_good(center)) {
        Some(bad) => {
            Err(Error::value("centers", bad / columns, bad % columns, centers[bad] as f32))
        }
        None => Ok(()),
    }
}
