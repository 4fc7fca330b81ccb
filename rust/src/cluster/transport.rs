//! The assignment problem behind proportional labels: which rows change columns so that each column
//! gets its number, at the least loss of logits.
//!
//! Rows whose logits differ by the same amounts are one *kind*, so that any number of ties is one
//! number. Solved by successive shortest paths with potentials (Ahuja, Magnanti and Orlin, "Network
//! Flows", 1993, section 9.7) over the columns alone: the length of the edge from a to c is the
//! least loss x_a − x_c among the rows of a, and the potentials are the offsets.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::{Result, Workers};

/// K kinds of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Kinds {
    /// (K, A) logits minus that of the first column.
    pub(super) differences: Vec<f64>,
    /// (K,) how many rows there are of it.
    pub(super) counts: Vec<u64>,
}

impl Kinds {
    pub(super) fn get(&self, kind: usize, columns: usize) -> &[f64] {
        &self.differences[kind * columns..][..columns]
    }

    /// Sort the kinds, and make one of those that are equal.
    pub(super) fn merged(&self, columns: usize) -> Self {
        let mut order: Vec<usize> = (0..self.counts.len()).collect();
        order.sort_unstable_by(|a, b| compare(self.get(*a, columns), self.get(*b, columns)));
        let mut merged = Self::default();
        for kind in order {
            let row = self.get(kind, columns);
            if merged.differences.ends_with(row) {
                if let Some(count) = merged.counts.last_mut() {
                    *count += self.counts[kind];
                }
            } else {
                merged.differences.extend_from_slice(row);
                merged.counts.push(self.counts[kind]);
            }
        }
        merged
    }
}

