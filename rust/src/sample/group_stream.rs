//! The group stream: an epoch of draws with exact quotas and random access.

use std::sync::Arc;

use super::epoch_order::EpochOrder;
use super::owners::Owners;
use super::permutation::{LANES, Lanes, Length, Network, PASS_TABLE_MAX, Rounds, divide, shuffle};
use super::rows::{self, BLOCK, Draws, Epoch};
use crate::groups::GroupIndex;
use crate::random::{Purpose, Stream};
use crate::{Result, Workers};

/// The draws of one epoch, `0..len()`.
///
/// The epoch is a keyed permutation of its slots. Group g owns `quotas[g]` consecutive slots, which pass over its `N_g`
/// members. In a whole pass each member has one slot; which one doesn't matter, as the epoch's order shuffles them. In
/// the last pass, if it isn't whole, the slots go to a random subset of the members: the first of a permutation with its
/// own key for each seed, epoch and group. So draw i is a pure function of (seed, epoch, i, quotas, groups), and every member of g is drawn ⌊q/N⌋ or ⌈q/N⌉ times.
///
/// Building costs O(G), a draw O(1) up to 16 groups and O(log G) above; memory is O(G) in addition to the shared index.
#[derive(Debug, Clone)]
pub struct GroupStream {
    index: Arc<GroupIndex>,
    order: EpochOrder,
    owners: Owners<Owner>,
    last: LastPasses,
}

/// Turns the slots of a group into positions among the members of the index.
#[derive(Debug, Clone, Copy)]
struct Owner {
    first: u64,
    count: u64,
    /// ⌊(2⁶⁴ - 1) / count⌋.
    reciprocal: u64,
    /// The start of the group's members in the index.
    start: u64,
    /// The number of whole passes, after which an incomplete one may follow.
    last_pass: u64,
    last: LastPass,
}

/// The members that the last pass over a group draws.
#[derive(Debug, Clone, Copy)]
enum LastPass {
    /// All of them.
    Whole,
    /// Those in the table of small groups from here on.
    Table(usize),
    /// Those of the network with this number.
    Network(usize),
}

/// The last passes over all groups of which some members are drawn once more than others.
#[derive(Debug, Clone)]
struct LastPasses {
    table: Vec<u8>,
    networks: Vec<Network>,
    rounds: Rounds,
}

impl GroupStream {
    /// The stream of `epoch` with `quotas` draws for each group.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if there isn't one quota per group, for a negative quota or one of a group
    /// without members, or if the quotas add up to 0 or to more than [`MAX_DRAWS`](super::MAX_DRAWS).
    pub fn new(index: Arc<GroupIndex>, quotas: &[i64], seed: u64, epoch: u64) -> Result<Self> {
        let keys = Stream::new(seed, Purpose::LastPass, epoch);
        let rounds = Rounds::of_passes(Stream::new(seed, Purpose::LastPassRounds, epoch));
        let mut last = LastPasses { table: Vec::new(), networks: Vec::new(), rounds };
        let owners = Owners::new(&index, quotas, |group, first, quota| {
            let count = index.count(group) as u64;
            let key = keys.substream(group as u64);
            Owner {
                first,
                count,
                reciprocal: u64::MAX / count,
                start: index.start(group) as u64,
                last_pass: quota / count,
                last: last.add(count, quota % count, key),
            }
        })?;
        let order =
            EpochOrder::new(owners.num_slots(), Stream::new(seed, Purpose::Permutation, epoch));
        Ok(Self { index, order, owners, last })
    }

