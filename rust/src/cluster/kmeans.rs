//! k-means by Lloyd's algorithm (1982), for many rows of few columns.

use super::seeding::{squared_distance, starting_rows};
use super::{BLOCK, Dense};
use crate::random::{Purpose, Stream};
use crate::{Error, Result, Workers};

/// Rows whose distances are computed side by side, column by column: so few that they stay in
/// vector registers.
const TILE: usize = 8;

/// What [`kmeans`] returns, for N points in A dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// (N,) the nearest centre of each point.
    pub labels: Vec<i64>,
    /// (k, A) the centres in row order; fewer than asked if fewer clusters have members.
    pub centers: Vec<f64>,
    /// Sum of squared distances of the points to their centres.
    pub inertia: f64,
    /// How often the centres were moved.
    pub iterations: usize,
}

/// Cluster points of `columns` coordinates into `k` clusters: the best of `n_init` runs of Lloyd's
/// algorithm from k-means++ starts, each until no label changes or the centres moved `max_iter`
/// times.
///
/// Distances are float32, sums of points float64; ties go to the lower cluster. A cluster that loses
/// all its points restarts at the point farthest from its centre. With fewer than `k` distinct
/// points there are as many clusters as distinct points. O(N·A·k) an iteration; 4 bytes a row beside
/// the points and the result.
///
/// # Errors
/// [`Error::Value`] for the first value that is NaN, infinite or beyond ±1e15; [`Error::Scalar`] if
/// `k`, `max_iter` or `n_init` is 0 or `k` exceeds the number of points.
pub fn kmeans(
    points: &[f32],
    columns: usize,
    k: usize,
    seed: u64,
    max_iter: usize,
    n_init: usize,
    workers: &Workers,
) -> Result<KMeans> {
    let points = Dense::new("points", points, columns)?;
    for (argument, value) in [("k", k), ("max_iter", max_iter), ("n_init", n_init)] {
        if value == 0 {
            return Err(Error::Scalar { argument, found: "0".into(), expected: "at least 1" });
        }
    }
    if k > points.rows() {
        let expected = "at most the number of points";
        return Err(Error::Scalar { argument: "k", found: k.to_string(), expected });
    }
    let run = |number| {
        let stream = Stream::new(seed, Purpose::KMeans, number as u64);
        let rows = starting_rows(points, k, stream, workers)?;
        let centers = rows.iter().flat_map(|&row| points.row(row)).map(|&x| f64::from(x)).collect();
        lloyd(points, centers, max_iter, workers)
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

/// One run of Lloyd's algorithm.
fn lloyd(
    points: Dense,
    mut centers: Vec<f64>,
    max_iter: usize,
    workers: &Workers,
) -> Result<KMeans> {
    let mut labels = vec![u32::MAX; points.rows()];
    let mut iterations = 0;
    // The last pass assigns after the last move, so labels and centres belong together.
    loop {
        let clusters = assign(points, &centers, &mut labels, workers)?;
        if clusters.changed == 0 || iterations == max_iter {
            return Ok(finish(points, &clusters, &centers, &labels, iterations));
        }
        clusters.move_centers(points, &mut centers, &labels);
        iterations += 1;
    }
}

/// What the points of a block, or of all blocks, add up to.
#[derive(Clone)]
struct Clusters {
    sums: Vec<f64>,
    counts: Vec<u64>,
    /// How many labels changed.
    changed: usize,
}

impl Clusters {
    fn empty(k: usize, columns: usize) -> Self {
        Self { sums: vec![0.0; k * columns], counts: vec![0; k], changed: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.changed += other.changed;
    }

    fn move_centers(&self, points: Dense, centers: &mut [f64], labels: &[u32]) {
        let columns = points.columns;
        let mut restarted = restarts(points, centers, labels, &self.counts).into_iter();
        for (cluster, &count) in self.counts.iter().enumerate() {
            let center = &mut centers[cluster * columns..][..columns];
            if count > 0 {
                let sums = &self.sums[cluster * columns..][..columns];
                center.iter_mut().zip(sums).for_each(|(c, sum)| *c = sum / count as f64);
            } else if let Some(row) = restarted.next() {
                center.iter_mut().zip(points.row(row)).for_each(|(c, x)| *c = f64::from(*x));
            }
        }
    }
}

/// The farthest points, one for each empty cluster; fewer if the others sit on their centres.
fn restarts(points: Dense, centers: &[f64], labels: &[u32], counts: &[u64]) -> Vec<usize> {
    let empty = counts.iter().filter(|count| **count == 0).count();
    if empty == 0 {
        return Vec::new();
    }
    let centers: Vec<f32> = centers.iter().map(|&c| c as f32).collect();
    let center = |row: usize| &centers[labels[row] as usize * points.columns..][..points.columns];
    let mut far: Vec<(f32, usize)> = (0..points.rows())
        .map(|row| (squared_distance(points.row(row), center(row)), row))
        .filter(|(distance, _)| *distance > 0.0)
        .collect();
    far.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    far.into_iter().take(empty).map(|(_, row)| row).collect()
}

/// Give each point its nearest centre and add the points up by cluster.
fn assign(
    points: Dense,
    centers: &[f64],
    labels: &mut [u32],
    workers: &Workers,
) -> Result<Clusters> {
    let centers: Vec<f32> = centers.iter().map(|&c| c as f32).collect();
    let k = centers.len() / points.columns;
    let mut parts = vec![Clusters::empty(k, points.columns); points.rows().div_ceil(BLOCK)];
    let tasks = labels.chunks_mut(BLOCK).zip(&mut parts).enumerate();
    workers.for_each(tasks, |(block, (labels, part)): (_, (&mut [u32], _))| {
        assign_block(points.block(block), &centers, labels, part);
    })?;
    let mut all = Clusters::empty(k, points.columns);
    for part in &parts {
        all.add(part);
    }
    Ok(all)
}

fn assign_block(points: Dense, centers: &[f32], labels: &mut [u32], part: &mut Clusters) {
    let columns = points.columns;
    let mut tile = vec![[0.0_f32; TILE]; columns];
    let tiles = points.values.chunks(TILE * columns).zip(labels.chunks_mut(TILE));
    for (values, labels) in tiles {
        for (lane, row) in values.chunks_exact(columns).enumerate() {
            tile.iter_mut().zip(row).for_each(|(column, value)| column[lane] = *value);
        }
        let nearest = nearest_centers(&tile, centers);
        for ((label, nearest), row) in
            labels.iter_mut().zip(nearest).zip(values.chunks_exact(columns))
        {
            part.changed += usize::from(*label != nearest);
            *label = nearest;
            part.counts[nearest as usize] += 1;
            let sums = &mut part.sums[nearest as usize * columns..][..columns];
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
    }
}

fn nearest_centers(tile: &[[f32; TILE]], centers: &[f32]) -> [u32; TILE] {
    let (mut nearest, mut best) = ([0; TILE], [f32::INFINITY; TILE]);
    for (cluster, center) in centers.chunks_exact(tile.len()).enumerate() {
        let mut distance = [0.0; TILE];
        for (column, c) in tile.iter().zip(center) {
            for lane in 0..TILE {
                distance[lane] += (column[lane] - c) * (column[lane] - c);
            }
        }
        for lane in 0..TILE {
            let closer = distance[lane] < best[lane];
            best[lane] = if closer { distance[lane] } else { best[lane] };
            nearest[lane] = if closer { cluster as u32 } else { nearest[lane] };
        }
    }
    nearest
}

/// Drop clusters without members and compute the inertia from the final labels, in float64.
fn finish(
    points: Dense,
    clusters: &Clusters,
    centers: &[f64],
    labels: &[u32],
    iterations: usize,
) -> KMeans {
    let columns = points.columns;
    let kept: Vec<usize> = (0..clusters.counts.len()).filter(|&c| clusters.counts[c] > 0).collect();
    let mut renumbered = vec![0; clusters.counts.len()];
    kept.iter().enumerate().for_each(|(new, &old)| renumbered[old] = new as i64);
    let inertia = |block: usize| -> f64 {
        let rows = points.block(block).values.chunks_exact(columns);
        let labels = &labels[block * BLOCK..];
        rows.zip(labels).map(|(row, &l)| squared_error(row, &centers[l as usize * columns..])).sum()
    };
    KMeans {
        labels: labels.iter().map(|&label| renumbered[label as usize]).collect(),
        centers: kept.iter().flat_map(|&c| &centers[c * columns..][..columns]).copied().collect(),
        inertia: (0..points.rows().div_ceil(BLOCK)).map(inertia).sum(),
        iterations,
    }
}

fn squared_error(row: &[f32], center: &[f64]) -> f64 {
    row.iter().zip(center).map(|(x, c)| (f64::from(*x) - c).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::{Dense, kmeans, lloyd};
    use crate::Workers;
    use crate::random::{Purpose, Stream};

    fn noise(n: usize) -> Vec<f32> {
        let stream = Stream::new(3, Purpose::KMeans, 99);
        (0..n as u64).map(|i| stream.unit(i) as f32).collect()
    }

    #[test]
    fn separate_clusters_are_found() {
        let mut points = noise(3000);
        points.chunks_exact_mut(2).step_by(3).for_each(|row| row[0] += 50.0);
        let found = kmeans(&points, 2, 2, 0, 100, 3, &Workers::new(2)).unwrap();
        let of_first = found.labels[0];
        assert!(found.labels.iter().enumerate().all(|(i, l)| (*l == of_first) == (i % 3 == 0)));
        assert_eq!(found.centers.len(), 4);
    }

    #[test]
    fn the_result_doesn_t_depend_on_threads() {
        let points = noise(60_000);
        let one = kmeans(&points, 3, 5, 1, 30, 2, &Workers::new(1)).unwrap();
        for num_threads in [2, 3, 16] {
            assert_eq!(one, kmeans(&points, 3, 5, 1, 30, 2, &Workers::new(num_threads)).unwrap());
        }
    }

    #[test]
    fn fewer_distinct_points_give_fewer_clusters() {
        let found =
            kmeans(&[1.0, 2.0, 1.0, 2.0, 5.0, 5.0], 2, 3, 0, 10, 2, &Workers::new(1)).unwrap();
        assert_eq!(found.centers.len(), 4);
        assert_eq!(found.labels[0], found.labels[1]);
        assert_ne!(found.labels[0], found.labels[2]);
        assert!(found.inertia.abs() < 1e-30);
    }

    #[test]
    fn an_empty_cluster_restarts_at_the_farthest_point() {
        let points = [0.0, 1.0, 2.0, 30.0];
        let matrix = Dense::new("points", &points, 1).unwrap();
        let found = lloyd(matrix, vec![1.0, 1e6], 10, &Workers::new(1)).unwrap();
        assert_eq!(found.labels, [0, 0, 0, 1]);
        assert_eq!(found.centers, [1.0, 30.0]);
    }

    #[test]
    fn bad_arguments_are_named() {
        let message = |points: &[f32], k, max_iter, n_init| {
            kmeans(points, 2, k, 0, max_iter, n_init, &Workers::new(1)).unwrap_err().to_string()
        };
        assert!(message(&[0.0; 4], 0, 1, 1).starts_with("k is 0"));
        assert!(message(&[0.0; 4], 3, 1, 1).starts_with("k is 3; expected at most"));
        assert!(message(&[0.0; 4], 1, 0, 1).starts_with("max_iter is 0"));
        assert!(message(&[0.0; 4], 1, 1, 0).starts_with("n_init is 0"));
        assert!(message(&[0.0, 0.0, 0.0, f32::NAN], 1, 1, 1).starts_with("points[1, 1] is NaN"));
        assert!(message(&[0.0; 3], 1, 1, 1).starts_with("columns is 2"));
        assert!(message(&[], 1, 1, 1).starts_with("k is 1"));
    }
}
