//! k-means by Lloyd's algorithm (1982), for many rows of few columns. No label is kept: the centres
//! stay bit for bit where they are exactly when the sums, and so the labels, are those of the pass before.

use super::nearest::{Nearest, single};
use super::panel::{PANEL, Riffled, transpose};
use super::seeding::{distances_to_nearest, starting_centers};
use super::{BLOCK, Points};
use crate::random::{Purpose, Stream};
use crate::simd::dispatch;
use crate::{Error, Result, Workers};

/// A power of 2.
const COPIES: usize = 4;

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
/// points there are as many clusters as distinct points. O(M·W·k) an iteration; no memory for each point.
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

pub(super) fn at_least_one(argument: &'static str, value: usize) -> Result<()> {
    if value == 0 {
        return Err(Error::Scalar { argument, found: "0".into(), expected: "at least 1" });
    }
    Ok(())
}

/// Between one cluster and as many as points.
pub(super) fn check_clusters(k: usize, points: Points) -> Result<()> {
    at_least_one("k", k)?;
    if k > points.len() {
        let expected = "at most the number of points";
        return Err(Error::Scalar { argument: "k", found: k.to_string(), expected });
    }
    if points.width() == 0 {
        let expected = "at least 2 with contrasts";
        return Err(Error::Scalar {
            argument: "the number of columns",
            found: "1".into(),
            expected,
        });
    }
    Ok(())
}

/// (k, W) finite coordinates.
pub(super) fn check_centers(argument: &'static str, centers: &[f64], points: Points) -> Result<()> {
    let width = points.width();
    if centers.len() % width != 0 {
        let expected = centers.len() / width * width;
        return Err(Error::Length { argument, found: centers.len(), expected, counts: "k·W" });
    }
    match centers.iter().position(|c| c.is_nan() || c.abs() > 1e15) {
        Some(bad) => Err(Error::Value {
            argument,
            row: bad / width,
            column: bad % width,
            found: centers[bad] as f32,
        }),
        None => Ok(()),
    }
}