pub(super) fn compare(a: &[f64], b: &[f64]) -> Ordering {
    let mut orders = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The column with the largest score, the first of equals, and by how much it leads.
pub(super) fn leader(differences: &[f64], offsets: &[f64]) -> (usize, f64) {
    let (mut label, mut best, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (column, (difference, offset)) in differences.iter().zip(offsets).enumerate() {
        let score = difference + offset;
        if score > best {
            (label, second, best) = (column, best, score);
        } else if score > second {
            second = score;
        }
    }
    (label, best - second)
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Loss(f64);

impl Eq for Loss {}
impl PartialOrd for Loss {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Loss {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// An assignment on its way to the quotas.
pub(super) struct Transport<'a> {
    kinds: &'a Kinds,
    columns: usize,
    /// (A,) what is added to the logits. No move is ever without loss under them.
    pub(super) offsets: Vec<f64>,
    /// (K, A) how many rows of each kind each column has.
    pub(super) amounts: Vec<u64>,
    /// (A, A) what leaving a for c costs, cheapest first; entries of kinds that a no longer has are skipped.
    edges: Vec<BinaryHeap<Reverse<(Loss, usize)>>>,
}

impl<'a> Transport<'a> {
    /// Start with each kind where its score is largest.
    pub(super) fn new(kinds: &'a Kinds, offsets: &[f64]) -> Self {
        let columns = offsets.len();
        let amounts = vec![0; kinds.differences.len()];
        let edges = vec![BinaryHeap::new(); columns * columns];
        let mut found = Self { kinds, columns, offsets: offsets.to_vec(), amounts, edges };
        for (kind, count) in kinds.counts.iter().enumerate() {
            let (label, _) = leader(kinds.get(kind, columns), offsets);
            found.put(kind, label, *count);
        }
        found
    }

    /// (A,) how many rows each column has.
    pub(super) fn loads(&self) -> Vec<i64> {
        let mut loads = vec![0; self.columns];
        for row in self.amounts.chunks_exact(self.columns) {
            loads.iter_mut().zip(row).for_each(|(load, amount)| *load += *amount as i64);
        }
        loads
    }

    fn put(&mut self, kind: usize, column: usize, amount: u64) {
        let there = &mut self.amounts[kind * self.columns + column];
        *there += amount;
        if *there == amount {
            let differences = self.kinds.get(kind, self.columns);
            for (other, difference) in differences.iter().enumerate() {
                if other != column && self.offsets[other].is_finite() {
                    let loss = Loss(differences[column] - difference);
                    self.edges[column * self.columns + other].push(Reverse((loss, kind)));
                }
            }
        }
    }

    /// The cheapest kind that can leave `from` for `to`, and its loss x_from − x_to.
    pub(super) fn cheapest(&mut self, from: usize, to: usize) -> Option<(f64, usize)> {
        let edge = &mut self.edges[from * self.columns + to];
        while let Some(Reverse((Loss(loss), kind))) = edge.peek() {
            if self.amounts[kind * self.columns + from] > 0 {
                return Some((*loss, *kind));
            }
            edge.pop();
        }
        None
    }

    /// Move rows until no column has more than its quota says: `missing` (A,) are how many each
    /// column lacks, below 0 where it has too many; they add up to 0. Whether that was possible
    /// while no offset moved by more than `limit`.
    pub(super) fn fill(
        &mut self,
        mut missing: Vec<i64>,
        limit: f64,
        workers: &Workers,
    ) -> Result<bool> {
        let start = self.offsets.clone();
        while missing.iter().any(|n| *n > 0) {
            workers.check()?;
            let (distances, previous) = self.shortest_paths(&missing);
            let lacking = (0..self.columns).filter(|c| missing[*c] > 0);
            let Some(end) = lacking.min_by(|a, b| distances[*a].total_cmp(&distances[*b])) else {
                return Ok(true);
            };
            if !distances[end].is_finite() {
                return Ok(false);
            }
            for (offset, distance) in self.offsets.iter_mut().zip(&distances) {
                *offset += distance.min(distances[end]);
            }
            if spread(&self.offsets, &start) > limit {
                return Ok(false);
            }
            self.augment(&mut missing, &previous, end);
        }
        Ok(true)
    }

    /// Dijkstra's algorithm from all columns that have too many rows.
    fn shortest_paths(&mut self, missing: &[i64]) -> (Vec<f64>, Vec<usize>) {
        let mut distances: Vec<f64> =
            missing.iter().map(|n| if *n < 0 { 0.0 } else { f64::INFINITY }).collect();
        let mut previous = vec![usize::MAX; self.columns];
        let mut open: Vec<usize> = (0..self.columns).collect();
        while let Some(place) =
            (0..open.len()).min_by(|a, b| distances[open[*a]].total_cmp(&distances[open[*b]]))
        {
            let from = open.swap_remove(place);
            for &to in &open {
                let Some((loss, _)) = self.cheapest(from, to) else { continue };
                // Not below 0 but for rounding.
                let length = (loss + self.offsets[from] - self.offsets[to]).max(0.0);
                if distances[from] + length < distances[to] {
                    (distances[to], previous[to]) = (distances[from] + length, from);
                }
            }
        }
        (distances, previous)
    }

    /// Move as many rows as can go along the path to `end`.
    fn augment(&mut self, missing: &mut [i64], previous: &[usize], end: usize) {
        let mut path = Vec::new();
        let (mut to, mut amount) = (end, missing[end] as u64);
        while previous[to] != usize::MAX {
            let from = previous[to];
            if let Some((_, kind)) = self.cheapest(from, to) {
                amount = amount.min(self.amounts[kind * self.columns + from]);
                path.push((from, to, kind));
            }
            to = from;
        }
        amount = amount.min(missing[to].unsigned_abs());
        for (from, to, kind) in path {
            self.amounts[kind * self.columns + from] -= amount;
            self.put(kind, to, amount);
        }
        missing[to] += amount as i64;
        missing[end] -= amount as i64;
    }
}

/// How far two offsets differ, whatever they have in common; infinite ones are left out.
pub(super) fn spread(a: &[f64], b: &[f64]) -> f64 {
    let moves = a.iter().zip(b).map(|(a, b)| a - b).filter(|d| d.is_finite());
    let (low, high) =
        moves.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), d| (low.min(d), high.max(d)));
    (high - low).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::{Kinds, Transport};
    use crate::Workers;

    #[test]
    fn equal_kinds_are_merged_in_order() {
        let kinds =
            Kinds { differences: vec![0.0, 2.0, 0.0, -1.0, 0.0, 2.0], counts: vec![1, 4, 2] };
        let merged = kinds.merged(2);
        assert_eq!(merged, Kinds { differences: vec![0.0, -1.0, 0.0, 2.0], counts: vec![4, 3] });
    }

    #[test]
    fn rows_go_by_way_of_a_third_column_where_that_is_cheaper() {
        // Column 0 has one too many, column 2 one too few. 0 → 1 costs 1 and 1 → 2 costs 2; 0 → 2 costs 9.
        let kinds = Kinds { differences: vec![0.0, -1.0, -9.0, 0.0, 5.0, 3.0], counts: vec![2, 1] };
        let mut transport = Transport::new(&kinds, &[0.0; 3]);
        assert_eq!(transport.loads(), [2, 1, 0]);
        assert!(transport.fill(vec![-1, 0, 1], f64::INFINITY, &Workers::new(1)).unwrap());
        assert_eq!(transport.amounts, [1, 1, 0, 0, 0, 1]);
        assert_eq!(transport.offsets, [0.0, 1.0, 3.0]);
    }

    #[test]
    fn ties_move_together_and_a_limit_stops() {
        let kinds = Kinds { differences: vec![0.0, -2.0], counts: vec![1_000_000_000] };
        let mut transport = Transport::new(&kinds, &[0.0; 2]);
        assert!(!transport.fill(vec![-7, 7], 1.0, &Workers::new(1)).unwrap());
        let mut transport = Transport::new(&kinds, &[0.0; 2]);
        assert!(transport.fill(vec![-7, 7], 3.0, &Workers::new(1)).unwrap());
        assert_eq!(transport.amounts, [999_999_993, 7]);
    }
}
