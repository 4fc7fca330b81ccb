//! Vector instructions chosen at run time, for plain code that the compiler vectorises.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::__m256;

#[cfg(target_arch = "x86_64")]
use pulp::core_arch::x86::Avx;

/// Run `work`, compiled for AVX2 where the processor has it and for the baseline elsewhere.
///
/// Only what is inlined into `work` is compiled so: write `#[inline(always)]` before the closure and
/// on what it calls. Give it a thousand elements or more, as the call itself can't be inlined.
/// Results are the same bits either way: the compiler neither reorders nor fuses floating point.
/// (AVX-512 was measured to gain nothing over AVX2 here.)
#[inline]
pub(crate) fn dispatch<R>(work: impl FnOnce() -> R) -> R {
    if cfg!(feature = "portable") { work() } else { pulp::Arch::new().dispatch(work) }
}

/// Transposes eight rows of eight numbers by shuffles that the compiler doesn't find by itself; none
/// where the processor has no AVX2. To be called within [`dispatch`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn transposer() -> Option<impl Fn([[f32; 8]; 8]) -> [[f32; 8]; 8] + Copy> {
    let vectors = if cfg!(feature = "portable") { None } else { pulp::x86::V3::try_new() };
    vectors.map(|vectors| {
        #[inline(always)]
        move |rows| transposed(vectors.avx, rows)
    })
}

/// See above: there are no such shuffles here.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn transposer() -> Option<fn([[f32; 8]; 8]) -> [[f32; 8]; 8]> {
    None
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(avx: Avx, rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let (first, second) = (transposed_fours(avx, a, b, c, d), transposed_fours(avx, e, f, g, h));
    let low = |x, y| bytemuck::cast(avx._mm256_permute2f128_ps::<0x20>(x, y));
    let high = |x, y| bytemuck::cast(avx._mm256_permute2f128_ps::<0x31>(x, y));
    let ([a, b, c, d], [e, f, g, h]) = (first, second);
    [low(a, e), low(b, f), low(c, g), low(d, h), high(a, e), high(b, f), high(c, g), high(d, h)]
}

/// Number c of each of four rows, then their number c + 4, for each c below 4.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed_fours(avx: Avx, a: [f32; 8], b: [f32; 8], c: [f32; 8], d: [f32; 8]) -> [__m256; 4] {
    let (a, b, c, d) = (bytemuck::cast(a), bytemuck::cast(b), bytemuck::cast(c), bytemuck::cast(d));
    let (ab, cd) = (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpacklo_ps(c, d));
    let (ab_high, cd_high) = (avx._mm256_unpackhi_ps(a, b), avx._mm256_unpackhi_ps(c, d));
    [
        avx._mm256_shuffle_ps::<0x44>(ab, cd),
        avx._mm256_shuffle_ps::<0xEE>(ab, cd),
        avx._mm256_shuffle_ps::<0x44>(ab_high, cd_high),
        avx._mm256_shuffle_ps::<0xEE>(ab_high, cd_high),
    ]
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
