//! Vectors of any width in plain Rust, for tests alone: the algorithms with 4 lanes (as NEON has) and
//! with 16 lanes and many registers (as AVX-512 has), whatever CPU the tests run on.

use super::{Integers, Simd};
use crate::{
    exp::MAGIC,
    formats::{bf16, f16},
};

#[derive(Clone, Copy)]
pub(super) struct Soft<const N: usize>;

impl<const N: usize> Soft<N> {
    fn here() -> Self {
        Soft
    }
    /// # Safety
    /// `p` is valid for reading N elements.
    unsafe fn read<T: Copy>(p: *const T) -> [T; N] {
        // SAFETY: by contract.
        unsafe { p.cast::<[T; N]>().read_unaligned() }
    }
}

impl<const N: usize> Simd for Soft<N> {
    type V = [f32; N];
    type M = [bool; N];

    const LANES: usize = N;
    const ROWS: usize = if N == 16 { 12 } else { 8 };
    const MANY_REGISTERS: bool = true;

    #[inline(never)]
    fn splat(self, value: f32) -> [f32; N] {
        [value; N]
    }
    #[inline(never)]
    unsafe fn load(self, p: *const f32) -> [f32; N] {
        // SAFETY: by contract.
        unsafe { Self::read(p) }
    }
    #[inline(never)]
    unsafe fn load_f16(self, p: *const u16) -> [f32; N] {
        // SAFETY: by contract.
        unsafe { Self::read(p) }.map(f16::to_f32)
    }
    #[inline(never)]
    unsafe fn load_scale_and_min(self, p: *const u16) -> [[f32; N]; 2] {
        // SAFETY: by contract.
        let both = unsafe { Self::read(p) }.map(crate::scale_and_min);
        [both.map(|(scale, _)| scale), both.map(|(_, min)| min)]
    }
    #[inline(never)]
    unsafe fn load_bf16(self, p: *const u16) -> [f32; N] {
        // SAFETY: by contract.
        unsafe { Self::read(p) }.map(bf16::to_f32)
    }
    #[inline(never)]
    unsafe fn load_i8(self, p: *const i8) -> [f32; N] {
        // SAFETY: by contract.
        unsafe { Self::read(p) }.map(f32::from)
    }
    #[inline(never)]
    unsafe fn store(self, p: *mut f32, v: [f32; N]) {
        // SAFETY: by contract.
        unsafe { p.cast::<[f32; N]>().write_unaligned(v) }
    }
    #[inline(never)]
    unsafe fn store_f16(self, p: *mut u16, v: [f32; N]) {
        // SAFETY: by contract.
        unsafe { p.cast::<[u16; N]>().write_unaligned(v.map(f16::from_f32)) }
    }

    #[inline(never)]
    fn fma(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| a[l].mul_add(b[l], c[l]))
    }
    #[inline(never)]
    fn add(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| a[l] + b[l])
    }
    #[inline(never)]
    fn sub(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| a[l] - b[l])
    }
    #[inline(never)]
    fn mul(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| a[l] * b[l])
    }
    #[inline(never)]
    fn div(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| a[l] / b[l])
    }
    #[inline(never)]
    fn max(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| if a[l] > b[l] { a[l] } else { b[l] })
    }
    #[inline(never)]
    fn min(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| if a[l] < b[l] { a[l] } else { b[l] })
    }
    #[inline(never)]
    fn abs(self, a: [f32; N]) -> [f32; N] {
        a.map(f32::abs)
    }
    #[inline(never)]
    fn neg(self, a: [f32; N]) -> [f32; N] {
        a.map(|a| -a)
    }
    #[inline(never)]
    fn fold(self, mut a: [f32; N]) -> f32 {
        let mut half = N / 2;
        while half > 0 {
            for l in 0..half {
                a[l] += a[l + half];
            }
            half /= 2;
        }
        a[0]
    }
    #[inline(never)]
    fn scale_by_power(self, p: [f32; N], z: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| {
            let n = z[l].to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
            let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
            p[l] * power(n >> 1) * power(n.wrapping_sub(n >> 1))
        })
    }
    #[inline(never)]
    fn not_le(self, a: [f32; N], b: [f32; N]) -> [bool; N] {
        std::array::from_fn(|l| {
            let le = a[l] <= b[l];
            !le
        })
    }
    #[inline(never)]
    fn count(self, m: [bool; N]) -> usize {
        m.into_iter().filter(|&m| m).count()
    }
    #[inline(never)]
    fn keep(self, m: [bool; N], v: [f32; N]) -> [f32; N] {
        std::array::from_fn(|l| if m[l] { v[l] } else { 0.0 })
    }
    #[inline(never)]
    unsafe fn compress(self, m: [bool; N], base: u32, p: *mut u32) -> usize {
        let mut indices = [u32::MAX; N];
        let mut count = 0;
        for (l, _) in m.iter().enumerate().filter(|(_, m)| **m) {
            indices[count] = base + l as u32;
            count += 1;
        }
        // All of them, as the vectors do.
        // SAFETY: by contract.
        unsafe { p.cast::<[u32; N]>().write_unaligned(indices) };
        count
    }

    #[inline(never)]
    fn prefetch(self, _: *const u8) {}
    #[inline(always)]
    fn prefetch_l2(self, _: *const u8) {}
}

