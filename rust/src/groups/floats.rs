//! Values in whatever float type the caller keeps them, read a piece at a time as float64.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// An array of floats, left where it lies.
#[derive(Debug, Clone, Copy)]
pub enum Floats<'a> {
    /// Half precision.
    F16(&'a [f16]),
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl Floats<'_> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements from `first` on, as many as `out` has room for. Exact.
    pub(super) fn read(&self, first: usize, out: &mut [f64]) {
        let end = first + out.len();
        match self {
            Self::F16(values) => values[first..end].convert_to_f64_slice(out),
            Self::F32(values) => {
                for (out, &value) in out.iter_mut().zip(&values[first..end]) {
                    *out = f64::from(value);
                }
            }
            Self::F64(values) => out.copy_from_slice(&values[first..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::Floats;

    #[test]
    fn every_type_is_read_exactly() {
        let values = [0.0, 0.5, -1.5, 0.25, 65504.0];
        let (half, single) = (values.map(f16::from_f64), values.map(|value| value as f32));
        for floats in [Floats::F16(&half), Floats::F32(&single), Floats::F64(&values)] {
            assert_eq!(floats.len(), 5);
            let mut out = vec![0.0; 3];
            floats.read(1, &mut out);
            assert_eq!(out, [0.5, -1.5, 0.25]);
        }
        assert!(Floats::F32(&[]).is_empty());
    }
}
