//! The stages of an epoch of the group stream: building the index, seeking, drawing.
#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dbpt_core::Workers;
use dbpt_core::groups::GroupIndex;
use dbpt_core::sample::{Epoch, GroupStream, quotas};

const ROWS: usize = 1_000_000;

fn groups(num_groups: i64) -> Vec<i64> {
    (0..ROWS as u64)
        .map(|row| (row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as i64 % num_groups)
        .collect()
}

fn stream(num_groups: i64, epoch: u64) -> GroupStream {
    let index = Arc::new(
        GroupIndex::new(&groups(num_groups), Some(num_groups as usize), &Workers::new(1)).unwrap(),
    );
    let counts: Vec<i64> = (0..index.num_groups()).map(|group| index.count(group) as i64).collect();
    let n = ROWS as u64;
    let quotas = quotas(&vec![1.0; counts.len()], &counts, n, 0..=n, 0, epoch).unwrap();
    GroupStream::new(index, &quotas, 0, epoch).unwrap()
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1e6 rows");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    let of_rows = groups(4);
    group.bench_function("index of 4 groups", |b| {
        b.iter(|| GroupIndex::new(black_box(&of_rows), Some(4), &Workers::new(1)));
    });
    for num_groups in [1, 4, 1000] {
        let stream = stream(num_groups, 0);
        group.bench_function(format!("epoch of {num_groups} groups"), |b| {
            b.iter(|| stream.indices(0, ROWS as u64, &Workers::new(1)));
        });
        group.bench_function(format!("last draw of {num_groups} groups"), |b| {
            b.iter(|| stream.indices(ROWS as u64 - 1, ROWS as u64, &Workers::new(1)));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
