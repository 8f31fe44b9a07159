//! The products of many tokens against the peak of fused multiply-adds, and the small operations.
//!
//! ```text
//! cargo bench -p rasp-kernels --bench arithmetic -- [ROUNDS] [SUBSTRING OF A PRODUCT'S NAME]
//! ```
//!
//! One thread. The peak is what independent `vfmadd` on registers reach at that moment (AVX2; with
//! AVX-512 the ratio may exceed 1); rounds alternate, medians are printed.

mod common;

use std::hint::black_box;

use common::{Rng, aligned, median, time};
use rasp_kernels::{
    Activation, Elems, Kernels, MatMut, MatRef, Matrix, QUANT_GROUP, QuantType, Quantized, QuantizedRef, QuantizedRows,
    ScreenInput, ScreenRows,
};

/// FLOP/s of fused multiply-adds on registers, two FLOP each.
#[cfg(target_arch = "x86_64")]
fn peak() -> f64 {
    #[target_feature(enable = "avx2,fma")]
    fn run(steps: usize) {
        use std::arch::x86_64::*;
        let mut sums = [_mm256_set1_ps(0.0); 12];
        let (a, b) = black_box((_mm256_set1_ps(0.5), _mm256_set1_ps(0.25)));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return f64::NAN;
    }
    let steps = 1_000_000;
    // SAFETY: the CPU has AVX2 and FMA.
    let seconds = time(|| unsafe { run(steps) });
    (steps * 12 * 8 * 2) as f64 / seconds
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() -> f64 {
    f64::NAN
}

fn products(menu: Kernels, rounds: usize, filter: Option<&str>, rng: &mut Rng) {
    println!("{:36} {:>6} {:>9} {:>9} {:>6}", "GFLOP/s", "tokens", "peak", "product", "ratio");
    let cases = [
        ("gemm [576, 576]", 576, 576, false),
        ("gemm [576, 3072]", 576, 3072, false),
        ("gemm [1536, 576]", 1536, 576, false),
        ("gemm [64, 32], keys", 64, 32, false),
        ("gemm [256, 64], values", 256, 64, false),
        ("dot_rows_many [4096, 576]", 4096, 576, true),
        ("dot_rows_many [128, 1536]", 128, 1536, true),
    ];
    for (name, rows, cols, row_form) in cases {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let data = aligned(rows * cols, 0);
        data.fill_with(|| rng.bf16(1)[0]);
        let w = Matrix::new(Elems::Bf16(data), rows, cols, cols).expect("fits");
        let (inputs, outputs) = if row_form { (cols, rows) } else { (rows, cols) };
        let counts: &[usize] =
            if rows <= 256 && !row_form { &[1, 2, 3, 4, 8] } else { &[1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 128, 512] };
        for &tokens in counts {
            let x = aligned(tokens * inputs, 0.0);
            x.fill_with(|| rng.unit());
            let y = aligned(tokens * outputs, 0.0);
            let flop = (2 * rows * cols * tokens) as f64;
            let repeat = (2e8 / flop).ceil() as usize;
            let (mut peaks, mut rates, mut ratios) = (vec![], vec![], vec![]);
            for _ in 0..rounds {
                let peak = peak();
                let seconds = time(|| {
                    for _ in 0..repeat {
                        let x = MatRef::new(x, tokens, inputs, inputs).expect("fits");
                        let y = MatMut::new(y, tokens, outputs, outputs).expect("fits");
                        if row_form { menu.dot_rows_many(y, x, w) } else { menu.gemm(y, x, w) }
                    }
                });
                let rate = flop * repeat as f64 / seconds;
                peaks.push(peak / 1e9);
                rates.push(rate / 1e9);
                ratios.push(rate / peak);
            }
            println!(
                "{name:36} {tokens:>6} {:>9.1} {:>9.1} {:>5.0}%",
                median(&mut peaks),
                median(&mut rates),
                100.0 * median(&mut ratios)
            );
        }
    }
}

/// Whole numbers in column form; a multiplication and an addition count as two.
fn quantized_products(menu: Kernels, rounds: usize, filter: Option<&str>, rng: &mut Rng) {
    let types = QuantType::ALL.map(|quant| (quant, quant.format().name));
    for ((quant, kind), (rows, cols)) in
        types.into_iter().flat_map(|t| [(t, (576, 576)), (t, (576, 3072)), (t, (1536, 576))])
    {
        let name = format!("gemm_q {kind} [{rows}, {cols}]");
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let data: Vec<u8> = (0..rows * quant.row_bytes(cols)).map(|_| rng.bf16(1)[0] as u8).collect();
        let scale = vec![0x1c00; rows / QUANT_GROUP * cols];
        let min = if quant.has_minima() { scale.as_slice() } else { &[] };
        let w = Quantized::interleaved(quant, &data, &scale, min, rows, cols).expect("fits");
        for tokens in [1, 2, 4, 16, 128] {
            let (mut x, mut x_scale) = (vec![0; tokens * rows], vec![0.0; tokens * rows / QUANT_GROUP]);
            let values: Vec<f32> = (0..tokens * rows).map(|_| rng.unit()).collect();
            menu.quantize(&mut x, &mut x_scale, &values, 4.0);
            let x = QuantizedRef::new(&x, &x_scale, tokens, rows).expect("fits");
            let mut y = vec![0.0; tokens * cols];
            let operations = (2 * rows * cols * tokens) as f64;
            let repeat = (2e8 / operations).ceil() as usize;
            let mut rates: Vec<_> = (0..rounds)
                .map(|_| {
                    let seconds = time(|| {
                        for _ in 0..repeat {
                            menu.gemm_q(MatMut::new(&mut y, tokens, cols, cols).expect("fits"), x, w);
                        }
                    });
                    operations * repeat as f64 / seconds / 1e9
                })
                .collect();
            println!("{name:36} {tokens:>6} {:>9} {:>9.1}", "", median(&mut rates));
        }
    }
}

/// Rows of a head and of its screen for one token, from L2 and from memory: microseconds, and GB/s of what is stored.
fn head_products(menu: Kernels, rounds: usize, filter: Option<&str>, rng: &mut Rng) {
    for (hidden, hot, few, many) in [(576, 64, 1024, 49_152), (1536, 64, 512, 151_936)] {
        for rows in [few, many] {
            let name = format!("head [{rows}, {hidden}]");
            if filter.is_some_and(|filter| !name.contains(filter)) {
                continue;
            }
            let cold = hidden - hot;
            let (x, x_cold) = (vec![77i16; hidden], vec![-7i8; cold]);
            let x_scale = vec![0.5; hidden / QUANT_GROUP];
            let mut scratch = vec![0; ScreenInput::scratch(cold)];
            let rough = ScreenInput::new(&x[..hot], &x_cold, &mut scratch, [0.5; 2]).expect("fits");
            let data: Vec<u8> = (0..rows * hidden).map(|i| ((i * i) >> 7) as u8).collect();
            let whole: Vec<i8> = data.iter().map(|&byte| byte.cast_signed()).collect();
            let (scale, screen_scale) = (vec![0x1c00; rows * hidden / QUANT_GROUP], vec![rng.unit(); 2 * rows]);
            let whole = QuantizedRows::new(&whole, &scale, rows, hidden).expect("fits");
            let bytes = rows * ScreenRows::row_bytes(hot, cold);
            let screen = ScreenRows::new(&data[..bytes], &screen_scale, rows, hot, cold).expect("fits");
            let mut y = vec![0.0; rows];
            let repeat = (50_000 / rows).max(1);
            let mut report = |kind: &str, bytes: usize, run: &mut dyn FnMut(&mut [f32])| {
                let mut times: Vec<_> =
                    (0..rounds).map(|_| time(|| (0..repeat).for_each(|_| run(&mut y))) / repeat as f64).collect();
                let seconds = median(&mut times);
                let name = format!("{name}, {kind}");
                println!("{name:36} {:>9.1} us {:>7.1} GB/s", seconds * 1e6, bytes as f64 / seconds / 1e9);
            };
            report("8 bits", rows * (hidden + hidden / 16), &mut |y| menu.dot_rows_q(y, &x, &x_scale, whole));
            report("screen", bytes + 8 * rows, &mut |y| menu.dot_rows_screen(&mut [y], &[rough], screen));
        }
    }
}

fn small_operations(menu: Kernels, rounds: usize, rng: &mut Rng) {
    println!("\n{:36} {:>10}", "small operations", "ns");
    let report = |name: &str, run: &mut dyn FnMut()| {
        let mut times: Vec<_> = (0..rounds).map(|_| time(|| (0..1000).for_each(|_| run())) * 1e6).collect();
        println!("{name:36} {:>10.0}", median(&mut times));
    };
    let a: Vec<f32> = (0..1536).map(|_| rng.unit() - 0.5).collect();
    let b: Vec<f32> = (0..1536).map(|_| rng.unit() - 0.5).collect();
    let mut y = vec![0.0; 1536];
    let mut indices = vec![0; 1536];
    let mut halves = vec![0; 1536];
    report("select 1536", &mut || {
        black_box(menu.select(&a, Some(&b), 0.05, &mut indices).len());
    });
    report("mask 1536", &mut || {
        black_box(menu.mask(&mut y, &a, Some(&b), 0.05));
    });
    report("rms_norm 576", &mut || menu.rms_norm(&mut y[..576], &a[..576], &b[..576], 1e-5));
    report("softmax 500", &mut || menu.softmax(&mut y[..500], 1.0));
    report("silu_mul 1536", &mut || menu.activate(Activation::Silu, &mut y, &a, Some(&b)));
    report("add 576", &mut || menu.add(&mut y[..576], &a[..576]));
    report("rope 64", &mut || menu.rope(&mut y[..64], &a[..32], &b[..32]));
    report("narrow_f16 576", &mut || menu.narrow_f16(&mut halves[..576], &a[..576]));
    report("widen f16 1536", &mut || menu.widen(&mut y, Elems::F16(&halves)));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let rounds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(7);
    let filter = arguments.iter().find(|a| a.parse::<usize>().is_err());
    let menu = Kernels::best();
    let rng = &mut Rng(1);
    println!("{} kernels, one thread, medians of {rounds} rounds", menu.isa());
    products(menu, rounds, filter.map(String::as_str), rng);
    quantized_products(menu, rounds, filter.map(String::as_str), rng);
    head_products(menu, rounds, filter.map(String::as_str), rng);
    small_operations(menu, rounds, rng);
}
