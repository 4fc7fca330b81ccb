//! Batches with the same number of members of every group, to within one.

use std::sync::Arc;

use super::batch_composition::Composition;
use super::owners::check;
use super::permutation::{Length, Rounds, reorder};
use super::rows::{Draws, Epoch};
use crate::groups::{GroupIndex, Members};
use crate::random::{Purpose, Stream};
use crate::{Error, Result, Workers};

/// The largest batch. Making one can't be interrupted, so it should take well under a second.
const MAX_BATCH_SIZE: usize = 1 << 22;
/// Draws in one task of a thread, unless a batch has more.
const TASK: usize = 1 << 16;
/// Draws of a group that are computed together.
const BLOCK: usize = 32;
/// Up to this many batches ahead, adding their compositions is faster than Euclid's algorithm.
const STEPS_MAX: u64 = 64;

/// The batches of one epoch, `0..len()`, each a pure function of (seed, epoch, number, quotas, batch
/// size, groups).
///
/// Each of the n batches has ⌊q/n⌋ or ⌈q/n⌉ of a group's q draws, and all
/// together have q. In the order of the batches, a group's draws go through its members in a
/// keyed order, a new one for each pass. So at any point of the epoch each member has been drawn
/// equally often, to within one, and a batch has a member twice only if it needs more than the
/// group has, or where one pass ends and the next begins. The order inside a batch is shuffled.
///
/// Building costs O(G), a batch O(G) and O(1) per draw, seeking a batch O(G log n); memory is O(G)
/// in addition to the shared index.
#[derive(Debug, Clone)]
pub struct BatchStream {
    index: Arc<GroupIndex>,
    batch_size: usize,
    /// Number of members of a group that are drawn at once, and count as one in the composition.
    together: u64,
    /// Batches among which groups are dealt anew; 1 if the composition of the epoch is used as it is.
    round: u64,
    composition: Composition,
    /// The groups with draws, in a keyed order, which determines the groups that get an extra member
    /// in the same batch.
    groups: Vec<Group>,
    orders: Stream,
    passes: Rounds,
    deals: Stream,
}

/// A group with draws.
#[derive(Debug, Clone)]
struct Group {
    /// The start of its members in the index.
    start: usize,
    size: u64,
    length: Length,
    /// The keys of its passes.
    passes: Stream,
}

impl Group {
    fn new(index: &GroupIndex, group: usize, members: Stream) -> Self {
        let (start, size) = (index.start(group), index.count(group) as u64);
        let passes = members.substream(group as u64);
        Self { start, size, length: Length::new(size), passes }
    }
}

impl BatchStream {
    /// The batches of `epoch`, with `quotas` draws for each group over all of them. With `groups_per_batch` each batch
    /// has equally many members of this number of different groups. They are drawn anew for each round of batches, in
    /// which every group occurs about once.
    ///
    /// # Errors
    /// [`Error::Input`] if `batch_size` isn't 1 to 2²² or doesn't divide the sum of the quotas, if `groups_per_batch`
    /// doesn't divide `batch_size`, for a quota that is no multiple of the members drawn at once, or that is more than
    /// one in each batch; those of [`GroupStream::new`](crate::sample::GroupStream::new).
    pub fn new(
        index: Arc<GroupIndex>,
        quotas: &[i64],
        batch_size: usize,
        groups_per_batch: Option<usize>,
        seed: u64,
        epoch: u64,
    ) -> Result<Self> {
        check(&index, quotas)?;
        if !(1..=MAX_BATCH_SIZE).contains(&batch_size) {
            return Err(Error::scalar("batch_size", batch_size, "1 to 2^22"));
        }
        let total = quotas.iter().sum::<i64>() as u64;
        if total % batch_size as u64 != 0 {
            return Err(Error::scalar("the sum of quotas", total, "a multiple of batch_size"));
        }
        let num_batches = total / batch_size as u64;
        let together = together(quotas, batch_size, groups_per_batch, num_batches)?;
        let keys = Stream::new(seed, Purpose::Batches, epoch);
        let mut order: Vec<usize> = (0..quotas.len()).filter(|&g| quotas[g] > 0).collect();
        reorder(&mut order, keys.substream(1));
        let in_order = order.iter().map(|&group| quotas[group] as u64 / together);
        let members = Stream::new(seed, Purpose::BatchMembers, epoch);
        let round = groups_per_batch.map_or(1, |groups| order.len().div_ceil(groups) as u64);
        let first = keys.below(0, num_batches);
        Ok(Self {
            composition: Composition::new(in_order, num_batches, first, round),
            groups: order.iter().map(|&group| Group::new(&index, group, members)).collect(),
            index,
            batch_size,
            together,
            round,
            orders: keys.substream(2),
            passes: Rounds::of_passes(keys.substream(3)),
            deals: keys.substream(4),
        })
    }

