//! k-means++ (Arthur and Vassilvitskii, 2007): each next centre is a point drawn in proportion to
//! its squared distance from the centres so far.

use super::{BLOCK, Dense};
use crate::random::Stream;
use crate::{Result, Workers};

/// The rows to start from: `k` of them, or fewer if there are fewer distinct points. O(N·A·k).
pub(super) fn starting_rows(
    points: Dense,
    k: usize,
    stream: Stream,
    workers: &Workers,
) -> Result<Vec<usize>> {
    let mut chosen = vec![stream.below(0, points.rows() as u64) as usize];
    let mut distances = vec![f32::INFINITY; points.rows()];
    while chosen.len() < k {
        let latest = points.row(chosen[chosen.len() - 1]);
        let sums = shorten(points, latest, &mut distances, workers)?;
        let target = stream.unit(chosen.len() as u64) * sums.iter().sum::<f64>();
        match search(&distances, &sums, target) {
            Some(row) => chosen.push(row),
            None => break,
        }
    }
    Ok(chosen)
}

/// Lower each squared distance to that from `centre`; return the sum of each block.
fn shorten(
    points: Dense,
    centre: &[f32],
    distances: &mut [f32],
    workers: &Workers,
) -> Result<Vec<f64>> {
    let mut sums = vec![0.0; distances.len().div_ceil(BLOCK)];
    let tasks = distances.chunks_mut(BLOCK).zip(&mut sums).enumerate();
    workers.for_each(tasks, |(block, (distances, sum)): (_, (&mut [f32], &mut f64))| {
        let rows = points.block(block).values.chunks_exact(points.columns);
        for (distance, row) in distances.iter_mut().zip(rows) {
            *distance = distance.min(squared_distance(row, centre));
            *sum += f64::from(*distance);
        }
    })?;
    Ok(sums)
}

/// The row at which the running sum of `distances` passes `target`; none if all are 0.
fn search(distances: &[f32], sums: &[f64], target: f64) -> Option<usize> {
    // Both searches keep the last candidate: rounding can carry the target past the end.
    let (mut block, mut rest, mut passed) = (None, target, 0.0);
    for (candidate, sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
        (block, rest) = (Some(candidate), target - passed);
        passed += sum;
        if target < passed {
            break;
        }
    }
    let start = block? * BLOCK;
    let mut found = None;
    for (row, distance) in distances[start..].iter().take(BLOCK).enumerate() {
        if *distance > 0.0 {
            found = Some(start + row);
            rest -= f64::from(*distance);
            if rest < 0.0 {
                break;
            }
        }
    }
    found
}

pub(super) fn squared_distance(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).fold(0.0, |sum, (x, y)| sum + (x - y) * (x - y))
}

#[cfg(test)]
mod tests {
    use super::search;

    #[test]
    fn the_search_is_clamped_and_skips_points_at_a_centre() {
        let distances = [0.0, 1.0, 0.0, 2.0, 0.0];
        assert_eq!(search(&distances, &[3.0], 0.0), Some(1));
        assert_eq!(search(&distances, &[3.0], 1.0), Some(3));
        assert_eq!(search(&distances, &[3.0], 3.0), Some(3));
        assert_eq!(search(&distances, &[3.0], f64::INFINITY), Some(3));
        assert_eq!(search(&[0.0, 0.0], &[0.0], 0.0), None);
    }
}
