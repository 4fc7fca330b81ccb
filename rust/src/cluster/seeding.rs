//! k-means++ (Arthur and Vassilvitskii, 2007): each next centre is a point drawn in proportion to
//! its squared distance from the centres so far. Distances are computed again for each centre rather
//! than kept; what is kept is one sum for each block.

use super::nearest::Nearest;
use super::panel::for_each_panel;
use super::points::Buffers;
use super::{BLOCK, Points};
use crate::random::Stream;
use crate::{Result, Workers};

/// The (k, W) centres to start from: `k` points, or fewer if there are fewer distinct ones. O(M·W·k²).
pub(super) fn starting_centers(
    points: Points,
    k: usize,
    stream: Stream,
    workers: &Workers,
) -> Result<Vec<f32>> {
    let mut centers = points.gather(&[stream.below(0, points.len() as u64) as usize])?;
    let mut buffers = Buffers::default();
    for number in 1..k {
        let mut sums = Vec::new();
        let sum = |_, block: &[f32]| {
            distances_to_nearest(block, points.width(), &centers)
                .iter()
                .copied()
                .map(f64::from)
                .sum()
        };
        points.fold(workers, sum, |sum: f64| sums.push(sum))?;
        let target = stream.unit(number as u64) * sums.iter().sum::<f64>();
        let Some((block, rest)) = search(sums.iter().copied(), target) else { break };
        let distances =
            distances_to_nearest(points.read(block, &mut buffers)?, points.width(), &centers);
        let Some((row, _)) = search(distances.into_iter().map(f64::from), rest) else { break };
        centers.extend(points.gather(&[block * BLOCK + row])?);
    }
    Ok(centers)
}

/// The squared distance of each point of a block to the nearest of the centres.
pub(super) fn distances_to_nearest(block: &[f32], width: usize, centers: &[f32]) -> Vec<f32> {
    let (mut nearest, mut distances) = (Nearest::new(), Vec::with_capacity(BLOCK));
    for_each_panel(
        block,
        width,
        #[inline(always)]
        |panel| {
            nearest.find(panel.columns, centers);
            distances.extend_from_slice(&nearest.distances[..panel.len()]);
        },
    );
    distances
}

/// The number at which the running sum of `weights` passes `target`, and what of `target` is left
/// before it; none if all are 0.
fn search(weights: impl Iterator<Item = f64>, target: f64) -> Option<(usize, f64)> {
    // It keeps the last candidate: rounding can carry the target past the end.
    let (mut found, mut passed) = (None, 0.0);
    for (candidate, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        found = Some((candidate, target - passed));
        passed += weight;
        if target < passed {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::search;

    #[test]
    fn the_search_is_clamped_and_skips_points_at_a_centre() {
        let weights = [0.0, 1.0, 0.0, 2.0, 0.0];
        let find = |target| search(weights.into_iter(), target);
        assert_eq!(find(0.0), Some((1, 0.0)));
        assert_eq!(find(1.0), Some((3, 0.0)));
        assert_eq!(find(2.5), Some((3, 1.5)));
        assert_eq!(find(3.0), Some((3, 2.0)));
        assert_eq!(find(f64::INFINITY), Some((3, f64::INFINITY)));
        assert_eq!(search([0.0, 0.0].into_iter(), 0.0), None);
    }
}
