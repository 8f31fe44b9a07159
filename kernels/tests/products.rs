//! The products: every instruction set has the scalar bits, and the forms agree with one another.

mod common;

use common::*;
use rasp_kernels::{Active, Elems, MatMut, MatRef, Matrix, interleaved_place};

const ROWS: [usize; 14] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 33, 100, 300];
/// More columns than a kernel takes at a time.
const WIDE: [(usize, usize); 2] = [(17, 6_147), (11, 12_300)];

/// A random choice of about `share` of `n` channels.
fn channels(rng: &mut Rng, n: usize, share: f32) -> Vec<u32> {
    (0..n as u32).filter(|_| (rng.unit() + 1.0) / 2.0 < share).collect()
}

/// Rows in order or interleaved, one as often as the other.
fn matrix<'a>(rng: &mut Rng, elems: Elems<'a>, rows: usize, cols: usize, stride: usize) -> Matrix<'a> {
    let new = if rng.below(2) == 0 { Matrix::new } else { Matrix::interleaved };
    new(elems, rows, cols, stride).unwrap()
}

#[test]
fn column_form_has_the_scalar_bits() {
    let rng = &mut Rng(1);
    for kind in KINDS {
        for format in FORMATS {
            let shapes = ROWS.into_iter().flat_map(|rows| SIZES.map(|cols| (rows, cols)));
            for (rows, cols) in shapes.chain(WIDE) {
                let stride = cols + rng.below(3) * 5;
                let store = Store::new(format, kind, rng, rows * stride + 3);
                let w = matrix(rng, store.elems(), rows, cols, stride);
                let x = kind.values(rng, rows);
                let y = kind.values(rng, cols);

                let mut want = y.clone();
                scalar().gemv(&mut want, &x, w);
                let share = [0.0, 0.1, 0.5, 1.0][rng.below(4)];
                let active = channels(rng, rows, share);
                let active = Active::from_checked(&active, rows).unwrap();
                let mut want_sparse = y.clone();
                scalar().gemv_sparse(&mut want_sparse, &x, active, w);

                for menu in vector_menus() {
                    let context = format!("{menu:?} {kind:?} {format:?} [{rows}, {cols}] by {stride}");
                    let mut got = y.clone();
                    menu.gemv(&mut got, &x, w);
                    same_bits(&got, &want, &context);
                    let mut got = y.clone();
                    menu.gemv_sparse(&mut got, &x, active, w);
                    same_bits(&got, &want_sparse, format!("sparse {context}"));
                }
            }
        }
    }
}

