//! One token, or several, times matrices in whole numbers, cut as the engine cuts them, against the memory bandwidth of
//! the same moment.
//!
//! ```text
//! cargo bench -p rasp-kernels --bench integer -- [ROUNDS] [SUBSTRING OF A CASE'S NAME]
//! ```
//!
//! One thread. Matrices rotate through 768 MiB; `stream` is a plain read of as many bytes as the dense product's, eight
//! places at once. Rounds alternate; medians are printed. `huge`: the same in pages of 2 MB, where the system has them.
//! A thread's time does not count its waiting for a CPU.

mod common;

use std::hint::black_box;

use common::{Rng, median, time};
use rasp_kernels::{Active, Kernels, MatMut, QUANT_GROUP, QuantType, Quantized, QuantizedRef};

const BYTES: usize = 768 << 20;
const BLOCKS: usize = 4;
/// As `rasp`'s units of work.
const UNIT: usize = 1 << 20;
const COLUMNS: usize = 6144;

/// Memory of the bench's own, whose pages are as asked for.
struct Memory {
    at: *mut u8,
}

impl Memory {
    fn new(huge: bool) -> Memory {
        let layout = std::alloc::Layout::from_size_align(BYTES, 2 << 20).expect("a layout");
        // SAFETY: the layout has a size.
        let at = unsafe { std::alloc::alloc(layout) };
        assert!(!at.is_null(), "no memory");
        #[cfg(target_os = "linux")]
        // SAFETY: the pages are this allocation's.
        unsafe {
            libc::madvise(at.cast(), BYTES, if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE });
        }
        #[cfg(not(target_os = "linux"))]
        let _ = huge;
        let mut rng = Rng(1);
        let block: Vec<u8> = (0..1 << 20).map(|_| rng.bf16(1)[0] as u8).collect();
        for start in (0..BYTES).step_by(block.len()) {
            // SAFETY: a block lies within the memory.
            unsafe { std::ptr::copy_nonoverlapping(block.as_ptr(), at.add(start), block.len()) };
        }
        Memory { at }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: filled by `new`, and never freed.
        unsafe { std::slice::from_raw_parts(self.at, BYTES) }
    }
}

/// Reads eight places at once.
fn read(data: &[u8]) {
    let run = data.len() / 8 / 64 * 64;
    let mut sums = [0u64; 8];
    for at in (0..run).step_by(64) {
        for (place, sum) in sums.iter_mut().enumerate() {
            let line = data[place * run + at..][..64].as_chunks::<8>().0;
            *sum ^= line.iter().fold(0, |sum, &bytes| sum ^ u64::from_le_bytes(bytes));
        }
    }
    black_box(sums);
}

/// What the products of a case take.
struct Case {
    menu: Kernels,
    quant: QuantType,
    shape: (usize, usize),
    share: f32,
    tokens: usize,
    lists: Vec<Vec<u32>>,
    whole: Vec<i16>,
    scale: Vec<f32>,
    y: Vec<f32>,
}

impl Case {
    fn new(menu: Kernels, quant: QuantType, shape: (usize, usize), share: f32, tokens: usize) -> Case {
        let rows = block_rows(shape);
        let mut rng = Rng(7);
        let mut list = || (0..rows as u32).filter(|_| rng.unit() < share).collect();
        let lists = (0..7).map(|_| list()).collect();
        let x: Vec<f32> = (0..tokens * rows).map(|_| rng.unit() - 0.5).collect();
        let (mut whole, mut scale) = (vec![0; x.len()], vec![0.0; x.len() / QUANT_GROUP]);
        menu.quantize(&mut whole, &mut scale, &x, 4.0);
        Case { menu, quant, shape, share, tokens, lists, whole, scale, y: vec![0.0; tokens * shape.1] }
    }
}

fn block_rows((rows, _): (usize, usize)) -> usize {
    rows / BLOCKS / QUANT_GROUP * QUANT_GROUP
}

