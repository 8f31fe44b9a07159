//! What the tests share: random data with awkward values in it, and comparison of bits.
#![allow(dead_code)] // each test file uses a part

use rasp_kernels::{Active, Elems, Isa, Kernels};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Which values a test feeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Plain numbers.
    Tame,
    /// Among them zeros of both signs, subnormals, and numbers so small that products underflow.
    Tiny,
    /// Among them infinities and NaNs.
    Wild,
}

pub const KINDS: [Kind; 3] = [Kind::Tame, Kind::Tiny, Kind::Wild];

impl Kind {
    pub fn value(self, rng: &mut Rng) -> f32 {
        let value = rng.unit() * 2.0;
        match (self, rng.below(10)) {
            (Kind::Tiny, 0) => 0.0,
            (Kind::Tiny, 1) => -0.0,
            (Kind::Tiny, 2) => value * f32::MIN_POSITIVE / 4.0,
            (Kind::Tiny, 3 | 4) => value * 1e-24,
            (Kind::Tiny, 5) => value * 1e-6, // subnormal as f16
            (Kind::Wild, _) => match rng.below(400) {
                0 => f32::INFINITY,
                1 => f32::NEG_INFINITY,
                2 => f32::NAN,
                3 => f32::MAX,
                _ => value,
            },
            _ => value,
        }
    }

    pub fn values(self, rng: &mut Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.value(rng)).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    F32,
    F16,
    Bf16,
}

pub const FORMATS: [Format; 3] = [Format::F32, Format::F16, Format::Bf16];

/// Stored elements that own their memory.
pub enum Store {
    F32(Vec<f32>),
    F16(Vec<u16>),
    Bf16(Vec<u16>),
}

impl Store {
    pub fn new(format: Format, kind: Kind, rng: &mut Rng, n: usize) -> Store {
        let values = kind.values(rng, n).into_iter();
        match format {
            Format::F32 => Store::F32(values.collect()),
            Format::F16 => Store::F16(values.map(|v| half::f16::from_f32(v).to_bits()).collect()),
            Format::Bf16 => Store::Bf16(values.map(|v| half::bf16::from_f32(v).to_bits()).collect()),
        }
    }

    pub fn elems(&self) -> Elems<'_> {
        match self {
            Store::F32(data) => Elems::F32(data),
            Store::F16(data) => Elems::F16(data),
            Store::Bf16(data) => Elems::Bf16(data),
        }
    }

    pub fn at(&self, i: usize) -> f32 {
        match self {
            Store::F32(data) => data[i],
            Store::F16(data) => half::f16::from_bits(data[i]).to_f32(),
            Store::Bf16(data) => half::bf16::from_bits(data[i]).to_f32(),
        }
    }
}

/// Every menu this CPU has but the scalar one, and the scalar one.
pub fn vector_menus() -> Vec<Kernels> {
    Kernels::available().filter(|&isa| isa != Isa::Scalar).filter_map(Kernels::for_isa).collect()
}

pub fn all_menus() -> Vec<Kernels> {
    Kernels::available().filter_map(Kernels::for_isa).collect()
}

pub fn scalar() -> Kernels {
    Kernels::for_isa(Isa::Scalar).expect("every CPU has it")
}

/// The same bits, or both NaNs.
#[track_caller]
pub fn same_bits(got: &[f32], want: &[f32], context: impl std::fmt::Display) {
    assert_eq!(got.len(), want.len(), "{context}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g.to_bits() == w.to_bits() || (g.is_nan() && w.is_nan());
        assert!(same, "{context}: element {i}: got {g:?}, want {w:?}");
    }
}

/// A product of some rows alone has the bits of all rows' product, `want`.
#[allow(dead_code)]
#[track_caller]
pub fn some_rows(rng: &mut Rng, want: &[f32], context: &str, product: impl Fn(&mut [f32], Active<'_>)) {
    for share in [1, 2, 5] {
        let rows: Vec<u32> = (0..want.len() as u32).filter(|_| rng.below(share) == 0).collect();
        let want: Vec<f32> = rows.iter().map(|&n| want[n as usize]).collect();
        let mut got = vec![f32::NAN; rows.len()];
        product(&mut got, Active::from_checked(&rows, rows.last().map_or(0, |&last| last as usize + 1)).unwrap());
        same_bits(&got, &want, format!("rows {rows:?} {context}"));
    }
}

pub const SIZES: [usize; 22] = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 127, 192, 576, 1000];
