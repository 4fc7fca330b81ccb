//! The groups that get one draw more in an epoch, so that over the epochs each group gets its fraction of a draw.

use super::permutation::reorder;
use crate::random::{GOLDEN, Purpose, Stream};

/// Epochs are divided in turns of 2¹⁶. In a turn a group gets one draw more in a whole number of epochs.
const TURN_BITS: u32 = 16;

/// Round `exact`, numbers of draws in units of 2⁻ᵇⁱᵗˢ that add up to whole draws, down or up to the draws of `epoch`.
///
/// The extra draws of a turn are halved again and again, down to a single epoch. Where a group has an odd number in a
/// part of the turn, it is drawn by lot whether the first or the second half gets one more; half of these groups get it
/// in the first, so that each epoch has equally many. Only a group that would be more than a draw and a half ahead of its
/// fraction in the middle, or behind it, takes the other half without a lot. So each part of the turn has each group's
/// fraction to within a draw, each beginning of it to within about one and a half, and any groups can come together.
pub(super) fn rotated(exact: &[i64], bits: u32, seed: u64, epoch: u64) -> Vec<i64> {
    let mut quotas: Vec<i64> = exact.iter().map(|units| units >> bits).collect();
    let one = 1_i64 << bits;
    let turn_bits = TURN_BITS.min(bits);
    let (turn, epoch) = (epoch >> turn_bits, epoch & ((1 << turn_bits) - 1));
    let mut groups: Vec<Group> = of_turn(exact, one, seed, turn, one >> turn_bits);
    let key = Stream::new(seed, Purpose::Turn, turn);
    for level in (0..turn_bits).rev() {
        halve(&mut groups, one, level, epoch, key.substream(level.into()));
    }
    for group in groups {
        quotas[group.number] += group.extra;
    }
    quotas
}

/// A group whose number of draws isn't whole.
struct Group {
    number: usize,
    /// Its fraction of a draw, in units.
    fraction: i64,
    /// The extra draws in the present part of the turn.
    extra: i64,
    /// The extra draws before this part, less the fractions of its epochs, in units.
    ahead: i64,
}

/// Return the groups with a fraction, and their extra draws in the whole turn: by systematic sampling of the fractions
/// in a fixed random order, at points that are spread most evenly over the turns.
fn of_turn(exact: &[i64], one: i64, seed: u64, turn: u64, step: i64) -> Vec<Group> {
    let key = Stream::new(seed, Purpose::Turns, 0);
    let all = exact.iter().enumerate().map(|(number, units)| (number, units % one));
    let mut groups: Vec<Group> = all
        .filter(|(_, fraction)| *fraction > 0)
        .map(|(number, fraction)| Group { number, fraction, extra: 0, ahead: 0 })
        .collect();
    reorder(&mut groups, key.substream(1));
    let point = key.bits(0).wrapping_add(turn.wrapping_mul(GOLDEN));
    let mut end = ((u128::from(point) * step as u128) >> 64) as i64;
    for group in &mut groups {
        let start = end / step;
        end += group.fraction;
        group.extra = end / step - start;
    }
    groups
}

/// Go from a part of the turn with 2·2ˡᵉᵛᵉˡ epochs to the half of it with `epoch`.
fn halve(groups: &mut [Group], one: i64, level: u32, epoch: u64, key: Stream) {
    let [mut behind, mut near, mut ahead] = [(); 3].map(|()| Vec::new());
    for (i, group) in groups.iter().enumerate().filter(|(_, group)| group.extra % 2 == 1) {
        let middle = group.ahead + group.extra * (one / 2) - (group.fraction << level);
        match middle {
            _ if middle < -one => behind.push(i as u32),
            _ if middle > one => ahead.push(i as u32),
            _ => near.push(i as u32),
        }
    }
    let mut left = (behind.len() + near.len() + ahead.len()) / 2;
    for class in [&mut behind, &mut near, &mut ahead] {
        if left < class.len() {
            reorder(class, key.substream(epoch >> level >> 1));
            class.truncate(left);
        }
        left -= class.len();
    }
    let is_second = epoch >> level & 1 == 1;
    for group in groups.iter_mut() {
        let first = group.extra / 2;
        if is_second {
            group.ahead += first * one - (group.fraction << level);
            group.extra -= first;
        } else {
            group.extra = first;
        }
    }
    for &i in [behind, near, ahead].iter().flatten() {
        let group = &mut groups[i as usize];
        if is_second {
            group.ahead += one;
            group.extra -= 1;
        } else {
            group.extra += 1;
        }
    }
}
