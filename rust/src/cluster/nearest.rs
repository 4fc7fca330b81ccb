//! The nearest centre of each point of a panel, by squared distance in float32.

use super::panel::{Column, PANEL, for_each_panel, tile, tile_mut};

/// Points whose distances are added up in registers.
const TILE: usize = 16;

/// The nearest centre of each point, the first of equals, and the squared distance to it.
pub(super) struct Nearest {
    pub(super) clusters: Column<u32>,
    pub(super) distances: Column<f32>,
}

impl Nearest {
    pub(super) fn new() -> Self {
        Self { clusters: [0; PANEL], distances: [0.0; PANEL] }
    }

    /// Find them for the points of a panel and (k, W) centres.
    #[inline(always)]
    pub(super) fn find(&mut self, columns: &[Column<f32>], centers: &[f32]) {
        for start in (0..PANEL).step_by(TILE) {
            let (mut nearest, mut best) = ([0; TILE], [f32::INFINITY; TILE]);
            for (cluster, center) in centers.chunks_exact(columns.len()).enumerate() {
                let distance = squared_distances(columns, center, start);
                for lane in 0..TILE {
                    let closer = distance[lane] < best[lane];
                    best[lane] = if closer { distance[lane] } else { best[lane] };
                    nearest[lane] = if closer { cluster as u32 } else { nearest[lane] };
                }
            }
            *tile_mut(&mut self.clusters, start) = nearest;
            *tile_mut(&mut self.distances, start) = best;
        }
    }
}

#[inline(always)]
fn squared_distances(columns: &[Column<f32>], center: &[f32], start: usize) -> [f32; TILE] {
    // Begun with the first rather than with 0, which would cost an addition.
    let mut distance = squared_differences(&columns[0], center[0], start);
    for (column, c) in columns[1..].iter().zip(&center[1..]) {
        let squared = squared_differences(column, *c, start);
        for lane in 0..TILE {
            distance[lane] += squared[lane];
        }
    }
    distance
}

#[inline(always)]
fn squared_differences(column: &Column<f32>, c: f32, start: usize) -> [f32; TILE] {
    let mut squared: [f32; TILE] = *tile(column, start);
    for x in &mut squared {
        *x = (*x - c) * (*x - c);
    }
    squared
}

/// Squared distances of the points of a panel to one centre.
#[inline(always)]
pub(super) fn distances_to(columns: &[Column<f32>], center: &[f32], out: &mut Column<f32>) {
    for start in (0..PANEL).step_by(TILE) {
        *tile_mut(out, start) = squared_distances(columns, center, start);
    }
}

/// The nearest of the centres to each point.
pub(super) fn nearest_clusters(points: &[f32], width: usize, centers: &[f32]) -> Vec<u32> {
    let (mut nearest, mut clusters) = (Nearest::new(), Vec::new());
    for_each_panel(
        points,
        width,
        #[inline(always)]
        |panel| {
            nearest.find(panel.columns, centers);
            clusters.extend_from_slice(&nearest.clusters[..panel.len()]);
        },
    );
    clusters
}

/// Centres as distances see them.
pub(super) fn single(centers: &[f64]) -> Vec<f32> {
    centers.iter().map(|&c| c as f32).collect()
}
