//! Zero-shot labels: the attribute with the largest logit, and how sure CLIP is of it.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::points::{Buffers, Pool};
use super::softmax::softmax;
use super::{BLOCK, Matrix, Outputs, Points, Values};
use crate::Workers;
use crate::simd::dispatch;

/// Rows that a thread labels before it asks for more, where it does nothing else.
const STRIDE: usize = 16 * BLOCK;
/// Rows of half precision that are labelled at once.
const TILE: usize = 32;

/// Label each point with the column of its largest logit, the first of equals; the posterior is the
/// softmax of the row. Exponentials and sums are float64. O(M·A).
///
/// Labels alone, of two columns of float16, are made without a conversion, at the speed of memory.
///
/// # Errors
/// [`crate::Error::Value`] for the first logit that is NaN, infinite or beyond ±1e15;
/// [`crate::Error::Length`] or [`crate::Error::Element`] for outputs that don't fit.
pub fn assign_argmax<L: Copy + Send + Sync + TryFrom<i64>>(
    points: Points,
    outputs: Outputs<L>,
    workers: &Workers,
) -> crate::Result<()> {
    let (columns, wants_posteriors) = (points.width(), outputs.wants_posteriors());
    let names = outputs.names(None, columns, points)?;
    if let Some(logits) = points.whole_matrix().filter(|_| !wants_posteriors) {
        return label_all(logits, outputs.labels, &names.labels, workers);
    }
    let pool = Pool::default();
    let label_block = |block, mut outputs: Outputs<L>, buffers: &mut Buffers| {
        let (mut scores, mut posterior) = (vec![0.0; columns], vec![0.0; columns]);
        let start = points.row(block * BLOCK);
        for (position, row) in points.read(block, buffers)?.chunks_exact(columns).enumerate() {
            if wants_posteriors {
                scores.iter_mut().zip(row).for_each(|(score, value)| *score = f64::from(*value));
                softmax(&scores, &mut posterior);
            }
            let place = points.row(block * BLOCK + position) - start;
            let posterior = wants_posteriors.then_some(&posterior[..]);
            outputs.write_row(place, argmax(row), posterior, &names);
        }
        Ok(())
    };
    workers.try_for_each(outputs.blocks(points), |(block, outputs)| {
        pool.with(|buffers| label_block(block, outputs, buffers))
    })
}

/// The column of the largest value, the first of equals.
#[inline(always)]
fn argmax(row: &[f32]) -> usize {
    let mut label = 0;
    for (column, value) in row.iter().enumerate() {
        if *value > row[label] {
            label = column;
        }
    }
    label
}

fn label_all<L: Copy + Send + Sync>(
    logits: Matrix,
    labels: &mut [L],
    names: &[L],
    workers: &Workers,
) -> crate::Result<()> {
    workers.try_for_each(labels.chunks_mut(STRIDE).enumerate(), |(stride, labels)| {
        let (mut values, mut bytes) = (Vec::new(), [0; BLOCK]);
        for (block, labels) in labels.chunks_mut(BLOCK).enumerate() {
            let first = stride * STRIDE + block * BLOCK;
            let range = first..first + labels.len();
            if let Some(halves) = half_pairs(logits) {
                let bytes = &mut bytes[..labels.len()];
                if label_half_pairs(&halves[2 * range.start..2 * range.end], bytes) {
                    // Read before the loop, which would look at the length of `names` for each label.
                    let (first, second) = (names[0], names[1]);
                    let name = |byte: &u8| if *byte == 0 { first } else { second };
                    labels.iter_mut().zip(bytes).for_each(|(label, byte)| *label = name(byte));
                    continue;
                }
            }
            // Also reached by half precision with a bad value in this block, which this names.
            logits.read(range, &mut Vec::new(), &mut values)?;
            label_block(&values, names, labels);
        }
        Ok(())
    })
}

fn half_pairs(logits: Matrix<'_>) -> Option<&[u16]> {
    match logits.values() {
        Values::F16(values) if logits.width() == 2 => Some(values.reinterpret_cast()),
        _ => None,
    }
}

/// Whether all values were finite.
fn label_half_pairs(halves: &[u16], labels: &mut [u8]) -> bool {
    let (tiles, rest) = (labels.len() / TILE, labels.len() % TILE);
    let whole = tiles * TILE;
    let (mut last_halves, mut last_labels) = ([0; 2 * TILE], [0; TILE]);
    last_halves[..2 * rest].copy_from_slice(&halves[2 * whole..]);
    let mut largest = [0; 2 * TILE];
    dispatch(
        #[inline(always)]
        || {
            for tile in 0..tiles {
                let halves = &halves[tile * 2 * TILE..][..2 * TILE];
                label_tile(halves, &mut labels[tile * TILE..][..TILE], &mut largest);
            }
        },
    );
    label_tile(&last_halves, &mut last_labels, &mut largest);
    labels[whole..].copy_from_slice(&last_labels[..rest]);
    largest.iter().all(|bits| *bits < f16::INFINITY.to_bits())
}

