//! The products of one token against the memory bandwidth of the same moment.
//!
//! ```text
//! cargo bench -p rasp-kernels --bench bandwidth -- [ROUNDS] [SUBSTRING OF A CASE'S NAME]
//! ```
//!
//! Matrices rotate through 256 MiB, more than any cache. Each round times, one right after another so
//! that a noisy neighbour slows them alike: `stream`, a plain read of the whole buffer, eight places
//! at once; `rows`, a plain read of just the bytes that the product needs, in its order; and the
//! `product`.
//! Medians are printed, with the medians of product/stream and product/rows. The second says how good
//! the kernel is, the first how good the arrangement: no arithmetic makes short rows stream as long
//! ones do. A thread's time does not count its waiting for a CPU.
//!
//! As in the engine, a matrix's rows are cut into blocks, interleaved in each; threads split the
//! blocks, or the rows of the head.

mod common;

use std::{hint::black_box, ops::Range, sync::Mutex};

use common::{Rng, aligned, median, time};
use rasp_kernels::{Active, Elems, Kernels, Matrix, STREAMS};

/// Elements of the buffer: 256 MiB of bf16.
const ELEMENTS: usize = 128 << 20;

/// Blocks of a matrix, as `rasp::format::BLOCKS`.
const BLOCKS: usize = 4;

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

/// The fastest plain read there is: every byte loaded once, from [`STREAMS`] places at once.
fn read(data: &[u16]) {
    let run = data.len() / STREAMS / LINE * LINE;
    let places = std::array::from_fn(|n| n * run);
    read_places(data, places, run);
}

/// Elements of a cache line of bf16.
const LINE: usize = 32;

/// Reads `len` elements, whole lines of them, from each of those places in turn.
fn read_places(data: &[u16], places: [usize; STREAMS], len: usize) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { read_places_avx2(data, places, len) };
    }
    let mut sums = [0u16; LINE];
    for at in (0..len / LINE * LINE).step_by(LINE) {
        for place in places {
            sums.iter_mut().zip(&data[place + at..][..LINE]).for_each(|(sum, x)| *sum ^= x);
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_places_avx2(data: &[u16], places: [usize; STREAMS], len: usize) {
    use std::arch::x86_64::*;
    /// Elements that the product prefetches ahead.
    const AHEAD: usize = 128;
    let mut sums = [_mm256_setzero_si256(); 2];
    for at in (0..len / LINE * LINE).step_by(LINE) {
        for place in places {
            _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().wrapping_add(place + at + AHEAD).cast());
            let line = &data[place + at..][..LINE];
            for (half, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the line holds two vectors of 16 elements.
                let v = unsafe { _mm256_loadu_si256(line.as_ptr().add(16 * half).cast()) };
                *sum = _mm256_or_si256(*sum, v);
            }
        }
    }
    black_box(sums);
}

/// Reads the listed rows of a matrix over `data`, [`STREAMS`] at a time; the last few one by one.
fn read_rows(data: &[u16], w: Matrix<'_>, rows: &[u32]) {
    let place = |row: u32| w.place(row as usize) * w.stride();
    let batches = rows.chunks_exact(STREAMS);
    for &row in batches.remainder() {
        read_places(data, [place(row); STREAMS], w.cols() / STREAMS);
    }
    for batch in batches {
        read_places(data, std::array::from_fn(|n| place(batch[n])), w.cols());
    }
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
    /// Reads them, and no more, as many rows at a time.
    Read,
}

/// One thread's share of one pass over the buffer's matrices; returns the bytes it read.
fn pass(bench: &Bench<'_>, work: Work, thread: usize, threads: usize) -> f64 {
    let Bench { case, menu, data, lists, .. } = *bench;
    let size = case.rows * case.stride;
    let mut y = bench.y[thread].lock().expect("no panic");
    let mut elements = 0;
    for (i, data) in data.chunks_exact(size).enumerate() {
        if case.kind == Kind::Head {
            let w = Matrix::new(Elems::Bf16(data), case.rows, case.stride, case.stride).expect("fits");
            let rows = part(&(0..case.rows), 1, thread, threads);
            elements += rows.len() * case.stride;
            match work {
                Work::Product => {
                    menu.dot_rows(&mut y[..rows.len()], &bench.x[..case.stride], w.row_range(rows));
                }
                Work::Read => read(&data[rows.start * case.stride..rows.end * case.stride]),
            }
            continue;
        }
        let rows = case.rows / BLOCKS;
        for block in part(&(0..BLOCKS), 1, thread, threads) {
            let data = &data[block * rows * case.stride + case.columns.start..];
            let w = Matrix::interleaved(Elems::Bf16(data), rows, case.columns.len(), case.stride).expect("fits");
            let y = &mut y[..case.columns.len()];
            let list = &lists[(BLOCKS * i + block) % lists.len()];
            elements += list.len() * w.cols();
            let x = &bench.x[..rows];
            match work {
                Work::Read => read_rows(data, w, list),
                Work::Product if case.kind == Kind::Dense => menu.gemv(y, x, w),
                Work::Product => {
                    let active = Active::from_checked(list, rows).expect("ascending");
                    menu.gemv_sparse(y, x, active, w);
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
        let block = (case.rows / BLOCKS) as u32;
        let lists: Vec<Vec<u32>> = (0..61)
            .map(|_| match case.kind {
                Kind::Sparse(density) => (0..block).filter(|_| rng.unit() < density).collect(),
                _ => (0..block).collect(),
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