    fn fill_batch(&self, place: &Place, rows: &mut [i64]) {
        let mut rest = &mut *rows;
        for ((group, &first), &count) in self.groups.iter().zip(&place.before).zip(&place.counts) {
            let (of_group, others) = rest.split_at_mut(count as usize);
            self.draw(group, first, of_group);
            rest = others;
        }
        reorder(rows, self.orders.substream(place.batch));
    }

    /// Return the draws of `group` from its `first` on, counted over the epoch.
    fn draw(&self, group: &Group, mut first: u64, mut rows: &mut [i64]) {
        while !rows.is_empty() {
            let (pass, position) = (first / group.size, first % group.size);
            let run = (group.size - position).min(rows.len().min(BLOCK) as u64);
            let (now, later) = rows.split_at_mut(run as usize);
            let mut buffer = [0; BLOCK];
            let numbers = &mut buffer[..now.len()];
            self.passes.pass(group.length, group.passes.substream(pass), position, numbers);
            let members = now.iter_mut().zip(&*numbers);
            match self.index.all_members() {
                Members::Narrow(rows) => members.for_each(|(row, number)| {
                    *row = i64::from(rows[group.start + *number as usize]);
                }),
                Members::Wide(rows) => members.for_each(|(row, number)| {
                    *row = rows[group.start + *number as usize] as i64;
                }),
            }
            (first, rows) = (first + run, later);
        }
    }
}

impl Epoch for BatchStream {
    fn len(&self) -> u64 {
        self.composition.num_batches()
    }

    fn batch_size(&self) -> Option<usize> {
        Some(self.batch_size)
    }

    fn fill(&self, batches: Draws, out: &mut [i64], workers: &Workers) -> Result<()> {
        let expected = batches.count(self.len())? * self.batch_size;
        if out.len() != expected {
            return Err(Error::length("out", out.len(), expected, "rows"));
        }
        let per_task = (TASK / self.batch_size).max(1);
        let tasks = out.chunks_mut(per_task * self.batch_size).enumerate();
        workers.for_each(tasks, |(task, rows): (usize, &mut [i64])| {
            let mut place = Place::new(self);
            for (i, rows) in rows.chunks_mut(self.batch_size).enumerate() {
                place.go_to(batches.start + (task * per_task + i) as u64 * batches.step);
                self.fill_batch(&place, rows);
            }
        })
    }
}

/// Return the number of members of a group that are drawn at once.
fn together(
    quotas: &[i64],
    batch_size: usize,
    groups_per_batch: Option<usize>,
    num_batches: u64,
) -> Result<u64> {
    let Some(groups) = groups_per_batch else { return Ok(1) };
    if groups == 0 || batch_size % groups != 0 {
        return Err(Error::scalar("groups_per_batch", groups, "a divisor of batch_size"));
    }
    let together = (batch_size / groups) as u64;
    let fits = |quota: u64| quota % together == 0 && quota / together <= num_batches;
    match quotas.iter().position(|&quota| !fits(quota as u64)) {
        None => Ok(together),
        Some(row) => {
            Err(Error::element("quotas", row, quotas[row], "equally many in some batches"))
        }
    }
}

/// A batch, and the number of earlier draws of each group.
struct Place<'a> {
    stream: &'a BatchStream,
    batch: u64,
    before: Vec<u64>,
    counts: Vec<u64>,
    round: Option<Round>,
}

