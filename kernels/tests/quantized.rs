//! Products in whole numbers: every instruction set has the scalar bits, and the forms agree with one another.

mod common;

use common::*;
use rasp_kernels::{
    Active, Kernels, MatMut, NARROW, PACKED_ROWS, PackedGroup, QUANT_GROUP, QuantType, Quantized, QuantizedRef,
    QuantizedRows, WIDE,
};

const ROWS: [usize; 6] = [0, 32, 64, 96, 256, 576];
const COLS: [usize; 8] = [0, 32, 64, 96, 128, 160, 192, 416];
/// More columns than a kernel takes at a time.
const MANY_COLS: [(usize, usize); 2] = [(96, 6_176), (32, 12_352)];

/// A matrix that owns its memory.
struct Store {
    whole: QuantType,
    data: Vec<u8>,
    scale: Vec<u16>,
    min: Vec<u16>,
    rows: usize,
    cols: usize,
    interleaved: bool,
}

fn f16s(kind: Kind, rng: &mut Rng, n: usize) -> Vec<u16> {
    kind.values(rng, n).into_iter().map(|v| half::f16::from_f32(v / 16.0).to_bits()).collect()
}

impl Store {
    fn new(whole: QuantType, kind: Kind, rng: &mut Rng, rows: usize, cols: usize) -> Store {
        // The largest numbers, of both signs, and anything between.
        let byte = |rng: &mut Rng| [0x80, 0x7f, 0xff, 0][rng.below(4)];
        let wild = rng.below(3) == 0;
        let data = (0..rows * whole.row_bytes(cols)).map(|_| if wild { byte(rng) } else { rng.bits() as u8 }).collect();
        let groups = rows / QUANT_GROUP * cols;
        // All bits are scales and minima, from the smallest to the largest.
        let scale = match whole.format().shared[0].f16 {
            false => (0..groups).map(|_| rng.bits() as u16).collect(),
            true => f16s(kind, rng, groups),
        };
        let min = if whole.has_minima() { f16s(kind, rng, scale.len()) } else { vec![] };
        Store { whole, data, scale, min, rows, cols, interleaved: rng.below(2) == 0 }
    }

    fn view(&self) -> Quantized<'_> {
        let new = if self.interleaved { Quantized::interleaved } else { Quantized::new };
        new(self.whole, &self.data, &self.scale, &self.min, self.rows, self.cols).unwrap()
    }

    /// A weight, by the format's words.
    fn at(&self, k: usize, c: usize) -> f64 {
        let view = self.view();
        let row = view.row(k);
        let f16 = |bits: u16| f64::from(half::f16::from_bits(bits).to_f32());
        let bits = view.scale(k / QUANT_GROUP)[c];
        let scale = f16(bits);
        match self.whole {
            QuantType::Q4s => {
                let byte = row[c / 32 * 16 + c % 16];
                let q = if c % 32 < 16 { byte & 15 } else { byte >> 4 };
                let (exponent, mantissa, offset) = (bits >> 11, bits >> 6 & 31, bits & 63);
                let scale = f64::exp2(f64::from(exponent) - 20.0) * (1.0 + f64::from(mantissa) / 32.0);
                scale * (f64::from(q) - f64::from(offset) / 4.0)
            }
            QuantType::Q8 => scale * f64::from(row[c].cast_signed()),
            QuantType::Q4 => {
                let byte = row[c / 32 * 16 + c % 16];
                let q = if c % 32 < 16 { byte & 15 } else { byte >> 4 };
                scale * f64::from(q) + f16(view.min(k / QUANT_GROUP)[c])
            }
        }
    }
}

/// Activations in whole numbers: all groups wide, or some, or none.
fn activations(menu: Kernels, kind: Kind, rng: &mut Rng, n: usize) -> (Vec<f32>, Vec<i16>, Vec<f32>) {
    let wide_from = WIDE_FROM[rng.below(3)];
    activations_wide_from(menu, kind, rng, n, wide_from)
}

/// Of uniform numbers the largest of 32 is some 1.7 times the root mean square.
const WIDE_FROM: [f32; 3] = [0.0, 1.69, 4.0];

