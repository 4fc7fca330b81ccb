//! A keyed permutation of 0..n that can be entered anywhere: where position i goes costs O(1), and
//! nothing of length n is stored.

use crate::random::Stream;

/// Below this length few Feistel rounds on tiny halves are a poor shuffle, and a table is cheap.
const TABLE_MAX: u64 = 4096;
/// Three for each half. Four make a Feistel network look random (Luby and Rackoff, 1988).
const ROUNDS: usize = 6;
/// Positions that go through the rounds side by side, so that they vectorise.
const LANES: usize = 64;

/// A permutation of `0..n` (n up to [`super::MAX_DRAWS`]), determined by its key alone.
///
/// Up to 4,096 it is a Fisher–Yates shuffle, whose n! orders are equally likely. Above, it is a
/// Feistel network over the mixed radix a·b ≥ n, a = ⌈√n⌉; the fewer than a values from n on are
/// walked back into range along their cycle (Black and Rogaway, 2002). Time O(1) a position, memory
/// O(1) above 4,096.
#[derive(Debug, Clone)]
pub struct Permutation(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Table(Vec<u32>),
    Feistel(Feistel),
}

#[derive(Debug, Clone)]
struct Feistel {
    n: u64,
    /// Values are high·a + low with low below a and high below b.
    a: u32,
    b: u32,
    keys: [[u32; 2]; ROUNDS],
}

impl Permutation {
    pub(crate) fn new(n: u64, stream: Stream) -> Self {
        if n <= TABLE_MAX {
            return Self(Kind::Table(shuffled(n as u32, stream)));
        }
        let a = ceil_sqrt(n);
        let keys = std::array::from_fn(|round| {
            let bits = stream.bits(round as u64);
            [bits as u32, (bits >> 32) as u32]
        });
        Self(Kind::Feistel(Feistel { n, a: a as u32, b: n.div_ceil(a) as u32, keys }))
    }

    /// A way through every `step`-th position.
    pub(crate) fn walk(&self, step: u64) -> Walk<'_> {
        let (mut high, mut low) = ([0; LANES], [0; LANES]);
        if let Kind::Feistel(Feistel { n, a, .. }) = &self.0 {
            for lane in 0..LANES {
                // A longer step leaves the range at once.
                let offset = lane as u64 * step.min(*n);
                (high[lane], low[lane]) =
                    ((offset / u64::from(*a)) as u32, (offset % u64::from(*a)) as u32);
            }
        }
        Walk { permutation: self, step, high, low }
    }
}

/// A [`Permutation`] to be read at every `step`-th position, so that a rank computes only its own draws.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    permutation: &'a Permutation,
    step: u64,
    /// The halves of lane · step.
    high: [u32; LANES],
    low: [u32; LANES],
}

impl Walk<'_> {
    /// Where the positions `start`, `start + step`, and so on go, written to `slots`. All must be below n.
    #[inline(always)]
    pub(crate) fn fill(&self, start: u64, slots: &mut [u64]) {
        match &self.permutation.0 {
            Kind::Table(table) => {
                for (i, slot) in slots.iter_mut().enumerate() {
                    *slot = u64::from(table[(start + i as u64 * self.step) as usize]);
                }
            }
            Kind::Feistel(feistel) => {
                for (chunk, part) in slots.chunks_mut(LANES).enumerate() {
                    let lanes = self.lanes(feistel, start + (chunk * LANES) as u64 * self.step);
                    feistel.fill(&lanes, part);
                }
            }
        }
    }

    /// The halves of `start`, `start + step`, and so on.
    #[inline(always)]
    fn lanes(&self, feistel: &Feistel, start: u64) -> ([u32; LANES], [u32; LANES]) {
        let (first_high, first_low) = feistel.halves(start);
        let (mut high, mut low) = (self.high, self.low);
        for lane in 0..LANES {
            let unwrapped = first_low + low[lane];
            let wraps = u32::from(unwrapped >= feistel.a);
            low[lane] = unwrapped - wraps * feistel.a;
            high[lane] += first_high + wraps;
        }
        (high, low)
    }
}