/// One run of Lloyd's algorithm.
fn lloyd(
    points: Points,
    mut centers: Vec<f64>,
    max_iter: usize,
    workers: &Workers,
) -> Result<KMeans> {
    let mut iterations = 0;
    while iterations < max_iter {
        let members = Members::of(points, &centers, workers)?;
        let moved = members.moved_centers(points, &centers, workers)?;
        if moved == centers {
            break;
        }
        centers = moved;
        iterations += 1;
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

/// What the points of each cluster add up to.
struct Members {
    sums: Vec<f64>,
    counts: Vec<u64>,
}

impl Members {
    fn none(k: usize, width: usize) -> Self {
        Self { sums: vec![0.0; k * width], counts: vec![0; k] }
    }

    fn of(points: Points, centers: &[f64], workers: &Workers) -> Result<Self> {
        let (centers, width) = (single(centers), points.width());
        let mut all = Self::none(centers.len() / width, width);
        points.fold(
            workers,
            |_, block| Self::of_block(block, &centers, width),
            |part| all.add(&part),
        )?;
        Ok(all)
    }

    fn of_block(block: &[f32], centers: &[f32], width: usize) -> Self {
        let k = centers.len() / width;
        // Sums of small tables are kept several times over, as each addition waits for the one before.
        let copies = if centers.len() <= 256 { COPIES } else { 1 };
        let mut parts = Self::none(k * copies, width);
        dispatch(
            #[inline(always)]
            // Loops over so few columns are unrolled where their number is known.
            || match width {
                1 => parts.add_block::<1>(block, centers, width, copies),
                2 => parts.add_block::<2>(block, centers, width, copies),
                3 => parts.add_block::<3>(block, centers, width, copies),
                4 => parts.add_block::<4>(block, centers, width, copies),
                8 => parts.add_block::<8>(block, centers, width, copies),
                _ => parts.add_block::<0>(block, centers, width, copies),
            },
        );
        let mut part = Self::none(k, width);
        for copy in 0..copies {
            let sums = part.sums.iter_mut().zip(&parts.sums[copy * k * width..]);
            sums.for_each(|(a, b)| *a += b);
            let counts = part.counts.iter_mut().zip(&parts.counts[copy * k..]);
            counts.for_each(|(a, b)| *a += b);
        }
        part
    }

    /// Add the points of a block, in turn to each of the copies. `W` is the width, or 0 for any.
    #[inline(always)]
    fn add_block<const W: usize>(
        &mut self,
        block: &[f32],
        centers: &[f32],
        width: usize,
        copies: usize,
    ) {
        let width = if W == 0 { width } else { W };
        let k = self.counts.len() / copies;
        let (mut columns, mut riffled) = (vec![[0.0; PANEL]; width], Riffled::new(width));
        let mut nearest = Nearest::new();
        for points in block.chunks(PANEL * width) {
            transpose(points, &mut columns[..width], &mut riffled);
            nearest.find(&columns[..width], centers);
            let points = points.chunks_exact(width).zip(&nearest.clusters);
            for (i, (point, &cluster)) in points.enumerate() {
                let cluster = (i & (copies - 1)) * k + cluster as usize;
                self.counts[cluster] += 1;
                let sums = &mut self.sums[cluster * width..][..width];
                match sums.first_chunk_mut() {
                    Some(sums) if W > 0 => add_point::<W>(sums, point),
                    _ => sums.iter_mut().zip(point).for_each(|(sum, x)| *sum += f64::from(*x)),
                }
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
    }

    /// The mean of each cluster. Empty ones restart at the points farthest from their centres, or stay if
    /// there are too few that don't sit on one.
    fn moved_centers(
        &self,
        points: Points,
        centers: &[f64],
        workers: &Workers,
    ) -> Result<Vec<f64>> {
        let empty = self.counts.iter().filter(|count| **count == 0).count();
        let far = farthest_points(points, &single(centers), empty, workers)?;
        let mut far = far.chunks_exact(points.width());
        let mut moved = centers.to_vec();
        let clusters = self.counts.iter().zip(self.sums.chunks_exact(points.width()));
        for (center, (&count, sums)) in moved.chunks_exact_mut(points.width()).zip(clusters) {
            if count > 0 {
                center.iter_mut().zip(sums).for_each(|(c, sum)| *c = sum / count as f64);
            } else if let Some(point) = far.next() {
                center.iter_mut().zip(point).for_each(|(c, x)| *c = f64::from(*x));
            }
        }
        Ok(moved)
    }
}

/// All sums are read before one is written, so that they are added side by side.
#[inline(always)]
fn add_point<const W: usize>(sums: &mut [f64; W], point: &[f32]) {
    *sums = std::array::from_fn(|c| sums[c] + f64::from(point[c]));
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
        dispatch(
            #[inline(always)]
            || {
                let (mut columns, mut riffled) = (vec![[0.0; PANEL]; width], Riffled::new(width));
                let mut nearest = Nearest::new();
                let (mut counts, mut inertia) = (vec![0_u64; centers.len() / width], 0.0);
                for points in block.chunks(PANEL * width) {
                    transpose(points, &mut columns, &mut riffled);
                    nearest.find(&columns, &rounded);
                    for (point, &cluster) in points.chunks_exact(width).zip(&nearest.clusters) {
                        counts[cluster as usize] += 1;
                        let center = &centers[cluster as usize * width..][..width];
                        inertia += squared_error(point, center);
                    }
                }
                (counts, inertia)
            },
        )
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

#[cfg(test)]
mod tests {
    use super::{KMeans, KMeansStart, kmeans};
    use crate::cluster::{Matrix, Points, Values};
    use crate::random::{Purpose, Stream};
    use crate::{Result, Workers};

    fn noise(n: usize) -> Vec<f32> {
        let stream = Stream::new(3, Purpose::KMeans, 99);
        (0..n as u64).map(|i| stream.unit(i) as f32).collect()
    }

    fn cluster(
        values: &[f32],
        columns: usize,
        start: KMeansStart,
        max_iter: usize,
        num_threads: usize,
    ) -> Result<KMeans> {
        let points = Points::new(Matrix::new("points", Values::F32(values), columns)?, None)?;
        kmeans(points, start, max_iter, &Workers::new(num_threads))
    }

    fn plus_plus(k: usize, seed: u64, n_init: usize) -> KMeansStart<'static> {
        KMeansStart::PlusPlus { k, seed, n_init }
    }

    #[test]
    fn separate_clusters_are_found() {
        let mut points = noise(3000);
        points.chunks_exact_mut(2).step_by(3).for_each(|row| row[0] += 50.0);
        let mut found = cluster(&points, 2, plus_plus(2, 0, 3), 100, 2).unwrap();
        found.counts.sort_unstable();
        assert_eq!(found.counts, [500, 1000]);
        assert!((found.centers[0] - found.centers[2]).abs() > 49.0);
    }

    #[test]
    fn the_result_doesn_t_depend_on_threads() {
        let points = noise(60_000);
        let one = cluster(&points, 3, plus_plus(5, 1, 2), 30, 1).unwrap();
        for num_threads in [2, 3, 16] {
            let found = cluster(&points, 3, plus_plus(5, 1, 2), 30, num_threads).unwrap();
            assert_eq!(one, found);
        }
    }

    #[test]
    fn fewer_distinct_points_give_fewer_clusters() {
        let found = cluster(&[1.0, 2.0, 1.0, 2.0, 5.0, 5.0], 2, plus_plus(3, 0, 2), 10, 1).unwrap();
        let mut counts = found.counts.clone();
        counts.sort_unstable();
        assert_eq!((counts, found.inertia), (vec![1, 2], 0.0));
    }

    #[test]
    fn empty_clusters_restart_at_the_farthest_points() {
        let points = [0.0, 1.0, 2.0, 30.0, -40.0];
        let start = KMeansStart::Centers(&[1.0, 1e6, -1e6]);
        let found = cluster(&points, 1, start, 10, 1).unwrap();
        assert_eq!(found.centers, [1.0, -40.0, 30.0]);
        assert_eq!(found.counts, [3, 1, 1]);
    }

    #[test]
    fn bad_arguments_are_named() {
        let message = |points: &[f32], start, max_iter| {
            cluster(points, 2, start, max_iter, 1).unwrap_err().to_string()
        };
        assert!(message(&[0.0; 4], plus_plus(0, 0, 1), 1).starts_with("k is 0"));
        assert!(message(&[0.0; 4], plus_plus(3, 0, 1), 1).starts_with("k is 3; expected at most"));
        assert!(message(&[0.0; 4], plus_plus(1, 0, 1), 0).starts_with("max_iter is 0"));
        assert!(message(&[0.0; 4], plus_plus(1, 0, 0), 1).starts_with("n_init is 0"));
        let bad = [0.0, 0.0, 0.0, f32::NAN];
        assert!(message(&bad, plus_plus(1, 0, 1), 1).starts_with("points[1, 1] is NaN"));
        assert!(message(&[], plus_plus(1, 0, 1), 1).starts_with("k is 1"));
        assert!(message(&[], KMeansStart::Centers(&[]), 1).starts_with("k is 0"));
        let centers = KMeansStart::Centers(&[0.0, f64::NAN]);
        assert!(message(&[0.0; 4], centers, 1).starts_with("centers[0, 1] is NaN"));
    }
}
