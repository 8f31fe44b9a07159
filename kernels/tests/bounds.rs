//! Every operation, on operands that end where their memory does, of awkward sizes and few: for Miri
//! (`tests/trust/miri.sh`), which sees each access, and cannot wait for all that the other tests compute.

mod common;

use common::{Kind, Rng, same_bits, scalar, vector_menus};
use rasp_kernels::{
    Activation, Active, Elems, Kernels, MatMut, MatRef, Matrix, PackedGroup, QUANT_GROUP, QuantType, Quantized,
    QuantizedRef, QuantizedRows, SCREEN_BLOCK, ScreenInput, ScreenRows,
};

/// What every menu gives, against the scalar one.
fn all_alike(what: &str, run: impl Fn(Kernels) -> Vec<f32>) {
    let want = run(scalar());
    vector_menus().into_iter().for_each(|menu| same_bits(&run(menu), &want, format!("{menu:?}: {what}")));
}

/// By whole numbers alone, where `half` takes the CPU's instructions.
fn halves(values: &[f32]) -> Vec<u16> {
    let mut halves = vec![0; values.len()];
    scalar().narrow_f16(&mut halves, values);
    halves
}

#[test]
fn vectors() {
    let rng = &mut Rng(51);
    for n in [0, 1, 5, 19, 35] {
        let [a, b, c] = [(); 3].map(|()| Kind::Tame.values(rng, n));
        let f16 = halves(&b);
        let bf16: Vec<u16> = b.iter().map(|&v| half::bf16::from_f32(v).to_bits()).collect();
        all_alike(&format!("{n} numbers"), |menu| {
            let (mut all, mut y) = (vec![], vec![0.0; n]);
            let mut keep = |y: &[f32]| all.extend_from_slice(y);
            menu.rms_norm(&mut y, &a, &b, 1e-6);
            keep(&y);
            menu.layer_norm(&mut y, &a, &b, Some(&c), 1e-6);
            keep(&y);
            menu.softmax(&mut y, 0.5);
            keep(&y);
            menu.soft_cap(&mut y, 0.7);
            keep(&y);
            for kind in Activation::ALL {
                menu.activate(kind, &mut y, &a, Some(&c));
                keep(&y);
            }
            menu.add(&mut y, &b);
            keep(&y);
            let mut x: Vec<f32> = [&*a, &*b].concat();
            menu.rope(&mut x, &b, &c);
            keep(&x);
            for elems in [Elems::F32(&b), Elems::F16(&f16), Elems::Bf16(&bf16)] {
                menu.widen(&mut y, elems);
                keep(&y);
            }
            // Miri does not know the instruction.
            if cfg!(not(all(miri, target_feature = "f16c"))) {
                let mut narrow = vec![0; n];
                menu.narrow_f16(&mut narrow, &a);
                keep(&narrow.into_iter().map(f32::from).collect::<Vec<_>>());
            }
            let count = menu.mask(&mut y, &a, Some(&b), 0.3);
            keep(&y);
            let mut out = vec![0; n];
            let active = menu.select(&a, Some(&b), 0.3, &mut out).as_slice();
            assert_eq!(active.len(), count);
            keep(&active.iter().map(|&k| k as f32).collect::<Vec<_>>());
            all
        });
    }
}

#[test]
fn products_of_floats() {
    let rng = &mut Rng(52);
    // Few tokens and many, whole strips and what is left of them, rows in the order of a file's.
    for (rows, cols, tokens, dealt) in [(3, 21, 1, false), (17, 5, 2, false), (17, 35, 3, true), (4, 37, 14, false)] {
        let values = Kind::Tame.values(rng, rows * cols);
        let f16 = halves(&values);
        let bf16: Vec<u16> = values.iter().map(|&v| half::bf16::from_f32(v).to_bits()).collect();
        let (x, x_rows) = (Kind::Tame.values(rng, tokens * rows), Kind::Tame.values(rng, tokens * cols));
        let active: Vec<u32> = (0..rows as u32).filter(|k| k % 3 != 1).collect();
        let active = Active::from_checked(&active, rows).unwrap();
        for elems in [Elems::F32(&values), Elems::F16(&f16), Elems::Bf16(&bf16)] {
            let new = if dealt { Matrix::interleaved } else { Matrix::new };
            let w = new(elems, rows, cols, cols).unwrap();
            all_alike(&format!("[{rows}, {cols}], {tokens} tokens"), |menu| {
                let x = MatRef::new(&x, tokens, rows, rows).unwrap();
                let mut y = vec![0.5; tokens * cols];
                // Columns of two owners.
                let (left, right) = MatMut::new(&mut y, tokens, cols, cols).unwrap().split_at_col(cols / 3);
                menu.gemm(left, x, w.columns(0..cols / 3));
                menu.gemm(right, x, w.columns(cols / 3..cols));
                menu.gemv_sparse(&mut y[..cols], x.row(0), active, w);
                let mut dots = vec![0.0; tokens * rows];
                if !dealt {
                    let x = MatRef::new(&x_rows, tokens, cols, cols).unwrap();
                    menu.dot_rows_many(MatMut::new(&mut dots, tokens, rows, rows).unwrap(), x, w);
                    menu.dot_rows(&mut dots[..rows], x.row(0), w);
                    menu.dot_rows_sparse(&mut dots[..active.len()], x.row(0), active, w);
                }
                [y, dots].concat()
            });
        }
    }
}

