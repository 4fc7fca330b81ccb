//! Cached logits as every method reads them: block by block, so that they may be mapped from a file
//! much larger than memory, in half or single precision.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

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

/// N rows of A logits, or what clustering sees of them.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    argument: &'static str,
    values: Values<'a>,
    columns: usize,
    contrasts: bool,
    /// Whether all values that are going to be read are known to be good.
    checked: bool,
}

impl<'a> Matrix<'a> {
    /// A matrix of `columns` columns; `argument` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Scalar`] if `columns` is 0 or doesn't divide the number of values.
    pub fn new(argument: &'static str, values: Values<'a>, columns: usize) -> Result<Self> {
        let length = match values {
            Values::F16(values) => values.len(),
            Values::F32(values) => values.len(),
        };
        if columns == 0 || length % columns != 0 {
            let found = columns.to_string();
            let expected = "at least 1, and a divisor of the number of values";
            return Err(Error::Scalar { argument: "columns", found, expected });
        }
        Ok(Self { argument, values, columns, contrasts: false, checked: false })
    }

    /// The same rows as A − 1 orthonormal (Helmert) contrasts: number j is the mean of the first j
    /// logits minus the next, scaled by √(j / (j + 1)). What all logits of a row have in common is
    /// gone, distances are those of row-centred logits, and no direction is singular.
    #[must_use]
    pub fn contrasts(self) -> Self {
        Self { contrasts: true, ..self }
    }

    /// The same rows, for those who have read them before: values are not checked again.
    #[must_use]
    pub(super) fn checked(self) -> Self {
        Self { checked: true, ..self }
    }

    /// The number of rows N.
    #[must_use]
    pub fn rows(self) -> usize {
        let length = match self.values {
            Values::F16(values) => values.len(),
            Values::F32(values) => values.len(),
        };
        length / self.columns
    }

    /// The number of columns that [`Matrix::read`] gives: A, or A − 1 contrasts.
    #[must_use]
    pub fn width(self) -> usize {
        self.columns - usize::from(self.contrasts)
    }

    pub(super) fn values(self) -> Values<'a> {
        self.values
    }

    /// Read some rows into `out`, row by row, [`Matrix::width`] values each. `scratch` is the
    /// caller's, to be used again.
    ///
    /// # Errors
    /// [`Error::Value`] for the first value that is NaN, infinite or beyond ±1e15.
    pub fn read(
        self,
        rows: Range<usize>,
        scratch: &mut Vec<f32>,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let into = if self.contrasts { &mut *scratch } else { &mut *out };
        let range = rows.start * self.columns..rows.end * self.columns;
        into.resize(range.len(), 0.0);
        match self.values {
            Values::F16(values) => values[range].convert_to_f32_slice(into),
            Values::F32(values) => into.copy_from_slice(&values[range]),
        }
        self.finish(|position| rows.start + position, scratch, out)
    }

    /// Like [`Matrix::read`], for any rows that the matrix has.
    ///
    /// # Errors
    /// As [`Matrix::read`].
    pub fn gather(self, rows: &[i64], scratch: &mut Vec<f32>, out: &mut Vec<f32>) -> Result<()> {
        let into = if self.contrasts { &mut *scratch } else { &mut *out };
        into.resize(rows.len() * self.columns, 0.0);
        for (row, into) in rows.iter().zip(into.chunks_exact_mut(self.columns)) {
            let range = *row as usize * self.columns..(*row as usize + 1) * self.columns;
            match self.values {
                Values::F16(values) => values[range].convert_to_f32_slice(into),
                Values::F32(values) => into.copy_from_slice(&values[range]),
            }
        }
        self.finish(|position| rows[position] as usize, scratch, out)
    }

    /// The values of some rows where they lie, if they can be used as they are.
    ///
    /// # Errors
    /// As [`Matrix::read`].
    pub(super) fn borrow(self, rows: Range<usize>) -> Result<Option<&'a [f32]>> {
        let (Values::F32(values), false) = (self.values, self.contrasts) else { return Ok(None) };
        let values = &values[rows.start * self.columns..rows.end * self.columns];
        self.check(values, |position| rows.start + position)?;
        Ok(Some(values))
    }

    /// Refuse bad values; `row` is the number of the row at a position.
    fn check(self, values: &[f32], row: impl Fn(usize) -> usize) -> Result<()> {
        if self.checked {
            return Ok(());
        }
        // All at once, which is quick; then, if something is wrong, one by one.
        let is_any_bad = dispatch(
            #[inline(always)]
            || values.iter().fold(false, |bad, value| bad | is_bad(*value)),
        );
        if !is_any_bad {
            return Ok(());
        }
        let bad = values.iter().position(|value| is_bad(*value)).unwrap_or_default();
        Err(Error::Value {
            argument: self.argument,
            row: row(bad / self.columns),
            column: bad % self.columns,
            found: values[bad],
        })
    }

    /// Check what was read, and make contrasts of it if they are wanted.
    fn finish(
        self,
        row: impl Fn(usize) -> usize,
        scratch: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<()> {
        if !self.contrasts {
            return self.check(out, row);
        }
        self.check(scratch, row)?;
        out.clear();
        let scales: Vec<f64> =
            (1..self.columns).map(|j| (j as f64 / (j as f64 + 1.0)).sqrt()).collect();
        for row in scratch.chunks_exact(self.columns) {
            push_contrasts(row, &scales, out);
        }
        Ok(())
    }
}

