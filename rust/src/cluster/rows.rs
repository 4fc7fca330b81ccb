//! Which rows of a matrix a method works on: all of them, those listed, or an even sample of either.

use std::ops::Range;

use super::Matrix;
use crate::random::{Purpose, Stream};
use crate::{Error, Result};

/// Rows of one matrix in ascending order. Positions count what is in, from 0 to `len()`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    matrix: Matrix<'a>,
    listed: Option<&'a [i64]>,
    /// How many rows are in before sampling.
    whole: usize,
    len: usize,
}

impl<'a> Rows<'a> {
    /// The `listed` rows of the matrix, or all.
    ///
    /// # Errors
    /// [`Error::Element`] for the first listed row that doesn't exist or isn't above the one before.
    pub fn new(matrix: Matrix<'a>, listed: Option<&'a [i64]>) -> Result<Self> {
        let whole = listed.map_or(matrix.rows(), <[i64]>::len);
        let mut least = 0;
        for (position, &row) in listed.unwrap_or_default().iter().enumerate() {
            if row < least || row as usize >= matrix.rows() {
                let expected = "ascending numbers of existing rows";
                let (argument, found) = ("rows", row.to_string());
                return Err(Error::Element { argument, row: position, found, expected });
            }
            least = row + 1;
        }
        Ok(Self { matrix, listed, whole, len: whole })
    }

    /// At most `len` of them: one of each of `len` equal stretches, drawn at random, so that rows that
    /// repeat in a pattern are met evenly too. Always the same ones.
    pub(super) fn sample(self, len: usize) -> Self {
        Self { len: len.min(self.whole), ..self }
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The number of values that [`Rows::read`] gives for a row.
    #[must_use]
    pub fn width(self) -> usize {
        self.matrix.width()
    }

    pub(super) fn matrix(self) -> Matrix<'a> {
        self.matrix
    }

    /// Whether positions are row numbers.
    pub(super) fn are_all(self) -> bool {
        self.listed.is_none() && self.len == self.whole
    }

    /// The row number at a position.
    pub(super) fn row(self, position: usize) -> usize {
        let place = if self.len == self.whole { position } else { self.drawn(position) };
        self.listed.map_or(place, |rows| rows[place] as usize)
    }

    fn drawn(self, position: usize) -> usize {
        let start =
            |number: usize| (number as u128 * self.whole as u128 / self.len as u128) as usize;
        let (from, to) = (start(position), start(position + 1));
        let stream = Stream::new(0, Purpose::SampleOfRows, 0);
        from + stream.below(position as u64, (to - from) as u64) as usize
    }

    /// Read the rows at some positions into `out`, as [`Matrix::read`] does.
    ///
    /// # Errors
    /// [`Error::Value`] for the first value that is NaN, infinite or beyond ±1e15.
    pub fn read(
        self,
        positions: Range<usize>,
        scratch: &mut Vec<f32>,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        if self.are_all() {
            return self.matrix.read(positions, scratch, out);
        }
        let mut row = Vec::with_capacity(self.width());
        out.clear();
        for position in positions {
            let number = self.row(position);
            self.matrix.read(number..number + 1, scratch, &mut row)?;
            out.extend_from_slice(&row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;
    use crate::cluster::{Matrix, Values};

    #[test]
    fn listed_and_sampled_rows_are_read_in_order() {
        let values: Vec<f32> = (0..20_u8).map(f32::from).collect();
        let matrix = Matrix::new("logits", Values::F32(&values), 2).unwrap();
        let read = |rows: Rows| {
            let mut out = Vec::new();
            rows.read(0..rows.len(), &mut Vec::new(), &mut out).map(|()| out)
        };
        assert_eq!(read(Rows::new(matrix, None).unwrap()).unwrap(), values);
        let listed = Rows::new(matrix, Some(&[1, 4, 9])).unwrap();
        assert_eq!(read(listed).unwrap(), [2.0, 3.0, 8.0, 9.0, 18.0, 19.0]);
        let sample = Rows::new(matrix, None).unwrap().sample(3);
        for (position, stretch) in [0..3, 3..6, 6..10].into_iter().enumerate() {
            assert!(stretch.contains(&sample.row(position)));
        }
        assert_eq!(read(listed.sample(1)).unwrap().len(), 2);
        assert_eq!(listed.sample(9).len(), 3);
    }

    #[test]
    fn rows_that_are_not_there_are_named() {
        let matrix = Matrix::new("logits", Values::F32(&[0.0; 6]), 2).unwrap();
        for (rows, start) in
            [(&[0, 3], "rows[1] is 3"), (&[1, 1], "rows[1] is 1"), (&[-1, 0], "rows[0] is -1")]
        {
            let message = Rows::new(matrix, Some(rows)).unwrap_err().to_string();
            assert!(message.starts_with(start), "{message}");
        }
        assert!(Rows::new(matrix, Some(&[])).unwrap().is_empty());
    }
}