fn activations_wide_from(
    menu: Kernels,
    kind: Kind,
    rng: &mut Rng,
    n: usize,
    wide_from: f32,
) -> (Vec<f32>, Vec<i16>, Vec<f32>) {
    let x = kind.values(rng, n);
    let (mut whole, mut scale) = (vec![1; n], vec![f32::NAN; n / QUANT_GROUP]);
    menu.quantize(&mut whole, &mut scale, &x, wide_from);
    (x, whole, scale)
}

fn channels(rng: &mut Rng, n: usize, share: f32) -> Vec<u32> {
    (0..n as u32).filter(|_| (rng.unit() + 1.0) / 2.0 < share).collect()
}

#[test]
fn activations_have_the_scalar_bits() {
    let rng = &mut Rng(21);
    for kind in KINDS {
        for n in [0, 32, 64, 576, 1536] {
            for round in 0..21 {
                let x = kind.values(rng, n);
                let run = |menu: Kernels| {
                    let (mut whole, mut scale) = (vec![1; n], vec![f32::NAN; n / QUANT_GROUP]);
                    menu.quantize(&mut whole, &mut scale, &x, WIDE_FROM[round % 3]);
                    (whole, scale)
                };
                let (want, want_scale) = run(scalar());
                for menu in vector_menus() {
                    let (got, scale) = run(menu);
                    assert_eq!(got, want, "{menu:?} {kind:?}");
                    same_bits(&scale, &want_scale, format!("{menu:?} {kind:?}"));
                }
                let squares: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
                let widest = f64::from(WIDE_FROM[round % 3]) * (squares / n as f64).sqrt();
                for (g, x) in x.chunks(QUANT_GROUP).enumerate() {
                    let limit = want[g * QUANT_GROUP..][..QUANT_GROUP].iter().map(|q| q.abs()).max().unwrap();
                    let largest = x.iter().fold(0.0, |largest, x| f64::from(x.abs()).max(largest));
                    if (squares as f32).is_finite() && largest > 1e-30 {
                        assert!([NARROW, WIDE].contains(&limit), "{limit}");
                        // The sum is rounded.
                        assert!((largest - widest) * f64::from(limit - 5000) > -1e-3 * largest, "{largest} {widest}");
                    }
                    if x.iter().any(|x| !x.is_finite()) {
                        assert!(want_scale[g].is_nan());
                        continue;
                    }
                    for (k, &x) in x.iter().enumerate() {
                        let back = f64::from(want_scale[g]) * f64::from(want[g * QUANT_GROUP + k]);
                        let allowed = 0.51 * f64::from(want_scale[g]) + 1e-33;
                        assert!((back - f64::from(x)).abs() <= allowed, "{x} became {back}");
                    }
                }
            }
        }
    }
    let mut whole = [1; 32];
    let mut scale = [1.0];
    for x in [0.0, 1e-36, -1e-40] {
        scalar().quantize(&mut whole, &mut scale, &[x; 32], 4.0);
        assert_eq!((whole, scale), ([0; 32], [0.0]), "{x}");
    }
}

#[test]
fn column_form_has_the_scalar_bits() {
    let rng = &mut Rng(22);
    for kind in KINDS {
        for whole in QuantType::ALL {
            let shapes = ROWS.into_iter().flat_map(|rows| COLS.map(|cols| (rows, cols)));
            for (rows, cols) in shapes.chain(MANY_COLS) {
                let store = Store::new(whole, kind, rng, rows, cols);
                let w = store.view();
                let (_, x, x_scale) = activations(scalar(), kind, rng, rows);
                let y = kind.values(rng, cols);
                let mut want = y.clone();
                scalar().gemv_q(&mut want, &x, &x_scale, w);
                let share = [0.0, 0.02, 0.1, 0.5, 1.0][rng.below(5)];
                let active = channels(rng, rows, share);
                let active = Active::from_checked(&active, rows).unwrap();
                let mut want_sparse = y.clone();
                let read = scalar().gemv_sparse_q(&mut want_sparse, &x, &x_scale, active, w);
                for menu in vector_menus() {
                    let context = format!("{menu:?} {kind:?} {whole:?} [{rows}, {cols}]");
                    let mut got = y.clone();
                    menu.gemv_q(&mut got, &x, &x_scale, w);
                    same_bits(&got, &want, &context);
                    let mut got = y.clone();
                    assert_eq!(menu.gemv_sparse_q(&mut got, &x, &x_scale, active, w), read, "{context}");
                    same_bits(&got, &want_sparse, format!("{share} of {context}"));
                }
            }
        }
    }
}

