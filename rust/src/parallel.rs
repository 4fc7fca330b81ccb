//! Scoped threads for one call, with an explicit thread count. There is no pool on purpose: a
//! global one would hang after the fork of a `DataLoader` worker.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::caught;
use crate::{Error, Result};

/// Interval between checks whether the caller wants to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// The threads of one call, and a way to stop them. Results never depend on their number: if the
/// system starts fewer threads, those do all the work.
pub struct Workers<'a> {
    num_threads: usize,
    /// Called only by the calling thread.
    wants_to_stop: Option<&'a dyn Fn() -> bool>,
    asked: Cell<Instant>,
}

impl Workers<'static> {
    /// Use up to `num_threads` threads, including the caller's.
    #[must_use]
    pub fn new(num_threads: usize) -> Self {
        Self { num_threads, wants_to_stop: None, asked: Cell::new(Instant::now()) }
    }
}

impl<'a> Workers<'a> {
    /// Stop the threads soon after `wants_to_stop` returns true; a task should take well under a second.
    pub fn interruptible(num_threads: usize, wants_to_stop: &'a dyn Fn() -> bool) -> Self {
        Self { num_threads, wants_to_stop: Some(wants_to_stop), asked: Cell::new(Instant::now()) }
    }

    /// Check for interruption in loops on the calling thread; call it now and then.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the caller wants to stop.
    pub fn check(&self) -> Result<()> {
        let Some(wants_to_stop) = self.wants_to_stop else { return Ok(()) };
        if self.asked.get().elapsed() < PATIENCE {
            return Ok(());
        }
        self.asked.set(Instant::now());
        if wants_to_stop() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Run `work` on every task. Any thread may get any task, so a result may only
    /// depend on the task itself.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the caller wants to stop; some tasks have not run then.
    pub fn for_each<T: Send>(
        &self,
        tasks: impl Iterator<Item = T> + Send,
        work: impl Fn(T) + Sync,
    ) -> Result<()> {
        self.try_for_each(tasks, |task| {
            work(task);
            Ok(())
        })
    }

    /// Like [`Workers::for_each`], for work that can fail.
    ///
    /// # Errors
    /// The error of the first task in order that fails, for any number of threads; later ones may
    /// not have run. [`Error::Panicked`] for a task that panics. [`Error::Interrupted`] as above.
    pub fn try_for_each<T: Send>(
        &self,
        tasks: impl Iterator<Item = T> + Send,
        work: impl Fn(T) -> Result<()> + Sync,
    ) -> Result<()> {
        let queue = Mutex::new(tasks.enumerate());
        let stopped = AtomicBool::new(false);
        let failed: Mutex<Option<(usize, Error)>> = Mutex::new(None);
        // Whether there was a task to run.
        let run_next = || {
            if stopped.load(Ordering::Relaxed) {
                return false;
            }
            let (number, result) = match caught(|| Ok(lock(&queue).next())) {
                Ok(None) => return false,
                Ok(Some((number, task))) => (number, caught(|| work(task))),
                Err(error) => (usize::MAX, Err(error)),
            };
            if let Err(error) = result {
                stopped.store(true, Ordering::Relaxed);
                // Tasks are begun in order, so all before the first to fail get to say so.
                let mut failed = lock(&failed);
                if failed.as_ref().is_none_or(|(earlier, _)| number < *earlier) {
                    *failed = Some((number, error));
                }
            }
            true
        };
        let is_short = || lock(&queue).size_hint().1.is_some_and(|n| n < 2);
        let mut found = Ok(());
        thread::scope(|scope| {
            for _ in 1..self.num_threads {
                if is_short() {
                    break;
                }
                if thread::Builder::new().spawn_scoped(scope, || while run_next() {}).is_err() {
                    break;
                }
            }
            while found.is_ok() && run_next() {
                found = self.check();
            }
            stopped.store(true, Ordering::Relaxed);
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => found,
        }
    }

    /// Like [`Workers::try_for_each`], but passes the results of `work` to `take` in the order of the
    /// tasks. Only results of tasks that finished early are kept.
    ///
    /// # Errors
    /// As [`Workers::try_for_each`].
    pub fn fold<T: Send, R: Send>(
        &self,
        tasks: impl Iterator<Item = T> + Send,
        work: impl Fn(T) -> Result<R> + Sync,
        take: impl FnMut(R) + Send,
    ) -> Result<()> {
        let waiting = Mutex::new((0, BTreeMap::new(), take));
        self.try_for_each(tasks.enumerate(), |(number, task)| {
            let result = work(task)?;
            let mut waiting = lock(&waiting);
            let (next, results, take) = &mut *waiting;
            results.insert(number, result);
            while let Some(result) = results.remove(next) {
                take(result);
                *next += 1;
            }
            Ok(())
        })
    }
}

/// A panic while the lock was held is already reported as an error.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::Workers;
    use crate::Error;

    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        for num_threads in [0, 1, 2, 3, 64] {
            let mut done = vec![0; 10];
            let tasks = done.iter_mut().enumerate();
            Workers::new(num_threads).for_each(tasks, |(i, slot)| *slot += i + 1).unwrap();
            assert_eq!(done, (1..=10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn results_are_taken_in_the_order_of_the_tasks() {
        for num_threads in [1, 4] {
            let mut taken = Vec::new();
            let work = |task: u64| {
                thread::sleep(Duration::from_micros(task * 7919 % 500));
                Ok(task)
            };
            Workers::new(num_threads).fold(0..100, work, |task| taken.push(task)).unwrap();
            assert_eq!(taken, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_failure_in_order_is_told() {
        let slow_at = |bad: usize| {
            move |task: usize| {
                if task == bad {
                    thread::sleep(Duration::from_millis(20));
                }
                if task >= bad { Err(Error::Input(task.to_string())) } else { Ok(()) }
            }
        };
        for num_threads in [1, 4] {
            let found = Workers::new(num_threads).try_for_each(0..100, slow_at(7));
            assert_eq!(found, Err(Error::Input("7".to_owned())));
        }
    }

    #[test]
    fn a_panic_stops_the_others_and_is_an_error() {
        for num_threads in [1, 4] {
            let done = AtomicUsize::new(0);
            let found = Workers::new(num_threads).for_each(0..100_000, |task| {
                assert_ne!(task, 7, "seven");
                done.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(100));
            });
            let Err(Error::Panicked { message }) = found else { panic!("{found:?}") };
            assert!(message.contains("seven"), "{message}");
            assert!(done.into_inner() < 50_000);
            let tasks = (0..9).inspect(|task| assert_ne!(*task, 3));
            let found = Workers::new(num_threads).for_each(tasks, |_| {});
            assert!(matches!(found, Err(Error::Panicked { .. })));
        }
    }

    #[test]
    fn the_caller_can_stop_it() {
        let begun = Instant::now();
        let wants_to_stop = || begun.elapsed() > Duration::from_millis(20);
        for num_threads in [1, 3] {
            let done = AtomicUsize::new(0);
            let workers = Workers::interruptible(num_threads, &wants_to_stop);
            let found = workers.for_each(0..100_000, |_| {
                done.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            });
            assert_eq!(found, Err(Error::Interrupted));
            assert!(done.into_inner() < 10_000);
        }
    }
}
