//! The points that are clustered: all rows of a matrix, or some of them without a copy.

use super::{BLOCK, Matrix};
use crate::random::{Purpose, Stream};
use crate::{Error, Result, Workers};

/// M points of W coordinates: rows of a [`Matrix`].
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    matrix: Matrix<'a>,
    rows: Option<&'a [i64]>,
    /// How many points there are before sampling.
    whole: usize,
    len: usize,
}

impl<'a> Points<'a> {
    /// Only the given rows of the matrix, or all of them. O(M).
    ///
    /// # Errors
    /// [`Error::Row`] for the first row that the matrix doesn't have or that isn't above the one before.
    pub fn new(matrix: Matrix<'a>, rows: Option<&'a [i64]>) -> Result<Self> {
        let mut least = 0;
        for (position, &row) in rows.unwrap_or_default().iter().enumerate() {
            if row < least || row >= matrix.rows() as i64 {
                return Err(Error::Row { position, found: row, num_rows: matrix.rows() });
            }
            least = row + 1;
        }
        let whole = rows.map_or(matrix.rows(), <[i64]>::len);
        Ok(Self { matrix, rows, whole, len: whole })
    }

    /// At most `len` of them: one of each of `len` equal stretches, drawn at random, so that rows that
    /// repeat in a pattern are met evenly too. Always the same ones.
    pub(super) fn sample(self, len: usize) -> Self {
        Self { len: len.min(self.whole), ..self }
    }

    /// The number of points M.
    #[must_use]
    pub fn len(self) -> usize {
        self.len
    }

    /// All rows as they lie, if these are the points.
    pub(super) fn whole_matrix(self) -> Option<Matrix<'a>> {
        (self.rows.is_none() && self.len == self.whole).then_some(self.matrix)
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The number of coordinates W.
    #[must_use]
    pub fn width(self) -> usize {
        self.matrix.width()
    }

    /// The number of rows of the matrix N.
    #[must_use]
    pub fn num_rows(self) -> usize {
        self.matrix.rows()
    }

    /// The matrix row of the point number `position`.
    pub(super) fn row(self, position: usize) -> usize {
        let place = if self.len == self.whole { position } else { self.drawn(position) };
        self.rows.map_or(place, |rows| rows[place] as usize)
    }

    fn drawn(self, position: usize) -> usize {
        let start =
            |number: usize| (number as u128 * self.whole as u128 / self.len as u128) as usize;
        let (from, to) = (start(position), start(position + 1));
        let stream = Stream::new(0, Purpose::SampleOfPoints, 0);
        from + stream.below(position as u64, (to - from) as u64) as usize
    }

    pub(super) fn blocks(self) -> usize {
        self.len().div_ceil(BLOCK)
    }

    /// The coordinates of the points of a block, one after the other.
    pub(super) fn read(self, block: usize) -> Result<Vec<f32>> {
        let (first, end) = (block * BLOCK, self.len().min((block + 1) * BLOCK));
        if self.len < self.whole {
            return self.gather(&(first..end).collect::<Vec<_>>());
        }
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        match self.rows {
            Some(rows) => self.matrix.gather(&rows[first..end], &mut scratch, &mut out)?,
            None => self.matrix.read(first..end, &mut scratch, &mut out)?,
        }
        Ok(out)
    }

    /// The coordinates of some points, one after the other.
    pub(super) fn gather(self, positions: &[usize]) -> Result<Vec<f32>> {
        let rows: Vec<i64> = positions.iter().map(|&position| self.row(position) as i64).collect();
        let mut out = Vec::new();
        self.matrix.gather(&rows, &mut Vec::new(), &mut out)?;
        Ok(out)
    }

    /// Run `work` on the number and the coordinates of every block, and hand the results to `take` in
    /// the order of the blocks.
    pub(super) fn fold<R: Send>(
        self,
        workers: &Workers,
        work: impl Fn(usize, &[f32]) -> R + Sync,
        take: impl FnMut(R) + Send,
    ) -> Result<()> {
        workers.fold(0..self.blocks(), |block| Ok(work(block, &self.read(block)?)), take)
    }
}

#[cfg(test)]
mod tests {
    use super::Points;
    use crate::cluster::{Matrix, Values};

    #[test]
    fn only_the_given_rows_are_read() {
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let matrix = Matrix::new("points", Values::F32(&values), 2).unwrap();
        let all = Points::new(matrix, None).unwrap();
        assert_eq!((all.len(), all.read(0).unwrap()), (3, values.to_vec()));
        let some = Points::new(matrix, Some(&[0, 2])).unwrap();
        assert_eq!((some.len(), some.read(0).unwrap()), (2, vec![0.0, 1.0, 4.0, 5.0]));
        assert_eq!(some.gather(&[1]).unwrap(), [4.0, 5.0]);
        let none = Points::new(matrix, Some(&[])).unwrap();
        assert!(none.is_empty() && none.blocks() == 0);
    }

    #[test]
    fn a_sample_has_a_point_of_each_stretch() {
        let values: Vec<f32> = (0..10_u8).map(f32::from).collect();
        let matrix = Matrix::new("points", Values::F32(&values), 1).unwrap();
        let sample = Points::new(matrix, None).unwrap().sample(3);
        for (position, stretch) in [0..3, 3..6, 6..10].into_iter().enumerate() {
            assert!(stretch.contains(&sample.row(position)));
        }
        let read: Vec<f32> = (0..3).map(|position| values[sample.row(position)]).collect();
        assert_eq!(sample.read(0).unwrap(), read);
        assert!(sample.whole_matrix().is_none());
        let some = Points::new(matrix, Some(&[1, 4, 9])).unwrap().sample(9);
        assert_eq!(some.read(0).unwrap(), [1.0, 4.0, 9.0]);
    }

    #[test]
    fn rows_must_ascend_within_the_matrix() {
        let matrix = Matrix::new("points", Values::F32(&[0.0; 3]), 1).unwrap();
        for (rows, position) in [(&[0, 0][..], 1), (&[1, 0], 1), (&[3], 0), (&[-1], 0)] {
            let message = Points::new(matrix, Some(rows)).unwrap_err().to_string();
            let start = format!("rows[{position}] is {}; expected", rows[position]);
            assert!(message.starts_with(&start), "{message}");
        }
    }
}
