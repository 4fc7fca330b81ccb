//! The order of a whole epoch: a keyed permutation that a rank reads only at its own positions.

use super::permutation::{LANES, Length, Network, Rounds, shuffle};
use crate::random::Stream;

/// Up to this length an epoch is shuffled in a table: few Feistel rounds on tiny halves are a poor shuffle.
const TABLE_MAX: u64 = 4096;
/// Feistel rounds for longer epochs, half of them for either half of a value.
const NUM_ROUNDS: usize = 6;

/// The order of a whole epoch, `0..n` (n up to [`super::MAX_DRAWS`]), to be read at every `step`-th position: so a rank
/// computes only its own draws. A table up to 4,096, a network above.
#[derive(Debug, Clone)]
pub(super) struct EpochOrder(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Table(Vec<u32>),
    Network(Network, Rounds),
}

impl EpochOrder {
    pub(super) fn new(n: u64, key: Stream) -> Self {
        if n > TABLE_MAX {
            let network = Network::new(Length::new(n), 0);
            return Self(Kind::Network(network, Rounds::new(key, NUM_ROUNDS)));
        }
        let mut table = vec![0; n as usize];
        shuffle(&mut table, key);
        Self(Kind::Table(table))
    }

    /// Return a walk through every `step`-th position.
    pub(super) fn walk(&self, step: u64) -> Walk<'_> {
        let (mut high, mut low) = ([0; LANES], [0; LANES]);
        if let Kind::Network(Network { length, .. }, _) = &self.0 {
            for lane in 0..LANES {
                // A longer step leaves the range at once.
                (high[lane], low[lane]) = length.halves(lane as u64 * step.min(length.n));
            }
        }
        Walk { order: self, step, high, low }
    }
}

/// A walk through an [`EpochOrder`].
#[derive(Debug)]
pub(super) struct Walk<'a> {
    order: &'a EpochOrder,
    step: u64,
    /// The halves of lane · step.
    high: [u32; LANES],
    low: [u32; LANES],
}

impl Walk<'_> {
    /// Write the slots of the positions `start`, `start + step`, and so on. All must be below n.
    #[inline(always)]
    pub(super) fn fill(&self, start: u64, slots: &mut [u64]) {
        match &self.order.0 {
            Kind::Table(table) => {
                for (i, slot) in slots.iter_mut().enumerate() {
                    *slot = u64::from(table[(start + i as u64 * self.step) as usize]);
                }
            }
            Kind::Network(network, rounds) => {
                for (chunk, part) in slots.chunks_mut(LANES).enumerate() {
                    let first = start + (chunk * LANES) as u64 * self.step;
                    let (mut high, mut low) = self.lanes(network.length, first);
                    rounds.fill(network, &mut high, &mut low, part);
                }
            }
        }
    }

    /// The halves of `start`, `start + step`, and so on.
    #[inline(always)]
    fn lanes(&self, length: Length, start: u64) -> ([u32; LANES], [u32; LANES]) {
        let (first_high, first_low) = length.halves(start);
        let (mut high, mut low) = (self.high, self.low);
        for lane in 0..LANES {
            let unwrapped = first_low + low[lane];
            let wraps = u32::from(unwrapped >= length.a);
            low[lane] = unwrapped - wraps * length.a;
            high[lane] += first_high + wraps;
        }
        (high, low)
    }
}

#[cfg(test)]
mod tests {
    use super::EpochOrder;
    use crate::random::{Purpose, Stream};

    fn order(n: u64, seed: u64) -> EpochOrder {
        EpochOrder::new(n, Stream::new(seed, Purpose::Permutation, 0))
    }

    fn whole(n: u64, seed: u64) -> Vec<u64> {
        let mut values = vec![0; n as usize];
        order(n, seed).walk(1).fill(0, &mut values);
        values
    }

    #[test]
    fn every_length_is_a_bijection() {
        for n in (1..300).chain(4090..4300).chain([65_535, 65_536, 65_537, 99_991]) {
            let mut values = whole(n, n);
            values.sort_unstable();
            assert!(values.into_iter().eq(0..n), "n = {n}");
        }
    }

    #[test]
    fn it_can_be_entered_anywhere_at_any_step() {
        for n in [1, 2, 10, 64, 65, 82, 1057, 4096, 4097, 50_000] {
            let all = whole(n, 5);
            for start in (0..n).step_by(1 + n as usize / 9) {
                for step in [1, 2, 7, 64, 1000, 40_000, u64::MAX] {
                    let expected = all[start as usize..].iter().step_by(step as usize).take(131);
                    let mut part = vec![0; expected.len()];
                    order(n, 5).walk(step).fill(start, &mut part);
                    assert!(part.iter().eq(expected), "n = {n}, start = {start}, step = {step}");
                }
            }
        }
    }

    #[test]
    fn the_largest_length_stays_in_range() {
        let n = crate::sample::MAX_DRAWS;
        let (mut last, mut strided) = ([0; 100], [0; 2]);
        order(n, 5).walk(1).fill(n - 100, &mut last);
        assert!(last.iter().all(|&value| value < n));
        order(n, 5).walk(99).fill(n - 100, &mut strided);
        assert_eq!(strided, [last[0], last[99]]);
    }

    #[test]
    fn values_are_stable() {
        assert_eq!(whole(8, 42), [7, 4, 6, 2, 0, 5, 3, 1]);
        assert_eq!(whole(5000, 42)[..5], [624, 2962, 4811, 553, 894]);
    }
}