    /// Replace each slot by its position among the members of the index.
    #[inline(always)]
    fn place(&self, slots: &mut [u64]) {
        let mut owners = [0; BLOCK];
        let owners = &mut owners[..slots.len()];
        self.owners.find(slots, owners);
        // Which slots are in a last pass: without a branch, as there is no telling.
        let (mut of_last, mut num_of_last) = ([0_u16; BLOCK], 0);
        for (i, (slot, &owner)) in slots.iter_mut().zip(&*owners).enumerate() {
            let owner = &self.owners[owner];
            let number = *slot - owner.first;
            let (pass, position) = divide(number, owner.count, owner.reciprocal);
            *slot = owner.start + position;
            of_last[num_of_last] = i as u16;
            num_of_last += usize::from(pass == owner.last_pass);
        }
        for part in of_last[..num_of_last].chunks(LANES) {
            self.place_last(part, owners, slots);
        }
    }

    /// Do the same for slots of last passes, whose position is still the number of the draw in its pass.
    #[inline(always)]
    fn place_last(&self, part: &[u16], owners: &[u32], slots: &mut [u64]) {
        let LastPasses { table, networks, rounds } = &self.last;
        let mut lanes = Lanes::new();
        for (lane, &i) in part.iter().enumerate() {
            let (owner, slot) = (&self.owners[owners[i as usize]], &mut slots[i as usize]);
            let number = *slot - owner.start;
            match owner.last {
                LastPass::Whole => {}
                LastPass::Table(first) => {
                    *slot = owner.start + u64::from(table[first + number as usize]);
                }
                LastPass::Network(network) => lanes.set(lane, &networks[network], number),
            }
        }
        if networks.is_empty() {
            return;
        }
        rounds.fill_lanes(&mut lanes);
        for (lane, &i) in part.iter().enumerate() {
            let owner = &self.owners[owners[i as usize]];
            if let LastPass::Network(network) = owner.last {
                slots[i as usize] = owner.start + lanes.get(lane, &networks[network], rounds);
            }
        }
    }
}

impl Epoch for GroupStream {
    fn len(&self) -> u64 {
        self.owners.num_slots()
    }

    fn fill(&self, draws: Draws, out: &mut [i64], workers: &Workers) -> Result<()> {
        let walk = self.order.walk(draws.step);
        rows::fill(
            &self.index,
            draws,
            self.len(),
            out,
            workers,
            #[inline(always)]
            |draw, slots| {
                walk.fill(draw, slots);
                self.place(slots);
            },
        )
    }
}

