//! Labels under given proportions: the offsets to the logits under which every attribute gets its
//! number of rows, so that a zero-shot threshold that is off doesn't swallow the minority.
//!
//! Of all labellings with these numbers it is one with the largest sum of logits; its dual variables
//! are the offsets. They are found on an even sample, then on ever larger ones, last on all rows.
//! Each time only rows near a tie come into play, so that memory stays small.

use super::points::Pool;
use super::softmax::softmax;
use super::ties::Ties;
use super::transport::{Kinds, Transport, leader, spread};
use super::{BLOCK, Outputs, Points};
use crate::sample::quotas;
use crate::{Error, Result, Workers};

/// Rows in the first sample, all of which are in play.
const FIRST_SAMPLE: usize = 4096;
/// How many times larger each next sample is.
const GROWTH: usize = 16;

/// Label the rows so that `counts` (A,) of them get each column, and return the offsets (A,): each
/// label is a column with the largest logit plus offset, and the posterior is the softmax of these
/// sums. Among rows whose logits differ alike, the first get the lower column. A column that gets no
/// row has offset minus infinity; the others' offsets lie midway between those that change a label,
/// and add up to 0.
///
/// O(N·A) a pass over the rows, of which there are about four; memory is that of the rows near a tie.
///
/// # Errors
/// [`Error::Value`] for the first logit that is NaN, infinite or beyond ±1e15; [`Error::Length`] if
/// `counts` or outputs don't fit; [`Error::Element`] or [`Error::Scalar`] if a count is below 0 or
/// they don't add up to the points.
pub fn assign_proportional<L: Copy + Send + Sync + TryFrom<i64>>(
    points: Points,
    counts: &[i64],
    outputs: Outputs<L>,
    workers: &Workers,
) -> Result<Vec<f64>> {
    if counts.len() != points.width() {
        let (found, expected) = (counts.len(), points.width());
        return Err(Error::Length { argument: "counts", found, expected, counts: "columns" });
    }
    if let Some(row) = counts.iter().position(|n| *n < 0) {
        let (argument, found) = ("counts", counts[row].to_string());
        return Err(Error::Element { argument, row, found, expected: "0 or above" });
    }
    let total: i128 = counts.iter().map(|n| i128::from(*n)).sum();
    if total != points.len() as i128 {
        let (argument, expected) = ("the sum of counts", "the number of points");
        return Err(Error::Scalar { argument, found: total.to_string(), expected });
    }
    let wants_posteriors = outputs.wants_posteriors();
    let names = outputs.names(None, points.width(), points)?;
    let (offsets, ties) = solve(points, counts, workers)?;
    let taken = ties.taken_before_blocks(points, &offsets, workers)?;
    let pool = Pool::default();
    workers.try_for_each(
        outputs.blocks(points).zip(taken),
        |((block, mut outputs), mut taken)| {
            let (mut scores, mut posterior) = (vec![0.0; offsets.len()], vec![0.0; offsets.len()]);
            let start = points.row(block * BLOCK);
            for_each_row(points, block, &pool, |position, differences| {
                let (mut label, lead) = leader(differences, &offsets);
                if lead <= ties.lead {
                    label = ties.label(differences, &mut taken).unwrap_or(label);
                }
                if wants_posteriors {
                    let sums = differences.iter().zip(&offsets).map(|(d, b)| d + b);
                    scores.iter_mut().zip(sums).for_each(|(score, sum)| *score = sum);
                    softmax(&scores, &mut posterior);
                }
                let posterior = wants_posteriors.then_some(&posterior[..]);
                outputs.write_row(points.row(position) - start, label, posterior, &names);
            })
        },
    )?;
    Ok(offsets)
}

/// Call `work` with the position of each point of a block and its logits minus that of its first
/// column. All that is decided is decided on these, so that nothing is rounded one way here and
/// another way there.
pub(super) fn for_each_row(
    points: Points,
    block: usize,
    pool: &Pool,
    mut work: impl FnMut(usize, &[f64]),
) -> Result<()> {
    let mut differences = vec![0.0; points.width()];
    pool.with(|buffers| {
        let values = points.read(block, buffers)?;
        for (position, row) in (block * BLOCK..).zip(values.chunks_exact(points.width())) {
            for (difference, value) in differences.iter_mut().zip(row) {
                *difference = f64::from(*value) - f64::from(row[0]);
            }
            work(position, &differences);
        }
        Ok(())
    })
}

fn solve(points: Points, counts: &[i64], workers: &Workers) -> Result<(Vec<f64>, Ties)> {
    let shares: Vec<f64> = counts.iter().map(|n| *n as f64).collect();
    let mut offsets: Vec<f64> =
        counts.iter().map(|n| if *n > 0 { 0.0 } else { f64::NEG_INFINITY }).collect();
    let (mut size, mut limit) = (FIRST_SAMPLE, f64::INFINITY);
    while size < points.len() {
        let quotas = quotas(&shares, counts, size as u64)?;
        let level = Level { points: points.sample(size), quotas: &quotas };
        let solved = level.solve(offsets, limit, workers)?;
        limit = solved.limit_of_next(size);
        offsets = solved.offsets;
        size *= GROWTH;
    }
    let solved = Level { points, quotas: counts }.solve(offsets, limit, workers)?;
    let ties = Ties::new(&solved.kinds, &solved.amounts, &solved.offsets);
    Ok((solved.offsets, ties))
}

/// The problem on one sample.
struct Level<'a> {
    points: Points<'a>,
    quotas: &'a [i64],
}

