//! Everything but the products: the scalar bits everywhere, and the scalar against f64 formulas.

mod common;

use common::*;
use half::{bf16, f16};
use rasp_kernels::{Activation, Elems, Kernels};

/// Compares each vector menu with the scalar one on every kind and size.
fn compare(seed: u64, run: impl Fn(Kernels, &mut Rng, Kind, usize) -> Vec<f32>) {
    for kind in KINDS {
        for size in SIZES {
            let want = run(scalar(), &mut Rng(seed), kind, size);
            for menu in vector_menus() {
                let got = run(menu, &mut Rng(seed), kind, size);
                same_bits(&got, &want, format!("{menu:?} {kind:?} {size}"));
            }
        }
    }
}

#[test]
fn scalar_bits() {
    compare(1, |menu, rng, kind, n| {
        let mut y = vec![0.0; n];
        menu.rms_norm(&mut y, &kind.values(rng, n), &kind.values(rng, n), 1e-5);
        y
    });
    for scale in [1.0, 0.125, -2.0, 60.0] {
        compare(2, |menu, rng, kind, n| {
            let mut x = kind.values(rng, n);
            menu.softmax(&mut x, scale);
            x
        });
    }
    for (activation, scale) in Activation::ALL.into_iter().flat_map(|a| [(a, 1.0), (a, 50.0)]) {
        compare(3, |menu, rng, kind, n| {
            let x: Vec<_> = kind.values(rng, n).iter().map(|v| v * scale).collect();
            let (mut y, mut gated) = (vec![0.0; n], vec![0.0; n]);
            menu.activate(activation, &mut y, &x, None);
            menu.activate(activation, &mut gated, &x, Some(&kind.values(rng, n)));
            y.extend(gated);
            y
        });
    }
    for bias in [false, true] {
        compare(8, |menu, rng, kind, n| {
            let (x, weight, shift) = (kind.values(rng, n), kind.values(rng, n), kind.values(rng, n));
            let mut y = vec![0.0; n];
            menu.layer_norm(&mut y, &x, &weight, bias.then_some(&*shift), 1e-5);
            y
        });
    }
    for cap in [1.0, 30.0] {
        compare(9, |menu, rng, kind, n| {
            let mut x = kind.values(rng, n);
            menu.soft_cap(&mut x, cap);
            x
        });
    }
    compare(4, |menu, rng, kind, n| {
        let mut y = kind.values(rng, n);
        menu.add(&mut y, &kind.values(rng, n));
        y
    });
    compare(5, |menu, rng, kind, n| {
        let mut x = kind.values(rng, 2 * n);
        menu.rope(&mut x, &kind.values(rng, n), &kind.values(rng, n));
        x
    });
    for format in FORMATS {
        compare(6, |menu, rng, kind, n| {
            let mut y = vec![0.0; n];
            menu.widen(&mut y, Store::new(format, kind, rng, n).elems());
            y
        });
    }
}

#[test]
fn select_and_mask_decide_alike() {
    let rng = &mut Rng(7);
    for kind in KINDS {
        for n in SIZES {
            let x = kind.values(rng, n);
            let scores = kind.values(rng, n);
            for score in [None, Some(scores.as_slice())] {
                for threshold in [f32::NEG_INFINITY, -0.0, 0.0, 0.3, 1.0, f32::INFINITY, f32::NAN] {
                    let decision = |k: usize| {
                        let price = x[k].abs() * score.map_or(1.0, |score| score[k]);
                        price > threshold || price.is_nan() || threshold.is_nan()
                    };
                    let want: Vec<_> = (0..n as u32).filter(|&k| decision(k as usize)).collect();
                    for menu in all_menus() {
                        let context = format!("{menu:?} {kind:?} {n} {threshold}");
                        // Exactly as long as it must be, so that a stray write is a panic or worse.
                        let mut out = vec![u32::MAX; n];
                        let active = menu.select(&x, score, threshold, &mut out);
                        assert_eq!(active.as_slice(), want, "{context}");
                        assert_eq!(active.bound(), n);
                        let mut y = vec![f32::NAN; n];
                        assert_eq!(menu.mask(&mut y, &x, score, threshold), want.len(), "{context}");
                        let masked: Vec<_> = (0..n).map(|k| if decision(k) { x[k] } else { 0.0 }).collect();
                        same_bits(&y, &masked, context);
                    }
                }
            }
        }
    }
}

#[test]
fn select_keeps_one() {
    for n in [1, 8, 17, 64, 576] {
        for place in 0..n {
            let mut x = vec![0.25; n];
            x[place] = -2.0;
            for menu in all_menus() {
                let mut out = vec![0; n];
                let active = menu.select(&x, None, 1.0, &mut out);
                assert_eq!(active.as_slice(), [place as u32], "{menu:?} {n}");
            }
        }
    }
}

