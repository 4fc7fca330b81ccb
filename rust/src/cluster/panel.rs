//! A hundred points or so laid out column by column, small enough for the fastest cache: what is
//! computed for each point is computed for several side by side.

/// Points in a panel.
pub(super) const PANEL: usize = 128;

/// One number for each point of a panel.
pub(super) type Column<T> = [T; PANEL];

/// Lay out up to [`PANEL`] points column by column. What the columns hold beyond the last point stays
/// as it was: finite, and not looked at.
#[inline(always)]
pub(super) fn transpose<T: From<f32>>(points: &[f32], columns: &mut [Column<T>]) {
    let width = columns.len();
    for (c, column) in columns.iter_mut().enumerate() {
        for (value, point) in column.iter_mut().zip(points.chunks_exact(width)) {
            *value = point[c].into();
        }
    }
}
