//! Scoped threads for one call, with an explicit thread count. There is no pool on purpose: a
//! global one does not survive the fork of a `DataLoader` worker, and hangs.

use std::sync::Mutex;
use std::thread;

/// Run `work` on every task with up to `num_threads` threads (the caller's is one of them).
///
/// Which thread gets which task is not fixed, so a result may only depend on the task itself.
pub(crate) fn for_each<T: Send>(tasks: Vec<T>, num_threads: usize, work: impl Fn(T) + Sync) {
    let helpers = num_threads.min(tasks.len()).saturating_sub(1);
    if helpers == 0 {
        tasks.into_iter().for_each(work);
        return;
    }
    let queue = Mutex::new(tasks.into_iter());
    let run = || loop {
        // The lock is released before the work starts; a panic elsewhere is rethrown by the scope.
        let Some(task) = queue.lock().ok().and_then(|mut tasks| tasks.next()) else { break };
        work(task);
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::for_each;

    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        for num_threads in [0, 1, 2, 3, 64] {
            let mut done = vec![0; 10];
            for_each(done.iter_mut().enumerate().collect(), num_threads, |(i, slot)| {
                *slot += i + 1;
            });
            assert_eq!(done, (1..=10).collect::<Vec<_>>());
        }
    }
}
