//! Vector instructions chosen at run time, for plain code that the compiler vectorises.

/// Run `work`, compiled for AVX2 if the processor has it, else for the baseline.
///
/// This only applies to code inlined into `work`: write `#[inline(always)]` before the closure and
/// on what it calls. Give it a thousand elements or more, as the call itself can't be inlined.
/// Results are the same bits either way: the compiler neither reorders nor fuses floating point.
/// (AVX-512 was measured to gain nothing over AVX2 here.)
#[inline]
pub(crate) fn dispatch<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

#[cfg(test)]
mod tests {
    use super::dispatch;

    #[test]
    fn it_runs_the_work_once_and_returns_its_result() {
        let mut runs = 0;
        let sum: u64 = dispatch(
            #[inline(always)]
            || {
                runs += 1;
                (0..1000_u64).map(|x| x * x).sum()
            },
        );
        assert_eq!((runs, sum), (1, 332_833_500));
    }
}
