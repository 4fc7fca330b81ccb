//! The moments of a block while they are added up: those of every eighth point apart, side by side.

use super::gaussians::Covariance;
use super::moments::{Moments, sums_of_component};
use super::panel::{Column, PANEL, tile};

/// Points that are added up side by side.
const TILE: usize = 8;
type Lanes = [f64; TILE];
/// Of these, as many as a register holds; the others' turn comes after.
const SIDE: usize = 4;
/// Rows and columns of products that are added up at the same time: as many as there are registers for.
const EDGE: usize = 3;
const SIDES: &str = "tiles are whole sides";

/// The sums of [`Moments`], in lanes.
pub(super) struct MomentLanes {
    form: Covariance,
    sums: Vec<Lanes>,
    /// (W + 1, panel) e, and r·e.
    extended: Vec<Column<f64>>,
    weighted: Vec<Column<f64>>,
}

impl MomentLanes {
    pub(super) fn new(form: Covariance, components: usize, width: usize) -> Self {
        Self {
            form,
            sums: vec![[0.0; TILE]; components * sums_of_component(form, width)],
            extended: vec![[1.0; PANEL]; width + 1],
            weighted: vec![[0.0; PANEL]; width + 1],
        }
    }

    /// Add the points of a panel, with posteriors (k, panel), which are 0 beyond the last point.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        columns: &[Column<f64>],
        posteriors: &[Column<f64>],
        means: &[f64],
    ) {
        let width = columns.len();
        let components = self.sums.chunks_exact_mut(sums_of_component(self.form, width));
        for ((sums, posterior), mean) in components.zip(posteriors).zip(means.chunks_exact(width)) {
            self.weighted[0] = *posterior;
            let rows = self.extended[1..].iter_mut().zip(&mut self.weighted[1..]);
            for ((difference, weighted), (column, m)) in rows.zip(columns.iter().zip(mean)) {
                for i in 0..PANEL {
                    difference[i] = column[i] - m;
                    weighted[i] = posterior[i] * difference[i];
                }
            }
            match self.form {
                Covariance::Full => add_triangle(&self.weighted, &self.extended, sums),
                Covariance::Diagonal => add_diagonal(&self.weighted, &self.extended, sums),
            }
        }
    }

    pub(super) fn finish(self, width: usize, log_likelihood: f64) -> Moments {
        let sums = self.sums.iter().map(|lanes| lanes.iter().sum()).collect();
        Moments::new(self.form, width, sums, log_likelihood)
    }
}

/// Add Σx·y for each x and the ys up to its own.
#[inline(always)]
fn add_triangle(xs: &[Column<f64>], ys: &[Column<f64>], sums: &mut [Lanes]) {
    for top in (0..xs.len()).step_by(EDGE) {
        let rows = &mut sums[top * (top + 1) / 2..];
        for left in (0..top).step_by(EDGE) {
            let ys = [&ys[left], &ys[left + 1], &ys[left + 2]];
            match &xs[top..] {
                [a] => add_products::<1, 3, false>([a], ys, (top, left), rows),
                [a, b] => add_products::<2, 3, false>([a, b], ys, (top, left), rows),
                [a, b, c, ..] => add_products::<3, 3, false>([a, b, c], ys, (top, left), rows),
                [] => {}
            }
        }
        match (&xs[top..], &ys[top..]) {
            ([a], [d]) => add_products::<1, 1, true>([a], [d], (top, top), rows),
            ([a, b], [d, e]) => add_products::<2, 2, true>([a, b], [d, e], (top, top), rows),
            ([a, b, c, ..], [d, e, f, ..]) => {
                add_products::<3, 3, true>([a, b, c], [d, e, f], (top, top), rows);
            }
            _ => {}
        }
    }
}

/// Add x·y for several of both at once: each is read once, and the additions of one needn't wait for
/// another's. `rows` of the triangle begin with that of the first x, number `top`; `left` is the number
/// of the first y. With `ENDS` the rows end within.
#[inline(always)]
fn add_products<const R: usize, const C: usize, const ENDS: bool>(
    xs: [&Column<f64>; R],
    ys: [&Column<f64>; C],
    (top, left): (usize, usize),
    rows: &mut [Lanes],
) {
    let is_within = |row: usize, column: usize| !ENDS || column <= row;
    let place = |row: usize, column: usize| row * top + row * (row + 1) / 2 + left + column;
    for side in (0..TILE).step_by(SIDE) {
        let mut lanes = [[[0.0; SIDE]; C]; R];
        for row in 0..R {
            for column in 0..C {
                if is_within(row, column) {
                    lanes[row][column] =
                        *rows[place(row, column)][side..].first_chunk().expect(SIDES);
                }
            }
        }
        for start in (side..PANEL).step_by(TILE) {
            for row in 0..R {
                let x: &[f64; SIDE] = tile(xs[row], start);
                for column in 0..C {
                    let y: &[f64; SIDE] = tile(ys[column], start);
                    if is_within(row, column) {
                        for lane in 0..SIDE {
                            lanes[row][column][lane] += x[lane] * y[lane];
                        }
                    }
                }
            }
        }
        for row in 0..R {
            for column in 0..C {
                if is_within(row, column) {
                    rows[place(row, column)][side..side + SIDE]
                        .copy_from_slice(&lanes[row][column]);
                }
            }
        }
    }
}

/// Add Σx·y for each x and its own y, and Σx.
#[inline(always)]
fn add_diagonal(xs: &[Column<f64>], ys: &[Column<f64>], sums: &mut [Lanes]) {
    for ((x, y), sums) in xs.iter().zip(ys).zip(sums.chunks_exact_mut(2)) {
        let (mut first, mut second) = (sums[0], sums[1]);
        for start in (0..PANEL).step_by(TILE) {
            let (x, y): (&Lanes, &Lanes) = (tile(x, start), tile(y, start));
            for lane in 0..TILE {
                first[lane] += x[lane];
                second[lane] += x[lane] * y[lane];
            }
        }
        (sums[0], sums[1]) = (first, second);
    }
}
