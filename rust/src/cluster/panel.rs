//! A hundred points or so laid out column by column, small enough for the fastest cache: what is
//! computed for each point is computed for several side by side.

use std::slice::ChunksExact;

use crate::simd::{dispatch, transposer};

/// Points in a panel.
pub(super) const PANEL: usize = 128;
/// Points that are transposed side by side.
const TILE: usize = 8;

/// One number for each point of a panel.
pub(super) type Column<T> = [T; PANEL];

/// The numbers of `N` points of a column, from number `start` on.
#[inline(always)]
pub(super) fn tile<T, const N: usize>(column: &Column<T>, start: usize) -> &[T; N] {
    column[start..].first_chunk().expect("panels are cut into whole tiles")
}

/// The same, to be changed.
#[inline(always)]
pub(super) fn tile_mut<T, const N: usize>(column: &mut Column<T>, start: usize) -> &mut [T; N] {
    column[start..].first_chunk_mut().expect("panels are cut into whole tiles")
}

/// The points of a panel, as they lie and column by column.
pub(super) struct Panel<'a> {
    /// The number of the first of them in the block.
    pub(super) first: usize,
    pub(super) points: &'a [f32],
    /// What they hold beyond the last point is finite, and not to be looked at.
    pub(super) columns: &'a [Column<f32>],
}

impl Panel<'_> {
    /// The number of points.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.points.len() / self.columns.len()
    }
}

/// Hand the points of a block to `work`, panel by panel. Write `#[inline(always)]` before the closure, as
/// for [`dispatch`].
#[inline(always)]
pub(super) fn for_each_panel(block: &[f32], width: usize, mut work: impl FnMut(Panel)) {
    dispatch(
        #[inline(always)]
        || {
            let mut columns = vec![[0.0; PANEL]; width];
            let mut riffled = vec![[0.0; TILE]; width];
            for (number, points) in block.chunks(PANEL * width).enumerate() {
                transpose(points, &mut columns, &mut riffled);
                work(Panel { first: number * PANEL, points, columns: &columns });
            }
        },
    );
}

/// Lay out up to [`PANEL`] points column by column. What the columns hold beyond the last point stays
/// as it was. `riffled` is room for points on their way.
#[inline(always)]
fn transpose(points: &[f32], columns: &mut [Column<f32>], riffled: &mut [[f32; TILE]]) {
    let width = columns.len();
    let tiles = points.chunks_exact(TILE * width);
    let rest = tiles.remainder();
    let done = tiles.len() * TILE;
    match transposer() {
        Some(transposed) if width % TILE == 0 => {
            for (number, values) in tiles.enumerate() {
                for group in (0..width).step_by(TILE) {
                    let row = |row: usize| {
                        *values[row * width + group..].first_chunk().expect("whole groups")
                    };
                    let rows = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
                    for (column, values) in columns[group..].iter_mut().zip(transposed(rows)) {
                        *tile_mut(column, number * TILE) = values;
                    }
                }
            }
        }
        _ => riffle_tiles(tiles, columns, riffled.as_flattened_mut()),
    }
    for (i, point) in rest.chunks_exact(width).enumerate() {
        columns.iter_mut().zip(point).for_each(|(column, x)| column[done + i] = *x);
    }
}

/// Transpose tiles of any width.
// Not inlined: where the compiler knows the width it unrolls the loops, and finds no shuffles.
#[inline(never)]
fn riffle_tiles(tiles: ChunksExact<f32>, columns: &mut [Column<f32>], riffled: &mut [f32]) {
    for (number, values) in tiles.enumerate() {
        riffle_quarters(values, riffled);
        let (first, second) = riffled.split_at(riffled.len() / 2);
        let halves = first.chunks_exact(4).zip(second.chunks_exact(4));
        for (column, (a, b)) in columns.iter_mut().zip(halves) {
            let out: &mut [f32; TILE] = tile_mut(column, number * TILE);
            *out = [a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]];
        }
    }
}

/// Interleave the quarters of `values`, as a pack of cards. To interleave the halves of the outcome
/// then completes the transposition of eight rows of any length: quarters move two bits of the row
/// number from the highest places of the index to the lowest, halves the third. The compiler makes
/// shuffles of both.
#[inline(always)]
fn riffle_quarters(values: &[f32], out: &mut [f32]) {
    let (low, high) = values.split_at(values.len() / 2);
    let ((a, b), (c, d)) = (low.split_at(low.len() / 2), high.split_at(high.len() / 2));
    let quarters = a.iter().zip(b).zip(c.iter().zip(d));
    for (((a, b), (c, d)), out) in quarters.zip(out.chunks_exact_mut(4)) {
        (out[0], out[1], out[2], out[3]) = (*a, *b, *c, *d);
    }
}

/// Convert columns to double precision.
#[inline(always)]
pub(super) fn widen(columns: &[Column<f32>], wide: &mut [Column<f64>]) {
    for (column, wide) in columns.iter().zip(wide) {
        *wide = column.map(f64::from);
    }
}

#[cfg(test)]
mod tests {
    use super::{PANEL, TILE, transpose};

    #[test]
    fn every_coordinate_comes_to_its_column() {
        for width in 1..18 {
            for rows in [1, 7, 8, 9, 127, 128] {
                let points: Vec<f32> = (0..rows * width).map(|i| i as f32).collect();
                let mut columns = vec![[-1.0; PANEL]; width];
                transpose(&points, &mut columns, &mut vec![[0.0; TILE]; width]);
                for (c, column) in columns.iter().enumerate() {
                    for (i, &found) in column.iter().enumerate() {
                        let expected = if i < rows { (i * width + c) as f32 } else { -1.0 };
                        assert!((found - expected).abs() < 0.5, "{width} {rows} {c} {i} {found}");
                    }
                }
            }
        }
    }
}