/// All 65536 patterns of each format, at every offset within a vector.
#[test]
fn every_half_is_widened_exactly() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for menu in all_menus() {
        for shift in [0, 1, 5] {
            let data = &all[shift..];
            let mut y = vec![0.0; data.len()];
            menu.widen(&mut y, Elems::F16(data));
            for (&bits, &y) in data.iter().zip(&y) {
                let want = f16::from_bits(bits).to_f32();
                assert!(y.to_bits() == want.to_bits() || (y.is_nan() && want.is_nan()), "{bits:#x}");
            }
            menu.widen(&mut y, Elems::Bf16(data));
            for (&bits, &y) in data.iter().zip(&y) {
                assert_eq!(y.to_bits(), u32::from(bits) << 16, "{menu:?}");
                let want = bf16::from_bits(bits).to_f32();
                assert!(y == want || (y.is_nan() && want.is_nan()));
            }
        }
    }
}

/// Every half, the midpoints between neighbours and what lies beside those, and random bits.
#[test]
fn narrowing_rounds_to_nearest_even() {
    let rng = &mut Rng(8);
    let mut x = vec![];
    for bits in 0..=u16::MAX {
        let value = f16::from_bits(bits).to_f32().to_bits();
        for nudge in [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff] {
            x.push(f32::from_bits(value.wrapping_add(nudge)));
        }
    }
    x.extend((0..100_003).map(|_| f32::from_bits(rng.bits() as u32)));
    for menu in all_menus() {
        let mut y = vec![0; x.len()];
        menu.narrow_f16(&mut y, &x);
        for (&x, &y) in x.iter().zip(&y) {
            let want = f16::from_f32(x);
            let got = f16::from_bits(y);
            assert!(got.to_bits() == want.to_bits() || (got.is_nan() && x.is_nan()), "{menu:?} {x:e}");
        }
    }
}

#[test]
fn scalar_is_the_formula() {
    let rng = &mut Rng(9);
    let close = |got: f32, want: f64, tolerance: f64, what: &str| {
        let error = (f64::from(got) - want).abs();
        assert!(error <= tolerance * want.abs() + 1e-37, "{what}: {got} is not {want}");
    };
    for n in SIZES {
        let (a, b) = (Kind::Tame.values(rng, n), Kind::Tame.values(rng, n));
        let f64s = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let (wide_a, wide_b) = (f64s(&a), f64s(&b));

        let mut y = vec![0.0; n];
        scalar().rms_norm(&mut y, &a, &b, 1e-5);
        let mean = wide_a.iter().map(|v| v * v).sum::<f64>() / n as f64;
        let eps = f64::from(1e-5f32);
        for i in 0..n {
            close(y[i], wide_a[i] / (mean + eps).sqrt() * wide_b[i], 1e-6, "rms_norm");
        }

        let mut y = a.clone();
        scalar().softmax(&mut y, 7.0);
        let sum: f64 = wide_a.iter().map(|v| (7.0 * v).exp()).sum();
        for i in 0..n {
            close(y[i], (7.0 * wide_a[i]).exp() / sum, 1e-5, "softmax");
        }

        let mut y = vec![0.0; n];
        scalar().activate(Activation::Silu, &mut y, &a, Some(&b));
        for i in 0..n {
            close(y[i], wide_a[i] / (1.0 + (-wide_a[i]).exp()) * wide_b[i], 1e-6, "silu");
        }

        let (mut y, mut shifted) = (vec![0.0; n], vec![0.0; n]);
        scalar().layer_norm(&mut y, &a, &b, None, 1e-5);
        scalar().layer_norm(&mut shifted, &a, &b, Some(&b), 1e-5);
        let mean = wide_a.iter().sum::<f64>() / n as f64;
        let variance = wide_a.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n as f64;
        for i in 0..n {
            let want = (wide_a[i] - mean) / (variance + eps).sqrt() * wide_b[i];
            assert!((f64::from(y[i]) - want).abs() < 1e-4 * (1.0 + want.abs()), "layer_norm: {} is not {want}", y[i]);
            assert_eq!(shifted[i], y[i] + b[i]);
        }
    }
    // A rotation by θ turns (1, 0) into (cos θ, sin θ) and keeps lengths.
    let (cos, sin): (Vec<f32>, Vec<f32>) = (0..7).map(|i| (i as f32).sin_cos()).map(|(s, c)| (c, s)).unzip();
    let mut x = vec![0.0; 14];
    x[..7].fill(1.0);
    scalar().rope(&mut x, &cos, &sin);
    assert_eq!(x[..7], cos);
    assert_eq!(x[7..], sin);
    scalar().rope(&mut x, &cos, &sin);
    for i in 0..7 {
        assert!((x[i] - (2.0 * i as f32).cos()).abs() < 1e-6);
        assert!((x[7 + i] - (2.0 * i as f32).sin()).abs() < 1e-6);
    }
}

