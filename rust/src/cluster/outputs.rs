//! Where labels, posteriors and confidences go: the caller's arrays, of which each block of rows
//! gets a piece of its own.

use std::mem::take;
use std::ops::Range;

use super::{BLOCK, Rows};
use crate::{Error, Result};

/// An integer that labels can be written as.
pub trait Label: Copy + Send {
    /// The largest label that it holds.
    const LARGEST: u64;
    /// That label.
    fn of(label: usize) -> Self;
}

macro_rules! labels {
    ($($integer:ty),*) => {$(
        impl Label for $integer {
            const LARGEST: u64 = <$integer>::MAX as u64;
            #[inline(always)]
            fn of(label: usize) -> Self {
                label as $integer
            }
        }
    )*};
}
labels!(i64, i32, i16, i8, u64, u32, u16, u8);

/// The arrays to fill, for all N rows of a matrix; what isn't wanted is left out.
#[derive(Debug)]
pub struct Outputs<'a, L> {
    labels: &'a mut [L],
    posterior: Option<&'a mut [f32]>,
    confidence: Option<&'a mut [f32]>,
    columns: usize,
}

impl<'a, L: Label> Outputs<'a, L> {
    /// Labels (N,), and of `columns` classes the posterior (N, columns) and the confidence (N,).
    ///
    /// # Errors
    /// [`Error::Length`] if an array has not the length that `num_rows` and `columns` ask for;
    /// [`Error::Scalar`] if the labels' type can't hold them.
    pub fn new(
        num_rows: usize,
        columns: usize,
        labels: &'a mut [L],
        posterior: Option<&'a mut [f32]>,
        confidence: Option<&'a mut [f32]>,
    ) -> Result<Self> {
        let lengths = [
            ("labels_out", Some(labels.len()), num_rows, "rows"),
            (
                "posterior_out",
                posterior.as_ref().map(|p| p.len()),
                num_rows * columns,
                "rows times columns",
            ),
            ("confidence_out", confidence.as_ref().map(|c| c.len()), num_rows, "rows"),
        ];
        for (argument, found, expected, counts) in lengths {
            if let Some(found) = found.filter(|found| *found != expected) {
                return Err(Error::Length { argument, found, expected, counts });
            }
        }
        if columns as u64 > L::LARGEST.saturating_add(1) {
            let found = format!("of a type that ends at {}", L::LARGEST);
            let expected = "a type that holds every label";
            return Err(Error::Scalar { argument: "labels_out", found, expected });
        }
        Ok(Self { labels, posterior, confidence, columns })
    }

    /// Whether more than labels is wanted.
    pub(super) fn want_posterior(&self) -> bool {
        self.posterior.is_some() || self.confidence.is_some()
    }

    /// The labels alone.
    pub(super) fn into_labels(self) -> &'a mut [L] {
        self.labels
    }

    /// Pieces for the rows at `BLOCK` positions each.
    pub(super) fn blocks(
        mut self,
        rows: Rows<'a>,
    ) -> impl Iterator<Item = OutputBlock<'a, L>> + Send {
        let (mut start, mut first_row) = (0, 0);
        std::iter::from_fn(move || {
            if start == rows.len() {
                return None;
            }
            let stop = rows.len().min(start + BLOCK);
            // Rows ascend, so all of this block's lie before the first of the next.
            let end_row = if stop == rows.len() { rows.matrix().rows() } else { rows.row(stop) };
            let count = end_row - first_row;
            let block = OutputBlock {
                positions: start..stop,
                first_row,
                outputs: Outputs {
                    labels: split(&mut self.labels, count),
                    posterior: self.posterior.as_mut().map(|p| split(p, count * self.columns)),
                    confidence: self.confidence.as_mut().map(|c| split(c, count)),
                    columns: self.columns,
                },
            };
            (start, first_row) = (stop, end_row);
            Some(block)
        })
    }
}

/// Cut the first `count` elements off.
#[allow(clippy::mut_mut)]
fn split<'a, T>(slice: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (head, tail) = take(slice).split_at_mut(count);
    *slice = tail;
    head
}

/// The piece of a block.
pub(super) struct OutputBlock<'a, L> {
    pub(super) positions: Range<usize>,
    first_row: usize,
    outputs: Outputs<'a, L>,
}

impl<L: Label> OutputBlock<'_, L> {
    /// Write one row; its number must be that of one of the positions.
    pub(super) fn label(&mut self, row: usize, label: usize) {
        self.outputs.labels[row - self.first_row] = L::of(label);
    }

    /// Write the posterior of a row and what it says of `label`.
    pub(super) fn posterior(&mut self, row: usize, label: usize, posterior: &[f32]) {
        let row = row - self.first_row;
        if let Some(out) = &mut self.outputs.posterior {
            out[row * self.outputs.columns..][..posterior.len()].copy_from_slice(posterior);
        }
        if let Some(out) = &mut self.outputs.confidence {
            out[row] = posterior[label];
        }
    }
}