#[test]
fn every_row_of_gemm_is_a_gemv() {
    let rng = &mut Rng(2);
    let shapes = [
        (1, 1),
        (3, 7),
        (8, 8),
        (9, 16),
        (31, 17),
        (64, 32),
        (65, 33),
        (64, 64),
        (100, 47),
        (255, 65),
        (256, 40),
        (257, 24),
        (300, 100),
        (576, 192),
        (0, 8),
        (8, 0),
    ];
    for kind in KINDS {
        for format in FORMATS {
            for (rows, cols) in shapes {
                let stride = cols + rng.below(2) * 3;
                let store = Store::new(format, kind, rng, rows * stride + 3);
                let w = matrix(rng, store.elems(), rows, cols, stride);
                for tokens in [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 19, 24, 25, 33, 245] {
                    let x_stride = rows + rng.below(2) * 7;
                    let y_stride = cols + rng.below(2) * 7;
                    let x = kind.values(rng, tokens * x_stride);
                    let y = kind.values(rng, tokens * y_stride);
                    let mut want = y.clone();
                    for m in 0..tokens {
                        let y = &mut want[m * y_stride..][..cols];
                        vector_menus().last().unwrap_or(&scalar()).gemv(y, &x[m * x_stride..][..rows], w);
                    }
                    for menu in all_menus() {
                        if menu.isa() == rasp_kernels::Isa::Scalar && tokens > 8 {
                            continue; // it is a loop of gemv, and slow
                        }
                        let mut got = y.clone();
                        let x = MatRef::new(&x, tokens, rows, x_stride).unwrap();
                        menu.gemm(MatMut::new(&mut got, tokens, cols, y_stride).unwrap(), x, w);
                        same_bits(
                            &got,
                            &want,
                            format!("{menu:?} {kind:?} {format:?} [{rows}, {cols}] by {stride}, {tokens} tokens"),
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn row_form_has_the_scalar_bits() {
    let rng = &mut Rng(3);
    for kind in KINDS {
        for format in FORMATS {
            for rows in [0, 1, 2, 3, 4, 5, 9] {
                for cols in SIZES {
                    let stride = cols + rng.below(3) * 5;
                    let store = Store::new(format, kind, rng, rows * stride + 3);
                    let w = Matrix::new(store.elems(), rows, cols, stride).unwrap();
                    for tokens in [0, 1, 2, 3, 4, 7, 13] {
                        let x = kind.values(rng, tokens * cols);
                        let mut want = vec![f32::NAN; tokens * rows];
                        let x = MatRef::new(&x, tokens, cols, cols).unwrap();
                        for m in 0..tokens {
                            scalar().dot_rows(&mut want[m * rows..][..rows], x.row(m), w);
                        }
                        for menu in all_menus() {
                            let context =
                                format!("{menu:?} {kind:?} {format:?} [{rows}, {cols}] by {stride}, {tokens}");
                            let mut got = vec![f32::NAN; tokens * rows];
                            for m in 0..tokens {
                                menu.dot_rows(&mut got[m * rows..][..rows], x.row(m), w);
                            }
                            same_bits(&got, &want, &context);
                            got.fill(f32::NAN);
                            menu.dot_rows_many(MatMut::new(&mut got, tokens, rows, rows).unwrap(), x, w);
                            same_bits(&got, &want, format!("many {context}"));
                            for (m, want) in want.chunks_exact(rows.max(1)).enumerate() {
                                some_rows(rng, want, &context, |y, active| {
                                    menu.dot_rows_sparse(y, x.row(m), active, w)
                                });
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The L1 and L2 blocks of `dot_rows_many` need larger shapes to be more than one.
#[test]
fn row_form_in_many_blocks() {
    let rng = &mut Rng(4);
    let (rows, cols, tokens) = (90, 2080, 11);
    let store = Store::new(Format::Bf16, Kind::Tame, rng, rows * cols);
    let w = Matrix::new(store.elems(), rows, cols, cols).unwrap();
    let x = Kind::Tame.values(rng, tokens * cols);
    let x = MatRef::new(&x, tokens, cols, cols).unwrap();
    for menu in vector_menus() {
        let mut got = vec![0.0; tokens * (rows + 2)];
        menu.dot_rows_many(MatMut::new(&mut got, tokens, rows, rows + 2).unwrap(), x, w);
        for m in 0..tokens {
            let mut want = vec![0.0; rows];
            menu.dot_rows(&mut want, x.row(m), w);
            same_bits(&got[m * (rows + 2)..][..rows], &want, format!("{menu:?} row {m}"));
        }
    }
}

/// A channel left out and a channel whose input is zero: the same numbers, for finite weights.
#[test]
fn sparse_equals_zeroed() {
    let rng = &mut Rng(5);
    let (rows, cols) = (576, 333);
    for menu in all_menus() {
        for format in FORMATS {
            let store = Store::new(format, Kind::Tiny, rng, rows * cols);
            let w = Matrix::new(store.elems(), rows, cols, cols).unwrap();
            let x = Kind::Tame.values(rng, rows);
            for threshold in [-1.0, 0.0, 0.7, 1.4, 1.99, 3.0] {
                let (mut indices, mut zeroed) = (vec![0; rows], vec![0.0; rows]);
                let active = menu.select(&x, None, threshold, &mut indices);
                assert_eq!(menu.mask(&mut zeroed, &x, None, threshold), active.len());
                let (mut sparse, mut dense) = (vec![0.5; cols], vec![0.5; cols]);
                menu.gemv_sparse(&mut sparse, &x, active, w);
                menu.gemv(&mut dense, &zeroed, w);
                assert_eq!(sparse, dense, "{menu:?} {format:?} {threshold}");
            }
        }
    }
}

/// Where rows lie is nobody's business: the same matrix in another arrangement gives the same bits.
#[test]
fn interleaving_changes_no_bit() {
    let rng = &mut Rng(8);
    let cols = 40;
    for rows in [0, 1, 7, 8, 9, 16, 100, 576] {
        let natural: Vec<f32> = Kind::Tame.values(rng, rows * cols);
        let mut dealt = vec![f32::NAN; rows * cols];
        for k in 0..rows {
            dealt[interleaved_place(k, rows) * cols..][..cols].copy_from_slice(&natural[k * cols..][..cols]);
        }
        assert!(dealt.iter().all(|x| !x.is_nan()), "a place is left empty with {rows} rows");
        let natural = Matrix::new(Elems::F32(&natural), rows, cols, cols).unwrap();
        let dealt = Matrix::interleaved(Elems::F32(&dealt), rows, cols, cols).unwrap();
        let x = Kind::Tame.values(rng, 13 * rows);
        for menu in all_menus() {
            for tokens in [1, 2, 5, 13] {
                let x = MatRef::new(&x, tokens, rows, rows).unwrap();
                let (mut want, mut got) = (vec![0.5; tokens * cols], vec![0.5; tokens * cols]);
                menu.gemm(MatMut::new(&mut want, tokens, cols, cols).unwrap(), x, natural);
                menu.gemm(MatMut::new(&mut got, tokens, cols, cols).unwrap(), x, dealt);
                same_bits(&got, &want, format!("{menu:?} {rows} rows, {tokens} tokens"));
            }
        }
    }
}

/// Threads cut outputs: a product of some columns is those columns of the product.
#[test]
fn columns_do_not_know_of_each_other() {
    let rng = &mut Rng(6);
    let (rows, cols, tokens) = (70, 150, 13);
    let store = Store::new(Format::Bf16, Kind::Tame, rng, rows * cols);
    let w = Matrix::new(store.elems(), rows, cols, cols).unwrap();
    let x = Kind::Tame.values(rng, tokens * rows);
    let x = MatRef::new(&x, tokens, rows, rows).unwrap();
    for menu in all_menus() {
        let mut want = vec![0.25; tokens * cols];
        menu.gemm(MatMut::new(&mut want, tokens, cols, cols).unwrap(), x, w);
        for cut in [0, 1, 31, 64, 149, 150] {
            let mut got = vec![0.25; tokens * cols];
            let (left, right) = MatMut::new(&mut got, tokens, cols, cols).unwrap().split_at_col(cut);
            menu.gemm(left, x, w.columns(0..cut));
            menu.gemm(right, x, w.columns(cut..cols));
            same_bits(&got, &want, format!("{menu:?} cut at {cut}"));
        }
    }
}

/// Against sums in f64, with the textbook bound on the error of a chain: n·ε·Σ|x·w|.
#[test]
fn products_are_products() {
    let rng = &mut Rng(7);
    for format in FORMATS {
        for (rows, cols) in [(1, 1), (17, 33), (576, 64), (1536, 9)] {
            let store = Store::new(format, Kind::Tame, rng, rows * cols);
            let w = Matrix::new(store.elems(), rows, cols, cols).unwrap();
            let close = |got: f32, terms: &mut dyn Iterator<Item = f64>, what: &str| {
                let (mut sum, mut size, mut n) = (0.0, 0.0, 0.0);
                for term in terms {
                    sum += term;
                    size += term.abs();
                    n += 1.0;
                }
                let bound = n * f64::from(f32::EPSILON) * size + 1e-30;
                assert!((f64::from(got) - sum).abs() <= bound, "{what}: {got} is not {sum}");
            };
            let x = Kind::Tame.values(rng, rows);
            let mut y = vec![0.5; cols];
            scalar().gemv(&mut y, &x, w);
            for (c, &y) in y.iter().enumerate() {
                let product = |k: usize| f64::from(x[k]) * f64::from(store.at(k * cols + c));
                close(y, &mut std::iter::once(0.5).chain((0..rows).map(product)), "gemv");
            }
            let x = Kind::Tame.values(rng, cols);
            let mut y = vec![0.5; rows];
            scalar().dot_rows(&mut y, &x, w);
            for (n, &y) in y.iter().enumerate() {
                let product = |k: usize| f64::from(x[k]) * f64::from(store.at(n * cols + k));
                close(y, &mut (0..cols).map(product), "dot_rows");
            }
        }
    }
}

/// The order itself, where another would show: f32 sums that depend on it.
#[test]
fn the_order_of_sums_is_the_documented_one() {
    // Column form, ascending: (1e8 + 1) - 1e8 is 0, though 1e8 - 1e8 + 1 is 1.
    let w = [1.0f32; 3];
    let w_column = Matrix::new(rasp_kernels::Elems::F32(&w), 3, 1, 1).unwrap();
    for menu in all_menus() {
        let mut y = [0.0];
        menu.gemv(&mut y, &[1e8, 1.0, -1e8], w_column);
        assert_eq!(y, [0.0], "{menu:?}");
        // Row form: elements 0 and 32 share a lane and cancel before element 1 joins.
        let mut x = [0.0f32; 64];
        (x[0], x[1], x[32]) = (1e8, 1.0, -1e8);
        let ones = [1.0f32; 64];
        let w_row = Matrix::new(rasp_kernels::Elems::F32(&ones), 1, 64, 64).unwrap();
        menu.dot_rows(&mut y, &x, w_row);
        assert_eq!(y, [1.0], "{menu:?}");
        // Folding: lane 16 meets lane 0 first, lane 1 last.
        let mut x = [0.0f32; 64];
        (x[0], x[1], x[16]) = (1e8, 1.0, -1e8);
        menu.dot_rows(&mut y, &x, w_row);
        assert_eq!(y, [1.0], "{menu:?}");
        (x[1], x[16]) = (-1e8, 1.0);
        menu.dot_rows(&mut y, &x, w_row);
        assert_eq!(y, [0.0], "{menu:?}");
    }
}
