//! Random numbers as a pure function of (seed, purpose, counter, position). The stream is
//! stable by promise, because checkpoints depend on it; `rand`'s default generators may change.

/// 2⁶⁴ divided by the golden ratio: the step of `SplitMix64`.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The purpose of a stream, so that streams with the same seed are unrelated.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Purpose {
    Permutation = 1,
    /// Which members of a group are drawn once more than the others.
    LastPass = 2,
    LastPassRounds = 6,
    Independent = 4,
    Weighted = 5,
    /// The composition of the batches of an epoch, and the order inside each.
    Batches = 7,
    BatchMembers = 8,
    /// Which groups get one draw more in an epoch, and over the turns of epochs.
    Turn = 9,
    Turns = 10,
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood, 2014): a bijection in which each input bit
/// changes each output bit with probability close to one half.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// `SplitMix64` with random access, started at a point that depends on seed, purpose and counter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    base: u64,
}

impl Stream {
    pub(crate) fn new(seed: u64, purpose: Purpose, counter: u64) -> Self {
        let keyed = mix(seed.wrapping_add(GOLDEN.wrapping_mul(purpose as u64)));
        // Not symmetric in seed and counter: (0, 1) and (1, 0) must be unrelated too.
        Self { base: mix(keyed.wrapping_add(GOLDEN.wrapping_mul(counter))) }
    }

    /// Return a separate stream for each `position`, for nested counters.
    pub(crate) fn substream(self, position: u64) -> Self {
        Self { base: self.bits(position) }
    }

    /// 64 random bits.
    pub(crate) fn bits(self, position: u64) -> u64 {
        mix(self.base.wrapping_add(GOLDEN.wrapping_mul(position.wrapping_add(1))))
    }

    /// An integer in `0..bound`, uniform up to `bound` / 2⁶⁴.
    pub(crate) fn below(self, position: u64, bound: u64) -> u64 {
        ((u128::from(self.bits(position)) * u128::from(bound)) >> 64) as u64
    }

    /// A float in [0, 1) with 53 random bits.
    #[cfg(test)]
    pub(crate) fn unit(self, position: u64) -> f64 {
        (self.bits(position) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Purpose, Stream};

    #[test]
    fn values_are_stable() {
        let stream = Stream::new(7, Purpose::Permutation, 3);
        let found: Vec<u64> = (0..4).map(|i| stream.below(i, 1_000_000)).collect();
        assert_eq!(found, [421_816, 469_784, 94_670, 172_596]);
    }

    #[test]
    fn seeds_purposes_and_counters_give_unrelated_streams() {
        let first = |seed, purpose, counter| Stream::new(seed, purpose, counter).bits(0);
        let all = [
            first(0, Purpose::Permutation, 0),
            first(1, Purpose::Permutation, 0),
            first(0, Purpose::LastPass, 0),
            first(0, Purpose::Permutation, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| (a ^ b).count_ones() > 12));
        }
    }
}