#[inline(always)]
fn is_bad(value: f32) -> bool {
    value.is_nan() || value.abs() > MAX_VALUE
}

#[inline(always)]
fn push_contrasts(row: &[f32], scales: &[f64], out: &mut Vec<f32>) {
    let mut sum = 0.0;
    for ((j, pair), scale) in (1..).zip(row.windows(2)).zip(scales) {
        sum += f64::from(pair[0]);
        out.push(((sum / f64::from(j) - f64::from(pair[1])) * scale) as f32);
    }
}

/// The row-centred logits whose contrasts these are.
#[must_use]
pub fn centred_logits(contrasts: &[f64]) -> Vec<f64> {
    let mut logits = vec![0.0; contrasts.len() + 1];
    for (j, contrast) in (1..).zip(contrasts) {
        let scale = f64::from(j);
        let shared = contrast / (scale * (scale + 1.0)).sqrt();
        for logit in &mut logits[..j as usize] {
            *logit += shared;
        }
        logits[j as usize] -= scale * shared;
    }
    logits
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::{Matrix, Values, centred_logits};

    fn read(matrix: Matrix) -> crate::Result<Vec<f32>> {
        let mut out = Vec::new();
        matrix.read(0..matrix.rows(), &mut Vec::new(), &mut out).map(|()| out)
    }

    #[test]
    fn both_precisions_read_the_same() {
        let single = [1.5, -2.0, 0.25, 8.0];
        let half = single.map(f16::from_f32);
        for values in [Values::F16(&half), Values::F32(&single)] {
            let matrix = Matrix::new("logits", values, 2).unwrap();
            assert_eq!((matrix.rows(), matrix.width()), (2, 2));
            assert_eq!(read(matrix).unwrap(), single);
            let mut second = Vec::new();
            matrix.read(1..2, &mut Vec::new(), &mut second).unwrap();
            assert_eq!(second, single[2..]);
        }
    }

    #[test]
    fn contrasts_keep_the_distances_of_centred_rows_and_come_back() {
        let rows = [3.0, 1.0, -4.0, 1.0, 103.0, 99.0, 97.5, 100.5];
        let matrix = Matrix::new("logits", Values::F32(&rows), 4).unwrap().contrasts();
        let contrasts: Vec<f64> = read(matrix).unwrap().into_iter().map(f64::from).collect();
        assert_eq!(contrasts.len(), 2 * matrix.width());
        for (row, contrasts) in rows.chunks(4).zip(contrasts.chunks(3)) {
            let mean = row.iter().sum::<f32>() / 4.0;
            for (value, found) in row.iter().zip(centred_logits(contrasts)) {
                assert!((f64::from(value - mean) - found).abs() < 1e-5);
            }
        }
        let squared = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
        assert!(
            (squared(&contrasts[..3]) - squared(&centred_logits(&contrasts[..3]))).abs() < 1e-9
        );
    }

    #[test]
    fn a_bad_value_names_row_and_column() {
        for bad in [f32::NAN, f32::INFINITY, -2e15] {
            let values = [0.0, 1.0, 0.0, bad];
            for matrix in [false, true] {
                let plain = Matrix::new("logits", Values::F32(&values), 2).unwrap();
                let found = read(if matrix { plain.contrasts() } else { plain });
                let message = found.unwrap_err().to_string();
                assert!(message.starts_with("logits[1, 1] is "), "{message}");
            }
        }
        let half = [f16::ONE, f16::NAN];
        assert!(read(Matrix::new("logits", Values::F16(&half), 1).unwrap()).is_err());
        assert!(Matrix::new("logits", Values::F32(&[0.0; 3]), 2).is_err());
        assert!(Matrix::new("logits", Values::F32(&[]), 0).is_err());
    }
}
