//! The instruction sets a menu can be made of.

/// An instruction set that the kernels have been compiled for.
///
/// Every set gives the same bits as [`Isa::Scalar`]; they differ in speed alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain loops, on every CPU.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C: 8 lanes.
    Avx2,
    /// [`Isa::Avx2`] with AVX-VNNI, for weights in whole numbers.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ and VL (and the AVX2 set): 16 lanes.
    Avx512,
    /// [`Isa::Avx512`] with AVX-512 VNNI, for weights in whole numbers.
    Avx512Vnni,
    /// aarch64 with NEON: 4 lanes.
    Neon,
    /// [`Isa::Neon`] with `dotprod` (ARMv8.2), for weights in whole numbers.
    NeonDot,
    /// [`Isa::NeonDot`] with `i8mm` (ARMv8.6), for weights in whole numbers and several tokens.
    NeonI8mm,
}

impl Isa {
    /// Every set, slowest first. A CPU may lack some of them.
    pub const ALL: [Isa; 8] =
        [Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512, Isa::Avx512Vnni, Isa::Neon, Isa::NeonDot, Isa::NeonI8mm];

    /// The name that [`Isa::parse`] reads: `scalar`, `avx2`, `avx_vnni`, `avx512`, `avx512_vnni`,
    /// `neon`, `neon_dotprod`, `neon_i8mm`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avx_vnni",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512_vnni",
            Isa::Neon => "neon",
            Isa::NeonDot => "neon_dotprod",
            Isa::NeonI8mm => "neon_i8mm",
        }
    }

    /// The set of that name, in lower case.
    pub fn parse(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
