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
                    menu.dot_rows_screen(&mut y, x, w);
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
            menu.dot_rows_screen(&mut y, x, w);
            assert_eq!(y, [want], "{menu:?} column {k}");
        }
    }
}