/// All matrices once, for so many tokens; returns the bytes read.
fn pass(case: &mut Case, data: &[u8]) -> usize {
    let Case { menu, quant, shape, share, tokens, lists, whole, scale, y } = case;
    let (menu, quant, share, tokens, cols, block_rows) = (*menu, *quant, *share, *tokens, shape.1, block_rows(*shape));
    let row_bytes = quant.row_bytes(cols);
    let scales = block_rows / QUANT_GROUP * cols;
    let mut read = 0;
    for (n, block) in data.chunks_exact(block_rows * row_bytes + 2 * scales).enumerate() {
        let (numbers, rest) = block.split_at(block_rows * row_bytes);
        // SAFETY: any bits are a u16, and blocks are multiples of 32 bytes.
        let (before, scale_bits, _) = unsafe { rest.align_to::<u16>() };
        assert!(before.is_empty());
        let w = Quantized::interleaved(quant, numbers, scale_bits, &[], block_rows, cols).expect("fits");
        for c in (0..cols).step_by(COLUMNS) {
            let columns = c..cols.min(c + COLUMNS);
            let bytes = QUANT_GROUP * quant.row_bytes(columns.len()) + 2 * columns.len();
            let most = QUANT_GROUP * (UNIT / if tokens > 1 { 4 } else { 1 } / bytes).max(1);
            for k in (0..block_rows).step_by(most) {
                let channels = k..block_rows.min(k + most);
                let w = w.row_range(channels.clone()).columns(columns.clone());
                let groups = channels.start / QUANT_GROUP..channels.end / QUANT_GROUP;
                let (x, x_scale) = (&whole[channels.clone()], &scale[groups]);
                if tokens > 1 {
                    let x = QuantizedRef::new(whole, scale, tokens, block_rows).expect("fits").columns(channels);
                    let y = MatMut::new(y, tokens, cols, cols).expect("fits").columns(columns.clone());
                    menu.gemm_q(y, x, w);
                    read += w.rows() * quant.row_bytes(columns.len()) + 2 * w.groups() * columns.len();
                } else if share < 1.0 {
                    let list = &lists[n % lists.len()];
                    let own = |k: usize| list.partition_point(|&j| (j as usize) < k);
                    let own = &list[own(channels.start)..own(channels.end)];
                    let own: Vec<u32> = own.iter().map(|&j| j - channels.start as u32).collect();
                    let active = Active::from_checked(&own, channels.len()).expect("ascending");
                    let groups = menu.gemv_sparse_q(&mut y[columns.clone()], x, x_scale, active, w);
                    read += own.len() * quant.row_bytes(columns.len()) + 2 * groups * columns.len();
                } else {
                    menu.gemv_q(&mut y[columns.clone()], x, x_scale, w);
                    read += w.rows() * quant.row_bytes(columns.len()) + 2 * w.groups() * columns.len();
                }
            }
        }
    }
    black_box(y);
    read
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let rounds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(5);
    let filter = arguments.iter().find(|a| a.parse::<usize>().is_err());
    let menu = match std::env::var("RASP_ISA").ok().and_then(|name| rasp_kernels::Isa::parse(&name)) {
        Some(isa) => Kernels::for_isa(isa).expect("an instruction set of this CPU"),
        None => Kernels::best(),
    };
    println!("{} kernels, one thread, medians of {rounds} rounds, GB/s", menu.isa());
    println!("{:34} {:>7} {:>7} {:>6}", "", "stream", "product", "of");
    for huge in [false, true] {
        let memory = Memory::new(huge);
        let shapes = [
            ("1.5B gate_up", (1536, 17_920)),
            ("1.5B down", (8960, 1536)),
            ("1.5B qkv", (1536, 2048)),
            ("135M gate_up", (512, 3072)),
            ("135M down", (1536, 576)),
        ];
        for (kind, quant) in [("q4s", QuantType::Q4s), ("q8", QuantType::Q8)] {
            for (name, shape) in shapes {
                let runs = [(1.0, 1), (0.7, 1), (0.5, 1), (0.3, 1), (1.0, 2), (1.0, 4), (1.0, 8), (1.0, 64)];
                for (cache, (share, tokens)) in [false, true].into_iter().flat_map(|c| runs.map(|r| (c, r))) {
                    let tokens_of = if tokens > 1 { format!(", {tokens} tokens") } else { format!(" {share}") };
                    let pages = if cache {
                        "cache"
                    } else if huge {
                        "huge"
                    } else {
                        "small"
                    };
                    let name = format!("{kind} {name}{tokens_of}, {pages}");
                    if (cache && huge) || filter.is_some_and(|filter| !name.contains(filter.as_str())) {
                        continue;
                    }
                    // From cache: one block, again and again.
                    let block = block_rows(shape);
                    let block = block * quant.row_bytes(shape.1) + 2 * (block / QUANT_GROUP * shape.1);
                    let (data, repeat) = match cache {
                        true => (&memory.bytes()[..block], (BYTES / 4 / block).max(1)),
                        false => (memory.bytes(), 1),
                    };
                    let mut case = Case::new(menu, quant, shape, share, tokens);
                    let mut figures: [Vec<f64>; 3] = Default::default();
                    for _ in 0..rounds {
                        let stream = data.len() as f64 / time(|| read(data)) / 1e9;
                        let mut bytes = 0;
                        let seconds = time(|| {
                            (0..repeat).for_each(|_| bytes += pass(&mut case, data));
                        });
                        let product = bytes as f64 / seconds / 1e9;
                        figures.iter_mut().zip([stream, product, product / stream]).for_each(|(a, b)| a.push(b));
                    }
                    let [stream, product, of] = figures.map(|mut all| median(&mut all));
                    println!("{name:34} {stream:>7.1} {product:>7.1} {:>5.0}%", 100.0 * of);
                }
            }
        }
    }
}
