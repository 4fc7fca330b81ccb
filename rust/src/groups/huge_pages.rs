//! Large arrays of zeros in huge pages, if the system has them. With small pages, random reads from gigabytes and first
//! writes wait for address translation.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::MmapMut;

use crate::Result;
use crate::memory::filled;

/// Smaller arrays are on the heap.
const MAPPED_MIN: usize = 4 << 20;

/// An array of plain numbers, initially 0.
#[derive(Debug)]
pub(crate) enum Pages<T> {
    Heap(Vec<T>),
    Mapped(MmapMut, PhantomData<T>),
}

impl<T: Pod> Pages<T> {
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) if there is not enough memory.
    pub(crate) fn zeroed(length: usize) -> Result<Self> {
        let bytes = length.saturating_mul(size_of::<T>());
        match (bytes >= MAPPED_MIN).then(|| MmapMut::map_anon(bytes)) {
            Some(Ok(map)) => {
                // A hint: where it is refused, small pages do.
                #[cfg(target_os = "linux")]
                let _ = map.advise(memmap2::Advice::HugePage);
                Ok(Self::Mapped(map, PhantomData))
            }
            _ => Ok(Self::Heap(filled(T::zeroed(), length)?)),
        }
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Heap(values) => values,
            Self::Mapped(map, _) => bytemuck::cast_slice(map),
        }
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Heap(values) => values,
            Self::Mapped(map, _) => bytemuck::cast_slice_mut(map),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAPPED_MIN, Pages};

    #[test]
    fn small_and_large_ones_are_zero_and_can_be_written() {
        for length in [0, 10, MAPPED_MIN / 8, MAPPED_MIN / 8 + 5] {
            let mut pages = Pages::<u64>::zeroed(length).unwrap();
            assert_eq!(pages.len(), length);
            assert!(pages.iter().all(|&value| value == 0));
            pages.iter_mut().rev().for_each(|value| *value = 7);
            assert_eq!(pages.iter().sum::<u64>(), 7 * length as u64);
        }
        assert!(matches!(Pages::<u32>::zeroed(10).unwrap(), Pages::Heap(_)));
        assert!(matches!(Pages::<u32>::zeroed(MAPPED_MIN).unwrap(), Pages::Mapped(..)));
    }
}
