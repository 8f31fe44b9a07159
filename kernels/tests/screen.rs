//! Rough rows.

mod common;

use common::{Rng, all_menus, same_bits, scalar, vector_menus};
use rasp_kernels::{Kernels, SCREEN_BLOCK, SCREEN_GROUP, ScreenInput, ScreenRows};

const ROWS: [usize; 9] = [0, 1, 3, 4, 7, 8, 9, 33, 70];

#[test]
fn every_instruction_set_has_the_scalar_bits() {
    let rng = &mut Rng(31);
    for rows in ROWS {
        for (hot, blocks) in [(0, 0), (0, 1), (32, 0), (32, 1), (64, 8), (64, 9), (96, 17), (64, 23)] {
            let cold = blocks * SCREEN_BLOCK;
            // The largest numbers wrap in long rows, the same way everywhere.
            for extreme in [false, true] {
                let x: Vec<i16> = (0..hot).map(|_| if extreme { i16::MIN } else { rng.bits() as i16 }).collect();
                let x_cold: Vec<i8> =
                    (0..cold).map(|_| if extreme { -127 } else { (rng.bits() as i8).max(-127) }).collect();
                let bytes = rows * ScreenRows::row_bytes(hot, cold);
                let data: Vec<u8> = (0..bytes).map(|_| if extreme { 0x80 } else { rng.bits() as u8 }).collect();
                let scale: Vec<f32> = (0..2 * rows).map(|_| rng.unit()).collect();
                let w = ScreenRows::new(&data, &scale, rows, hot, cold).unwrap();
                let mut eights = vec![0; ScreenInput::scratch(cold)];
                let x = ScreenInput::new(&x, &x_cold, &mut eights, [0.5, 0.03]).unwrap();
                let run = |menu: Kernels| {
                    let mut y = vec![f32::NAN; rows];
                    menu.dot_rows_screen(&mut [&mut y], &[x], w);
                    y
                };
                let want = run(scalar());
                for menu in vector_menus() {
                    same_bits(
                        &run(menu),
                        &want,
                        format!("{menu:?} {rows} rows of {hot} hot, {blocks} blocks, {extreme}"),
                    );
                }
            }
        }
    }
}

/// Any number of tokens: each has what it has alone.
#[test]
fn several_tokens_have_the_bits_of_each() {
    let rng = &mut Rng(32);
    for (hot, blocks) in [(0, 1), (32, 9), (64, 23)] {
        let cold = blocks * SCREEN_BLOCK;
        for rows in [0, 1, 9, 70] {
            let data: Vec<u8> = (0..rows * ScreenRows::row_bytes(hot, cold)).map(|_| rng.bits() as u8).collect();
            let scale: Vec<f32> = (0..2 * rows).map(|_| rng.unit()).collect();
            let w = ScreenRows::new(&data, &scale, rows, hot, cold).unwrap();
            let x: Vec<i16> = (0..11 * hot).map(|_| rng.bits() as i16).collect();
            let x_cold: Vec<i8> = (0..11 * cold).map(|_| (rng.bits() as i8).max(-127)).collect();
            let mut eights = vec![0; 11 * ScreenInput::scratch(cold)];
            let mut places = eights.chunks_mut(ScreenInput::scratch(cold));
            let inputs: Vec<ScreenInput<'_>> = (0..11)
                .map(|t| {
                    let (hot, cold) = (&x[t * hot..(t + 1) * hot], &x_cold[t * cold..(t + 1) * cold]);
                    ScreenInput::new(hot, cold, places.next().unwrap(), [0.5, 0.01 * t as f32]).unwrap()
                })
                .collect();
            let mut want = vec![vec![f32::NAN; rows]; 11];
            for (want, x) in want.iter_mut().zip(&inputs) {
                scalar().dot_rows_screen(&mut [want], &[*x], w);
            }
            for menu in all_menus() {
                for tokens in [0, 1, 2, 3, 4, 5, 7, 8, 11] {
                    let mut got = vec![vec![f32::NAN; rows]; tokens];
                    let mut places: Vec<&mut [f32]> = got.iter_mut().map(|y| y.as_mut_slice()).collect();
                    menu.dot_rows_screen(&mut places, &inputs[..tokens], w);
                    for (got, want) in got.iter().zip(&want) {
                        same_bits(got, want, format!("{menu:?} {rows} rows, {tokens} tokens"));
                    }
                }
            }
        }
    }
}

/// Numbers at every place of a row, one at a time: the formula, not the code, says what comes out.
#[test]
fn a_number_counts_where_it_lies() {
    let (hot, cold) = (32, 2 * SCREEN_BLOCK);
    let steps: [i8; 4] = [1, -2, 100, -128];
    for menu in all_menus() {
        for k in 0..hot + cold {
            // Cold numbers of 8 are zeros.
            let mut row = [&steps.map(i8::cast_unsigned)[..], &[0; 32], &[0x88; SCREEN_BLOCK]].concat();
            let (mut x_hot, mut x_cold) = (vec![0; hot], vec![0; cold]);
            let want = if k < hot {
                (row[4 + k], x_hot[k]) = (0xfe, 30_000);
                -60_000.0 * 0.5 * 4.0
            } else {
                let at = k - hot;
                let byte = at / SCREEN_BLOCK * SCREEN_GROUP + at % SCREEN_GROUP;
                let high = at % SCREEN_BLOCK >= SCREEN_GROUP;
                row[4 + hot + byte] = if high { 0x38 } else { 0x83 };
                x_cold[at] = -7;
                35.0 * f32::from(steps[at / SCREEN_GROUP]) * 0.25 * 2.0
            };
            let w = ScreenRows::new(&row, &[0.5, 0.25], 1, hot, cold).unwrap();
            let mut eights = vec![1; ScreenInput::scratch(cold)];
            let x = ScreenInput::new(&x_hot, &x_cold, &mut eights, [4.0, 2.0]).unwrap();
            let mut y = [f32::NAN];
            menu.dot_rows_screen(&mut [&mut y], &[x], w);
            assert_eq!(y, [want], "{menu:?} column {k}");
        }
    }
}
