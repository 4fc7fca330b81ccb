//! Cached logits, in half or single precision, read block by block.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::BLOCK;
use crate::memory::filled;
use crate::simd::dispatch;
use crate::{Error, Result};

/// Values beyond this are refused, so that squared distances stay finite in float32.
const MAX_VALUE: f32 = 1e15;

/// The values of a matrix in row order.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Half precision.
    F16(&'a [f16]),
    /// Single precision.
    F32(&'a [f32]),
}

/// Rows of A logits: all of a matrix, or some of them.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    values: Values<'a>,
    columns: usize,
    rows: Option<&'a [i64]>,
}

impl<'a> Logits<'a> {
    /// All rows of a matrix of `columns` columns.
    ///
    /// # Errors
    /// [`Error::Input`] if `columns` is 0 or doesn't divide the number of values.
    pub fn new(values: Values<'a>, columns: usize) -> Result<Self> {
        let logits = Self { values, columns, rows: None };
        if columns == 0 || logits.num_values() % columns != 0 {
            let expected = "at least 1, and a divisor of the number of values";
            return Err(Error::scalar("the number of columns", columns, expected));
        }
        Ok(logits)
    }

    /// Only these rows of the matrix.
    ///
    /// # Errors
    /// [`Error::Input`] for the first row that the matrix doesn't have.
    pub fn only(self, rows: &'a [i64]) -> Result<Self> {
        let num_rows = self.num_values() / self.columns;
        let is_bad = |row: &i64| usize::try_from(*row).map_or(true, |row| row >= num_rows);
        match rows.iter().position(is_bad) {
            Some(row) => Err(Error::element("rows", row, rows[row], "a row of logits")),
            None => Ok(Self { rows: Some(rows), ..self }),
        }
    }

    fn num_values(self) -> usize {
        match self.values {
            Values::F16(values) => values.len(),
            Values::F32(values) => values.len(),
        }
    }

    /// The number of rows that are read.
    #[must_use]
    pub fn len(self) -> usize {
        self.rows.map_or(self.num_values() / self.columns, <[i64]>::len)
    }

    /// Return whether there are no rows.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The number of columns A.
    #[must_use]
    pub fn columns(self) -> usize {
        self.columns
    }

    pub(super) fn blocks(self) -> usize {
        self.len().div_ceil(BLOCK)
    }

    /// Return the values of a block in row order, without a copy or in `buffer`.
    ///
    /// # Errors
    /// [`Error::Input`] for the first value that is NaN, infinite or beyond ±1e15; [`Error::Memory`].
    pub(super) fn read<'b>(self, block: usize, buffer: &'b mut Vec<f32>) -> Result<&'b [f32]>
    where
        'a: 'b,
    {
        let positions = block * BLOCK..self.len().min((block + 1) * BLOCK);
        let found = match (self.values, self.rows) {
            (Values::F32(values), None) => {
                &values[positions.start * self.columns..positions.end * self.columns]
            }
            (_, rows) => {
                let length = positions.len() * self.columns;
                *buffer = filled(0.0, length)?;
                match rows {
                    None => self.copy(positions.clone(), buffer),
                    Some(rows) => {
                        let rows = rows[positions.clone()].iter().map(|&row| row as usize);
                        for (row, into) in rows.zip(buffer.chunks_exact_mut(self.columns)) {
                            self.copy(row..row + 1, into);
                        }
                    }
                }
                &buffer[..]
            }
        };
        self.check(found, |position| {
            let position = positions.start + position;
            self.rows.map_or(position, |rows| rows[position] as usize)
        })?;
        Ok(found)
    }

    fn copy(self, rows: Range<usize>, into: &mut [f32]) {
        let range = rows.start * self.columns..rows.end * self.columns;
        match self.values {
            Values::F16(values) => values[range].convert_to_f32_slice(into),
            Values::F32(values) => into.copy_from_slice(&values[range]),
        }
    }

    /// Refuse bad values; `row` is the number of the row at a position.
    fn check(self, values: &[f32], row: impl Fn(usize) -> usize) -> Result<()> {
        let is_good = |value: &f32| value.abs() <= MAX_VALUE;
        // Counted all at once, which is quick; then, if something is wrong, one by one.
        let num_bad: u32 = dispatch(
            #[inline(always)]
            || values.iter().map(|value| u32::from(!is_good(value))).sum(),
        );
        if num_bad == 0 {
            return Ok(());
        }
        let bad = values.iter().position(|value| !is_good(value)).unwrap_or_default();
        let (row, column) = (row(bad / self.columns), bad % self.columns);
        Err(Error::value("logits", row, column, values[bad]))
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::{Logits, Values};

    fn read(logits: Logits) -> crate::Result<Vec<f32>> {
        logits.read(0, &mut Vec::new()).map(<[f32]>::to_vec)
    }

    #[test]
    fn both_precisions_and_some_rows_read_the_same() {
        let single = [1.5, -2.0, 0.25, 8.0, 3.0, 4.0];
        let half = single.map(f16::from_f32);
        for values in [Values::F16(&half), Values::F32(&single)] {
            let logits = Logits::new(values, 2).unwrap();
            assert_eq!((logits.len(), logits.columns()), (3, 2));
            assert_eq!(read(logits).unwrap(), single);
            let some = logits.only(&[2, 0]).unwrap();
            assert_eq!((some.len(), read(some).unwrap()), (2, vec![3.0, 4.0, 1.5, -2.0]));
            assert!(logits.only(&[]).unwrap().is_empty());
            for bad in [3, -1] {
                let message = logits.only(&[0, bad]).unwrap_err().to_string();
                assert_eq!(message, format!("rows[1] is {bad}; expected a row of logits"));
            }
        }
    }

    #[test]
    fn a_bad_value_names_row_and_column() {
        for bad in [f32::NAN, f32::INFINITY, -2e15] {
            let values = [0.0, 1.0, 0.0, bad];
            let half = values.map(f16::from_f32);
            for values in [Values::F16(&half), Values::F32(&values)] {
                let logits = Logits::new(values, 2).unwrap();
                for logits in [logits, logits.only(&[1]).unwrap()] {
                    let message = read(logits).unwrap_err().to_string();
                    assert!(message.starts_with("logits[1, 1] is "), "{message}");
                }
                assert!(read(logits.only(&[0]).unwrap()).is_ok());
            }
        }
        assert!(Logits::new(Values::F32(&[0.0; 3]), 2).is_err());
        assert!(Logits::new(Values::F32(&[]), 0).is_err());
    }
}
