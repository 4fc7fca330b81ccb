//! Fallible allocation: a length may come from the caller, and an abort would end the interpreter.

use crate::{Error, Result};

/// Return `length` copies of `value`.
///
/// # Errors
/// [`Error::Memory`] if there is not enough memory.
pub(crate) fn filled<T: Clone>(value: T, length: usize) -> Result<Vec<T>> {
    let mut all = with_capacity(length)?;
    all.resize(length, value);
    Ok(all)
}

/// Return a copy of some numbers.
///
/// # Errors
/// [`Error::Memory`] if there is not enough memory.
pub(crate) fn copied<T: Copy>(values: &[T]) -> Result<Vec<T>> {
    let mut all = with_capacity(values.len())?;
    all.extend_from_slice(values);
    Ok(all)
}

/// Return an empty vector with capacity for `length` elements.
///
/// # Errors
/// [`Error::Memory`] if there is not enough memory.
pub(crate) fn with_capacity<T>(length: usize) -> Result<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(length)
        .map_err(|_| Error::Memory { bytes: length.saturating_mul(size_of::<T>()) })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::filled;
    use crate::Error;

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert_eq!(filled(7_u8, 3), Ok(vec![7, 7, 7]));
        assert_eq!(filled(0_u64, usize::MAX), Err(Error::Memory { bytes: usize::MAX }));
        assert_eq!(filled(0_u8, 1 << 60), Err(Error::Memory { bytes: 1 << 60 }));
    }
}