impl<'a> Place<'a> {
    fn new(stream: &'a BatchStream) -> Self {
        let num_groups = stream.groups.len();
        let mut counts = vec![0; num_groups];
        stream.composition.counts(0, &mut counts);
        Self { stream, batch: 0, before: vec![0; num_groups], counts, round: None }
    }

    fn go_to(&mut self, batch: u64) {
        if self.stream.round > 1 || self.stream.together > 1 {
            return self.go_to_in_round(batch);
        }
        let composition = &self.stream.composition;
        if batch - self.batch > STEPS_MAX {
            composition.before(batch, &mut self.before);
            composition.counts(batch, &mut self.counts);
            self.batch = batch;
        }
        while self.batch < batch {
            for (before, count) in self.before.iter_mut().zip(&self.counts) {
                *before += count;
            }
            self.batch += 1;
            composition.counts(self.batch, &mut self.counts);
        }
    }

    fn go_to_in_round(&mut self, batch: u64) {
        let (stream, number) = (self.stream, batch / self.stream.round);
        let round = match self.round.take() {
            Some(round) if round.number == number => round,
            _ => Round::new(stream, number),
        };
        let (mut before, mut counts) = (vec![0; self.before.len()], vec![0; self.before.len()]);
        round.composition.before(batch - number * stream.round, &mut before);
        round.composition.counts(batch - number * stream.round, &mut counts);
        for (i, &group) in round.order.iter().enumerate() {
            self.before[group] = (round.before[group] + before[i]) * stream.together;
            self.counts[group] = counts[i] * stream.together;
        }
        (self.batch, self.round) = (batch, Some(round));
    }
}

/// Consecutive batches among which groups are dealt in a random order. Together they have the composition of the epoch,
/// but any groups can meet in a batch.
struct Round {
    number: u64,
    before: Vec<u64>,
    order: Vec<usize>,
    composition: Composition,
}

