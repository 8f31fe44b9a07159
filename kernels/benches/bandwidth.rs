//! The products of one token against the memory bandwidth of the same moment.
//!
//! ```text
//! cargo bench -p rasp-kernels --bench bandwidth -- [ROUNDS] [SUBSTRING OF A CASE'S NAME]
//! ```
//!
//! Matrices rotate through 256 MiB, more than any cache. Each round times, one right after another so
//! that a noisy neighbour slows them alike: `stream`, a plain sequential read of the whole buffer;
//! `rows`, a plain read of just the bytes that the product needs, in its order; and the `product`.
//! Medians are printed, with the medians of product/stream and product/rows. The second says how good
//! the kernel is, the first how good the arrangement: no arithmetic makes short rows stream as long
//! ones do. A thread's time does not count its waiting for a CPU.
//!
//! Threads split the columns of each matrix, or the rows of the head, as the engine does.

mod common;

use std::{hint::black_box, ops::Range, sync::Mutex};

use common::{Rng, aligned, median, time};
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

/// Reads those columns of the listed rows.
fn read_rows(data: &[u16], stride: usize, rows: &[u32], columns: Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { read_rows_avx2(data, stride, rows, columns) };
    }
    for &row in rows {
        read(&data[row as usize * stride..][columns.clone()]);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_rows_avx2(data: &[u16], stride: usize, rows: &[u32], columns: Range<usize>) {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_setzero_si256(); 2];
    let none = &rows[rows.len()..];
    for (i, batch) in rows.chunks(8).enumerate() {
        let next = rows.get(8 * (i + 1)..).unwrap_or(none);
        for c in columns.clone().step_by(32) {
            for (r, &row) in batch.iter().enumerate() {
                let ahead = next.get(r).unwrap_or(&row);
                let line = data.as_ptr().wrapping_add(*ahead as usize * stride + c);
                _mm_prefetch::<_MM_HINT_T0>(line.cast());
                let line = &data[row as usize * stride + c..][..32];
                for (half, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the line holds two vectors of 16 elements.
                    let v = unsafe { _mm256_loadu_si256(line.as_ptr().add(16 * half).cast()) };
                    *sum = _mm256_or_si256(*sum, v);
                }
            }
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
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || bandwidth(thread))).collect();
        let own = bandwidth(0);
        own + others.into_iter().map(|other| other.join().expect("no panic")).sum::<f64>()
    })
}

/// The part of `range` that is a thread's, in whole multiples of `unit`.
fn part(range: &Range<usize>, unit: usize, thread: usize, threads: usize) -> Range<usize> {
    let units = range.len() / unit;
    let cut = |t: usize| if t == threads { range.end } else { range.start + units * t / threads * unit };
    cut(thread)..cut(thread + 1)
}

/// What one thread's pass does with the rows that it visits.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Product,
    /// Reads them, and no more: eight rows at a time, the next eight prefetched.
    Read,
}

/// One thread's share of one pass over the buffer's matrices; returns the bytes it read.
fn pass(bench: &Bench<'_>, work: Work, thread: usize, threads: usize) -> f64 {
    let Bench { case, menu, data, lists, .. } = *bench;
    let size = case.rows * case.stride;
    let mut y = bench.y[thread].lock().expect("no panic");
    let mut elements = 0;
    for i in 0..data.len() / size {
        let elems = Elems::Bf16(&data[i * size..][..size]);
        let w = Matrix::new(elems, case.rows, case.stride, case.stride).expect("fits");
        if case.kind == Kind::Head {
            let rows = part(&(0..case.rows), 1, thread, threads);
            elements += rows.len() * case.stride;
            match work {
                Work::Product => {
                    menu.dot_rows(&mut y[..rows.len()], &bench.x[..case.stride], w.row_range(rows));
                }
                Work::Read => read(&data[i * size..][..size][rows.start * case.stride..rows.end * case.stride]),
            }
        } else {
            let columns = part(&case.columns, 32, thread, threads);
            let y = &mut y[..columns.len()];
            let list = &lists[i % lists.len()];
            elements += list.len() * columns.len();
            let x = &bench.x[..case.rows];
            match work {
                Work::Read => read_rows(&data[i * size..][..size], case.stride, list, columns),
                Work::Product if case.kind == Kind::Dense => menu.gemv(y, x, w.columns(columns)),
                Work::Product => {
                    let active = Active::from_checked(list, case.rows).expect("ascending");
                    menu.gemv_sparse(y, x, active, w.columns(columns));
                }
            }
        }
        black_box(&mut y);
    }
    2.0 * elements as f64
}

/// What a case runs on.
struct Bench<'a> {
    case: &'a Case,
    menu: Kernels,
    data: &'a [u16],
    lists: &'a [Vec<u32>],
    x: &'a [f32],
    /// One for each thread.
    y: [Mutex<&'static mut [f32]>; 2],
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let rounds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(7);
    let filter = arguments.iter().find(|a| a.parse::<usize>().is_err());
    let menu = Kernels::best();
    let rng = &mut Rng(1);
    // Random bits are too slow to make by the hundred million: one block, repeated.
    let block = rng.bf16(1 << 20);
    let data = aligned(ELEMENTS, 0u16);
    data.chunks_mut(block.len()).for_each(|chunk| chunk.copy_from_slice(&block));
    let data = &*data;
    let x = aligned(16 << 10, 0.5f32);

    println!("{} kernels, medians of {rounds} rounds, GB/s", menu.isa());
    println!("{:35}  {:^33}  {:^33}", "", "1 thread", "2 threads");
    let head = "stream    rows product    of  of";
    println!("{:28} {:>6}  {head}  {head}", "", "active");
    for case in cases() {
        if filter.is_some_and(|filter| !case.name.contains(filter.as_str())) {
            continue;
        }
        let lists: Vec<Vec<u32>> = (0..61)
            .map(|_| match case.kind {
                Kind::Sparse(density) => (0..case.rows as u32).filter(|_| rng.unit() < density).collect(),
                _ => (0..case.rows as u32).collect(),
            })
            .collect();
        let y = [(); 2].map(|()| Mutex::new(aligned(64 << 10, 0.0f32)));
        let bench = Bench { case: &case, menu, data, lists: &lists, x, y };
        let mut line = String::new();
        for threads in [1, 2] {
            let mut figures: [Vec<f64>; 5] = Default::default();
            for _ in 0..rounds {
                let stream = on_threads(threads, |t| {
                    let own = &data[part(&(0..ELEMENTS), 1024, t, threads)];
                    read(own);
                    size_of_val(own) as f64
                });
                let rows = on_threads(threads, |t| pass(&bench, Work::Read, t, threads));
                let product = on_threads(threads, |t| pass(&bench, Work::Product, t, threads));
                let round = [stream, rows, product, product / stream, product / rows];
                figures.iter_mut().zip(round).for_each(|(all, one)| all.push(one));
            }
            let [stream, rows, product, of_stream, of_rows] = figures.map(|mut all| median(&mut all));
            line += &format!(
                "  {stream:>6.2} {rows:>7.2} {product:>7.2} {:>3.0}% {:>3.0}%",
                100.0 * of_stream,
                100.0 * of_rows
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
