//! Sums of products over GF(2^8): the one inner loop of encoding and rebuilding, and the only file of the pool with
//! unsafe code.
//!
//! Each instruction set has the same loop: for a few target rows at once, walk the columns; in a column, load each
//! source once and add its products to all targets, which stay in registers. What differs is the product with a constant:
//! GFNI has it as one instruction (a matrix of 8 by 8 bits, so any polynomial will do), AVX2 looks up both halves of each byte in
//! tables of 16, and the portable form adds the powers of two that the constant is made of, which a compiler turns into
//! whatever vectors there are.

#![expect(
    unsafe_code,
    reason = "vector instructions chosen at run time; tested against the portable form"
)]

use std::sync::OnceLock;

use super::field::multiply_slowly;

/// Data shards at most, and so sources of one sum.
pub(super) const SOURCES_MAX: usize = 16;
/// Targets that are worked on in one pass.
const ROWS: usize = 4;

/// How the products are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Gfni512,
}

impl Kernel {
    /// The fastest that this processor has; asked once.
    pub(super) fn fastest() -> Self {
        static FASTEST: OnceLock<Kernel> = OnceLock::new();
        *FASTEST.get_or_init(|| Self::available().last().copied().unwrap_or(Self::Portable))
    }

    /// All that this processor has, the fastest last.
    pub(super) fn available() -> Vec<Self> {
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                all.push(Self::Avx2);
            }
            if is_x86_feature_detected!("gfni")
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx2")
            {
                all.push(Self::Gfni512);
            }
        }
        all
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512 => "GFNI with AVX-512",
        }
    }

    /// Sets each target to the sum of `matrix[target][source] * source`. The matrix is given row by row.
    ///
    /// # Panics
    /// When lengths differ or there are more than [`SOURCES_MAX`] sources.
    pub(super) fn combine(self, matrix: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        let Some(len) = targets.first().map(|target| target.len()) else {
            return;
        };
        assert!(
            (1..=SOURCES_MAX).contains(&sources.len()),
            "too many sources"
        );
        assert_eq!(matrix.len(), sources.len() * targets.len(), "matrix");
        let equal = sources.iter().all(|source| source.len() == len)
            && targets.iter().all(|target| target.len() == len);
        assert!(equal, "sources and targets of one length");
        let width = sources.len();
        for (rows, targets) in matrix.chunks(ROWS * width).zip(targets.chunks_mut(ROWS)) {
            self.combine_few(rows, sources, targets, len);
        }
    }

    /// At most [`ROWS`] targets. Rows of ones are plain sums, for which no table is needed.
    fn combine_few(self, rows: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]], len: usize) {
        let width = sources.len();
        let (mut plain, mut other) = (Vec::new(), Vec::new());
        for (row, target) in rows.chunks(width).zip(targets) {
            let is_plain = row.iter().all(|factor| *factor == 1);
            let list = if is_plain { &mut plain } else { &mut other };
            list.push((row, &mut **target));
        }
        for (_, target) in plain {
            self.sum(sources, target);
        }
        let done = match self {
            Self::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => len / 64 * 64,
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512 => len / 64 * 64,
        };
        self.vectors(sources, &mut other, done);
        for (row, target) in other {
            portable(row, sources, target, done);
        }
    }

    fn sum(self, sources: &[&[u8]], target: &mut [u8]) {
        match self {
            Self::Portable => sum_portable(sources, target),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the kernel is chosen only where the processor has the instructions.
            Self::Avx2 | Self::Gfni512 => unsafe { x86::sum_avx2(sources, target) },
        }
    }

    /// The first `done` bytes of all targets, a multiple of the vectors' length.
    fn vectors(self, sources: &[&[u8]], rows: &mut [(&[u8], &mut [u8])], done: usize) {
        match self {
            Self::Portable => {}
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::dispatch(sources, rows, done, x86::Isa::Avx2),
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512 => x86::dispatch(sources, rows, done, x86::Isa::Gfni512),
        }
    }
}

/// The powers of two of one factor: `factor * 2^bit`.
const fn powers(factor: u8) -> [u8; 8] {
    let mut powers = [0; 8];
    let mut bit = 0;
    while bit < 8 {
        powers[bit] = multiply_slowly(factor, 1 << bit);
        bit += 1;
    }
    powers
}

fn portable(row: &[u8], sources: &[&[u8]], target: &mut [u8], from: usize) {
    let target = &mut target[from..];
    target.fill(0);
    for (factor, source) in row.iter().zip(sources) {
        let powers = powers(*factor);
        for (byte, given) in target.iter_mut().zip(&source[from..]) {
            let mut product = 0;
            for (bit, power) in powers.iter().enumerate() {
                product ^= power & 0u8.wrapping_sub(given >> bit & 1);
            }
            *byte ^= product;
        }
    }
}