#[test]
fn a_part_of_the_columns_and_many_tokens() {
    let rng = &mut Rng(23);
    // What was packed before is forgotten.
    let mut packed = vec![PackedGroup::NONE; 18];
    for whole in QuantType::ALL {
        for (rows, cols) in [(0, 64), (32, 32), (96, 160), (576, 192)] {
            let store = Store::new(whole, Kind::Tame, rng, rows, cols);
            for tokens in [0, 1, 2, 3, 4, 5, 7, 8, 13, 67] {
                let (_, x, x_scale) = activations(scalar(), Kind::Tame, rng, tokens * rows);
                let x = QuantizedRef::new(&x, &x_scale, tokens, rows).unwrap();
                let stride = cols + 7;
                let y = Kind::Tame.values(rng, tokens * stride);
                let mut want = y.clone();
                for m in 0..tokens {
                    let (x, x_scale) = x.row(m);
                    scalar().gemv_q(&mut want[m * stride..][..cols], x, x_scale, store.view());
                }
                for menu in all_menus() {
                    let mut got = y.clone();
                    let all = MatMut::new(&mut got, tokens, cols, stride).unwrap();
                    // Threads cut outputs, and blocks cut channels.
                    let (left, right) = all.split_at_col(32);
                    menu.gemm_q(left, x, store.view().columns(0..32));
                    menu.gemm_q(right, x, store.view().columns(32..cols));
                    same_bits(&got, &want, format!("{menu:?} {whole:?} [{rows}, {cols}], {tokens} tokens"));
                    // Whoever has packed them.
                    for packing in [menu, scalar()] {
                        let mut got = y.clone();
                        for first in (0..tokens).step_by(PACKED_ROWS) {
                            let some = first..tokens.min(first + PACKED_ROWS);
                            packing.pack(&mut packed[..rows / QUANT_GROUP], x.row_range(some.clone()));
                            let y = MatMut::new(&mut got[first * stride..], some.len(), cols, stride).unwrap();
                            let (left, right) = y.split_at_col(32);
                            let packed = &packed[..rows / QUANT_GROUP];
                            menu.gemm_packed(left, packed, store.view().columns(0..32));
                            menu.gemm_packed(right, packed, store.view().columns(32..cols));
                        }
                        same_bits(&got, &want, format!("packed, {menu:?} {whole:?} [{rows}, {cols}], {tokens} tokens"));
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "gemm_quantized: y.rows() == x.rows()")]
fn packed_tokens_have_outputs() {
    let store = Store::new(QuantType::Q8, Kind::Tame, &mut Rng(25), 32, 32);
    let mut packed = [PackedGroup::NONE];
    scalar().pack(&mut packed, QuantizedRef::new(&[1; 3 * 32], &[1.0; 3], 3, 32).unwrap());
    scalar().gemm_packed(MatMut::new(&mut [0.0; 64], 2, 32, 32).unwrap(), &packed, store.view());
}

#[test]
fn row_form_has_the_scalar_bits() {
    let rng = &mut Rng(24);
    for kind in KINDS {
        for rows in [0, 1, 2, 3, 7, 8, 9, 64, 65, 130] {
            for cols in [0, 32, 64, 128, 256, 288, 512, 544, 576] {
                let data: Vec<i8> = (0..rows * cols).map(|_| rng.bits() as i8).collect();
                let scale = f16s(kind, rng, rows * cols / QUANT_GROUP);
                let w = QuantizedRows::new(&data, &scale, rows, cols).unwrap();
                for tokens in [1, 3] {
                    let (_, x, x_scale) = activations(scalar(), kind, rng, tokens * cols);
                    let x = QuantizedRef::new(&x, &x_scale, tokens, cols).unwrap();
                    let run = |menu: Kernels| {
                        let mut y = vec![f32::NAN; tokens * rows];
                        menu.dot_rows_many_q(MatMut::new(&mut y, tokens, rows, rows).unwrap(), x, w);
                        y
                    };
                    let want = run(scalar());
                    for menu in vector_menus() {
                        let context = format!("{menu:?} {kind:?} [{rows}, {cols}]");
                        same_bits(&run(menu), &want, &context);
                        let mut one = vec![f32::NAN; rows];
                        let (x, x_scale) = x.row(tokens - 1);
                        menu.dot_rows_q(&mut one, x, x_scale, w);
                        same_bits(&one, &want[(tokens - 1) * rows..], &context);
                        some_rows(rng, &one, &context, |y, active| {
                            menu.dot_rows_sparse_q(y, x, x_scale, active, w);
                        });
                    }
                }
            }
        }
    }
}

/// A channel left out and a channel whose input is zero: the same numbers.
#[test]
fn sparse_equals_zeroed() {
    let rng = &mut Rng(25);
    for whole in QuantType::ALL {
        let store = Store::new(whole, Kind::Tame, rng, 576, 96);
        for share in [0.0, 0.01, 0.3, 0.9, 1.0] {
            let (_, x, x_scale) = activations(scalar(), Kind::Tame, rng, 576);
            let active = channels(rng, 576, share);
            let mut zeroed = vec![0; 576];
            active.iter().for_each(|&k| zeroed[k as usize] = x[k as usize]);
            let active = Active::from_checked(&active, 576).unwrap();
            for menu in all_menus() {
                let (mut sparse, mut dense) = (vec![0.5; 96], vec![0.5; 96]);
                menu.gemv_sparse_q(&mut sparse, &x, &x_scale, active, store.view());
                menu.gemv_q(&mut dense, &zeroed, &x_scale, store.view());
                assert_eq!(sparse, dense, "{menu:?} {whole:?} {share}");
            }
        }
    }
}

/// Against sums in f64 of the weights and inputs themselves: rounding inputs is all that may show.
#[test]
fn products_are_products() {
    let rng = &mut Rng(26);
    let close = |got: f32, terms: &mut dyn Iterator<Item = (f64, f64)>, largest: i16| {
        let (mut sum, mut size) = (0.0, 0.0);
        for (x, w) in terms {
            sum += x * w;
            size += w.abs();
        }
        // Half a step of the largest input for each weight; sums in f32 cost less.
        assert!((f64::from(got) - sum).abs() <= size * 2.0 * 0.51 / f64::from(largest) + 1e-30, "{got} is not {sum}");
    };
    for (whole, largest) in QuantType::ALL.into_iter().flat_map(|whole| [(whole, NARROW), (whole, WIDE)]) {
        let store = Store::new(whole, Kind::Tame, rng, 576, 64);
        let wide_from = if largest == WIDE { 0.0 } else { 4.0 };
        let (x, q, scale) = activations_wide_from(scalar(), Kind::Tame, rng, 576, wide_from);
        let mut y = vec![0.0; 64];
        scalar().gemv_q(&mut y, &q, &scale, store.view());
        for (c, &y) in y.iter().enumerate() {
            close(y, &mut (0..576).map(|k| (f64::from(x[k]), store.at(k, c))), largest);
        }
    }
    let data: Vec<i8> = (0..5 * 576).map(|_| rng.bits() as i8).collect();
    let scales = f16s(Kind::Tame, rng, 5 * 18);
    let w = QuantizedRows::new(&data, &scales, 5, 576).unwrap();
    let (x, q, scale) = activations_wide_from(scalar(), Kind::Tame, rng, 576, 0.0);
    let mut y = vec![0.0; 5];
    scalar().dot_rows_q(&mut y, &q, &scale, w);
    for (n, &y) in y.iter().enumerate() {
        let mut row = vec![0.0; 576];
        w.widen(n, &mut row);
        close(y, &mut (0..576).map(|k| (f64::from(x[k]), f64::from(row[k]))), WIDE);
    }
}
