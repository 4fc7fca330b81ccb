//! Rows that offsets alone can't tell apart: kinds of rows that belong to several columns, or to
//! another than the first of those that lead.

use super::Points;
use super::points::Pool;
use super::proportional::for_each_row;
use super::transport::{Kinds, compare, leader};
use crate::{Result, Workers};

/// The exceptions to "the first column with the largest score".
#[derive(Debug, Default)]
pub(super) struct Ties {
    columns: usize,
    /// No row with a larger lead is an exception.
    pub(super) lead: f64,
    /// (E, A) the exceptional kinds in order.
    differences: Vec<f64>,
    /// (E, A) how many rows of the kind each column gets.
    amounts: Vec<u64>,
    /// (E,) number of the kind among those that belong to several columns.
    shared: Vec<Option<usize>>,
    num_shared: usize,
}

impl Ties {
    /// Those of an assignment of all rows; kinds must be in order.
    pub(super) fn new(kinds: &Kinds, amounts: &[u64], offsets: &[f64]) -> Self {
        let columns = offsets.len();
        let mut ties = Self { columns, lead: f64::NEG_INFINITY, ..Self::default() };
        for (kind, amounts) in amounts.chunks_exact(columns).enumerate() {
            let differences = kinds.get(kind, columns);
            let (label, lead) = leader(differences, offsets);
            if amounts[label] == kinds.counts[kind] {
                continue;
            }
            ties.lead = ties.lead.max(lead);
            ties.differences.extend_from_slice(differences);
            ties.amounts.extend_from_slice(amounts);
            let is_shared = amounts.iter().filter(|n| **n > 0).count() > 1;
            ties.shared.push(is_shared.then_some(ties.num_shared));
            ties.num_shared += usize::from(is_shared);
        }
        ties
    }

    fn find(&self, differences: &[f64]) -> Option<usize> {
        let kind = |number: usize| &self.differences[number * self.columns..][..self.columns];
        let (mut low, mut high) = (0, self.shared.len());
        while low < high {
            let middle = low.midpoint(high);
            match compare(kind(middle), differences) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The column of a row, if it is an exception. `taken` are how many rows of each shared kind came
    /// before it; the first of them get the lowest column.
    pub(super) fn label(&self, differences: &[f64], taken: &mut [u64]) -> Option<usize> {
        let number = self.find(differences)?;
        let before = self.shared[number].map_or(0, |shared| {
            taken[shared] += 1;
            taken[shared] - 1
        });
        let mut filled = 0;
        self.amounts[number * self.columns..][..self.columns].iter().position(|amount| {
            filled += amount;
            before < filled
        })
    }

    /// For each block of positions, how many rows of each shared kind lie before it.
    pub(super) fn taken_before_blocks(
        &self,
        points: Points,
        offsets: &[f64],
        workers: &Workers,
    ) -> Result<impl Iterator<Item = Vec<u64>> + Send + use<>> {
        let mut blocks = vec![vec![0; self.num_shared]; points.blocks()];
        if self.num_shared > 0 {
            let pool = Pool::default();
            workers.try_for_each(blocks.iter_mut().enumerate(), |(block, counts)| {
                for_each_row(points, block, &pool, |_, differences| {
                    if leader(differences, offsets).1 <= self.lead {
                        self.label(differences, counts);
                    }
                })
            })?;
        }
        let mut before = vec![0; self.num_shared];
        Ok(blocks.into_iter().map(move |counts| {
            let taken = before.clone();
            before.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            taken
        }))
    }
}
