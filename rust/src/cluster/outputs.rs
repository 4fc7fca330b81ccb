//! Where an assignment pass writes: arrays of the caller, at each row's own position.

use super::panel::Column;
use super::{BLOCK, Points};
use crate::{Error, Result};

/// Arrays over all N rows of the matrix. Rows that are not among the points are left as they are.
#[derive(Debug)]
pub struct Outputs<'a, L> {
    /// (N,) the label, of any integer type.
    pub labels: &'a mut [L],
    /// (N, columns) the posterior of each label.
    pub posterior: Option<&'a mut [f32]>,
    /// Columns of the posterior.
    pub columns: usize,
    /// (N,) the posterior of the row's label.
    pub confidence: Option<&'a mut [f32]>,
}

/// The label of each cluster.
pub(super) struct Names<L> {
    pub(super) labels: Vec<L>,
    /// Columns of the posterior; empty if there is none.
    columns: Vec<usize>,
}

impl<'a, L: Copy + TryFrom<i64>> Outputs<'a, L> {
    /// Check that the arrays fit the points, and the names (k,), by default 0 to k - 1, the arrays.
    pub(super) fn names(
        &self,
        names: Option<&[i64]>,
        k: usize,
        points: Points,
    ) -> Result<Names<L>> {
        let rows = points.num_rows();
        let posterior = self.posterior.as_ref().map_or(rows, |p| p.len() / self.columns.max(1));
        let confidence = self.confidence.as_ref().map_or(rows, |confidence| confidence.len());
        for (argument, found) in [
            ("labels_out", self.labels.len()),
            ("posterior_out", posterior),
            ("confidence_out", confidence),
        ] {
            if found != rows {
                let counts = "the rows of points";
                return Err(Error::Length { argument, found, expected: rows, counts });
            }
        }
        let names = names.map_or_else(|| (0..k as i64).collect(), <[i64]>::to_vec);
        if names.len() != k {
            let (found, counts) = (names.len(), "clusters");
            return Err(Error::Length { argument: "names", found, expected: k, counts });
        }
        let wrong = |row: usize, expected| Error::Element {
            argument: "names",
            row,
            found: names[row].to_string(),
            expected,
        };
        let mut labels = Vec::new();
        for (row, &name) in names.iter().enumerate() {
            let label = L::try_from(name);
            labels
                .push(label.map_err(|_| wrong(row, "a number that the type of labels_out holds"))?);
        }
        let mut columns = Vec::new();
        if self.posterior.is_some() {
            for (row, &name) in names.iter().enumerate() {
                let column = usize::try_from(name).ok().filter(|c| *c < self.columns);
                let column = column.ok_or_else(|| wrong(row, "a column of posterior_out"))?;
                if columns.contains(&column) {
                    return Err(wrong(row, "a column of posterior_out for each cluster"));
                }
                columns.push(column);
            }
        }
        Ok(Names { labels, columns })
    }

    pub(super) fn wants_posteriors(&self) -> bool {
        self.posterior.is_some() || self.confidence.is_some()
    }

    /// The part of each block of points, from the row of its first point to that of the next block's.
    pub(super) fn blocks(
        mut self,
        points: Points<'a>,
    ) -> impl Iterator<Item = (usize, Outputs<'a, L>)> {
        let mut done = 0;
        (0..points.blocks()).map(move |block| {
            let first = points.row(block * BLOCK);
            self.take(first - done);
            let next = (block + 1) * BLOCK;
            let end = if next < points.len() { points.row(next) } else { points.num_rows() };
            done = end;
            (block, self.take(end - first))
        })
    }

    /// Split off the first rows.
    fn take(&mut self, rows: usize) -> Self {
        let (labels, rest) = std::mem::take(&mut self.labels).split_at_mut(rows);
        self.labels = rest;
        let posterior = split(&mut self.posterior, rows * self.columns);
        let confidence = split(&mut self.confidence, rows);
        Self { labels, posterior, columns: self.columns, confidence }
    }

    /// Write a point's label, and its posteriors, if wanted: those of number `i` of a panel.
    #[inline(always)]
    pub(super) fn write(
        &mut self,
        row: usize,
        cluster: usize,
        posteriors: &[Column<f64>],
        i: usize,
        names: &Names<L>,
    ) {
        self.labels[row] = names.labels[cluster];
        if let Some(confidence) = &mut self.confidence {
            confidence[row] = posteriors[cluster][i] as f32;
        }
        if let Some(posterior) = &mut self.posterior {
            let posterior = &mut posterior[row * self.columns..][..self.columns];
            posterior.fill(0.0);
            for (values, &column) in posteriors.iter().zip(&names.columns) {
                posterior[column] = values[i] as f32;
            }
        }
    }

    /// Write a row's label, and its posteriors by cluster, if wanted.
    pub(super) fn write_row(
        &mut self,
        row: usize,
        cluster: usize,
        posteriors: Option<&[f32]>,
        names: &Names<L>,
    ) {
        self.labels[row] = names.labels[cluster];
        let Some(posteriors) = posteriors else { return };
        if let Some(confidence) = &mut self.confidence {
            confidence[row] = posteriors[cluster];
        }
        if let Some(posterior) = &mut self.posterior {
            for (value, &column) in posteriors.iter().zip(&names.columns) {
                posterior[row * self.columns + column] = *value;
            }
        }
    }
}

fn split<'a>(values: &mut Option<&'a mut [f32]>, n: usize) -> Option<&'a mut [f32]> {
    let (taken, rest) = values.take()?.split_at_mut(n);
    *values = Some(rest);
    Some(taken)
}
