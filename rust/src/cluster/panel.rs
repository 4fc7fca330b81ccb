//! A hundred points or so laid out column by column, small enough for the fastest cache: what is
//! computed for each point is computed for several side by side.

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

/// Lay out up to [`PANEL`] points column by column. What the columns hold beyond the last point stays
/// as it was: finite, and not looked at.
// Not inlined: where the compiler knows the width it unrolls the loops, and finds no shuffles.
#[inline(never)]
pub(super) fn transpose(points: &[f32], columns: &mut [Column<f32>], riffled: &mut Riffled) {
    let width = columns.len();
    let riffled = &mut riffled.0[..width];
    let tiles = points.chunks_exact(TILE * width);
    let rest = tiles.remainder();
    let done = tiles.len() * TILE;
    for (number, values) in tiles.enumerate() {
        riffle_quarters(values, riffled.as_flattened_mut());
        let (first, second) = riffled.as_flattened().split_at(4 * width);
        let halves = first.chunks_exact(4).zip(second.chunks_exact(4));
        for (column, (a, b)) in columns.iter_mut().zip(halves) {
            let out: &mut [f32; TILE] = tile_mut(column, number * TILE);
            *out = [a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]];
        }
    }
    for (i, point) in rest.chunks_exact(width).enumerate() {
        columns.iter_mut().zip(point).for_each(|(column, x)| column[done + i] = *x);
    }
}

/// Room for points on their way to columns.
pub(super) struct Riffled(Vec<[f32; TILE]>);

impl Riffled {
    pub(super) fn new(width: usize) -> Self {
        Self(vec![[0.0; TILE]; width])
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
    use super::{PANEL, Riffled, transpose};

    #[test]
    fn every_coordinate_comes_to_its_column() {
        for width in 1..12 {
            for rows in [1, 7, 8, 9, 127, 128] {
                let points: Vec<f32> = (0..rows * width).map(|i| i as f32).collect();
                let mut columns = vec![[-1.0; PANEL]; width];
                transpose(&points, &mut columns, &mut Riffled::new(width));
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