impl<const N: usize> Integers for Soft<N> {
    type I16 = [[i16; N]; 2];
    type I32 = [i32; N];
    type Steps = [i8; 16];
    type Screen = ([u8; 32], [i8; 2]);
    type Bytes = [[u8; 4]; N];
    type Sums4 = [i16; N];
    type Sums8 = [i32; N];

    const TOKENS: [usize; 2] = if N == 4 { [1, 2] } else { [2, 4] };

    #[inline(never)]
    fn zero_i32(self) -> [i32; N] {
        [0; N]
    }
    #[inline(never)]
    unsafe fn load_i16(self, p: *const i16) -> [[i16; N]; 2] {
        // SAFETY: by contract.
        unsafe { [Self::read(p), Self::read(p.add(N))] }
    }
    #[inline(never)]
    unsafe fn add_products_i8(self, sums: [i32; N], x: [[i16; N]; 2], w: *const i8) -> [i32; N] {
        // SAFETY: by contract.
        let w: [[i8; N]; 2] = unsafe { [Self::read(w), Self::read(w.add(N))] };
        let product = |half: usize, l: usize| i32::from(x[half][l]) * i32::from(w[half][l]);
        std::array::from_fn(|l| sums[l].wrapping_add(product(0, l)).wrapping_add(product(1, l)))
    }
    #[inline(never)]
    unsafe fn screen_steps(self, steps: *const u8) -> [i8; 16] {
        // SAFETY: by contract.
        unsafe { steps.cast::<[i8; 16]>().read() }
    }
    #[inline(never)]
    unsafe fn screen_block(self, w: *const u8, steps: [i8; 16], b: usize) -> ([u8; 32], [i8; 2]) {
        // SAFETY: by contract.
        (unsafe { w.cast::<[u8; 32]>().read() }, [steps[2 * b], steps[2 * b + 1]])
    }
    #[inline(never)]
    unsafe fn add_screen_block(self, mut sums: [i32; N], x: *const i8, (w, steps): ([u8; 32], [i8; 2])) -> [i32; N] {
        // SAFETY: by contract.
        let x = unsafe { x.cast::<[i8; 64]>().read() };
        for (k, x) in x.into_iter().enumerate() {
            let q = i32::from(if k < 32 { w[k] & 15 } else { w[k - 32] >> 4 });
            sums[k % N] = sums[k % N].wrapping_add(q * i32::from(x) * i32::from(steps[k / 32]));
        }
        sums
    }
    #[inline(never)]
    fn sum_i32(self, a: [i32; N]) -> i32 {
        a.into_iter().fold(0, i32::wrapping_add)
    }

