//! What the points of each cluster add up to, from one pass of k-means to the next.

use super::nearest::{Nearest, single};
use super::panel::{PANEL, Panel, for_each_panel};
use super::points::Pool;
use super::{BLOCK, Points};
use crate::{Result, Workers};

/// Points that are compared with their clusters of the pass before in one step.
const TILE: usize = 16;

/// The number of a cluster, in as few bytes as will do: there is one for each point.
pub(super) trait ClusterNumber: Copy + PartialEq + Send + Sync {
    /// That of no cluster.
    const NONE: Self;
    fn of(cluster: u32) -> Self;
    fn index(self) -> usize;
}

macro_rules! cluster_number {
    ($($number:ty),*) => {
        $(impl ClusterNumber for $number {
            const NONE: Self = Self::MAX;

            #[inline(always)]
            fn of(cluster: u32) -> Self {
                cluster as Self
            }

            #[inline(always)]
            fn index(self) -> usize {
                self as usize
            }
        })*
    };
}

cluster_number!(u8, u32);

/// Sums and numbers of the points of k clusters, and which cluster each point is in.
///
/// A pass adds up only the points that change their cluster, which are few after the first ones.
pub(super) struct Members<L> {
    /// (M,).
    clusters: Vec<L>,
    pub(super) totals: Totals,
}

/// What the points of each cluster add up to.
pub(super) struct Totals {
    /// (k, W).
    pub(super) sums: Vec<f64>,
    /// (k,) below 0 where more points leave than come.
    pub(super) counts: Vec<i64>,
}

impl Totals {
    fn none(k: usize, width: usize) -> Self {
        Self { sums: vec![0.0; k * width], counts: vec![0; k] }
    }

    #[inline(always)]
    fn count(&mut self, cluster: usize, sign: i64, point: &[f32]) {
        self.counts[cluster] += sign;
        let sums = &mut self.sums[cluster * point.len()..][..point.len()];
        sums.iter_mut().zip(point).for_each(|(sum, x)| *sum += sign as f64 * f64::from(*x));
    }

    fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
    }
}

impl<L: ClusterNumber> Members<L> {
    /// No point is in any of the k clusters yet.
    pub(super) fn none(points: Points, k: usize) -> Self {
        let clusters = vec![L::NONE; points.len()];
        Self { clusters, totals: Totals::none(k, points.width()) }
    }

    /// Move each point to the cluster of the nearest of k centres.
    pub(super) fn follow(
        &mut self,
        points: Points,
        centers: &[f64],
        workers: &Workers,
    ) -> Result<()> {
        let (centers, width) = (single(centers), points.width());
        self.pass(points, workers, |totals, clusters, values| {
            let mut nearest = Nearest::new();
            for_each_panel(
                values,
                width,
                #[inline(always)]
                |panel| {
                    nearest.find(panel.columns, &centers);
                    move_members(totals, &panel, clusters, &nearest.clusters);
                },
            );
        })
    }

    /// Add up all points again, without what rounding left of those that came and went.
    pub(super) fn add_up_again(&mut self, points: Points, workers: &Workers) -> Result<()> {
        self.totals = Totals::none(self.totals.counts.len(), points.width());
        self.pass(points, workers, |totals, clusters, values| {
            for (point, cluster) in values.chunks_exact(points.width()).zip(clusters) {
                totals.count(cluster.index(), 1, point);
            }
        })
    }

    /// Let `work` add to the totals, on the clusters and coordinates of each block.
    fn pass(
        &mut self,
        points: Points,
        workers: &Workers,
        work: impl Fn(&mut Totals, &mut [L], &[f32]) + Sync,
    ) -> Result<()> {
        let (pool, Self { clusters, totals }) = (Pool::default(), self);
        let k = totals.counts.len();
        workers.fold(
            clusters.chunks_mut(BLOCK).enumerate(),
            |(block, clusters)| {
                pool.with(|buffers| {
                    let mut part = Totals::none(k, points.width());
                    work(&mut part, clusters, points.read(block, buffers)?);
                    Ok(part)
                })
            },
            |part: Totals| totals.add(&part),
        )
    }
}

#[inline(always)]
fn move_members<L: ClusterNumber>(
    totals: &mut Totals,
    panel: &Panel,
    clusters: &mut [L],
    nearest: &[u32; PANEL],
) {
    let width = panel.columns.len();
    let clusters = &mut clusters[panel.first..][..panel.len()];
    let tiles = clusters.chunks_mut(TILE).zip(nearest.chunks(TILE));
    for ((clusters, nearest), points) in tiles.zip(panel.points.chunks(TILE * width)) {
        // Without a branch for each, which takes several at a time.
        let changed = clusters
            .iter()
            .zip(nearest)
            .fold(0, |changed, (cluster, found)| changed | u32::from(*cluster != L::of(*found)));
        if changed == 0 {
            continue;
        }
        let clusters = clusters.iter_mut().zip(nearest);
        for ((cluster, &found), point) in clusters.zip(points.chunks_exact(width)) {
            let found = L::of(found);
            if *cluster != found {
                if *cluster != L::NONE {
                    totals.count(cluster.index(), -1, point);
                }
                totals.count(found.index(), 1, point);
                *cluster = found;
            }
        }
    }
}