impl Feistel {
    /// Lanes beyond `slots` may hold anything up to 64 steps beyond n: it doesn't overflow, and isn't looked at.
    #[inline(always)]
    fn fill(&self, lanes: &([u32; LANES], [u32; LANES]), slots: &mut [u64]) {
        let (high, low) = self.rounds(*lanes);
        let mut all_within = true;
        for (slot, (high, low)) in slots.iter_mut().zip(high.into_iter().zip(low)) {
            *slot = self.join(high, low);
            all_within &= *slot < self.n;
        }
        if !all_within {
            for slot in slots {
                *slot = self.walk_back(*slot);
            }
        }
    }

    /// Follow the cycle of a value beyond n until it is back in range; in the mean less than one value of √n needs it.
    #[inline(never)]
    fn walk_back(&self, mut value: u64) -> u64 {
        while value >= self.n {
            let (high, low) = self.halves(value);
            let ([high], [low]) = self.rounds(([high], [low]));
            value = self.join(high, low);
        }
        value
    }

    #[inline(always)]
    fn halves(&self, value: u64) -> (u32, u32) {
        ((value / u64::from(self.a)) as u32, (value % u64::from(self.a)) as u32)
    }

    #[inline(always)]
    fn join(&self, high: u32, low: u32) -> u64 {
        u64::from(high) * u64::from(self.a) + u64::from(low)
    }

    #[inline(always)]
    fn rounds<const N: usize>(
        &self,
        (mut high, mut low): ([u32; N], [u32; N]),
    ) -> ([u32; N], [u32; N]) {
        for pair in self.keys.chunks_exact(2) {
            for lane in 0..N {
                low[lane] = add(low[lane], scatter(high[lane], pair[0], self.a), self.a);
            }
            for lane in 0..N {
                high[lane] = add(high[lane], scatter(low[lane], pair[1], self.b), self.b);
            }
        }
        (high, low)
    }
}

/// The round function: a keyed hash of `half`, scaled to `0..modulus`.
#[inline(always)]
pub(super) fn scatter(half: u32, key: [u32; 2], modulus: u32) -> u32 {
    let h = (half ^ key[0]).wrapping_mul(0x9E37_79B1);
    let h = (h ^ (h >> 15)).wrapping_add(key[1]).wrapping_mul(0x85EB_CA77);
    // The high bits count, and they depend on every bit of both inputs.
    ((u64::from(h) * u64::from(modulus)) >> 32) as u32
}

/// x + y modulo `modulus`, without a branch: if the sum is in range, the difference wraps upwards.
#[inline(always)]
pub(super) fn add(x: u32, y: u32, modulus: u32) -> u32 {
    let sum = x + y;
    sum.min(sum.wrapping_sub(modulus))
}

fn shuffled(n: u32, stream: Stream) -> Vec<u32> {
    let mut table: Vec<u32> = (0..n).collect();
    for last in (1..table.len()).rev() {
        table.swap(last, stream.below(last as u64, last as u64 + 1) as usize);
    }
    table
}

pub(super) fn ceil_sqrt(n: u64) -> u64 {
    let root = n.isqrt();
    root + u64::from(root * root < n)
}

#[cfg(test)]
mod tests {
    use super::Permutation;
    use crate::random::{Purpose, Stream};

    fn permutation(n: u64, seed: u64) -> Permutation {
        Permutation::new(n, Stream::new(seed, Purpose::Permutation, 0))
    }

    fn values(n: u64, seed: u64) -> Vec<u64> {
        let mut slots = vec![0; n as usize];
        permutation(n, seed).walk(1).fill(0, &mut slots);
        slots
    }