    #[inline(never)]
    unsafe fn pairs_i8(self, x: [[i16; N]; 2], w: *const i8) -> [f32; N] {
        std::array::from_fn(|l| {
            let product = |k: usize| {
                // SAFETY: k < 2N.
                i32::from(x[k / N][k % N]) * i32::from(unsafe { *w.add(k) })
            };
            (product(2 * l) + product(2 * l + 1)) as f32
        })
    }
    // Places ascend, 4 of each register to a lane as everywhere.
    #[inline(never)]
    unsafe fn quad(self, rows: [*const u8; 4], bytes: usize) -> [[[u8; 4]; N]; 4] {
        let at = |place: usize| {
            // SAFETY: by contract.
            rows.map(|row| if place < bytes { unsafe { *row.add(place) } } else { 0xff })
        };
        std::array::from_fn(|j| std::array::from_fn(|l| at(j * N + l)))
    }
    #[inline(never)]
    fn quad_in_order(self, quad: [[[u8; 4]; N]; 4]) -> [[[u8; 4]; N]; 4] {
        quad
    }
    #[inline(never)]
    fn sums_in_order(self, sums: [[i32; N]; 4]) -> [[i32; N]; 4] {
        sums
    }
    #[inline(never)]
    fn nibbles(self, bytes: [[u8; 4]; N]) -> [[[u8; 4]; N]; 2] {
        [bytes.map(|place| place.map(|byte| byte & 15)), bytes.map(|place| place.map(|byte| byte >> 4))]
    }
    #[inline(never)]
    fn whole(self, bytes: [[u8; 4]; N]) -> [[u8; 4]; N] {
        bytes
    }
    #[inline(never)]
    fn splat_quad(self, x: i32) -> [[u8; 4]; N] {
        [x.to_le_bytes(); N]
    }
    #[inline(never)]
    fn zero4(self) -> [i16; N] {
        [0; N]
    }
    #[inline(never)]
    fn dot_u4(self, sums: [i16; N], w: [[u8; 4]; N], x: [[u8; 4]; N]) -> [i16; N] {
        // An overflow panics.
        std::array::from_fn(|l| {
            (0..4).fold(sums[l], |sum, r| sum + i16::from(w[l][r]) * i16::from(x[l][r].cast_signed()))
        })
    }
    #[inline(never)]
    fn sums4(self, sums: [i16; N]) -> [i32; N] {
        sums.map(i32::from)
    }
    #[inline(never)]
    fn start8(self, _: i32) -> [i32; N] {
        [0; N]
    }
    #[inline(never)]
    fn dot_i8(self, sums: [i32; N], w: [[u8; 4]; N], x: [[u8; 4]; N]) -> [i32; N] {
        std::array::from_fn(|l| {
            (0..4).fold(sums[l], |sum, r| sum + i32::from(w[l][r].cast_signed()) * i32::from(x[l][r].cast_signed()))
        })
    }
    #[inline(never)]
    fn sums8(self, sums: [i32; N], _: i32) -> [i32; N] {
        sums
    }
    #[inline(never)]
    fn limbs(self, high: [i32; N], low: [i32; N]) -> [i32; N] {
        std::array::from_fn(|l| 128 * high[l] + low[l])
    }
    #[inline(never)]
    fn to_f32(self, a: [i32; N]) -> [f32; N] {
        a.map(|a| a as f32)
    }
}

// A feature that every x86-64 CPU has stands in for none.
mod four {
    use crate::operations::{Table, entry_points, operations, table_of, types::*};
    pub(super) static TABLE: Table = operations! { table_of crate::Isa::Scalar };
    operations! { entry_points super::Soft<4>, "sse2" }
}
mod sixteen {
    use crate::operations::{Table, entry_points, operations, table_of, types::*};
    pub(super) static TABLE: Table = operations! { table_of crate::Isa::Scalar };
    operations! { entry_points super::Soft<16>, "sse2" }
}

mod tests {
    use crate::{
        Activation, Active, Elems, Kernels, MatMut, MatRef, Matrix, QuantType, Quantized, QuantizedRef, QuantizedRows,
        ScreenInput, ScreenRows, prefetch::Prefetch,
    };

