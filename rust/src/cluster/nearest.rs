//! The nearest centre of each row, by squared distance in float32. Rows are centred first, because the
//! common part of a row's logits doesn't depend on the attribute.

use crate::Result;
use crate::memory::{filled, with_capacity};

/// Rows that are computed together: the compiler vectorises loops of this length.
pub(super) const TILE: usize = 16;

/// One number for each row of a tile.
pub(super) type Lanes<T> = [T; TILE];

/// Up to [`TILE`] row-centred rows, column by column, and their nearest centres.
pub(super) struct Tile {
    pub(super) columns: Vec<Lanes<f32>>,
    /// The nearest centre of each row, the first if tied.
    pub(super) nearest: Lanes<u32>,
    /// The squared distance to it.
    pub(super) distances: Lanes<f32>,
}

impl Tile {
    pub(super) fn new(columns: usize) -> Result<Self> {
        let columns = filled([0.0; TILE], columns)?;
        Ok(Self { columns, nearest: [0; TILE], distances: [0.0; TILE] })
    }

    /// Read up to [`TILE`] `rows`, in row order. Values beyond the last row stay as they were.
    #[inline(always)]
    pub(super) fn load(&mut self, rows: &[f32]) {
        let columns = self.columns.len();
        for (number, column) in self.columns.iter_mut().enumerate() {
            let values = rows[number..].iter().step_by(columns);
            column.iter_mut().zip(values).for_each(|(lane, value)| *lane = *value);
        }
        let mut means = [0.0; TILE];
        for column in &self.columns {
            for lane in 0..TILE {
                means[lane] += column[lane];
            }
        }
        let scale = 1.0 / columns as f32;
        for column in &mut self.columns {
            for lane in 0..TILE {
                column[lane] -= means[lane] * scale;
            }
        }
    }

    /// Find the nearest of the (k, A) centres.
    #[inline(always)]
    pub(super) fn find_nearest(&mut self, centers: &[f32]) {
        let (mut nearest, mut best) = ([0; TILE], [f32::INFINITY; TILE]);
        for (cluster, center) in centers.chunks_exact(self.columns.len()).enumerate() {
            let distances = self.distances_to(center);
            for lane in 0..TILE {
                let closer = distances[lane] < best[lane];
                best[lane] = if closer { distances[lane] } else { best[lane] };
                nearest[lane] = if closer { cluster as u32 } else { nearest[lane] };
            }
        }
        (self.nearest, self.distances) = (nearest, best);
    }

    /// Squared distances to one centre.
    #[inline(always)]
    pub(super) fn distances_to(&self, center: &[f32]) -> Lanes<f32> {
        let mut distances = [0.0; TILE];
        for (column, center) in self.columns.iter().zip(center) {
            for lane in 0..TILE {
                let difference = column[lane] - center;
                distances[lane] += difference * difference;
            }
        }
        distances
    }

    /// Squared distances of one row.
    pub(super) fn distance(&self, lane: usize, center: &[f32]) -> f32 {
        let squares = self.columns.iter().zip(center).map(|(column, c)| (column[lane] - c).powi(2));
        squares.sum()
    }
}

/// Centres, prepared for distances.
pub(super) fn single(centers: &[f64]) -> Result<Vec<f32>> {
    let mut rounded = with_capacity(centers.len())?;
    rounded.extend(centers.iter().map(|&center| center as f32));
    Ok(rounded)
}
