//! Zero-shot labels: the attribute with the largest logit, and its posterior.

use super::{Logits, Outputs};
use crate::memory::filled;
use crate::simd::dispatch;
use crate::{Error, Result, Workers};

/// Rows that are compared together.
const TILE: usize = 32;

/// Label each row with the column of its largest logit plus offset, the first of equals; the posterior is the
/// softmax of these. Sums, comparisons and exponentials are float64. O(N·A).
///
/// `offsets` are (A,), minus infinity for a column that no row may get; `None` means zeros.
///
/// # Errors
/// [`Error::Input`] for the first logit that is NaN, infinite or beyond ±1e15, for an offset that is NaN or plus
/// infinity, if all are minus infinity, or for offsets or outputs that don't fit; [`Error::Memory`]. Rows before a bad value may have been written.
pub fn assign_argmax<L: Copy + Send + Sync + From<bool> + TryFrom<i64>>(
    logits: Logits,
    offsets: Option<&[f64]>,
    outputs: Outputs<L>,
    workers: &Workers,
) -> Result<()> {
    let columns = logits.columns();
    if let Some(offsets) = offsets {
        check_offsets(offsets, columns)?;
    }
    let names = outputs.names(columns, logits.len())?;
    let wants_posterior = outputs.wants_posterior();
    workers.try_for_each(outputs.blocks(columns), |(block, mut outputs)| {
        let mut buffer = Vec::new();
        let values = logits.read(block, &mut buffer)?;
        if offsets.is_none() && !wants_posterior {
            label(values, &names, outputs.labels);
            return Ok(());
        }
        let mut scores = filled(0.0, columns)?;
        for (row, values) in values.chunks_exact(columns).enumerate() {
            let offsets = offsets.into_iter().flatten().copied().chain(std::iter::repeat(0.0));
            for ((score, value), offset) in scores.iter_mut().zip(values).zip(offsets) {
                *score = f64::from(*value) + offset;
            }
            let label = argmax(&scores);
            outputs.labels[row] = names[label];
            if wants_posterior {
                outputs.write_posterior(row, label, &mut scores);
            }
        }
        Ok(())
    })
}

/// Label rows without offsets, which needs no double precision.
fn label<L: Copy + From<bool>>(values: &[f32], names: &[L], labels: &mut [L]) {
    dispatch(
        #[inline(always)]
        || {
            if names.len() == 2 {
                label_pairs(values, labels);
            } else {
                for (label, row) in labels.iter_mut().zip(values.chunks_exact(names.len())) {
                    *label = names[argmax(row)];
                }
            }
        },
    );
}

/// Label rows of two columns, in tiles of a fixed size, which the compiler vectorises.
#[inline(always)]
fn label_pairs<L: From<bool>>(values: &[f32], labels: &mut [L]) {
    for (labels, rows) in labels.chunks_mut(TILE).zip(values.chunks(2 * TILE)) {
        let mut is_second = [false; TILE];
        if let Ok(rows) = <&[f32; 2 * TILE]>::try_from(rows) {
            for (i, is_second) in is_second.iter_mut().enumerate() {
                *is_second = rows[2 * i + 1] > rows[2 * i];
            }
        } else {
            let rows = rows.chunks_exact(2);
            is_second
                .iter_mut()
                .zip(rows)
                .for_each(|(is_second, row)| *is_second = row[1] > row[0]);
        }
        labels.iter_mut().zip(is_second).for_each(|(label, is_second)| *label = is_second.into());
    }
}

/// Return the column of the largest value, the first if tied.
#[inline(always)]
fn argmax<T: PartialOrd + Copy>(row: &[T]) -> usize {
    let (mut label, mut largest) = (0, row[0]);
    for (column, &value) in row.iter().enumerate() {
        let is_larger = value > largest;
        largest = if is_larger { value } else { largest };
        label = if is_larger { column } else { label };
    }
    label
}

fn check_offsets(offsets: &[f64], columns: usize) -> Result<()> {
    let found = offsets.len();
    if found != columns {
        return Err(Error::length("offsets", found, columns, "columns"));
    }
    let bad = offsets.iter().position(|offset| offset.is_nan() || *offset == f64::INFINITY);
    let none = offsets.iter().all(|offset| *offset == f64::NEG_INFINITY).then_some(0);
    match bad.or(none) {
        Some(row) => {
            let expected = "a finite number, or minus infinity for some";
            Err(Error::element("offsets", row, offsets[row], expected))
        }
        None => Ok(()),
    }
}
