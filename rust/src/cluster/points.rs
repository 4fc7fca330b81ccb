//! The points that are clustered: all rows of a matrix, or some of them without a copy.

use std::sync::Mutex;

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

    /// Check all points once, for algorithms that read them many times.
    ///
    /// # Errors
    /// [`Error::Value`] for the first value that is NaN, infinite or beyond ±1e15.
    pub(super) fn checked(self, workers: &Workers) -> Result<Self> {
        self.fold(workers, |_, _| (), |()| ())?;
        Ok(Self { matrix: self.matrix.checked(), ..self })
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
    pub(super) fn read<'b>(self, block: usize, buffers: &'b mut Buffers) -> Result<&'b [f32]>
    where
        'a: 'b,
    {
        let (first, end) = (block * BLOCK, self.len().min((block + 1) * BLOCK));
        let Buffers { scratch, out } = buffers;
        if self.len < self.whole {
            let rows: Vec<i64> = (first..end).map(|position| self.row(position) as i64).collect();
            self.matrix.gather(&rows, scratch, out)?;
        } else if let Some(rows) = self.rows {
            self.matrix.gather(&rows[first..end], scratch, out)?;
        } else if let Some(values) = self.matrix.borrow(first..end)? {
            return Ok(values);
        } else {
            self.matrix.read(first..end, scratch, out)?;
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
        let pool = Pool::default();
        let work = |block| pool.with(|buffers| Ok(work(block, self.read(block, buffers)?)));
        workers.fold(0..self.blocks(), work, take)
    }
}

/// Room for the values of a block, to be used again: allocating it anew costs as much as a pass.
#[derive(Default)]
pub(super) struct Buffers {
    scratch: Vec<f32>,
    out: Vec<f32>,
}

/// Buffers for as many threads as there are.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Buffers>>);

impl Pool {
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Buffers) -> R) -> R {
        let mut buffers = self.0.lock().ok().and_then(|mut all| all.pop()).unwrap_or_default();
        let result = work(&mut buffers);
        if let Ok(mut all) = self.0.lock() {
            all.push(buffers);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffers, Points};
    use crate::cluster::{Matrix, Values};

    #[test]
    fn only_the_given_rows_are_read() {
        let read = |points: Points| points.read(0, &mut Buffers::default()).unwrap().to_vec();
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let matrix = Matrix::new("points", Values::F32(&values), 2).unwrap();
        let all = Points::new(matrix, None).unwrap();
        assert_eq!((all.len(), read(all)), (3, values.to_vec()));
        let some = Points::new(matrix, Some(&[0, 2])).unwrap();
        assert_eq!((some.len(), read(some)), (2, vec![0.0, 1.0, 4.0, 5.0]));
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
        assert_eq!(sample.read(0, &mut Buffers::default()).unwrap(), read);
        assert!(sample.whole_matrix().is_none());
        let some = Points::new(matrix, Some(&[1, 4, 9])).unwrap().sample(9);
        assert_eq!(some.read(0, &mut Buffers::default()).unwrap(), [1.0, 4.0, 9.0]);
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
