//! The products of one token against the memory bandwidth of the same moment.
//!
//! ```text
//! cargo bench -p rasp-kernels --bench bandwidth -- [ROUNDS] [SUBSTRING OF A CASE'S NAME]
//! ```
//!
//! Matrices rotate through 256 MiB, more than any cache, and each round times a plain streaming read
//! of the same buffer right before each case, so that a noisy neighbour slows both; a thread's time
//! does not count its waiting for a CPU. Printed for one
//! and two threads: the median read bandwidth, the median bandwidth of the product (bytes of the rows
//! it had to read), and the median of their ratios.
//!
//! Threads split the columns of each matrix, or the rows of the head, as the engine does.

mod common;

use std::{hint::black_box, ops::Range};

use common::{Rng, median, time};
use rasp_kernels::{Active, Elems, Kernels, Matrix};

/// Elements of the buffer: 256 MiB of bf16.
const ELEMENTS: usize = 128 << 20;

struct Case {
    name: &'static str,
    rows: usize,
    stride: usize,
    columns: Range<usize>,
    kind: Kind,
}

#[derive(PartialEq)]
enum Kind {
    Dense,
    /// This share of the rows is active.
    Sparse(f32),
    /// Row form.
    Head,
}

fn cases() -> Vec<Case> {
    let mut cases = vec![];
    let mut add = |name, rows, stride, columns: Range<usize>, densities: &[f32]| {
        let dense = Kind::Dense;
        cases.push(Case { name, rows, stride, columns: columns.clone(), kind: dense });
        for &density in densities {
            let kind = Kind::Sparse(density);
            cases.push(Case { name, rows, stride, columns: columns.clone(), kind });
        }
    };
    let all = [1.0, 0.7, 0.5, 0.3];
    add("qkv [576, 960]", 576, 960, 0..960, &all);
    add("q [576, 576 of 960]", 576, 960, 0..576, &all);
    add("k [576, 192 of 960]", 576, 960, 576..768, &all);
    add("o [576, 576]", 576, 576, 0..576, &all);
    add("gate_up [576, 3072]", 576, 3072, 0..3072, &all);
    add("gate [576, 1536 of 3072]", 576, 3072, 0..1536, &all);
    add("down [1536, 576]", 1536, 576, 0..576, &all);
    add("1.5B gate_up [1536, 17920]", 1536, 17920, 0..17920, &all);
    add("1.5B down [8960, 1536]", 8960, 1536, 0..1536, &all);
    for (name, cols) in [("head [49152, 576]", 576), ("1.5B head [32768, 1536]", 1536)] {
        let rows = if cols == 576 { 49152 } else { 32768 };
        cases.push(Case { name, rows, stride: cols, columns: 0..cols, kind: Kind::Head });
    }
    cases
}

/// The fastest plain read there is: every byte loaded once, into independent sums.
fn read(data: &[u16]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { read_avx2(data) };
    }
    let sum = data.chunks_exact(32).fold([0u16; 32], |mut sum, chunk| {
        sum.iter_mut().zip(chunk).for_each(|(sum, x)| *sum ^= x);
        sum
    });
    black_box(sum);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_avx2(data: &[u16]) {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_setzero_si256(); 8];
    for chunk in data.chunks_exact(128) {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the chunk holds 8 vectors of 16 elements.
            let v = unsafe { _mm256_loadu_si256(chunk.as_ptr().add(16 * i).cast()) };
            *sum = _mm256_or_si256(*sum, v);
        }
    }
    black_box(sums);
}

/// Runs `work(thread)`, which returns the bytes it read, on that many threads; returns the sum of
/// their bandwidths.
fn on_threads(threads: usize, work: impl Fn(usize) -> f64 + Sync) -> f64 {
    let bandwidth = |thread| {
        let mut bytes = 0.0;
        let seconds = time(|| bytes = work(thread));
        bytes / seconds / 1e9
    };
    let bandwidth = &bandwidth;
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads).map(|thread| scope.spawn(move || bandwidth(thread))).collect();
        let own = bandwidth(0);
        own + others.into_iter().map(|other| other.join().expect("no panic")).sum::<f64>()
    })
}