    fn menus() -> [(&'static str, Kernels); 5] {
        let menu = |table, prefetch| Kernels { table, prefetch };
        [
            ("4 lanes", menu(&super::four::TABLE, Prefetch::Far)),
            ("16 lanes", menu(&super::sixteen::TABLE, Prefetch::Near)),
            ("4 lanes, few rows", menu(&super::four::TABLE, Prefetch::Few)),
            ("16 lanes, few rows", menu(&super::sixteen::TABLE, Prefetch::Few)),
            ("16 lanes, few of short rows", menu(&super::sixteen::TABLE, Prefetch::FewIfShort)),
        ]
    }

    fn truth() -> Kernels {
        Kernels::new(&crate::scalar::TABLE)
    }

    /// Numbers of many magnitudes, by a linear congruence (Knuth's MMIX), some of them zero.
    struct Numbers(u64);

    impl Numbers {
        fn bits(&mut self) -> u32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 32) as u32
        }
        fn next(&mut self) -> f32 {
            let value = self.bits() as f32 / (1u32 << 31) as f32 - 1.0;
            match self.bits() % 12 {
                0 => 0.0,
                1 => -0.0,
                2 => value * 1e-24,
                3 => value * 8.0,
                _ => value,
            }
        }
        fn take(&mut self, n: usize) -> Vec<f32> {
            (0..n).map(|_| self.next()).collect()
        }
    }

    #[track_caller]
    fn same(got: &[f32], want: &[f32], context: &str) {
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(got), bits(want), "{context}");
    }

    /// Miri takes its time.
    const SIZES: &[usize] = if cfg!(miri) { &[0, 3, 17] } else { &[0, 1, 3, 4, 7, 15, 16, 17, 31, 33, 64, 100, 301] };

    #[test]
    fn products() {
        let numbers = &mut Numbers(1);
        for &rows in SIZES {
            for &cols in SIZES {
                let stride = cols + 3;
                let values = numbers.take(rows * stride);
                let f16: Vec<_> = values.iter().map(|&v| half::f16::from_f32(v).to_bits()).collect();
                let bf16: Vec<_> = values.iter().map(|&v| half::bf16::from_f32(v).to_bits()).collect();
                for elems in [Elems::F32(&values), Elems::F16(&f16), Elems::Bf16(&bf16)] {
                    let w = Matrix::new(elems, rows, cols, stride).unwrap();
                    let active: Vec<_> = (0..rows as u32).filter(|_| !numbers.bits().is_multiple_of(3)).collect();
                    let active = Active::from_checked(&active, rows).unwrap();
                    for tokens in [1, 2, 3, 7, 12, 13, 26] {
                        let x = numbers.take(tokens * rows);
                        let x = MatRef::new(&x, tokens, rows, rows).unwrap();
                        let row_x = numbers.take(tokens * cols);
                        let row_x = MatRef::new(&row_x, tokens, cols, cols).unwrap();
                        let start = numbers.take(tokens * cols);
                        let run = |menu: Kernels| {
                            let mut gemm = start.clone();
                            menu.gemm(MatMut::new(&mut gemm, tokens, cols, cols).unwrap(), x, w);
                            let mut sparse = start[..cols].to_vec();
                            menu.gemv_sparse(&mut sparse, x.row(0), active, w);
                            let mut dots = vec![1.0; tokens * rows];
                            menu.dot_rows_many(MatMut::new(&mut dots, tokens, rows, rows).unwrap(), row_x, w);
                            [gemm, sparse, dots]
                        };
                        // The scalar truth takes its time: not every combination.
                        if rows * cols * tokens > 40_000 && !numbers.bits().is_multiple_of(4) {
                            continue;
                        }
                        let want = run(truth());
                        for (name, menu) in menus() {
                            for (got, want) in run(menu).iter().zip(&want) {
                                same(got, want, &format!("{name}: [{rows}, {cols}], {tokens} tokens"));
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn integer_products() {
        let numbers = &mut Numbers(3);
        for &rows in SIZES {
            for (hot, blocks) in [(0, 1), (32, 0), (32, 1), (64, 2), (0, 9), (64, 11)] {
                let x: Vec<i16> = (0..hot).map(|_| numbers.bits() as i16).collect();
                let cold: Vec<i8> = (0..64 * blocks).map(|_| (numbers.bits() as i8).max(-127)).collect();
                let mut eights = vec![0; ScreenInput::scratch(64 * blocks)];
                let x = ScreenInput::new(&x, &cold, &mut eights, [0.5, 0.01]).unwrap();
                let bytes = rows * ScreenRows::row_bytes(hot, 64 * blocks);
                let data: Vec<u8> = (0..bytes).map(|_| numbers.bits() as u8).collect();
                let scale = numbers.take(2 * rows);
                let w = ScreenRows::new(&data, &scale, rows, hot, 64 * blocks).unwrap();
                let run = |menu: Kernels| {
                    let mut y = vec![1.0; rows];
                    menu.dot_rows_screen(&mut [&mut y], &[x], w);
                    y
                };
                for (name, menu) in menus() {
                    same(&run(menu), &run(truth()), &format!("{name}: {rows} rows of {hot} and {blocks} blocks"));
                }
            }
        }
    }

    #[test]
    fn quantized_products() {
        let numbers = &mut Numbers(4);
        // Rows of the last one are long, see `crate::prefetch`.
        let shapes = [(32, 32), (64, 544), (288, 96), (64, 4160)];
        for &(rows, cols) in if cfg!(miri) { &shapes[..1] } else { &shapes[..] } {
            for whole in QuantType::ALL {
                let data: Vec<u8> = (0..rows * whole.row_bytes(cols)).map(|_| numbers.bits() as u8).collect();
                let scale: Vec<u16> = (0..rows / 32 * cols).map(|_| numbers.bits() as u16 & 0x3bff).collect();
                let min = if whole.has_minima() { scale.as_slice() } else { &[] };
                let w = Quantized::interleaved(whole, &data, &scale, min, rows, cols).unwrap();
                let data: Vec<i8> = (0..cols * rows).map(|_| numbers.bits() as i8).collect();
                let by_rows = QuantizedRows::new(&data, &scale[..cols * rows / 32], cols, rows).unwrap();
                let active: Vec<_> = (0..rows as u32).filter(|_| !numbers.bits().is_multiple_of(3)).collect();
                let active = Active::from_checked(&active, rows).unwrap();
                let (tokens, x) = (7, numbers.take(7 * rows));
                let run = |menu: Kernels| {
                    let (mut x_whole, mut x_scale) = (vec![0; 7 * rows], vec![0.0; 7 * rows / 32]);
                    menu.quantize(&mut x_whole, &mut x_scale, &x, 1.5);
                    let x = QuantizedRef::new(&x_whole, &x_scale, tokens, rows).unwrap();
                    let mut y = vec![0.5; (2 * tokens + 2) * cols];
                    let (gemm, rest) = y.split_at_mut(tokens * cols);
                    let (dots, rest) = rest.split_at_mut(tokens * cols);
                    let (sparse, dense) = rest.split_at_mut(cols);
                    menu.gemm_q(MatMut::new(gemm, tokens, cols, cols).unwrap(), x, w);
                    menu.dot_rows_many_q(MatMut::new(dots, tokens, cols, cols).unwrap(), x, by_rows);
                    menu.gemv_sparse_q(sparse, x.row(1).0, x.row(1).1, active, w);
                    menu.gemv_q(dense, x.row(1).0, x.row(1).1, w);
                    y
                };
                for (name, menu) in menus() {
                    same(&run(menu), &run(truth()), &format!("{name}: {whole:?} [{rows}, {cols}]"));
                }
            }
        }
    }

    #[test]
    fn everything_else() {
        let numbers = &mut Numbers(2);
        for &n in SIZES {
            let (a, b) = (numbers.take(2 * n), numbers.take(n));
            let halves: Vec<u16> = (0..n).map(|_| numbers.bits() as u16 & 0x7bff).collect();
            let run = |menu: Kernels| {
                let mut all = vec![];
                let mut y = vec![0.0; n];
                menu.rms_norm(&mut y, &a[..n], &b, 1e-6);
                all.extend_from_slice(&y);
                y.copy_from_slice(&a[..n]);
                menu.softmax(&mut y, 3.0);
                all.extend_from_slice(&y);
                for bias in [None, Some(&a[n..])] {
                    menu.layer_norm(&mut y, &a[..n], &b, bias, 1e-6);
                    all.extend_from_slice(&y);
                }
                menu.soft_cap(&mut y, 0.7);
                all.extend_from_slice(&y);
                for kind in Activation::ALL {
                    for up in [None, Some(&*b)] {
                        menu.activate(kind, &mut y, &a[..n], up);
                        all.extend_from_slice(&y);
                    }
                }
                menu.add(&mut y, &b);
                all.extend_from_slice(&y);
                menu.widen(&mut y, Elems::F16(&halves));
                all.extend_from_slice(&y);
                let mut x = a.clone();
                menu.rope(&mut x, &b, &y);
                all.extend_from_slice(&x);
                let mut narrow = vec![0; n];
                menu.narrow_f16(&mut narrow, &b);
                let mut out = vec![0; n];
                let active = menu.select(&a[..n], Some(&b), 0.1, &mut out).as_slice().to_vec();
                let count = menu.mask(&mut y, &a[..n], Some(&b), 0.1);
                all.extend_from_slice(&y);
                assert_eq!(count, active.len());
                (all, narrow, active)
            };
            let want = run(truth());
            for (name, menu) in menus() {
                let got = run(menu);
                same(&got.0, &want.0, &format!("{name}: {n}"));
                assert_eq!((got.1, got.2), (want.1.clone(), want.2.clone()), "{name}: {n}");
            }
        }
    }
}