#[test]
fn products_of_whole_numbers() {
    let rng = &mut Rng(53);
    for (rows, cols, tokens) in [(32, 64, 1), (64, 32, 3), (32, 32, 9)] {
        for whole in QuantType::ALL {
            let data: Vec<u8> = (0..rows * whole.row_bytes(cols)).map(|_| rng.bits() as u8).collect();
            let scale: Vec<u16> = (0..rows / QUANT_GROUP * cols).map(|_| rng.bits() as u16 & 0x3bff).collect();
            let min = if whole.has_minima() { scale.as_slice() } else { &[] };
            let w = Quantized::interleaved(whole, &data, &scale, min, rows, cols).unwrap();
            let x = Kind::Tame.values(rng, tokens * rows);
            let active: Vec<u32> = (0..rows as u32).filter(|k| k % 3 != 1).collect();
            let active = Active::from_checked(&active, rows).unwrap();
            all_alike(&format!("{whole:?} [{rows}, {cols}], {tokens} tokens"), |menu| {
                let (mut x_whole, mut x_scale) = (vec![0; x.len()], vec![0.0; x.len() / QUANT_GROUP]);
                menu.quantize(&mut x_whole, &mut x_scale, &x, 1.5);
                let x = QuantizedRef::new(&x_whole, &x_scale, tokens, rows).unwrap();
                let mut packed = vec![PackedGroup::NONE; rows / QUANT_GROUP];
                menu.pack(&mut packed, x);
                let mut y = vec![0.5; tokens * cols];
                menu.gemm_packed(MatMut::new(&mut y, tokens, cols, cols).unwrap(), &packed, w);
                menu.gemm_q(MatMut::new(&mut y, tokens, cols, cols).unwrap(), x, w);
                menu.gemv_q(&mut y[..cols], x.row(0).0, x.row(0).1, w);
                menu.gemv_sparse_q(&mut y[..cols], x.row(0).0, x.row(0).1, active, w);
                y
            });
        }
        let data: Vec<i8> = (0..5 * rows).map(|_| rng.bits() as i8).collect();
        let scale: Vec<u16> = (0..5 * rows / QUANT_GROUP).map(|_| rng.bits() as u16 & 0x3bff).collect();
        let w = QuantizedRows::new(&data, &scale, 5, rows).unwrap();
        let x: Vec<i16> = (0..tokens * rows).map(|_| rng.below(2000) as i16 - 1000).collect();
        let x_scale = Kind::Tame.values(rng, x.len() / QUANT_GROUP);
        all_alike(&format!("5 rows of {rows}, {tokens} tokens"), |menu| {
            let x = QuantizedRef::new(&x, &x_scale, tokens, rows).unwrap();
            let mut y = vec![0.0; tokens * 5];
            menu.dot_rows_many_q(MatMut::new(&mut y, tokens, 5, 5).unwrap(), x, w);
            menu.dot_rows_q(&mut y[..5], x.row(0).0, x.row(0).1, w);
            let some = Active::from_checked(&[0, 2, 4], 5).expect("in order");
            menu.dot_rows_sparse_q(&mut y[..3], x.row(0).0, x.row(0).1, some, w);
            y
        });
    }
}

#[test]
fn rough_rows() {
    let rng = &mut Rng(54);
    for (hot, blocks, rows, tokens) in [(0, 1, 1, 1), (32, 1, 5, 3), (32, 9, 2, 1)] {
        let cold = blocks * SCREEN_BLOCK;
        let x: Vec<i16> = (0..hot).map(|_| rng.bits() as i16).collect();
        let x_cold: Vec<i8> = (0..cold).map(|_| (rng.bits() as i8).max(-127)).collect();
        let data: Vec<u8> = (0..rows * ScreenRows::row_bytes(hot, cold)).map(|_| rng.bits() as u8).collect();
        let scale = Kind::Tame.values(rng, 2 * rows);
        let w = ScreenRows::new(&data, &scale, rows, hot, cold).unwrap();
        let mut eights = vec![0; ScreenInput::scratch(cold)];
        let x = ScreenInput::new(&x, &x_cold, &mut eights, [0.5, 0.03]).unwrap();
        all_alike(&format!("{rows} rows of {hot} and {blocks} blocks"), |menu| {
            let mut y = vec![vec![f32::NAN; rows]; tokens];
            let mut places: Vec<&mut [f32]> = y.iter_mut().map(Vec::as_mut_slice).collect();
            menu.dot_rows_screen(&mut places, &vec![x; tokens], w);
            y.concat()
        });
    }
}
