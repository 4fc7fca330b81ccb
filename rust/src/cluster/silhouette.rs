//! The silhouette of a clustering (Rousseeuw, 1987) on a sample of the points.

use super::Points;
use super::checks::{at_least_one, check_centers};
use super::nearest::{nearest_clusters, single};
use crate::random::{Purpose, Stream};
use crate::sample::Permutation;
use crate::simd::dispatch;
use crate::{Error, Result, Workers};

/// Points whose distances are added up side by side.
const TILE: usize = 8;
/// The most points of a task, and the most distances: between tasks Ctrl-C gets through.
const CHUNK: usize = 64;
const DISTANCES: usize = 1 << 22;

/// The mean silhouette of `sample_size` points, or of all if there are no more, that belong to the nearest of
/// (k, W) centres: (b - a) / max(a, b), where a is a point's mean distance to the others of its cluster and b
/// that to the nearest other cluster, among the points of the sample.
///
/// A point that is alone in its cluster counts 0, as in scikit-learn, and so does every point if no other
/// cluster is in the sample. Distances are float64. O(sample_size² · W), and memory for the sample alone.
///
/// # Errors
/// [`Error::Value`] for a bad value among those read; [`Error::Scalar`] for fewer than 2 centres, no points, or
/// a `sample_size` of 0.
pub fn silhouette(
    points: Points,
    centers: &[f64],
    sample_size: usize,
    seed: u64,
    workers: &Workers,
) -> Result<f64> {
    at_least_one("sample_size", sample_size)?;
    at_least_one("the number of points", points.len())?;
    let k = centers.len() / points.width().max(1);
    if k < 2 {
        let (argument, found) = ("the number of centers", k.to_string());
        return Err(Error::Scalar { argument, found, expected: "at least 2" });
    }
    check_centers("centers", centers, points)?;
    let sample = Sample::draw(points, &single(centers), sample_size, seed, workers)?;
    let size = sample.clusters.len();
    let chunk = CHUNK.min(DISTANCES / size).max(1);
    let mut total = 0.0;
    workers.fold(
        (0..size).step_by(chunk),
        |first| Ok(sample.silhouettes(first..size.min(first + chunk))),
        |sum: f64| total += sum,
    )?;
    Ok(total / size as f64)
}

/// The points of the sample, cluster after cluster.
struct Sample {
    /// W columns of so many coordinates.
    columns: Vec<Vec<f64>>,
    /// The cluster of each point.
    clusters: Vec<u32>,
    /// Where the points of each cluster are, without empty ones.
    ranges: Vec<std::ops::Range<usize>>,
}

impl Sample {
    fn draw(
        points: Points,
        centers: &[f32],
        size: usize,
        seed: u64,
        workers: &Workers,
    ) -> Result<Self> {
        let values = points.gather(&positions(points.len(), size, seed))?;
        workers.check()?;
        let clusters = nearest_clusters(&values, points.width(), centers);
        workers.check()?;
        let mut order: Vec<usize> = (0..clusters.len()).collect();
        order.sort_by_key(|&i| clusters[i]);
        let column = |c| order.iter().map(|i| f64::from(values[i * points.width() + c])).collect();
        let clusters: Vec<u32> = order.iter().map(|&i| clusters[i]).collect();
        let mut ranges = Vec::new();
        let mut start = 0;
        for members in clusters.chunk_by(|a, b| a == b) {
            ranges.push(start..start + members.len());
            start += members.len();
        }
        Ok(Self { columns: (0..points.width()).map(column).collect(), clusters, ranges })
    }

    /// The sum of the silhouettes of some of its points.
    fn silhouettes(&self, of: std::ops::Range<usize>) -> f64 {
        dispatch(
            #[inline(always)]
            || of.map(|i| self.silhouette(i)).sum(),
        )
    }

    #[inline(always)]
    fn silhouette(&self, i: usize) -> f64 {
        let (mut own, mut other) = (None, f64::INFINITY);
        for range in &self.ranges {
            let sum = self.sum_of_distances(i, range.clone());
            if !range.contains(&i) {
                other = other.min(sum / range.len() as f64);
            } else if range.len() > 1 {
                own = Some(sum / (range.len() - 1) as f64);
            }
        }
        match own {
            // Equal points in both clusters: 0 / 0.
            Some(own) if other.is_finite() && own.max(other) > 0.0 => {
                (other - own) / own.max(other)
            }
            _ => 0.0,
        }
    }

    #[inline(always)]
    fn sum_of_distances(&self, i: usize, range: std::ops::Range<usize>) -> f64 {
        let mut sums = [0.0; TILE];
        let mut start = range.start;
        while start < range.end {
            let length = TILE.min(range.end - start);
            let mut squared = [0.0; TILE];
            for column in &self.columns {
                let x = column[i];
                if length == TILE {
                    for (squared, y) in squared.iter_mut().zip(&column[start..start + TILE]) {
                        *squared += (y - x) * (y - x);
                    }
                } else {
                    for (squared, y) in squared.iter_mut().zip(&column[start..start + length]) {
                        *squared += (y - x) * (y - x);
                    }
                }
            }
            for lane in 0..TILE {
                sums[lane] += squared[lane].sqrt();
            }
            start += length;
        }
        sums.iter().sum()
    }
}

/// Which points are drawn, ascending.
fn positions(of: usize, size: usize, seed: u64) -> Vec<usize> {
    if size >= of {
        return (0..of).collect();
    }
    let mut slots = vec![0; size];
    let stream = Stream::new(seed, Purpose::Silhouette, 0);
    Permutation::new(of as u64, stream).walk(1).fill(0, &mut slots);
    slots.sort_unstable();
    slots.into_iter().map(|slot| slot as usize).collect()
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::{positions, silhouette};
    use crate::Workers;
    use crate::cluster::{Matrix, Points, Values};

    fn of(values: &[f32], centers: &[f64]) -> f64 {
        let matrix = Matrix::new("points", Values::F32(values), 1).unwrap();
        let points = Points::new(matrix, None).unwrap();
        silhouette(points, centers, 100, 0, &Workers::new(2)).unwrap()
    }

    #[test]
    fn it_is_the_formula() {
        // Of 0, 1 | 10, 12: a = 1, 1, 2, 2 and b = 11, 10, 9.5, 11.5.
        let expected = (10.0 / 11.0 + 9.0 / 10.0 + 7.5 / 9.5 + 9.5 / 11.5) / 4.0;
        assert!((of(&[0.0, 10.0, 1.0, 12.0], &[0.0, 11.0]) - expected).abs() < 1e-15);
        // The 30 is alone: it counts 0.
        let expected = (29.5 - 1.0) / 29.5 + (28.5 - 1.0) / 28.5;
        let found = of(&[0.5, 30.0, 1.5], &[1.0, 30.0, 500.0]);
        assert!((found - expected / 3.0).abs() < 1e-15);
    }

    #[test]
    fn what_has_no_silhouette_counts_0() {
        assert_eq!(of(&[1.0, 2.0], &[0.0, 100.0]), 0.0);
        assert_eq!(of(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert_eq!(of(&[5.0], &[1.0, 2.0]), 0.0);
    }

    #[test]
    fn samples_are_without_repetition_and_stable() {
        assert_eq!(positions(3, 3, 0), [0, 1, 2]);
        let drawn = positions(1_000_000, 1000, 4);
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(drawn[..3], positions(1_000_000, 1000, 4)[..3]);
        assert_ne!(drawn, positions(1_000_000, 1000, 5));
    }
}