/// Error function by its series and its continued fraction (Abramowitz and Stegun, 7.1.5 and 7.1.14).
fn erfc(x: f64) -> f64 {
    let scale = 2.0 / std::f64::consts::PI.sqrt();
    if x < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - scale * sum;
    }
    let fraction = (1..200).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
    (-x * x).exp() / fraction / std::f64::consts::PI.sqrt()
}

#[test]
fn activations_and_caps_are_their_formulas() {
    assert!(
        (erfc(1.0) - 0.157_299_207_050_285).abs() < 1e-14 && (erfc(3.0) / 2.209_049_699_858_54e-5 - 1.0).abs() < 1e-9
    );
    let points: Vec<f32> = (-4000..=4000).map(|n| n as f32 / 250.0).collect();
    let of = |kind: Activation| {
        let mut y = vec![0.0; points.len()];
        scalar().activate(kind, &mut y, &points, None);
        y
    };
    for kind in Activation::ALL {
        for (&x, y) in points.iter().zip(of(kind)) {
            let wide = f64::from(x);
            let want = match kind {
                Activation::Silu => wide / (1.0 + (-wide).exp()),
                Activation::GeluTanh => {
                    let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
                    0.5 * wide * (1.0 + inner.tanh())
                }
                Activation::GeluErf => {
                    let tail = 0.5 * erfc(wide.abs() / std::f64::consts::SQRT_2);
                    wide.max(0.0) - wide.abs() * tail
                }
                Activation::Relu => wide.max(0.0),
                Activation::Relu2 => wide.max(0.0).powi(2),
                Activation::Xielu { alpha_p, alpha_n, beta } => {
                    let (above, below) = (wide.max(0.0), wide.min(0.0));
                    f64::from(alpha_p) * above * above
                        + f64::from(alpha_n) * (below.exp_m1() - below)
                        + f64::from(beta) * wide
                }
            };
            assert!((f64::from(y) - want).abs() <= 2e-6 * (1.0 + want.abs()), "{kind:?} of {x}: {y} is not {want}");
        }
    }
    for cap in [1.0f32, 30.0, 50.0] {
        let mut y: Vec<f32> = points.iter().map(|x| x * 20.0).collect();
        let inputs = y.clone();
        scalar().soft_cap(&mut y, cap);
        for (x, y) in inputs.into_iter().zip(y) {
            let want = f64::from(cap) * (f64::from(x) / f64::from(cap)).tanh();
            assert!((f64::from(y) - want).abs() <= 4e-7 * f64::from(cap), "{x} capped at {cap}: {y} is not {want}");
        }
    }
    // A NaN comes through, and what has no bound stays at its cap.
    for menu in all_menus() {
        for kind in Activation::ALL {
            let mut y = [0.0; 3];
            menu.activate(kind, &mut y, &[f32::NAN, 1e30, -0.0], None);
            assert!(y[0].is_nan() && y[1] >= 1e30 && y[2] == 0.0, "{menu:?} {kind:?}: {y:?}");
        }
        let mut y = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
        menu.soft_cap(&mut y, 30.0);
        assert!(y[0].is_nan() && y[1..] == [30.0, -30.0, 0.0], "{menu:?}: {y:?}");
    }
}

#[test]
fn softmax_at_the_edges() {
    for menu in all_menus() {
        let mut x = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY];
        menu.softmax(&mut x, 1.0);
        assert_eq!(x, [0.0, 1.0, 0.0], "{menu:?}");
        let mut x = [3e38, -3e38, 3e38];
        menu.softmax(&mut x, 1.0);
        assert_eq!(x, [0.5, 0.0, 0.5], "{menu:?}");
        for bad in [f32::NAN, f32::INFINITY] {
            for place in 0..40 {
                let mut x = [1.0; 40];
                x[place] = bad;
                menu.softmax(&mut x, 1.0);
                assert!(x.iter().all(|x| x.is_nan()), "{menu:?} {bad} at {place}");
            }
        }
        menu.softmax(&mut [], 1.0);
        let mut one = [-1e30];
        menu.softmax(&mut one, 1.0);
        assert_eq!(one, [1.0]);
    }
}
