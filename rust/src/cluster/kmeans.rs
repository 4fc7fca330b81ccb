//! k-means by Lloyd's algorithm (1982), for many rows of few columns. It is over when the centres stay bit
//! for bit where they are, as they do where no point changes its cluster.

use super::checks::{at_least_one, check_centers, check_clusters};
use super::members::{ClusterNumber, Members, Totals};
use super::nearest::{Nearest, single};
use super::panel::for_each_panel;
use super::seeding::{distances_to_nearest, starting_centers};
use super::{BLOCK, Points};
use crate::random::{Purpose, Stream};
use crate::{Result, Workers};

/// Where [`kmeans`] starts.
#[derive(Debug, Clone, Copy)]
pub enum KMeansStart<'a> {
    /// From k-means++ centres, `n_init` times; the run with the lowest inertia is kept.
    PlusPlus {
        /// The number of clusters.
        k: usize,
        /// What the draws depend on.
        seed: u64,
        /// The number of runs.
        n_init: usize,
    },
    /// From these (k, W) centres.
    Centers(&'a [f64]),
}

/// What [`kmeans`] returns, for M points of W coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// (k, W) the centres in row order; fewer than asked if fewer clusters have members.
    pub centers: Vec<f64>,
    /// (k,) the number of points nearest to each centre, the first of equals.
    pub counts: Vec<u64>,
    /// Sum of squared distances of the points to their centres.
    pub inertia: f64,
    /// How often the centres were moved.
    pub iterations: usize,
}

/// Cluster `points` by Lloyd's algorithm until no centre moves, or all were moved `max_iter` times.
///
/// Distances are float32, sums of points float64; ties go to the lower cluster. A cluster that loses
/// all its points restarts at the point farthest from its centre. With fewer than `k` distinct
/// points there are as many clusters as distinct points. O(M·W·k) an iteration; a byte for each point, or 4
/// with 256 clusters or more.
///
/// # Errors
/// [`Error::Value`] for the first value that is NaN, infinite or beyond ±1e15, also of the centres;
/// [`Error::Scalar`] if `k`, `max_iter` or `n_init` is 0 or `k` exceeds the number of points.
pub fn kmeans(
    points: Points,
    start: KMeansStart,
    max_iter: usize,
    workers: &Workers,
) -> Result<KMeans> {
    at_least_one("max_iter", max_iter)?;
    match start {
        KMeansStart::Centers(centers) => {
            check_clusters(centers.len() / points.width().max(1), points)?;
            check_centers("centers", centers, points)?;
            lloyd(points.checked(workers)?, centers.to_vec(), max_iter, workers)
        }
        KMeansStart::PlusPlus { k, seed, n_init } => {
            check_clusters(k, points)?;
            at_least_one("n_init", n_init)?;
            let points = points.checked(workers)?;
            let run = |number| {
                let stream = Stream::new(seed, Purpose::KMeans, number as u64);
                let centers = starting_centers(points, k, stream, workers)?;
                lloyd(points, centers.into_iter().map(f64::from).collect(), max_iter, workers)
            };
            let mut best = run(0)?;
            for number in 1..n_init {
                let next = run(number)?;
                if next.inertia < best.inertia {
                    best = next;
                }
            }
            Ok(best)
        }
    }
}

/// One run of Lloyd's algorithm.
fn lloyd(points: Points, centers: Vec<f64>, max_iter: usize, workers: &Workers) -> Result<KMeans> {
    if u8::try_from(centers.len() / points.width()).is_ok() {
        lloyd_of::<u8>(points, centers, max_iter, workers)
    } else {
        lloyd_of::<u32>(points, centers, max_iter, workers)
    }
}