    #[test]
    fn every_length_is_a_bijection() {
        for n in (0..300).chain(4090..4300).chain([65_535, 65_536, 65_537, 99_991]) {
            let mut sorted = values(n, n);
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..n), "n = {n}");
        }
    }

    #[test]
    fn it_can_be_entered_anywhere() {
        for n in [10, 4096, 4097, 50_000] {
            let all = values(n, 5);
            for start in (0..n).step_by(n as usize / 9) {
                for step in [1, 2, 7, 64, 1000, 40_000, u64::MAX] {
                    let expected = all[start as usize..].iter().step_by(step as usize).take(131);
                    let mut part = vec![0; expected.len()];
                    permutation(n, 5).walk(step).fill(start, &mut part);
                    assert!(part.iter().eq(expected), "n = {n}, start = {start}, step = {step}");
                }
            }
        }
    }

    #[test]
    fn the_largest_length_stays_in_range() {
        let n = super::super::MAX_DRAWS;
        let mut last = [0; 100];
        permutation(n, 5).walk(1).fill(n - 100, &mut last);
        assert!(last.iter().all(|&value| value < n));
        let mut strided = [0; 2];
        permutation(n, 5).walk(99).fill(n - 100, &mut strided);
        assert_eq!(strided, [last[0], last[99]]);
    }

    #[test]
    fn values_are_stable() {
        assert_eq!(values(8, 42), [7, 4, 6, 2, 0, 5, 3, 1]);
        assert_eq!(values(5000, 42)[..5], [624, 2962, 4811, 553, 894]);
    }

    #[test]
    fn all_orders_of_up_to_five_occur_evenly() {
        for n in 2..=5_u64 {
            let orders: u64 = (1..=n).product();
            let draws = 2000 * orders;
            let mut seen = std::collections::HashMap::new();
            for seed in 0..draws {
                *seen.entry(values(n, seed)).or_insert(0_u64) += 1;
            }
            assert_eq!(seen.len() as u64, orders);
            // Six standard deviations of a count of mean 2000.
            assert!(seen.values().all(|&count| count.abs_diff(2000) < 270), "n = {n}");
        }
    }

    /// χ² of where a position goes, and of how far apart neighbours land, over many keys.
    #[test]
    fn positions_and_neighbours_are_uniform_above_the_table() {
        const BINS: usize = 64;
        let n = 4099;
        let keys = 40_000;
        for position in [0, 1, 63, 64, 2048, n - 2] {
            let (mut places, mut gaps) = ([0.0; BINS], [0.0; BINS]);
            for seed in 0..keys {
                let permutation = Permutation::new(n, Stream::new(seed, Purpose::Permutation, 9));
                let mut pair = [0; 2];
                permutation.walk(1).fill(position, &mut pair);
                places[(pair[0] * BINS as u64 / n) as usize] += 1.0;
                gaps[((pair[1] + n - pair[0]) % n * BINS as u64 / n) as usize] += 1.0;
            }
            let expected = keys as f64 / BINS as f64;
            for bins in [places, gaps] {
                let chi2: f64 = bins.iter().map(|c: &f64| (c - expected).powi(2) / expected).sum();
                // Mean 63, standard deviation 11.2; bins differ in size by under 2 %.
                assert!(chi2 < 130.0, "position {position}: {chi2}");
            }
        }
    }

    /// χ² of which value stands where, for every position of every length up to 64.
    #[test]
    fn every_position_is_uniform_up_to_64() {
        for n in 2..=64_u64 {
            let keys = 200 * n;
            let mut seen = vec![0.0; (n * n) as usize];
            for seed in 0..keys {
                for (position, value) in values(n, seed).into_iter().enumerate() {
                    seen[position * n as usize + value as usize] += 1.0;
                }
            }
            for (position, seen) in seen.chunks_exact(n as usize).enumerate() {
                let chi2: f64 =
                    seen.iter().map(|count: &f64| (count - 200.0).powi(2) / 200.0).sum();
                let freedom = (n - 1) as f64;
                // Over 2,079 positions this is left once in a thousand runs, if the seeds were others.
                assert!(
                    chi2 < freedom + 6.0 * (2.0 * freedom).sqrt() + 8.0,
                    "n = {n}, {position}: {chi2}"
                );
            }
        }
    }
}