impl LastPasses {
    /// A random subset of `drawn` of a group's `count` members.
    fn add(&mut self, count: u64, drawn: u64, key: Stream) -> LastPass {
        if drawn == 0 {
            return LastPass::Whole;
        }
        if count > PASS_TABLE_MAX {
            self.networks.push(Network::new(Length::new(count), key.bits(0)));
            return LastPass::Network(self.networks.len() - 1);
        }
        let mut members = [0; PASS_TABLE_MAX as usize];
        shuffle(&mut members[..count as usize], key);
        self.table.extend_from_slice(&members[..drawn as usize]);
        LastPass::Table(self.table.len() - drawn as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::{Draws, Epoch, GroupStream};
    use crate::Workers;
    use crate::groups::GroupIndex;

    fn index() -> Arc<GroupIndex> {
        Arc::new(GroupIndex::new(&[0, 1, 1, 0, 2, -1, 1, 0, 1], Some(4), &Workers::new(1)).unwrap())
    }

    #[test]
    fn values_are_stable() {
        let draws = |epoch| {
            let stream = GroupStream::new(index(), &[3, 3, 3, 0], 42, epoch).unwrap();
            stream.indices(0, 9, &Workers::new(1)).unwrap()
        };
        assert_eq!(draws(0), [4, 2, 4, 7, 0, 1, 6, 3, 4]);
        assert_eq!(draws(1), [6, 2, 4, 1, 4, 3, 0, 7, 4]);
    }

    #[test]
    fn threads_and_pieces_don_t_change_the_result() {
        let groups: Vec<i64> = (0..3000).map(|i| (i * i) % 37).collect();
        let index = Arc::new(GroupIndex::new(&groups, Some(37), &Workers::new(1)).unwrap());
        let quotas: Vec<i64> = (0..37).map(|g| if index.count(g) > 0 { 9000 } else { 0 }).collect();
        let stream = GroupStream::new(index, &quotas, 1, 2).unwrap();
        let all = stream.indices(0, stream.len(), &Workers::new(1)).unwrap();
        assert_eq!(all, stream.indices(0, stream.len(), &Workers::new(5)).unwrap());
        let part = stream.indices(70_001, 90_123, &Workers::new(3)).unwrap();
        assert_eq!(part, all[70_001..90_123]);
    }

    #[test]
    fn rows_beyond_32_bits_are_drawn_like_others() {
        let groups = || GroupIndex::new(&[0, 1, 1, 0, 1, 1], None, &Workers::new(1)).unwrap();
        let draws = |index| {
            let stream = GroupStream::new(Arc::new(index), &[5, 6], 1, 0).unwrap();
            stream.indices(0, 11, &Workers::new(1)).unwrap()
        };
        let shifted = draws(groups()).iter().map(|row| row + (1 << 32) - 3).collect::<Vec<_>>();
        assert_eq!(draws(groups().widened((1 << 32) - 3)), shifted);
    }

    /// 6 members, 2 drawn: all 15 pairs equally often; and 65, of which a network draws 2.
    #[test]
    fn a_partly_drawn_group_is_a_random_subset() {
        for (count, quotas) in [(6, vec![2]), (6, vec![14]), (65, vec![2, 65]), (65, vec![132, 1])]
        {
            let groups = [vec![0_u8; count], vec![1; count]].concat();
            let num_groups = quotas.len();
            let index = GroupIndex::new(&groups[..num_groups * count], None, &Workers::new(1));
            let index = Arc::new(index.unwrap());
            let pairs = count * (count - 1) / 2;
            let mut seen = HashMap::new();
            for seed in 0..100 * pairs as u64 {
                let stream = GroupStream::new(index.clone(), &quotas, seed, 0).unwrap();
                let rows = stream.indices(0, stream.len(), &Workers::new(1)).unwrap();
                let times = |row| rows.iter().filter(|&&found| found == row).count() as i64;
                let more = (0..count as i64).filter(|&row| times(row) > quotas[0] / count as i64);
                *seen.entry(more.collect::<Vec<_>>()).or_insert(0_u32) += 1;
            }
            assert_eq!(seen.len(), pairs);
            let chi2: f64 = seen.values().map(|&n| (f64::from(n) - 100.0).powi(2) / 100.0).sum();
            let freedom = (pairs - 1) as f64;
            assert!(chi2 < freedom + 6.0 * (2.0 * freedom).sqrt(), "{quotas:?}: {chi2}");
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let message =
            |quotas: &[i64]| GroupStream::new(index(), quotas, 0, 0).unwrap_err().to_string();
        assert!(message(&[1, 1]).starts_with("quotas has length 2; expected 4"));
        assert!(message(&[1, -1, 1, 0]).starts_with("quotas[1] is -1"));
        assert!(message(&[1, 1, 1, 2]).contains("group 3 has no members"));
        assert!(message(&[0, 0, 0, 0]).starts_with("the sum of quotas is 0"));
        assert!(message(&[i64::MAX, i64::MAX, i64::MAX, 0]).starts_with("the sum of quotas"));
        let stream = GroupStream::new(index(), &[1, 1, 1, 0], 0, 0).unwrap();
        assert!(
            stream
                .indices(2, 4, &Workers::new(1))
                .unwrap_err()
                .to_string()
                .starts_with("start and stop")
        );
        assert!(stream.indices(2, 1, &Workers::new(1)).is_err());
        let message = stream
            .fill(Draws { start: 0, stop: 3, step: 2 }, &mut [0; 3], &Workers::new(1))
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("out has length 3; expected 2 (draws)"));
        let message = stream
            .fill(Draws { start: 0, stop: 3, step: 0 }, &mut [0; 3], &Workers::new(1))
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("step is 0"));
    }
}