fn sum_portable(sources: &[&[u8]], target: &mut [u8]) {
    let Some((first, others)) = sources.split_first() else {
        return;
    };
    target.copy_from_slice(first);
    for source in others {
        for (byte, given) in target.iter_mut().zip(*source) {
            *byte ^= given;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
        _mm256_loadu_si256, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
        _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256, _mm512_gf2p8affine_epi64_epi8,
        _mm512_loadu_si512, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_storeu_si512,
        _mm512_xor_si512,
    };

    use super::{ROWS, SOURCES_MAX, multiply_slowly, powers};

    #[derive(Debug, Clone, Copy)]
    pub(super) enum Isa {
        Avx2,
        Gfni512,
    }

    /// Products with the low and with the high half of a byte.
    type Halves = [[u8; 16]; 2];

    static HALVES: [Halves; 256] = halves();
    static MATRICES: [u64; 256] = matrices();

    #[expect(clippy::cast_possible_truncation, reason = "all values are below 256")]
    const fn halves() -> [Halves; 256] {
        let mut all = [[[0; 16]; 2]; 256];
        let mut factor = 0;
        while factor < 256 {
            let mut value = 0;
            while value < 16 {
                all[factor][0][value] = multiply_slowly(factor as u8, value as u8);
                all[factor][1][value] = multiply_slowly(factor as u8, (value as u8) << 4);
                value += 1;
            }
            factor += 1;
        }
        all
    }

    /// Multiplication by each factor as GF2P8AFFINEQB takes it: byte 7-i holds the bits of the source that bit i of the
    /// product is the sum of (Intel's manual, volume 2, GF2P8AFFINEQB).
    #[expect(clippy::cast_possible_truncation, reason = "all values are below 256")]
    const fn matrices() -> [u64; 256] {
        let mut all = [0; 256];
        let mut factor = 0;
        while factor < 256 {
            let powers = powers(factor as u8);
            let mut bytes = [0u8; 8];
            let mut bit = 0;
            while bit < 8 {
                let mut column = 0;
                while column < 8 {
                    bytes[7 - bit] |= (powers[column] >> bit & 1) << column;
                    column += 1;
                }
                bit += 1;
            }
            all[factor] = u64::from_le_bytes(bytes);
            factor += 1;
        }
        all
    }

    /// Runs the loop made for this number of rows.
    pub(super) fn dispatch(
        sources: &[&[u8]],
        rows: &mut [(&[u8], &mut [u8])],
        len: usize,
        isa: Isa,
    ) {
        match rows {
            [] => {}
            [a] => run([a], sources, len, isa),
            [a, b] => run([a, b], sources, len, isa),
            [a, b, c] => run([a, b, c], sources, len, isa),
            [a, b, c, d] => run([a, b, c, d], sources, len, isa),
            [..] => unreachable!("at most {ROWS} rows come at once"),
        }
    }

    fn run<const N: usize>(
        mut rows: [&mut (&[u8], &mut [u8]); N],
        sources: &[&[u8]],
        len: usize,
        isa: Isa,
    ) {
        assert!(sources.len() <= SOURCES_MAX, "checked by the caller");
        assert!(sources.iter().all(|source| source.len() >= len), "sources");
        let mut factors = [[0; SOURCES_MAX]; N];
        for (factors, (row, _)) in factors.iter_mut().zip(&rows) {
            factors[..row.len()].copy_from_slice(row);
        }
        let targets = rows.each_mut().map(|(_, target)| {
            assert!(target.len() >= len, "targets");
            target.as_mut_ptr()
        });
        // SAFETY: the instructions are there, by the choice of the kernel; sources and targets have `len` bytes, which
        // is a multiple of 64, and targets are exclusive borrows, so nothing overlaps.
        unsafe {
            match isa {
                Isa::Avx2 => avx2(&factors, sources, targets, len),
                Isa::Gfni512 => gfni512(&factors, sources, targets, len),
            }
        }
    }

    /// # Safety
    /// GFNI and AVX-512F are there; sources and targets have `len` bytes, a multiple of 64, and do not overlap.
    #[target_feature(enable = "gfni,avx512f")]
    unsafe fn gfni512<const N: usize>(
        factors: &[[u8; SOURCES_MAX]; N],
        sources: &[&[u8]],
        targets: [*mut u8; N],
        len: usize,
    ) {
        let matrices =
            factors.map(|row| row.map(|factor| MATRICES[usize::from(factor)].cast_signed()));
        let mut at = 0;
        while at + 128 <= len {
            let mut sums = [[_mm512_setzero_si512(); 2]; N];
            for (index, source) in sources.iter().enumerate() {
                // SAFETY: 128 bytes from `at` on lie within the source.
                let (low, high) = unsafe {
                    let start = source.as_ptr().add(at);
                    (load512(start), load512(start.add(64)))
                };
                for (sum, row) in sums.iter_mut().zip(&matrices) {
                    let matrix = _mm512_set1_epi64(row[index]);
                    let product = _mm512_gf2p8affine_epi64_epi8::<0>(low, matrix);
                    sum[0] = _mm512_xor_si512(sum[0], product);
                    let product = _mm512_gf2p8affine_epi64_epi8::<0>(high, matrix);
                    sum[1] = _mm512_xor_si512(sum[1], product);
                }
            }
            for (sum, target) in sums.iter().zip(targets) {
                // SAFETY: 128 bytes from `at` on lie within the target.
                unsafe {
                    _mm512_storeu_si512(target.add(at).cast(), sum[0]);
                    _mm512_storeu_si512(target.add(at + 64).cast(), sum[1]);
                }
            }
            at += 128;
        }
        while at < len {
            let mut sums = [_mm512_setzero_si512(); N];
            for (index, source) in sources.iter().enumerate() {
                // SAFETY: 64 bytes from `at` on lie within the source.
                let piece = unsafe { load512(source.as_ptr().add(at)) };
                for (sum, row) in sums.iter_mut().zip(&matrices) {
                    let matrix = _mm512_set1_epi64(row[index]);
                    let product = _mm512_gf2p8affine_epi64_epi8::<0>(piece, matrix);
                    *sum = _mm512_xor_si512(*sum, product);
                }
            }
            for (sum, target) in sums.iter().zip(targets) {
                // SAFETY: 64 bytes from `at` on lie within the target.
                unsafe { _mm512_storeu_si512(target.add(at).cast(), *sum) };
            }
            at += 64;
        }
    }

    /// # Safety
    /// 64 bytes can be read.
    #[target_feature(enable = "avx512f")]
    unsafe fn load512(from: *const u8) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    /// # Safety
    /// AVX2 is there; sources and targets have `len` bytes, a multiple of 64, and do not overlap.
    #[target_feature(enable = "avx2")]
    unsafe fn avx2<const N: usize>(
        factors: &[[u8; SOURCES_MAX]; N],
        sources: &[&[u8]],
        targets: [*mut u8; N],
        len: usize,
    ) {
        let tables = factors.map(|row| row.map(|factor| &HALVES[usize::from(factor)]));
        let mask = _mm256_set1_epi8(0x0F);
        let mut at = 0;
        while at < len {
            let mut sums = [[_mm256_setzero_si256(); 2]; N];
            for (index, source) in sources.iter().enumerate() {
                // SAFETY: 64 bytes from `at` on lie within the source.
                let pieces = unsafe {
                    let start = source.as_ptr().add(at);
                    [load256(start), load256(start.add(32))]
                };
                let halves = pieces.map(|piece| {
                    let low = _mm256_and_si256(piece, mask);
                    let high = _mm256_and_si256(_mm256_srli_epi64::<4>(piece), mask);
                    (low, high)
                });
                for (sum, row) in sums.iter_mut().zip(&tables) {
                    let low_table = table256(&row[index][0]);
                    let high_table = table256(&row[index][1]);
                    for (sum, (low, high)) in sum.iter_mut().zip(halves) {
                        let low = _mm256_shuffle_epi8(low_table, low);
                        let high = _mm256_shuffle_epi8(high_table, high);
                        *sum = _mm256_xor_si256(*sum, _mm256_xor_si256(low, high));
                    }
                }
            }
            for (sum, target) in sums.iter().zip(targets) {
                // SAFETY: 64 bytes from `at` on lie within the target.
                unsafe {
                    _mm256_storeu_si256(target.add(at).cast(), sum[0]);
                    _mm256_storeu_si256(target.add(at + 32).cast(), sum[1]);
                }
            }
            at += 64;
        }
    }

    /// # Safety
    /// 32 bytes can be read.
    #[target_feature(enable = "avx2")]
    unsafe fn load256(from: *const u8) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn table256(table: &[u8; 16]) -> __m256i {
        // SAFETY: the table has 16 bytes.
        let table: __m128i = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
        _mm256_broadcastsi128_si256(table)
    }

    /// # Safety
    /// AVX2 is there.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn sum_avx2(sources: &[&[u8]], target: &mut [u8]) {
        let len = target.len();
        assert!(sources.iter().all(|source| source.len() == len), "lengths");
        let done = len / 128 * 128;
        let mut at = 0;
        while at < done {
            let mut sums = [_mm256_setzero_si256(); 4];
            for source in sources {
                for (sum, step) in sums.iter_mut().zip([0, 32, 64, 96]) {
                    // SAFETY: 128 bytes from `at` on lie within the source.
                    let piece = unsafe { load256(source.as_ptr().add(at + step)) };
                    *sum = _mm256_xor_si256(*sum, piece);
                }
            }
            for (sum, step) in sums.iter().zip([0, 32, 64, 96]) {
                // SAFETY: 128 bytes from `at` on lie within the target.
                unsafe { _mm256_storeu_si256(target.as_mut_ptr().add(at + step).cast(), *sum) };
            }
            at += 128;
        }
        let rest: smallvec::SmallVec<[&[u8]; SOURCES_MAX]> =
            sources.iter().map(|source| &source[done..]).collect();
        super::sum_portable(&rest, &mut target[done..]);
    }
}
