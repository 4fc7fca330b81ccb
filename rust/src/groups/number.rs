//! Group numbers of any integer type.

use std::fmt::Display;

/// An integer that can be a group number.
pub trait GroupNumber: Copy + Display + Send + Sync {
    /// 0 for -1 (outside every group), 1 for group 0, and so on; anything below -1 becomes larger than any group.
    fn slot(self) -> usize;
}

macro_rules! signed {
    ($($integer:ty),*) => {$(
        impl GroupNumber for $integer {
            #[inline(always)]
            fn slot(self) -> usize {
                // -1 wraps to 0.
                usize::try_from(i64::from(self).wrapping_add(1) as u64).unwrap_or(usize::MAX)
            }
        }
    )*};
}

macro_rules! unsigned {
    ($($integer:ty),*) => {$(
        impl GroupNumber for $integer {
            #[inline(always)]
            fn slot(self) -> usize {
                usize::try_from(u64::from(self).saturating_add(1)).unwrap_or(usize::MAX)
            }
        }
    )*};
}

signed!(i8, i16, i32, i64);
unsigned!(u8, u16, u32, u64);