fn lloyd_of<L: ClusterNumber>(
    points: Points,
    mut centers: Vec<f64>,
    max_iter: usize,
    workers: &Workers,
) -> Result<KMeans> {
    let mut members = Members::<L>::none(points, centers.len() / points.width());
    let mut iterations = 0;
    while iterations < max_iter {
        members.follow(points, &centers, workers)?;
        let mut moved = moved_centers(points, &centers, &members.totals, workers)?;
        let at_rest = moved == centers;
        if at_rest || iterations + 1 == max_iter {
            members.add_up_again(points, workers)?;
            moved = moved_centers(points, &centers, &members.totals, workers)?;
        }
        if moved == centers {
            break;
        }
        centers = moved;
        iterations += usize::from(!at_rest);
    }
    let (counts, inertia) = final_assignment(points, &centers, workers)?;
    let with_members = centers.chunks_exact(points.width()).zip(&counts).filter(|(_, n)| **n > 0);
    Ok(KMeans {
        centers: with_members.flat_map(|(center, _)| center).copied().collect(),
        counts: counts.iter().copied().filter(|n| *n > 0).collect(),
        inertia,
        iterations,
    })
}

/// The mean of each cluster. Empty ones restart at the points farthest from their centres, or stay if
/// there are too few that don't sit on one.
fn moved_centers(
    points: Points,
    centers: &[f64],
    members: &Totals,
    workers: &Workers,
) -> Result<Vec<f64>> {
    let empty = members.counts.iter().filter(|count| **count == 0).count();
    let far = farthest_points(points, &single(centers), empty, workers)?;
    let mut far = far.chunks_exact(points.width());
    let mut moved = centers.to_vec();
    let clusters = members.counts.iter().zip(members.sums.chunks_exact(points.width()));
    for (center, (&count, sums)) in moved.chunks_exact_mut(points.width()).zip(clusters) {
        if count > 0 {
            center.iter_mut().zip(sums).for_each(|(c, sum)| *c = sum / count as f64);
        } else if let Some(point) = far.next() {
            center.iter_mut().zip(point).for_each(|(c, x)| *c = f64::from(*x));
        }
    }
    Ok(moved)
}

/// Up to `n` points that are farthest from their centres, the first of equals; none at distance 0.
fn farthest_points(
    points: Points,
    centers: &[f32],
    n: usize,
    workers: &Workers,
) -> Result<Vec<f32>> {
    if n == 0 {
        return Ok(Vec::new());
    }
    let keep_farthest = |far: &mut Vec<(f32, usize)>| {
        far.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        far.truncate(n);
    };
    let of_block = |number, block: &[f32]| {
        let distances = distances_to_nearest(block, points.width(), centers).into_iter();
        let mut far: Vec<_> = distances.zip(number * BLOCK..).filter(|(d, _)| *d > 0.0).collect();
        keep_farthest(&mut far);
        far
    };
    let mut far = Vec::new();
    points.fold(workers, of_block, |part| {
        far.extend(part);
        keep_farthest(&mut far);
    })?;
    points.gather(&far.into_iter().map(|(_, position)| position).collect::<Vec<_>>())
}

/// How many points each centre has, and the inertia in float64.
fn final_assignment(points: Points, centers: &[f64], workers: &Workers) -> Result<(Vec<u64>, f64)> {
    let width = points.width();
    let rounded = single(centers);
    let of_block = |_, block: &[f32]| {
        let mut nearest = Nearest::new();
        let (mut counts, mut inertia) = (vec![0_u64; centers.len() / width], 0.0);
        for_each_panel(
            block,
            width,
            #[inline(always)]
            |panel| {
                nearest.find(panel.columns, &rounded);
                for (point, &cluster) in panel.points.chunks_exact(width).zip(&nearest.clusters) {
                    counts[cluster as usize] += 1;
                    inertia += squared_error(point, &centers[cluster as usize * width..][..width]);
                }
            },
        );
        (counts, inertia)
    };
    let mut all = (vec![0; centers.len() / width], 0.0);
    points.fold(workers, of_block, |(counts, inertia)| {
        all.0.iter_mut().zip(counts).for_each(|(a, b)| *a += b);
        all.1 += inertia;
    })?;
    Ok(all)
}

#[inline(always)]
fn squared_error(point: &[f32], center: &[f64]) -> f64 {
    point.iter().zip(center).map(|(x, c)| (f64::from(*x) - c).powi(2)).sum()
}