/// The part of `range` that is a thread's, in whole multiples of `unit`.
fn part(range: &Range<usize>, unit: usize, thread: usize, threads: usize) -> Range<usize> {
    let units = range.len() / unit;
    let cut =
        |t: usize| if t == threads { range.end } else { range.start + units * t / threads * unit };
    cut(thread)..cut(thread + 1)
}

/// One thread's share of one pass over the buffer's matrices; returns the bytes it read.
fn pass(
    case: &Case,
    menu: Kernels,
    data: &[u16],
    lists: &[Vec<u32>],
    thread: usize,
    threads: usize,
) -> f64 {
    let size = case.rows * case.stride;
    let inputs = if case.kind == Kind::Head { case.stride } else { case.rows };
    let x: Vec<f32> = (0..inputs).map(|k| (k % 7) as f32 - 3.0).collect();
    let mut y = vec![0.0; case.rows.max(case.stride)];
    let mut elements = 0;
    for i in 0..data.len() / size {
        let elems = Elems::Bf16(&data[i * size..][..size]);
        let w = Matrix::new(elems, case.rows, case.stride, case.stride).expect("fits");
        if case.kind == Kind::Head {
            let rows = part(&(0..case.rows), 1, thread, threads);
            elements += rows.len() * case.stride;
            menu.dot_rows(&mut y[..rows.len()], &x, w.row_range(rows));
        } else {
            let columns = part(&case.columns, 32, thread, threads);
            let y = &mut y[..columns.len()];
            let list = &lists[i % lists.len()];
            let active = if case.kind == Kind::Dense { case.rows } else { list.len() };
            elements += active * columns.len();
            let w = w.columns(columns);
            if case.kind == Kind::Dense {
                menu.gemv(y, &x, w);
            } else {
                let active = Active::from_checked(list, case.rows).expect("ascending");
                menu.gemv_sparse(y, &x, active, w);
            }
        }
        black_box(&mut y);
    }
    2.0 * elements as f64
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let rounds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(7);
    let filter = arguments.iter().find(|a| a.parse::<usize>().is_err());
    let menu = Kernels::best();
    let rng = &mut Rng(1);
    // Random bits are too slow to make by the hundred million: one block, repeated.
    let block = rng.bf16(1 << 20);
    let data: Vec<u16> = block.iter().copied().cycle().take(ELEMENTS).collect();

    println!(
        "{} kernels, medians of {rounds} rounds, GB/s (read, product) and their ratio",
        menu.isa()
    );
    println!("{:28} {:>6}  {:>22}  {:>22}", "", "active", "1 thread", "2 threads");
    for case in cases() {
        if filter.is_some_and(|filter| !case.name.contains(filter.as_str())) {
            continue;
        }
        let lists: Vec<Vec<u32>> = (0..61)
            .map(|_| match case.kind {
                Kind::Sparse(density) => {
                    (0..case.rows as u32).filter(|_| rng.unit() < density).collect()
                }
                _ => vec![],
            })
            .collect();
        let mut line = String::new();
        for threads in [1, 2] {
            let (mut reads, mut products, mut ratios) = (vec![], vec![], vec![]);
            for _ in 0..rounds {
                let read = on_threads(threads, |t| {
                    let own = &data[part(&(0..ELEMENTS), 1024, t, threads)];
                    read(own);
                    size_of_val(own) as f64
                });
                let product = on_threads(threads, |t| pass(&case, menu, &data, &lists, t, threads));
                reads.push(read);
                products.push(product);
                ratios.push(product / read);
            }
            line += &format!(
                "  {:>7.2} {:>7.2} {:>5.0}%",
                median(&mut reads),
                median(&mut products),
                100.0 * median(&mut ratios)
            );
        }
        let active = match case.kind {
            Kind::Dense => "dense".into(),
            Kind::Sparse(density) => format!("{:.0}%", 100.0 * density),
            Kind::Head => "rows".into(),
        };
        println!("{:28} {active:>6}{line}", case.name);
    }
}
