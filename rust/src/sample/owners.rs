//! The group that owns a slot: each group has as many consecutive slots as its quota.

use std::ops::Index;

use super::rows::MAX_DRAWS;
use crate::groups::GroupIndex;
use crate::{Error, Result};

/// Up to this many owners, counting passed boundaries is faster than a binary search.
const LINEAR_MAX: usize = 16;

/// The groups that own slots, each with an `Owner`, which turns a slot into a member.
#[derive(Debug, Clone)]
pub(super) struct Owners<Owner> {
    /// The end of each owner's slots; ascending.
    ends: Vec<u64>,
    owners: Vec<Owner>,
}

impl<Owner> Owners<Owner> {
    /// `owner(group, first, quota)` is made for each group with a quota above 0; `first` is its first slot. O(G).
    pub(super) fn new(
        index: &GroupIndex,
        quotas: &[i64],
        mut owner: impl FnMut(usize, u64, u64) -> Owner,
    ) -> Result<Self> {
        check(index, quotas)?;
        let num_owners = quotas.iter().filter(|quota| **quota > 0).count();
        let mut ends = Vec::with_capacity(num_owners);
        let mut owners = Vec::with_capacity(num_owners);
        let mut end = 0;
        for (group, &quota) in quotas.iter().enumerate().filter(|(_, quota)| **quota > 0) {
            owners.push(owner(group, end, quota as u64));
            end += quota as u64;
            ends.push(end);
        }
        Ok(Self { ends, owners })
    }

    /// The number of slots; at least 1.
    pub(super) fn num_slots(&self) -> u64 {
        self.ends[self.ends.len() - 1]
    }

    /// Write the number of the owner of each slot to `found`, which is all 0.
    #[inline(always)]
    pub(super) fn find(&self, slots: &[u64], found: &mut [u32]) {
        if self.owners.len() <= LINEAR_MAX {
            for end in &self.ends[..self.ends.len() - 1] {
                for (found, slot) in found.iter_mut().zip(slots) {
                    *found += u32::from(slot >= end);
                }
            }
        } else {
            for (found, slot) in found.iter_mut().zip(slots) {
                *found = self.ends.partition_point(|end| end <= slot) as u32;
            }
        }
    }
}

impl<Owner> Index<u32> for Owners<Owner> {
    type Output = Owner;

    #[inline(always)]
    fn index(&self, number: u32) -> &Owner {
        &self.owners[number as usize]
    }
}

/// Check for one quota per group, 0 for empty groups, and 1 to [`MAX_DRAWS`] in total.
pub(super) fn check(index: &GroupIndex, quotas: &[i64]) -> Result<()> {
    if quotas.len() != index.num_groups() {
        return Err(Error::length("quotas", quotas.len(), index.num_groups(), "groups"));
    }
    let mut total = 0_u64;
    for (group, &quota) in quotas.iter().enumerate() {
        if quota < 0 {
            return Err(Error::element("quotas", group, quota, "0 or above"));
        }
        if quota > 0 && index.count(group) == 0 {
            return Err(Error::empty_group("quotas", group, quota));
        }
        total = total.saturating_add(quota as u64);
    }
    if !(1..=MAX_DRAWS).contains(&total) {
        return Err(Error::scalar("the sum of quotas", total, "1 to 2^48"));
    }
    Ok(())
}