impl Round {
    fn new(stream: &BatchStream, number: u64) -> Self {
        let num_groups = stream.groups.len();
        let start = number * stream.round;
        let end = stream.len().min(start + stream.round);
        let (mut before, mut after) = (vec![0; num_groups], vec![0; num_groups]);
        stream.composition.before(start, &mut before);
        stream.composition.before(end, &mut after);
        let keys = stream.deals.substream(number);
        let mut order: Vec<usize> = (0..num_groups).collect();
        reorder(&mut order, keys.substream(0));
        let in_order = order.iter().map(|&group| after[group] - before[group]);
        let first = keys.below(1, end - start);
        let composition = Composition::new(in_order, end - start, first, 1);
        Self { number, before, order, composition }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{BatchStream, Draws, Epoch};
    use crate::Workers;
    use crate::groups::GroupIndex;

    fn index() -> Arc<GroupIndex> {
        Arc::new(GroupIndex::new(&[0, 1, 1, 0, 2, -1, 1, 0, 1], Some(4), &Workers::new(1)).unwrap())
    }

    fn some(start: u64, stop: u64, step: u64) -> Draws {
        Draws { start, stop, step }
    }

    fn drawn(stream: &BatchStream, batches: Draws, num_threads: usize) -> crate::Result<Vec<i64>> {
        let mut out = vec![0; batches.count(stream.len())? * stream.batch_size];
        stream.fill(batches, &mut out, &Workers::new(num_threads))?;
        Ok(out)
    }

    #[test]
    fn values_are_stable() {
        let draws = |epoch| {
            let stream = BatchStream::new(index(), &[4, 4, 4, 0], 4, None, 42, epoch).unwrap();
            drawn(&stream, some(0, 3, 1), 1).unwrap()
        };
        assert_eq!(draws(0), [4, 8, 0, 2, 3, 4, 6, 4, 7, 3, 1, 4]);
        assert_eq!(draws(1), [2, 7, 1, 4, 0, 4, 3, 8, 4, 4, 6, 0]);
    }

    #[test]
    fn threads_pieces_and_steps_don_t_change_the_result() {
        let groups: Vec<i64> = (0..3000).map(|i| (i * i) % 37).collect();
        let index = Arc::new(GroupIndex::new(&groups, Some(37), &Workers::new(1)).unwrap());
        let quotas: Vec<i64> = (0..37).map(|g| if index.count(g) > 0 { 9000 } else { 0 }).collect();
        let size = 90;
        let stream = BatchStream::new(index, &quotas, size, None, 1, 2).unwrap();
        let all = drawn(&stream, some(0, stream.len(), 1), 1).unwrap();
        assert_eq!(all, drawn(&stream, some(0, stream.len(), 1), 5).unwrap());
        for (start, stop, step) in [(701, 1412, 1), (3, 1800, 7), (64, 1900, 65), (5, 1900, 300)] {
            let part = drawn(&stream, some(start, stop, step), 3).unwrap();
            let batches = (start..stop).step_by(step as usize);
            let expected: Vec<i64> =
                batches.flat_map(|b| all[b as usize * size..][..size].to_vec()).collect();
            assert_eq!(part, expected, "{start} {stop} {step}");
        }
    }

    /// 5 groups, 2 in a batch: all 10 pairs equally often; each group in 8 of the 20 batches.
    #[test]
    fn any_groups_meet_in_a_batch() {
        let groups: Vec<u8> = (0..50).map(|row| row % 5).collect();
        let index = Arc::new(GroupIndex::new(&groups, None, &Workers::new(1)).unwrap());
        let mut met = [[0_u32; 5]; 5];
        for seed in 0..100 {
            let stream = BatchStream::new(index.clone(), &[24; 5], 6, Some(2), seed, 0).unwrap();
            let rows = drawn(&stream, some(0, 20, 1), 2).unwrap();
            for batch in rows.chunks(6) {
                let mut found: Vec<usize> = batch.iter().map(|row| *row as usize % 5).collect();
                found.sort_unstable();
                assert_eq!((found[0], found[3]), (found[2], found[5]));
                met[found[0]][found[3]] += 1;
            }
        }
        for (a, row) in met.iter().enumerate() {
            for (b, &times) in row.iter().enumerate() {
                assert!(
                    if a < b { times.abs_diff(200) < 85 } else { times == 0 },
                    "{a} {b} {times}"
                );
            }
        }
        let message = |quotas: &[i64], groups| {
            BatchStream::new(index.clone(), quotas, 6, Some(groups), 0, 0).unwrap_err().to_string()
        };
        assert!(message(&[24; 5], 4).starts_with("groups_per_batch is 4; expected a divisor"));
        assert!(message(&[25, 23, 24, 24, 24], 2).starts_with("quotas[0] is 25; expected"));
        assert!(message(&[63, 9, 9, 9, 30], 2).starts_with("quotas[0] is 63; expected"));
    }

    #[test]
    fn bad_arguments_are_named() {
        let message = |quotas: &[i64], size| {
            BatchStream::new(index(), quotas, size, None, 0, 0).unwrap_err().to_string()
        };
        assert!(message(&[1, 1], 1).starts_with("quotas has length 2; expected 4"));
        assert!(message(&[1, 1, 1, 2], 1).contains("group 3 has no members"));
        assert!(message(&[1, 1, 1, 0], 0).starts_with("batch_size is 0; expected 1 to 2^22"));
        assert!(message(&[1, 1, 1, 0], 1 << 25).starts_with("batch_size is"));
        let found = message(&[1, 1, 1, 0], 2);
        assert_eq!(found, "the sum of quotas is 3; expected a multiple of batch_size");
        let stream = BatchStream::new(index(), &[1, 1, 1, 0], 1, None, 0, 0).unwrap();
        let draw = |start, stop, step| drawn(&stream, some(start, stop, step), 1);
        assert!(draw(2, 4, 1).unwrap_err().to_string().starts_with("start and stop are 2 and 4"));
        assert!(draw(2, 1, 1).is_err());
        assert!(draw(0, 1, 0).unwrap_err().to_string().starts_with("step is 0"));
        assert_eq!(stream.batch_size(), Some(1));
    }
}