struct Solved {
    kinds: Kinds,
    /// (K, A) how many rows of each kind each column got.
    amounts: Vec<u64>,
    offsets: Vec<f64>,
}

impl Level<'_> {
    /// Start from `offsets` with the rows in play that a change of offsets by `limit` can touch; if
    /// that isn't enough, with more.
    fn solve(self, mut offsets: Vec<f64>, mut limit: f64, workers: &Workers) -> Result<Solved> {
        loop {
            let (kinds, fixed) = self.near_ties(&offsets, limit, workers)?;
            let mut transport = Transport::new(&kinds, &offsets);
            let have = transport.loads().into_iter().zip(&fixed);
            let missing = self.quotas.iter().zip(have).map(|(n, (a, b))| n - a - b).collect();
            if transport.fill(missing, limit, workers)? {
                let centred = centred_offsets(&mut transport, &offsets, &fixed, limit);
                if limit.is_infinite() || spread(&centred, &offsets) < limit {
                    let amounts = transport.amounts;
                    return Ok(Solved { kinds, amounts, offsets: centred });
                }
            }
            offsets = transport.offsets;
            limit *= 4.0;
        }
    }

    /// The kinds of rows whose largest score leads by no more than `limit`, and (A,) how many of the
    /// other rows each column has.
    fn near_ties(
        &self,
        offsets: &[f64],
        limit: f64,
        workers: &Workers,
    ) -> Result<(Kinds, Vec<i64>)> {
        let (points, columns) = (self.points, self.points.width());
        let pool = Pool::default();
        let mut parts = vec![(Kinds::default(), vec![0; columns]); points.blocks()];
        workers.try_for_each(parts.iter_mut().enumerate(), |(block, (kinds, fixed))| {
            for_each_row(points, block, &pool, |_, differences| {
                let (label, lead) = leader(differences, offsets);
                if lead <= limit {
                    kinds.differences.extend_from_slice(differences);
                    kinds.counts.push(1);
                } else {
                    fixed[label] += 1;
                }
            })?;
            *kinds = kinds.merged(columns);
            Ok(())
        })?;
        let (mut all, mut all_fixed) = (Kinds::default(), vec![0; columns]);
        for (kinds, fixed) in parts {
            all.differences.extend(kinds.differences);
            all.counts.extend(kinds.counts);
            all_fixed.iter_mut().zip(fixed).for_each(|(all, n)| *all += n);
        }
        Ok((all.merged(columns), all_fixed))
    }
}

impl Solved {
    /// How large a change of offsets a sample `GROWTH` times as large must allow for: a few standard
    /// errors of a proportion in the sample of `size` rows, in terms of the rows that it touches.
    fn limit_of_next(&self, size: usize) -> f64 {
        let columns = self.offsets.len();
        let mut leads: Vec<(f64, u64)> = (self.kinds.counts.iter().enumerate())
            .map(|(kind, count)| (leader(self.kinds.get(kind, columns), &self.offsets).1, *count))
            .filter(|(lead, _)| lead.is_finite())
            .collect();
        leads.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let total: u64 = leads.iter().map(|(_, count)| count).sum();
        let mean = leads.iter().map(|(lead, n)| lead * *n as f64).sum::<f64>() / total as f64;
        let wanted = (4.0 * columns as f64 * (size as f64).sqrt()) as u64;
        let mut passed = 0;
        let touched = leads.iter().find(|(_, count)| {
            passed += count;
            passed >= wanted
        });
        let limit = touched.or(leads.last()).map_or(0.0, |(lead, _)| *lead).max(mean / 1024.0);
        if limit > 0.0 { limit } else { f64::INFINITY }
    }
}

/// The offsets in the middle of all those under which each row is where it is.
///
/// They are bounded by differences, b_c − b_a <= loss of the cheapest move from a to c; the distances
/// from any one column in that graph satisfy all bounds, and so does their mean over the columns. A
/// bound that one of them meets exactly, another leaves room for, if there is any.
fn centred_offsets(
    transport: &mut Transport,
    start: &[f64],
    fixed: &[i64],
    limit: f64,
) -> Vec<f64> {
    let columns = start.len();
    let used: Vec<usize> = (0..columns).filter(|c| start[*c].is_finite()).collect();
    let mut bound = vec![vec![f64::INFINITY; columns]; columns];
    for &a in &used {
        for &c in &used {
            // Rows out of play stay where they are while offsets move by less than the limit.
            let others = if fixed[a] > 0 { limit + start[c] - start[a] } else { f64::INFINITY };
            let moves = transport.cheapest(a, c).map_or(f64::INFINITY, |(loss, _)| loss);
            bound[a][c] = if a == c { 0.0 } else { moves.min(others) };
        }
    }
    for &via in &used {
        for &a in &used {
            for &c in &used {
                bound[a][c] = bound[a][c].min(bound[a][via] + bound[via][c]);
            }
        }
    }
    let roots: Vec<usize> =
        used.iter().copied().filter(|r| used.iter().all(|c| bound[*r][*c].is_finite())).collect();
    let mean_over_roots =
        |c: usize| roots.iter().map(|r| bound[*r][c]).sum::<f64>() / roots.len() as f64;
    let means: Vec<f64> = (0..columns).map(mean_over_roots).collect();
    let centre = used.iter().map(|c| means[*c]).sum::<f64>() / used.len() as f64;
    (0..columns)
        .map(|c| if start[c].is_finite() { means[c] - centre } else { f64::NEG_INFINITY })
        .collect()
}