/// Plain loops over arrays of a fixed size, which the compiler keeps in vector registers.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
fn label_tile(halves: &[u16], labels: &mut [u8], largest: &mut [u16; 2 * TILE]) {
    let (Ok(halves), Ok(labels)): (Result<&[u16; 2 * TILE], _>, Result<&mut [u8; TILE], _>) =
        (halves.try_into(), labels.try_into())
    else {
        return;
    };
    let mut keys = [0; 2 * TILE];
    for i in 0..2 * TILE {
        largest[i] = largest[i].max(halves[i] & 0x7FFF);
        keys[i] = ordered(halves[i]);
    }
    for i in 0..TILE {
        labels[i] = u8::from(keys[2 * i + 1] > keys[2 * i]);
    }
}

/// An integer that orders as the finite half-precision number with these bits does, both zeros alike.
#[inline(always)]
fn ordered(bits: u16) -> i16 {
    let sign = bits as i16 >> 15;
    ((bits & 0x7FFF) as i16 ^ sign) - sign
}

fn label_block<L: Copy>(values: &[f32], names: &[L], labels: &mut [L]) {
    dispatch(
        #[inline(always)]
        || {
            let rows = values.chunks_exact(names.len());
            for (label, row) in labels.iter_mut().zip(rows) {
                *label = names[argmax(row)];
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::{assign_argmax, ordered};
    use crate::cluster::{Matrix, Outputs, Points, Values};
    use crate::{Result, Workers};

    type Found = (Vec<i64>, Vec<f32>, Vec<f32>);

    fn label(values: Values, columns: usize, num_threads: usize) -> Result<Found> {
        let logits = Matrix::new("logits", values, columns)?;
        let n = logits.rows();
        let mut found = (vec![0; n], vec![0.0; n * columns], vec![0.0; n]);
        let (labels, posterior, confidence) = (&mut found.0, &mut found.1, &mut found.2);
        let (posterior, confidence) = (Some(&mut posterior[..]), Some(&mut confidence[..]));
        let outputs = Outputs { labels, posterior, columns, confidence };
        assign_argmax(Points::new(logits, None)?, outputs, &Workers::new(num_threads))?;
        Ok(found)
    }

    fn label_alone(values: Values, columns: usize, num_threads: usize) -> Result<Vec<u8>> {
        let logits = Matrix::new("logits", values, columns)?;
        let mut labels = vec![9; logits.rows()];
        let outputs = Outputs { labels: &mut labels, posterior: None, columns, confidence: None };
        assign_argmax(Points::new(logits, None)?, outputs, &Workers::new(num_threads))?;
        Ok(labels)
    }

    #[test]
    fn the_first_of_equal_logits_wins_and_posteriors_add_up() {
        let values = [1.0, 1.0, 0.0, 3.0, -1e15, 1e15];
        let (labels, posterior, confidence) = label(Values::F32(&values), 2, 2).unwrap();
        assert_eq!(labels, [0, 1, 1]);
        assert_eq!(confidence, [0.5, posterior[3], 1.0]);
        assert!((posterior[3] - 1.0 / (1.0 + (-3.0_f32).exp())).abs() < 1e-7);
        assert_eq!(label_alone(Values::F32(&values), 2, 1).unwrap(), [0, 1, 1]);
        assert_eq!(label_alone(Values::F32(&values), 3, 1).unwrap(), [0, 2]);
    }

    #[test]
    fn nan_and_infinity_name_row_and_column() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2e15] {
            let values = [0.0, 1.0, 0.0, bad];
            let half = values.map(f16::from_f32);
            for values in [Values::F32(&values), Values::F16(&half)] {
                let errors = [
                    label(values, 2, 1).unwrap_err().to_string(),
                    label_alone(values, 2, 1).unwrap_err().to_string(),
                ];
                assert!(errors.iter().all(|e| e.starts_with("logits[1, 1] is ")), "{errors:?}");
            }
        }
    }

    #[test]
    fn every_pair_of_halves_compares_as_numbers_do() {
        let finite = (0..=u16::MAX).filter(|bits| f16::from_bits(*bits).is_finite());
        let mut all: Vec<u16> = finite.collect();
        all.sort_by(|a, b| f16::from_bits(*a).total_cmp(&f16::from_bits(*b)));
        for pair in all.windows(2) {
            let [a, b] = [f16::from_bits(pair[0]), f16::from_bits(pair[1])];
            assert_eq!(ordered(pair[1]).cmp(&ordered(pair[0])), b.partial_cmp(&a).unwrap());
        }
    }

    #[test]
    fn halves_are_labelled_as_singles_are_for_any_number_of_threads() {
        let half: Vec<f16> = (0..300_000_u32)
            .map(|i| f16::from_f32((i.wrapping_mul(2_654_435_761) >> 24) as f32 - 99.5))
            .collect();
        let single: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        let expected = label_alone(Values::F32(&single), 2, 1).unwrap();
        assert!(expected.contains(&0) && expected.contains(&1));
        for num_threads in [1, 3] {
            assert_eq!(label_alone(Values::F16(&half), 2, num_threads).unwrap(), expected);
        }
        let labels = label(Values::F16(&half), 2, 2).unwrap().0;
        assert!(labels.iter().zip(&expected).all(|(a, b)| *a == i64::from(*b)));
    }
}
